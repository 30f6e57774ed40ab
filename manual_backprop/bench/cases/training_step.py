"""One step of gradient descent on the MNIST classifier, 784-200-200-10: the whole of it.

Each opponent goes forward, finds the gradients and updates the six weights.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.bench.case import Case, Opponent, Run, Sizes, compiled
from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand
from manual_backprop.training.captured import Captured
from manual_backprop.training.one_graph import OneGraph
from manual_backprop.training.onednn import OneDnnStep
from manual_backprop.training.step import Step

LR = 0.01
NET = {"i": 784, "h": 200, "j": 200, "k": 10}


def _loss(weights: Sequence[Tensor], x: Tensor, target: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = weights
    h2 = F.relu(F.linear(F.relu(F.linear(x, w1, b1)), w2, b2))
    return F.cross_entropy(F.linear(h2, w3, b3), target)


def learning(weights: list[Tensor], start: Sequence[Tensor], step: Callable[[], Tensor]) -> Run:
    """Learn again and again from one batch; each round begins with the first weights."""

    def fresh() -> None:
        for weight in weights:
            weight.grad = None
        with torch.no_grad():
            for weight, first in zip(weights, start, strict=True):
                weight.copy_(first)

    return Run(lambda: (step(), *weights), fresh)


def _written(
    name: str,
    make: Callable[[list[Tensor], int], Callable[[Tensor, Tensor], Tensor]],
    *,
    by_compiler: bool = False,
    ours: bool = True,
    only_on: str = "",
) -> Opponent:
    """A hand-written step: `make` is given the weights, which it changes, and the rows' number."""

    def prepare(x: Tensor, target: Tensor, *start: Tensor) -> Run:
        weights = [w.clone() for w in start]
        step = make(weights, len(x))
        return learning(weights, start, lambda: step(x, target))

    return Opponent(name, prepare, by_compiler, ours, only_on)


def _kept(
    weights: list[Tensor], n: int, kind: type[Step] = Step
) -> Callable[[Tensor, Tensor], Tensor]:
    return partial(kind(weights, n, lr=LR), loss=weights[0].new_empty(()))


def _captured(weights: list[Tensor], n: int) -> Callable[[Tensor, Tensor], Tensor]:
    return Captured(weights, n, lr=LR) if weights[0].is_cuda else _kept(weights, n)


def _eager(name: str, *, fused: bool, by_compiler: bool = False) -> Opponent:
    def prepare(x: Tensor, target: Tensor, *start: Tensor) -> Run:
        weights = [w.clone().requires_grad_() for w in start]
        optimizer = torch.optim.SGD(weights, LR, fused=fused or None)
        loss_of = compiled(_loss) if by_compiler else _loss

        def step() -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(weights, x, target)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return learning(weights, start, step)

    return Opponent(name, prepare, by_compiler)


def _whole(name: str, mode: str = "default", only_on: str = "") -> Opponent:
    def prepare(x: Tensor, target: Tensor, *start: Tensor) -> Run:
        weights = [w.clone() for w in start]

        def step(weights: list[Tensor], x: Tensor, target: Tensor) -> Any:
            grads, loss = torch.func.grad_and_value(_loss)(weights, x, target)
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(grad, alpha=LR)
            return loss

        if mode != "default":  # else what changes its arguments is left out of CUDA graphs
            for weight in weights:
                torch._dynamo.mark_static_address(weight)
        one = compiled(step, mode)
        return learning(weights, start, lambda: one(weights, x, target))

    return Opponent(name, prepare, compiled=True, only_on=only_on)


def _draw(rand: Rand, n: int, i: int, h: int, j: int, k: int) -> tuple[Tensor, ...]:
    weights = [
        t
        for wide, narrow in ((i, h), (h, j), (j, k))
        for t in (rand(narrow, wide) * (2 / wide) ** 0.5, rand(narrow) * 0.1)
    ]
    return rand(n, i), rand.integers(k, n), *weights


def _after(sizes: Sizes) -> Callable[..., tuple[Tensor, ...]]:  # noqa: ARG001
    def after(x: Tensor, target: Tensor, *start: Tensor) -> tuple[Tensor, ...]:
        leaves = [w.detach().requires_grad_() for w in start]
        loss = _loss(leaves, x, target)
        grads = torch.autograd.grad(loss, leaves)
        return loss.detach(), *(w - LR * g for w, g in zip(start, grads, strict=True))

    return after


def _work(n: int, i: int, h: int, j: int, k: int) -> Work:
    """Forward and weights: each product once; backward: not to x."""
    weights = i * h + h * j + j * k + h + j + k
    return Work(
        flops=2 * n * (2 * (i * h + h * j + j * k) + h * j + j * k),
        least_bytes=4 * (n * i + 2 * weights) + 8 * n,
    )


def _case(n: int) -> Case:
    return Case(
        name=f"mnist-step-{n}",
        group="mnist-step",
        shapes="a batch of {n}, {i}-{h}-{j}-{k}",
        sizes={"n": n, **NET},
        quick={"n": n, **NET},
        small={"n": 11, "i": 13, "h": 7, "j": 5, "k": 3},
        draw=_draw,
        truth=_after,
        work=_work,
        opponents=(
            _written("by hand", _captured, ours=False),
            _written("by hand, no CUDA graph", _kept, only_on="cuda"),
            _written("by hand, oneDNN", partial(_kept, kind=OneDnnStep), only_on="cpu"),
            _written("by hand, compiled", lambda w, _: OneGraph(w, lr=LR), by_compiler=True),
            _eager("autograd", fused=False),
            _eager("fused SGD", fused=True),
            _eager("compiled loss", fused=True, by_compiler=True),
            _whole("compiled step"),
            _whole("reduce-overhead", "reduce-overhead", only_on="cuda"),
        ),
        remark="from one batch again and again; each round begins with the same weights",
    )


CASES = tuple(map(_case, (1, 8, 32, 200, 2000)))
