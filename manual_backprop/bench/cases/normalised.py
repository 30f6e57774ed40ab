"""batch_norm's backward, composed of tensors' own functions, against PyTorch's one kernel."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from manual_backprop.bench.case import (
    Case,
    Opponent,
    Results,
    by_hand,
    compiled,
    product_by_autograd,
    vector_jacobian_product,
)
from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand
from manual_backprop.ops.batch_norm import back_batch_norm


def _batch_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """As PyTorch trains it, with the eps of `back_batch_norm`."""
    return torch.batch_norm(x, gamma, beta, None, None, True, 0.0, 1e-5, False)


def _draw(rand: Rand, n: int, k: int) -> tuple[Tensor, ...]:
    return rand(n, k), rand(k), rand(k), rand(n, k)


def _backward(x: Tensor, gamma: Tensor, beta: Tensor, grad_out: Tensor) -> Results:  # noqa: ARG001
    return back_batch_norm(x, gamma, grad_out)


def _compiled(*inputs: Tensor) -> Callable[[], Results]:
    return partial(compiled(_backward), *inputs)


CASES = (
    Case(
        name="batch-norm-backward",
        group="batch-norm-backward",
        shapes="x ({n}, {k})",
        sizes={"n": 1000, "k": 200},
        quick={"n": 1000, "k": 200},
        small={"n": 11, "k": 7},
        draw=_draw,
        truth=lambda _: vector_jacobian_product(_batch_norm, 3),
        work=lambda n, k: Work(flops=8 * n * k, least_bytes=4 * (3 * n * k + 3 * k)),
        opponents=(
            by_hand(_backward),
            Opponent("by hand, compiled", _compiled, compiled=True, ours=True),
            product_by_autograd(_batch_norm, 3),
        ),
        remark="by hand, mean and deviation are found again; autograd kept them",
    ),
)
