"""All gradients of linear, relu, linear, mean squared error, from the inputs alone.

The hand-written forms keep nothing of a forward pass, so each opponent computes one as well.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.bench.case import Case, Opponent, Results, by_hand
from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand
from manual_backprop.networks.two_layer import back_two_layer, back_two_layer_broadcast


def _draw(rand: Rand, n: int, i: int, h: int) -> tuple[Tensor, ...]:
    return rand(n, i), rand(i, h), rand(h), rand(h, 1), rand(1), rand(n)


def _gradients(*inputs: Tensor) -> tuple[Tensor, ...]:
    leaves = [t.detach().requires_grad_() for t in inputs[:-1]]
    x, w1, b1, w2, b2 = leaves
    pred = F.linear(F.relu(F.linear(x, w1.T, b1)), w2.T, b2)
    return torch.autograd.grad(F.mse_loss(pred.squeeze(-1), inputs[-1]), leaves)


def _by_autograd(*inputs: Tensor) -> Callable[[], Results]:
    return lambda: _gradients(*inputs)


def _work(n: int, i: int, h: int) -> Work:
    return Work(
        flops=6 * n * i * h + 6 * n * h,
        least_bytes=4 * (2 * (n * i + i * h + 2 * h + 1) + n),
    )


CASES = (
    Case(
        name="two-layer",
        group="two-layer",
        shapes="x ({n}, {i}), w1 ({i}, {h}), all gradients",
        sizes={"n": 1000, "i": 784, "h": 50},
        quick={"n": 1000, "i": 784, "h": 50},
        small={"n": 11, "i": 7, "h": 5},
        draw=_draw,
        truth=lambda _: _gradients,
        work=_work,
        opponents=(
            by_hand(back_two_layer),
            by_hand(back_two_layer_broadcast, "broadcast", ours=True),
            Opponent("autograd", _by_autograd),
        ),
    ),
)
