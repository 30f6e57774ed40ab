"""lin's backward as broadcast, einsum and matrix product, also into kept memory, against autograd.

The arithmetic is the same; the broadcast form writes n i o numbers and reads them again, twice.
At the large size that would be 8 GiB at once, so it is not tried there.
"""

from functools import cache, partial

import pytest
import torch

from manual_backprop import (
    back_lin,
    back_lin_broadcast,
    back_lin_einsum,
    back_lin_into,
    lin,
    rounding_budget,
)
from tests.benchmarks.measure import Work, timed

SIZES = {"small": (64, 32, 10), "article": (1000, 784, 50), "large": (4096, 1024, 512)}
FORMS = {
    "matmul": back_lin,
    "into": back_lin_into,
    "einsum": back_lin_einsum,
    "broadcast": back_lin_broadcast,
}


@cache
def drawn(size):
    """x, w, b, grad_out, and the gradients' budgets."""
    n, i, o = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    x, w, b, grad_out = (
        torch.randn(shape, generator=generator) for shape in ((n, i), (i, o), (o,), (n, o))
    )

    def gradients(x, w, b, grad_out):
        leaves = [t.requires_grad_() for t in (x, w, b)]
        return torch.autograd.grad(torch.nn.functional.linear(x, w.T, b), leaves, grad_out)

    return (x, w, b, grad_out), rounding_budget(gradients, (x, w, b, grad_out), torch.float32)


CASES = [(size, how) for size in SIZES for how in (*FORMS, "autograd")]
CASES.remove(("large", "broadcast"))


@pytest.mark.parametrize(("size", "how"), CASES)
def test_lin(benchmark, device, size, how):
    n, i, o = SIZES[size]
    inputs, truth = drawn(size)
    x, w, b, grad_out = (t.to(device) for t in inputs)
    if how == "autograd":
        leaves = [t.clone().requires_grad_() for t in (x, w, b)]
        out = lin(*leaves)
        call = partial(torch.autograd.grad, out, leaves, grad_out, retain_graph=True)
    else:
        call = partial(FORMS[how], x, w, grad_out)
        if how == "into":
            call = partial(call, into=tuple(torch.empty_like(t) for t in (x, w, b)))
    timed(
        benchmark,
        call,
        group=f"lin backward {n}x{i}x{o}",
        how=how,
        device=device,
        truth=truth,
        work=Work(flops=4 * n * i * o, least_bytes=4 * (2 * (n * i + i * o) + n * o + o)),
    )
