"""Backwards entry by entry, in place: traffic of memory and nothing else."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manual_backprop.bench.case import (
    Case,
    Opponent,
    in_place,
    product_by_autograd,
    vector_jacobian_product,
)
from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand
from manual_backprop.ops.relu import back_relu_
from manual_backprop.ops.sigmoid import back_sigmoid_
from manual_backprop.ops.tanh import back_tanh_

aten = torch.ops.aten


def _draw(rand: Rand, n: int) -> tuple[Tensor, ...]:
    return rand(n), rand(n)


def _case(
    forward: Callable[[Tensor], Tensor],
    by_hand: Callable[[Tensor, Tensor], Tensor],
    out_of_aten: Callable[..., Any],
    saved: Callable[[Tensor], Tensor],
    flops: int,
) -> Case:
    def arguments(x: Tensor, grad_out: Tensor) -> tuple[Tensor, Tensor]:
        return saved(x), grad_out

    def kept(x: Tensor, grad_out: Tensor) -> Callable[[], Tensor]:
        given, grad_x = saved(x), torch.empty_like(x)
        return lambda: out_of_aten(given, grad_out, grad_x)

    name = f"{forward.__name__}-backward"
    return Case(
        name=name,
        group=name,
        shapes="{n} numbers, in place",
        sizes={"n": 2**24},
        quick={"n": 2**22},
        small={"n": 1031},
        draw=_draw,
        truth=lambda _: vector_jacobian_product(forward, 1),
        work=lambda n: Work(flops=flops * n, least_bytes=4 * 3 * n),
        opponents=(
            in_place(by_hand, 1, saved=arguments),
            in_place(lambda s, grad: out_of_aten(s, grad, grad), 1, "ATen in place", arguments),
            Opponent("ATen out=", kept),
            product_by_autograd(forward, 1),
        ),
        rows=2**18,
        remark="what is overwritten is put back before each round, outside the timing",
    )


def _same(x: Tensor) -> Tensor:
    return x


def _relu(x: Tensor, grad_out: Tensor, grad_x: Tensor) -> Tensor:
    found: Tensor = aten.threshold_backward.grad_input(grad_out, x, 0, grad_input=grad_x)
    return found


def _sigmoid(out: Tensor, grad_out: Tensor, grad_x: Tensor) -> Tensor:
    found: Tensor = aten.sigmoid_backward.grad_input(grad_out, out, grad_input=grad_x)
    return found


def _tanh(out: Tensor, grad_out: Tensor, grad_x: Tensor) -> Tensor:
    found: Tensor = aten.tanh_backward.grad_input(grad_out, out, grad_input=grad_x)
    return found


CASES = (
    _case(torch.relu, back_relu_, _relu, _same, 1),
    _case(torch.sigmoid, back_sigmoid_, _sigmoid, torch.sigmoid, 3),
    _case(torch.tanh, back_tanh_, _tanh, torch.tanh, 3),
)
