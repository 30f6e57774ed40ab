"""Fused kernels are forward and backward at once, whatever the size of the blocks they go by."""

import pytest
import torch

import manual_backprop
from manual_backprop import OPS, BadOp, Op, as_function, blocks, rounding_budget, verify
from manual_backprop.judge.memory import memory
from manual_backprop.op import is_fused
from tests.benchmarks.measure import peak_extra_bytes
from tests.squares import op

FUSED = [
    pytest.param(op, kernel, id=kernel.__name__)
    for op in OPS.values()
    for kernel in op.backwards
    if is_fused(kernel)
]
every_fused = pytest.mark.parametrize(("op", "kernel"), FUSED)


def test_there_are_some():
    assert len(FUSED) >= 3


@every_fused
@pytest.mark.parametrize("block", [1, 20])
def test_blocks_of_any_size_are_right(op, kernel, block, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", block)
    verify(op, kernel, kinks="reject", parts=["values", "promises"]).raise_if_wrong()


@pytest.fixture
def huge():
    """Logits that e cannot be raised to, and rows that are sure of a right or a wrong class."""
    logits = torch.randn(13, 4099, generator=torch.Generator().manual_seed(0))
    logits[::2] *= 200 / logits.abs().max()
    logits[1, 5], logits[3, 5] = 200.0, -200.0
    return logits, torch.arange(13) * 5 % 7


@pytest.mark.parametrize("options", [{}, {"reduction": "sum", "label_smoothing": 0.1}])
def test_cross_entropy_bears_logits_of_two_hundred(huge, options):
    def both(logits, target):
        loss = torch.nn.functional.cross_entropy(logits.requires_grad_(), target, **options)
        return loss.detach(), *torch.autograd.grad(loss, logits)

    budgets = rounding_budget(both, huge, torch.float32)
    found = manual_backprop.cross_entropy_and_grad_(huge[0].clone(), huge[1], **options)
    for got, budget in zip(found, budgets, strict=True):
        assert budget.ratio(got) <= 1


def test_what_is_not_in_wrt_is_left_and_the_gradient_lies_where_its_argument_did(huge):
    logits, target = huge
    before = memory(target)
    _, grad = manual_backprop.cross_entropy_and_grad_(logits, target)
    assert grad is logits
    assert memory(target) == before


def test_few_rows_of_logits_are_held_at_once(monkeypatch):
    n, i, k = 512, 8, 1000
    monkeypatch.setattr(blocks, "BLOCK", 2000)
    x, w, target = torch.randn(n, i), torch.randn(k, i), torch.randint(k, (n,))
    taken = peak_extra_bytes(
        lambda: manual_backprop.linear_cross_entropy_and_grad(x, w, target), "cpu"
    )
    returned, held = 4 * (n * i + k * i + 1), 4 * 8 * k
    assert returned + held <= taken <= returned + held + 64 * n


def test_a_given_tensor_is_written_into_and_none_is_made():
    x, w, grad_out = torch.randn(64, 32), torch.randn(32, 16), torch.randn(64, 16)
    into = tuple(torch.full_like(t, torch.nan) for t in (x, w, w[0]))
    expected = manual_backprop.back_lin(x, w, grad_out)

    def call():
        return manual_backprop.back_lin_into(x, w, grad_out, into=into)

    assert all(got is place for got, place in zip(call(), into, strict=True))
    assert all(map(torch.equal, into, expected))
    assert peak_extra_bytes(call, "cpu") == 0
    assert all(map(torch.equal, manual_backprop.back_lin_into(x, w, grad_out), expected))


def square_and_grad_(x, grad_out):
    out = x * x
    x.mul_(2 * grad_out)
    return out, x


def test_a_kernel_of_ones_own_is_judged_and_may_be_the_only_one():
    fused = op(backwards=(square_and_grad_,))
    assert verify(fused).ok, str(verify(fused))

    def square_and_grad(x, grad_out):
        return square_and_grad_(x, grad_out)

    found = verify(op(), square_and_grad).findings[0]
    assert (found.code, "x was written to" in found.message) == ("mutates", True)


def test_needs_of_a_fused_kernel_spares_work_and_not_the_forward():
    def product(x, w):
        return x @ w

    def product_and_grad(x, w, grad_out, needs=(True, True)):
        grad_x = grad_out @ w.T if needs[0] else None
        return x @ w, (grad_x, x.T @ grad_out if needs[1] else None)

    def product_and_grad_busy(x, w, grad_out, needs=(True, True)):
        out, grads = product_and_grad(x, w, grad_out)
        return out, tuple(g if need else None for g, need in zip(grads, needs, strict=True))

    product_and_grad_busy.__name__ = "product_and_grad"
    given = {
        "forward": product,
        "samples": {"rows": lambda rand, n=11, i=7, o=5: (rand(n, i), rand(i, o))},
        "wrt": ("x", "w"),
        "oracle": torch.mm,
    }
    assert verify(Op(backwards=(product_and_grad,), **given)).ok
    wrong = verify(Op(backwards=(product_and_grad_busy,), **given))
    assert {found.code for found in wrong.findings} == {"extra-term"}


@every_fused
def test_autograd_is_not_handed_a_kernel_that_does_both(op, kernel):
    with pytest.raises(BadOp, match=f"{kernel.__name__} computes the forward as well"):
        as_function(op, kernel)
