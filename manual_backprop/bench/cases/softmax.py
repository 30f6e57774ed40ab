"""softmax's vector-Jacobian product without the Jacobian and with it, against autograd.

Without it 3 n k numbers pass through memory, with it several times n k k.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from manual_backprop.bench.case import (
    Case,
    Opponent,
    Results,
    in_place,
    product_by_autograd,
    vector_jacobian_product,
)
from manual_backprop.bench.measure import Work
from manual_backprop.ops.softmax import back_softmax, back_softmax_, back_softmax_jacobian

softmax = partial(torch.softmax, dim=-1)


def _form(name: str, backward: Callable[[Tensor, Tensor], Tensor]) -> Opponent:
    def prepare(x: Tensor, grad_out: Tensor) -> Callable[[], Results]:
        return partial(backward, softmax(x), grad_out)

    return Opponent(name, prepare, ours=name != "by hand")


def _saved(x: Tensor, grad_out: Tensor) -> tuple[Tensor, Tensor]:
    return softmax(x), grad_out


def _case(n: int, k: int, quick: int) -> Case:
    return Case(
        name=f"softmax-vjp-{k}",
        group="softmax-vjp",
        shapes="x ({n}, {k})",
        sizes={"n": n, "k": k},
        quick={"n": quick, "k": k},
        small={"n": 11, "k": 7},
        draw=lambda rand, n, k: (rand(n, k), rand(n, k)),
        truth=lambda _: vector_jacobian_product(softmax, 1),
        work=lambda n, k: Work(flops=4 * n * k, least_bytes=4 * 3 * n * k),
        opponents=(
            _form("by hand", back_softmax),
            replace(in_place(back_softmax_, 1, "in place", _saved), ours=True),
            _form("Jacobian", back_softmax_jacobian),
            product_by_autograd(softmax, 1),
        ),
    )


CASES = (_case(4096, 10, 4096), _case(1000, 50, 1000), _case(200, 1000, 20))
