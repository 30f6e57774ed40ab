"""batch_norm's backward, composed of tensors' own functions, against PyTorch's one kernel."""

import torch
from torch import Tensor

from manual_backprop.bench.case import (
    Case,
    Opponent,
    Results,
    Run,
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


def _form(name: str, *, by_compiler: bool = False) -> Opponent:
    def prepare(x: Tensor, gamma: Tensor, beta: Tensor, grad_out: Tensor) -> Run:  # noqa: ARG001
        backward = compiled(back_batch_norm) if by_compiler else back_batch_norm

        def call() -> Results:
            return backward(x, gamma, grad_out)

        return Run(call)

    return Opponent(name, prepare, by_compiler, ours=by_compiler)


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
            _form("by hand"),
            _form("by hand, compiled", by_compiler=True),
            product_by_autograd(_batch_norm, 3),
        ),
        remark="by hand, mean and deviation are found again; autograd kept them",
    ),
)
