"""Backwards that overwrite grad_out, against autograd, which writes into new memory.

Each call after the first works on what the last one left: as much work, other numbers.
"""

from functools import cache, partial

import pytest
import torch

from manual_backprop import back_relu_, back_sigmoid_, back_softmax_, back_tanh_, rounding_budget
from tests.benchmarks.measure import Work, timed

SIZES = {"hidden": (200, 200), "million": (1024, 1024)}
FORMS = {
    "relu": (torch.relu, back_relu_),
    "sigmoid": (torch.sigmoid, back_sigmoid_),
    "tanh": (torch.tanh, back_tanh_),
    "softmax": (partial(torch.softmax, dim=-1), back_softmax_),
}


@cache
def drawn(op, size):
    """x, grad_out, and the gradient's budget."""
    generator = torch.Generator().manual_seed(0)
    x, grad_out = (torch.randn(SIZES[size], generator=generator) for _ in range(2))

    def gradient(x, grad_out):
        x.requires_grad_()
        return torch.autograd.grad(FORMS[op][0](x), x, grad_out)

    return x, grad_out, rounding_budget(gradient, (x, grad_out), torch.float32)


@pytest.mark.parametrize("how", ["hand", "autograd"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", FORMS)
def test_in_place(benchmark, device, op, size, how):
    rows, columns = SIZES[size]
    x, grad_out, truth = drawn(op, size)
    leaf, grad_out = x.to(device, copy=True).requires_grad_(), grad_out.to(device, copy=True)
    forward, backward = FORMS[op]
    out = forward(leaf)
    if how == "autograd":
        call = partial(torch.autograd.grad, out, leaf, grad_out, retain_graph=True)
    else:  # out > 0 just where x > 0, so relu's mask may be taken from it as well
        call = partial(backward, out.detach(), grad_out)
    timed(
        benchmark,
        call,
        group=f"{op} backward {rows}x{columns}",
        how=how,
        device=device,
        truth=truth,
        work=Work(flops=3 * rows * columns, least_bytes=4 * 3 * rows * columns),
    )
