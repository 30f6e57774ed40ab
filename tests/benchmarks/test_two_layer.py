"""All gradients of linear, relu, linear, mean squared error: by hand, broadcasted, by autograd.

Each starts from the inputs, so each computes the forward once as well.
"""

from functools import cache

import pytest
import torch

from manual_backprop import back_two_layer, back_two_layer_broadcast, rounding_budget, two_layer
from manual_backprop.registry import OPS
from tests.benchmarks.measure import Work, timed

SIZES = {"small": (64, 32, 10), "article": (1000, 784, 50)}
FORMS = {"plain": back_two_layer, "broadcast": back_two_layer_broadcast}


def by_autograd(x, w1, b1, w2, b2, target, forward=two_layer):
    leaves = [t.detach().requires_grad_() for t in (x, w1, b1, w2, b2)]
    return torch.autograd.grad(forward(*leaves, target), leaves)


@cache
def drawn(size):
    """The arguments of two_layer, and the gradients' budgets."""
    n, i, h = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(
        torch.randn(shape, generator=generator)
        for shape in ((n, i), (i, h), (h,), (h, 1), (1,), (n,))
    )
    oracle = OPS["two_layer"].oracle
    return inputs, rounding_budget(
        lambda *tensors: by_autograd(*tensors, forward=oracle), inputs, torch.float32
    )


@pytest.mark.parametrize(
    ("size", "how"), [(size, how) for size in SIZES for how in (*FORMS, "autograd")]
)
def test_two_layer(benchmark, device, size, how):
    n, i, h = SIZES[size]
    inputs, truth = drawn(size)
    inputs = [t.to(device) for t in inputs]
    gradients = by_autograd if how == "autograd" else FORMS[how]
    timed(
        benchmark,
        lambda: gradients(*inputs),
        group=f"two_layer gradients {n}x{i}x{h}",
        how=how,
        device=device,
        truth=truth,
        work=Work(
            flops=6 * n * i * h + 6 * n * h,
            least_bytes=4 * (2 * (n * i + i * h + 2 * h + 1) + n),
        ),
    )
