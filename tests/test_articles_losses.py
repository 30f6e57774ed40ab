"""What the source articles print about losses, and the mistakes that they invite."""

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import rounding_budget, verify
from manual_backprop.data import article_numbers
from manual_backprop.ops.bce import back_bce, bce
from manual_backprop.ops.bce_with_logits import back_bce_with_logits
from manual_backprop.ops.cross_entropy import (
    back_cross_entropy,
    back_three_step_cross_entropy,
    cross_entropy,
    three_step_cross_entropy,
)
from manual_backprop.ops.cross_entropy_soft import OP as CROSS_ENTROPY_SOFT
from manual_backprop.ops.cross_entropy_soft import back_cross_entropy_soft, cross_entropy_soft
from manual_backprop.ops.lin import back_lin, lin
from manual_backprop.ops.nll import nll
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid
from manual_backprop.ops.softmax import softmax
from tests.printed import assert_printed


@pytest.fixture
def article():
    return article_numbers()


def f64(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def true_loss_and_gradient(logits, target):
    leaf = logits.requires_grad_()
    loss = F.cross_entropy(leaf, target)
    return loss.detach(), *torch.autograd.grad(loss, leaf)


@pytest.mark.parametrize("when", ["before", "after"])
def test_d7_a_worked_example_by_four_losses(article, when):
    row = article["D7"]
    p = row["inputs"][when]
    log_p, first = f64([[p, 1 - p]]).log(), torch.tensor([0])
    assert_printed(row, when, nll(log_p, first))
    assert_printed(row, when, cross_entropy(log_p, first))
    assert_printed(row, when, cross_entropy_soft(log_p, f64([[1, 0]])))
    assert_printed(row, when, bce(f64([p]), f64([1])))


def test_d8_three_steps_and_one_agree_at_the_articles_size(article):
    row = article["D8"]
    rand = torch.Generator().manual_seed(0)
    dtype = getattr(torch, row["inputs"]["dtype"])
    x, w = (torch.randn(row["shapes"][name], generator=rand, dtype=dtype) for name in "xw")
    logits = lin(x, w.T, torch.zeros(len(w)))
    target = torch.tensor([row["inputs"]["target"]])
    loss, grad = rounding_budget(true_loss_and_gradient, (logits, target), dtype)

    assert [*logits.shape] == row["shapes"]["logits"]
    for value in (cross_entropy(logits, target), three_step_cross_entropy(logits, target)):
        assert loss.ratio(value) <= 1
    for backward in (back_cross_entropy, back_three_step_cross_entropy):
        assert grad.ratio(backward(logits, target)) <= 1


def beside(gap, dtype):
    """Two rows with one logit that far below the largest: the winner is the target, or not."""
    logits = torch.tensor([[0, -gap, -1], [-1, 0, -gap]], dtype=dtype)
    return logits, torch.tensor([0, 0])


def test_d8_beyond_the_gap_three_steps_are_nan_and_one_is_right(article, dtype):
    row = article["D8"]["computed"]
    gap = row["gap"][str(dtype).removeprefix("torch.")]
    logits, target = beside(row["show_at_times_the_gap"] * gap, dtype)
    _, grad = rounding_budget(true_loss_and_gradient, (logits, target), dtype)

    assert grad.ratio(back_cross_entropy(logits, target)) <= 1
    assert back_three_step_cross_entropy(logits, target).isnan().all()
    assert three_step_cross_entropy(logits, target).isfinite()  # the loss does not show it


def test_d8_within_the_gap_three_steps_are_right_too(article, dtype):
    row = article["D8"]["computed"]
    gap = row["gap"][str(dtype).removeprefix("torch.")]
    logits, target = beside(gap / row["show_at_times_the_gap"], dtype)
    _, grad = rounding_budget(true_loss_and_gradient, (logits, target), dtype)

    assert grad.ratio(back_cross_entropy(logits, target)) <= 1
    assert grad.ratio(back_three_step_cross_entropy(logits, target)) <= 1


def test_d15_logistic_regression_in_two_steps_and_in_one():
    rand = torch.Generator().manual_seed(0)
    x, target = torch.randn(5, 3, generator=rand), torch.tensor([0.0, 1, 1, 0, 1])

    def true(x):
        leaf = x.requires_grad_()
        loss = F.binary_cross_entropy_with_logits(leaf, target.double()[:, None].expand_as(x))
        return torch.autograd.grad(loss, leaf)

    (budget,) = rounding_budget(true, (x,), torch.float32)
    wide = target[:, None].expand_as(x)
    p = sigmoid(x)
    assert budget.ratio(back_sigmoid(p, back_bce(p, wide))) <= 1
    assert budget.ratio(back_bce_with_logits(x, wide)) <= 1


def test_d15_accuracy_is_flat_and_then_jumps(article):
    row = article["D15"]
    others = f64([0.9, 0.8, 0.3, 0.2])
    right = torch.tensor([True, True, False, True, True])

    def accuracy(p):
        return ((torch.cat([others, f64([p])]) > 0.5) == right).double().mean()

    low, high = row["inputs"]["within_a_class"]
    assert_printed(row, "change_within_a_class", accuracy(high) - accuracy(low))
    across = [accuracy(p) for p in row["inputs"]["across_the_threshold"]]
    assert_printed(row, "accuracy_across_the_threshold", torch.stack(across))


def test_e6_the_network_with_class_probabilities(article):
    row = article["E6"]
    x, y, w = (f64(row["inputs"][name]) for name in "xyw")
    w_in, w_out = w.reshape(2, 2, 2)
    none = torch.zeros(2, dtype=torch.float64)

    h = sigmoid(lin(x, w_in, none))
    o = sigmoid(lin(h, w_out, none))
    assert_printed(row, "loss", cross_entropy_soft(o[None], y[None]))

    grad_o, _ = back_cross_entropy_soft(o[None], y[None])
    grad_h, grad_w_out, _ = back_lin(h, w_out, back_sigmoid(o, grad_o[0]))
    _, grad_w_in, _ = back_lin(x, w_in, back_sigmoid(h, grad_h))
    assert_printed(row, "gradients", torch.cat([grad_w_in.flatten(), grad_w_out.flatten()]))


def back_textbook(logits, target, grad_out=1.0):
    _, grad_target = back_cross_entropy_soft(logits, target, grad_out)
    return grad_out / max(len(logits), 1) * (softmax(logits) - target), grad_target


def test_e6_softmax_less_y_is_wrong_where_y_does_not_sum_to_1(article):
    y = f64([article["E6"]["inputs"]["y"]])
    o = f64([[0.5, 0.25]])
    right, _ = back_cross_entropy_soft(o, y)
    textbook, _ = back_textbook(o, y)
    assert (textbook - right).allclose((1 - y.sum()) * softmax(o))

    probabilities = verify(CROSS_ENTROPY_SOFT, back_textbook, samples=["probabilities"])
    assert probabilities.ok
    any_numbers = verify(CROSS_ENTROPY_SOFT, back_textbook, samples=["any numbers"])
    assert {finding.gradient for finding in any_numbers.findings} == {"grad_logits"}


def test_e6_with_a_negative_target_the_loss_has_no_lower_bound(article):
    y = f64([article["E6"]["inputs"]["y"]])
    logits = f64([[0.0, -1.0]])
    losses = [cross_entropy_soft(size * logits, y) for size in (1, 100, 10_000)]
    assert losses[0] > losses[1] > losses[2]
