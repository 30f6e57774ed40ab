"""The mean squared error and its gradient at once, against autograd.

By hand two columns are read and one is written. The gradient overwrites the predictions, so each
call after the first works on what the last one left: as much work, other numbers.
"""

from functools import cache

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import mse_and_grad_, rounding_budget
from tests.benchmarks.measure import Work, compiled, loss_and_gradients, timed

SIZES = {"thousand": 1000, "million": 2**20}


def mse(pred, target):
    return F.mse_loss(pred.squeeze(-1), target)


@cache
def drawn(n):
    """pred, target, and the budgets of the loss and the gradient."""
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(n, 1, generator=generator), torch.randn(n, generator=generator)
    return *given, rounding_budget(
        lambda pred, target: loss_and_gradients(mse, (pred,), target), given, torch.float32
    )


@pytest.mark.parametrize("how", ["hand", "autograd", "compile"])
@pytest.mark.parametrize("size", SIZES)
def test_mse(benchmark, device, size, how):
    n = SIZES[size]
    pred, target, truth = drawn(n)
    pred, target = pred.to(device, copy=True), target.to(device)
    loss = compiled(mse, benchmark) if how == "compile" else mse

    def call():
        return (
            mse_and_grad_(pred, target)
            if how == "hand"
            else loss_and_gradients(loss, (pred,), target)
        )

    timed(
        benchmark,
        call,
        group=f"mse and gradient {n}",
        how=how,
        device=device,
        truth=truth,
        work=Work(flops=4 * n, least_bytes=4 * 3 * n),
    )
