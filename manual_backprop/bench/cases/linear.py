"""lin's backward: matrix products, einsum and broadcasting, against autograd.

The arithmetic is the same; the broadcast form writes n i o numbers and reads them again, twice. At
the large size that would be 8 GiB at once, so it is not tried there.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.bench.case import (
    Case,
    Opponent,
    Results,
    by_hand,
    product_by_autograd,
    vector_jacobian_product,
)
from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand
from manual_backprop.ops.lin import back_lin, back_lin_broadcast, back_lin_einsum, back_lin_into


def _draw(rand: Rand, n: int, i: int, o: int) -> tuple[Tensor, ...]:
    return rand(n, i), rand(i, o), rand(o), rand(n, o)


def _linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.linear(x, w.T, b)


def _matmul(x: Tensor, w: Tensor, b: Tensor, grad_out: Tensor) -> Results:  # noqa: ARG001
    return back_lin(x, w, grad_out)


def _into(x: Tensor, w: Tensor, b: Tensor, grad_out: Tensor) -> Callable[[], Results]:
    kept = torch.empty_like(x), torch.empty_like(w), torch.empty_like(b)

    def call() -> Results:
        back_lin_into(x, w, grad_out, into=kept)
        return kept

    return call


def _einsum(x: Tensor, w: Tensor, b: Tensor, grad_out: Tensor) -> Results:  # noqa: ARG001
    return back_lin_einsum(x, w, grad_out)


def _broadcast(x: Tensor, w: Tensor, b: Tensor, grad_out: Tensor) -> Results:  # noqa: ARG001
    return back_lin_broadcast(x, w, grad_out)


def _work(n: int, i: int, o: int) -> Work:
    return Work(flops=4 * n * i * o, least_bytes=4 * (2 * (n * i + i * o) + n * o + o))


def _case(
    name: str, sizes: tuple[int, int, int], quick: tuple[int, int, int], *forms: Opponent
) -> Case:
    return Case(
        name=name,
        group="lin-backward",
        shapes="x ({n}, {i}), w ({i}, {o})",
        sizes=dict(zip("nio", sizes, strict=True)),
        quick=dict(zip("nio", quick, strict=True)),
        small={"n": 11, "i": 7, "o": 5},
        draw=_draw,
        truth=lambda _: vector_jacobian_product(_linear, 3),
        work=_work,
        opponents=(
            Opponent("by hand", _into),
            by_hand(_matmul, "by hand, allocating", ours=True),
            by_hand(_einsum, "einsum", ours=True),
            *forms,
            product_by_autograd(_linear, 3),
        ),
    )


BROADCAST = by_hand(_broadcast, "broadcast", ours=True)
ARTICLE, SMALL, LARGE = (1000, 784, 50), (8, 32, 32), (4096, 1024, 512)
CASES = (
    _case("lin-backward-article", ARTICLE, ARTICLE, BROADCAST),
    _case("lin-backward-small", SMALL, SMALL, BROADCAST),
    _case("lin-backward-large", LARGE, (1024, 1024, 512)),
)
