"""A loss and its gradient together, forward included: mse, cross entropy, and that of a lin."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from manual_backprop.bench.case import (
    Case,
    Results,
    Sizes,
    by_hand,
    in_place,
    loss_and_gradients,
    loss_by_autograd,
)
from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand
from manual_backprop.networks.linear_cross_entropy import linear_cross_entropy_and_grad
from manual_backprop.ops.cross_entropy import (
    back_cross_entropy,
    cross_entropy,
    cross_entropy_and_grad_,
)
from manual_backprop.ops.mse import mse_and_grad_


def _share(forward: Callable[..., Tensor], sizes: Sizes) -> Callable[..., tuple[Tensor, ...]]:
    """Rows' share of the mean over all rows, so that rows can be taken some at a time."""

    def share(given: Tensor, target: Tensor) -> Tensor:
        return forward(given, target) * (len(target) / sizes["n"])

    return loss_and_gradients(share, 1)


def _mse(pred: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(pred.squeeze(-1), target)


MSE = Case(
    name="mse",
    group="mse",
    shapes="pred ({n}, 1), target ({n}), loss and gradient",
    sizes={"n": 2**24},
    quick={"n": 2**22},
    small={"n": 1031},
    draw=lambda rand, n: (rand(n, 1), rand(n)),
    truth=partial(_share, _mse),
    work=lambda n: Work(flops=4 * n, least_bytes=4 * 3 * n),
    opponents=(
        in_place(mse_and_grad_, 0),
        loss_by_autograd(_mse, 1),
        loss_by_autograd(_mse, 1, by_compiler=True),
    ),
    rows=2**18,
)


CROSS_ENTROPY = Case(
    name="cross-entropy",
    group="cross-entropy",
    shapes="logits ({n}, {k}), loss and gradient",
    sizes={"n": 4096, "k": 32000},
    quick={"n": 410, "k": 32000},
    small={"n": 11, "k": 7},
    draw=lambda rand, n, k: (rand(n, k), rand.integers(k, n)),
    truth=partial(_share, F.cross_entropy),
    work=lambda n, k: Work(flops=5 * n * k, least_bytes=4 * 2 * n * k + 8 * n),
    opponents=(
        in_place(cross_entropy_and_grad_, 0),
        loss_by_autograd(F.cross_entropy, 1),
        loss_by_autograd(F.cross_entropy, 1, by_compiler=True),
    ),
    rows=16,
)


def _composed(logits: Tensor, target: Tensor) -> Results:
    return cross_entropy(logits, target), back_cross_entropy(logits, target)


SMALL_CROSS_ENTROPY = replace(
    CROSS_ENTROPY,
    name="cross-entropy-small",
    sizes={"n": 200, "k": 10},
    quick={"n": 200, "k": 10},
    opponents=(
        in_place(cross_entropy_and_grad_, 0),
        by_hand(_composed, "forward, then backward", ours=True),
        loss_by_autograd(F.cross_entropy, 1),
    ),
    rows=0,
    remark="as many kernels for 2,000 numbers as for 131 million: their starts are what is timed",
)


def _linear_cross_entropy(x: Tensor, w: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x, w), target)


def _in_chunks(x: Tensor, w: Tensor, target: Tensor) -> Tensor:
    """PyTorch's own, which holds the logits of a few rows at a time."""
    options = nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(x, w, target, options=options)


IN_CHUNKS = (
    (loss_by_autograd(_in_chunks, 2, name="torch in chunks"),)
    if hasattr(F, "linear_cross_entropy")  # from PyTorch 2.13 on
    else ()
)


def _linear_cross_entropy_and_grad(x: Tensor, w: Tensor, target: Tensor) -> Results:
    loss, grads = linear_cross_entropy_and_grad(x, w, target)
    return loss, *grads


def _draw(rand: Rand, n: int, h: int, k: int) -> tuple[Tensor, ...]:
    return rand(n, h), rand(k, h) / h**0.5, rand.integers(k, n)


LINEAR_CROSS_ENTROPY = Case(
    name="linear-cross-entropy",
    group="linear-cross-entropy",
    shapes="x ({n}, {h}), w ({k}, {h}), loss and gradients",
    sizes={"n": 1024, "h": 256, "k": 32000},
    quick={"n": 103, "h": 256, "k": 32000},
    small={"n": 11, "h": 5, "k": 7},
    draw=_draw,
    truth=lambda _: loss_and_gradients(_linear_cross_entropy, 2),
    work=lambda n, h, k: Work(flops=6 * n * h * k, least_bytes=4 * 2 * (n * h + h * k) + 8 * n),
    opponents=(
        by_hand(_linear_cross_entropy_and_grad),
        loss_by_autograd(_linear_cross_entropy, 2),
        *IN_CHUNKS,
        loss_by_autograd(_linear_cross_entropy, 2, by_compiler=True),
    ),
)

CASES = (MSE, CROSS_ENTROPY, SMALL_CROSS_ENTROPY, LINEAR_CROSS_ENTROPY)
