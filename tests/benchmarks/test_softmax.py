"""softmax's vector-Jacobian product without the Jacobian and with it, against autograd.

Without it 3 n k numbers pass through memory, with it several times n k k.
"""

from functools import cache, partial

import pytest
import torch

from manual_backprop import back_softmax, back_softmax_jacobian, rounding_budget, softmax
from tests.benchmarks.measure import Work, timed

SIZES = {"10 classes": (4096, 10), "50 classes": (1000, 50), "1000 classes": (200, 1000)}
FORMS = {"product": back_softmax, "jacobian": back_softmax_jacobian}


@cache
def drawn(size):
    """x, grad_out, and the gradient's budget."""
    generator = torch.Generator().manual_seed(0)
    x, grad_out = (torch.randn(SIZES[size], generator=generator) for _ in range(2))

    def gradient(x, grad_out):
        x.requires_grad_()
        return torch.autograd.grad(torch.softmax(x, -1), x, grad_out)

    return x, grad_out, rounding_budget(gradient, (x, grad_out), torch.float32)


@pytest.mark.parametrize(
    ("size", "how"), [(size, how) for size in SIZES for how in (*FORMS, "autograd")]
)
def test_softmax(benchmark, device, size, how):
    n, k = SIZES[size]
    x, grad_out, truth = drawn(size)
    x, grad_out = x.to(device), grad_out.to(device)
    if how == "autograd":
        leaf = x.clone().requires_grad_()
        out = torch.softmax(leaf, -1)
        call = partial(torch.autograd.grad, out, leaf, grad_out, retain_graph=True)
    else:
        out = softmax(x)
        call = partial(FORMS[how], out, grad_out)
    timed(
        benchmark,
        call,
        group=f"softmax backward {n}x{k}",
        how=how,
        device=device,
        truth=truth,
        work=Work(flops=4 * n * k, least_bytes=4 * 3 * n * k),
    )
