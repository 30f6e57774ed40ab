"""Article D: the norm, entropy, cross-entropy and its stability."""

import math

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import rounding_budget
from manual_backprop.ops.bce import bce
from manual_backprop.ops.cross_entropy import (
    back_cross_entropy,
    back_three_step_cross_entropy,
    cross_entropy,
    three_step_cross_entropy,
)
from manual_backprop.ops.cross_entropy_soft import cross_entropy_soft
from manual_backprop.ops.entropy import entropy
from manual_backprop.ops.lin import back_lin, lin
from manual_backprop.ops.mse import back_mse, mse
from manual_backprop.ops.nll import nll
from manual_backprop.ops.norm import back_norm, norm
from tests.articles.case import case, drawn, f64
from tests.printed import assert_printed


def one_weight(row):
    x, w, target = (f64([float(row["inputs"][name])]) for name in ("x", "w", "target"))
    assert [[*t.shape] for t in (x, w, target)] == [row["shapes"][n] for n in ("x", "w", "target")]
    return x, w, target


@case("D5-mse", "mse")
def test_the_mean_squared_error_of_one_weight(row):
    x, w, target = one_weight(row)
    loss = mse(lin(x, w[None], torch.zeros_like(w)), target.squeeze())
    assert [*loss.shape] == row["shapes"]["loss"]
    assert_printed(row, "mse", loss)
    assert_printed(row, "mse", F.mse_loss(x * w, target))


@case("D5-gradient", "gradient")
def test_its_gradient_by_hand_by_grad_and_by_backward(row):
    x, w, target = one_weight(row)
    pred = lin(x, w[None], torch.zeros_like(w))
    _, grad_w, _ = back_lin(x, w[None], back_mse(pred, target.squeeze()))
    assert_printed(row, "gradient", grad_w.squeeze())
    w.requires_grad_()
    (by_grad,) = torch.autograd.grad(F.mse_loss(x * w, target), w)
    assert_printed(row, "gradient", by_grad.squeeze())
    assert F.mse_loss(x * w, target).backward() is None
    assert_printed(row, "gradient", w.grad.squeeze())


@case("D5-mse-is-not-the-norm")
def test_the_square_of_the_norm_is_n_times_the_mean(row):
    pred, target = f64([[2.0], [-1.0], [5.0], [0.0]]), f64([1.0, 1.0, 1.0, 1.0])
    loss, length = mse(pred, target), norm(pred.squeeze(-1) - target)
    (budget,) = rounding_budget(
        lambda pred, target: (pred.squeeze(-1) - target).square().sum(), (pred, target), pred.dtype
    )
    assert loss != length
    assert budget.ratio(length.square()) <= 1
    assert budget.ratio(len(target) * loss) <= 1


@case("D5-norm-gradient-is-the-direction")
def test_the_gradient_of_the_norm_is_the_direction(row):
    r = f64([3.0, -4.0])
    length = norm(r)
    assert length == 5
    (budget,) = rounding_budget(lambda r: r / 5, (r,), r.dtype)
    assert budget.ratio(back_norm(r, length, f64(1.0))) <= 1


@case("D5-norm-at-0")
def test_the_norm_has_gradient_0_at_0_where_its_parts_in_turn_have_nan(row):
    r = torch.zeros(3, requires_grad=True)
    (in_turn,) = torch.autograd.grad(r.square().sum().sqrt(), r)
    (pytorchs,) = torch.autograd.grad(torch.linalg.vector_norm(r), r)
    r = r.detach()
    assert in_turn.isnan().all()
    assert back_norm(r, norm(r), torch.ones(())).equal(pytorchs)


@case("D5-norm-of-large-numbers")
def test_the_norm_of_large_numbers_does_not_overflow(row):
    r = torch.full((4,), 1e30)
    assert r.square().sum().sqrt().isinf()
    (budget,) = rounding_budget(torch.linalg.vector_norm, (r,), torch.float32)
    assert budget.ratio(norm(r)) <= 1


@case("D5-integer-fill")
def test_an_integer_fill_cannot_require_grad(row):
    whole = torch.full(row["shapes"]["w"], row["inputs"]["w"])
    with pytest.raises(RuntimeError, match="floating point"):
        whole.requires_grad_()
    assert torch.full(row["shapes"]["w"], float(whole)).requires_grad_().requires_grad


@case("D6-four-equal", "equal")
def test_the_entropy_of_four_equal_chances(row):
    assert_printed(row, "equal", entropy(f64(row["inputs"]["equal"])))


@case("D6-one-likely", "one_likely")
def test_the_entropy_where_one_is_likely(row):
    assert_printed(row, "one_likely", entropy(f64(row["inputs"]["one_likely"])))


@case("D6-one-almost-certain", "one_almost_certain")
def test_the_entropy_where_one_is_almost_certain(row):
    assert_printed(row, "one_almost_certain", entropy(f64(row["inputs"]["one_almost_certain"])))


@case("D6-not-normalised", "sum", "one_almost_certain_with_0.997")
def test_numbers_that_sum_to_1_have_another_entropy(row):
    p = f64(row["inputs"]["one_almost_certain"])
    assert_printed(row, "sum", p.sum())
    p[-1] = 1 - p[:-1].sum()
    assert_printed(row, "one_almost_certain_with_0.997", entropy(p))


@case("D6-large-entropy-is-surprise")
def test_entropy_is_the_mean_surprise_and_the_larger_the_less_is_known(row, seed):
    p = {name: f64(numbers) for name, numbers in row["inputs"].items()}
    bits = {name: entropy(numbers) for name, numbers in p.items()}
    assert bits["equal"] > bits["one_likely"] > bits["one_almost_certain"]

    rand = torch.Generator().manual_seed(seed)
    for name in ("equal", "one_likely"):
        seen = torch.multinomial(p[name], 20_000, replacement=True, generator=rand)
        surprise = -p[name].log2()[seen]
        error = surprise.std() / math.sqrt(len(seen))
        assert abs(surprise.mean() - bits[name]) <= 5 * error  # five standard errors

    any_chances = torch.randn(50, 4, generator=rand, dtype=torch.float64).softmax(-1)
    assert (entropy(any_chances) < bits["equal"]).all()
    assert entropy(f64([0.0, 1.0, 0.0, 0.0])) == 0


def four_losses(p):
    """-ln p of the class that is right, by each loss that the article has."""
    log_p, first = f64([[p, 1 - p]]).log(), torch.tensor([0])
    return (
        nll(log_p, first),
        cross_entropy(log_p, first),
        cross_entropy_soft(log_p, f64([[1, 0]])),
        bce(f64([p]), f64([1])),
    )


@case("D7-before-training", "before")
def test_the_worked_example_before_training(row):
    for loss in four_losses(row["inputs"]["before"]):
        assert_printed(row, "before", loss)


@case("D7-after-training", "after")
def test_the_worked_example_after_training(row):
    for loss in four_losses(row["inputs"]["after"]):
        assert_printed(row, "after", loss)


def true_loss_and_gradient(logits, target):
    leaf = logits.requires_grad_()
    loss = F.cross_entropy(leaf, target)
    return loss.detach(), *torch.autograd.grad(loss, leaf)


def logits_of(row):
    """The target's logit, and nine that are 0, as x wᵀ."""
    dtype = getattr(torch, row["inputs"]["dtype"])
    (x,) = drawn(0, row["shapes"]["x"], dtype=dtype)
    wanted = torch.zeros(row["shapes"]["w"][0], dtype=dtype)
    wanted[row["inputs"]["target"]] = row["inputs"]["target_logit"]
    w = torch.outer(wanted, x[0]) / x.square().sum()
    assert [*w.shape] == row["shapes"]["w"]
    logits = lin(x, w.T, torch.zeros(len(w), dtype=dtype))
    assert [*logits.shape] == row["shapes"]["logits"]
    return logits, torch.tensor([row["inputs"]["target"]])


@case("D8-three-steps", "three_steps")
def test_the_loss_in_three_steps(row):
    logits, target = logits_of(row)
    assert_printed(row, "three_steps", three_step_cross_entropy(logits, target))
    assert_printed(row, "three_steps", F.nll_loss(logits.softmax(-1).log(), target))


@case("D8-one-step", "one_step")
def test_the_loss_in_one_step(row):
    logits, target = logits_of(row)
    assert_printed(row, "one_step", cross_entropy(logits, target))
    assert_printed(row, "one_step", F.cross_entropy(logits, target))


@case("D8-three-steps-and-one-agree")
def test_three_steps_and_one_agree_at_the_articles_size(row, seed):
    dtype = getattr(torch, row["inputs"]["dtype"])
    x, w = drawn(seed, row["shapes"]["x"], row["shapes"]["w"], dtype=dtype)
    logits = lin(x, w.T, torch.zeros(len(w))) / math.sqrt(x.shape[1])
    target = torch.tensor([row["inputs"]["target"]])
    loss, grad = rounding_budget(true_loss_and_gradient, (logits, target), dtype)
    for value in (cross_entropy(logits, target), three_step_cross_entropy(logits, target)):
        assert loss.ratio(value) <= 1
    for backward in (back_cross_entropy, back_three_step_cross_entropy):
        assert grad.ratio(backward(logits, target)) <= 1


@case("D8-gap", "gap_float64", "gap_float32", "gap_bfloat16", "gap_float16")
def test_the_gap_is_where_a_probability_rounds_to_0(row):
    for name in ("float64", "float32", "bfloat16", "float16"):
        info = torch.finfo(getattr(torch, name))
        smallest = info.smallest_normal * info.eps
        assert_printed(row, f"gap_{name}", math.log(2) - math.log(smallest))


def beside(gap, dtype):
    """Two rows with one logit that far below the largest: the winner is the target, or not."""
    logits = torch.tensor([[0, -gap, -1], [-1, 0, -gap]], dtype=dtype)
    return logits, torch.tensor([0, 0])


def gap(row, dtype):
    return row.number(f"gap_{str(dtype).removeprefix('torch.')}")


@case("D8-nan-though-the-target-wins")
def test_beyond_the_gap_three_steps_are_nan_and_one_is_right(row, dtype):
    beyond = row["inputs"]["show_at_times_the_gap"] * gap(row, dtype)
    logits, target = beside(beyond, dtype)
    _, grad = rounding_budget(true_loss_and_gradient, (logits, target), dtype)
    assert logits.argmax(-1).eq(target).tolist() == [True, False]
    assert grad.ratio(back_cross_entropy(logits, target)) <= 1
    assert back_three_step_cross_entropy(logits, target).isnan().all()
    assert three_step_cross_entropy(logits, target).isfinite()  # the loss does not show it


@case("D8-right-within-the-gap")
def test_within_the_gap_three_steps_are_right_too(row, dtype):
    within = gap(row, dtype) / row["inputs"]["show_at_times_the_gap"]
    logits, target = beside(within, dtype)
    _, grad = rounding_budget(true_loss_and_gradient, (logits, target), dtype)
    assert grad.ratio(back_cross_entropy(logits, target)) <= 1
    assert grad.ratio(back_three_step_cross_entropy(logits, target)) <= 1
