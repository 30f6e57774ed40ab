"""Cross-entropy and its gradient at once, and with a linear layer before it, against autograd.

By hand the logits are read once and written once, and autograd takes three times their memory.
With the linear layer, only a few rows of logits are there at any time. The gradient overwrites the
logits, so each call after the first works on what the last one left: as much work, other numbers.
"""

from functools import cache

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import (
    cross_entropy_and_grad_,
    linear_cross_entropy_and_grad,
    rounding_budget,
)
from tests.benchmarks.measure import Work, compiled, loss_and_gradients, timed

SIZES = {"digits": (200, 10), "words": (256, 4000)}
LAYERS = {"letters": (256, 64, 100), "words": (256, 64, 4000)}
HOW = ("hand", "autograd", "compile")


def linear(x, w, target):
    return F.cross_entropy(F.linear(x, w), target)


@cache
def drawn(*shapes, rows, classes):
    """Numbers of those shapes and class indices, and the budgets of the loss and the gradients."""
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    target = torch.randint(classes, (rows,), generator=generator)
    loss = F.cross_entropy if len(shapes) == 1 else linear
    truth = rounding_budget(
        lambda *given: loss_and_gradients(loss, given[:-1], given[-1]),
        (*inputs, target),
        torch.float32,
    )
    return inputs, target, truth


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy(benchmark, device, size, how):
    n, k = SIZES[size]
    (logits,), target, truth = drawn((n, k), rows=n, classes=k)
    logits, target = logits.to(device, copy=True), target.to(device)
    loss = compiled(F.cross_entropy, benchmark) if how == "compile" else F.cross_entropy

    def call():
        if how == "hand":
            return cross_entropy_and_grad_(logits, target)
        return loss_and_gradients(loss, (logits,), target)

    timed(
        benchmark,
        call,
        group=f"cross_entropy and gradient {n}x{k}",
        how=how,
        device=device,
        truth=truth,
        work=Work(flops=5 * n * k, least_bytes=4 * 2 * n * k),
    )


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("size", LAYERS)
def test_linear_cross_entropy(benchmark, device, size, how):
    n, i, k = LAYERS[size]
    inputs, target, truth = drawn((n, i), (k, i), rows=n, classes=k)
    x, w, target = (t.to(device) for t in (*inputs, target))
    loss = compiled(linear, benchmark) if how == "compile" else linear

    def call():
        if how == "hand":
            out, grads = linear_cross_entropy_and_grad(x, w, target)
            return out, *grads
        return loss_and_gradients(loss, (x, w), target)

    timed(
        benchmark,
        call,
        group=f"linear_cross_entropy and gradients {n}x{i}x{k}",
        how=how,
        device=device,
        truth=truth,
        work=Work(flops=6 * n * i * k, least_bytes=4 * 2 * (n * i + k * i)),
    )
