"""The budget admits what rounding does and little more."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch._decomp import decomposition_table

from manual_backprop import rounding_budget
from manual_backprop.judge.budget import LARGE, RUNS
from manual_backprop.judge.witnesses import vjp


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


FUNCTIONS = {
    "sum of exp": lambda x: x.exp().sum(-1),
    "product": lambda x: x @ x.mT,
    "softmax": lambda x: x.softmax(-1),
    "log softmax": lambda x: x.log_softmax(-1),
    "layer norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "variance": lambda x: x.var(-1),
    "cancelling": lambda x: (x + 100) - 100,
    "several": lambda x: (x.sin(), x.cos() * x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pytorchs_own_results_stay_within(name, dtype):
    function = FUNCTIONS[name]
    for seed in range(10):
        x = normal(11, 31, seed=seed).to(dtype)
        got = function(x)
        budgets = rounding_budget(function, (x,), dtype)
        for value, budget in zip(got if isinstance(got, tuple) else (got,), budgets, strict=True):
            assert budget.ratio(value) <= 1


def test_a_few_hundred_roundings_too_many_do_not(dtype):
    x = normal(11, 31).to(dtype)
    (budget,) = rounding_budget(torch.sin, (x,), dtype)
    eps = torch.finfo(dtype).eps
    assert budget.ratio(budget.truth * (1 + 32 * eps)) > 1
    assert budget.ratio(budget.truth) == 0


def test_gradients_through_autograd_are_rounded_in_both_passes():
    def gradient(x):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (grad,) = torch.autograd.grad((x.exp() * x).sum(), x)
        return grad

    x = normal(31).float()
    (budget,) = rounding_budget(gradient, (x,), torch.float32)
    assert budget.ratio(gradient(x)) <= 1
    assert budget.ratio(gradient(x) * 1.0001) > 1


def test_integers_pass_through_unrounded():
    x, index = normal(11, 7), torch.tensor([3, 1, 4])
    (budget,) = rounding_budget(lambda x, i: x[i] * 3, (x, index), torch.float32)
    assert budget.ratio(x.float()[index] * 3) <= 1


def test_empty_results_have_a_budget():
    (budget,) = rounding_budget(lambda x: x * 2, (torch.empty(0, 3),), torch.float32)
    assert budget.ratio(torch.empty(0, 3)) == 0


def test_nan_is_never_within():
    (budget,) = rounding_budget(torch.sin, (normal(3),), torch.float32)
    assert budget.ratio(torch.full((3,), torch.nan)) == float("inf")


def test_a_dtype_that_does_not_round_is_refused():
    with pytest.raises(TypeError, match="int64"):
        rounding_budget(torch.sin, (normal(3),), torch.int64)


def mask_of_a_sum(terms):
    return (terms.sum(-1) > 0).to(terms.dtype)


def test_an_exact_tie_stays_a_tie():
    terms = torch.tensor([[1.0, -1.0], [2.0, 1.0]])
    (budget,) = rounding_budget(mask_of_a_sum, (terms,), torch.float32)
    assert budget.settled
    assert budget.ratio(torch.tensor([0.0, 1.0])) == 0
    assert budget.ratio(torch.tensor([1.0, 1.0])) > 1


def test_a_near_tie_is_unsettled_and_either_side_is_let_pass():
    terms = torch.tensor([[1.0, -1.0 + 2**-22], [2.0, 1.0]])
    (budget,) = rounding_budget(mask_of_a_sum, (terms,), torch.float32)
    assert not budget.settled
    assert budget.ratio(torch.tensor([0.0, 1.0])) <= 1
    assert budget.ratio(torch.tensor([1.0, 1.0])) <= 1
    assert budget.ratio(torch.tensor([1.0, 0.0])) > 1


def gradient_of(function):
    def gradient(x, grad_out):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (grad,) = torch.autograd.grad(function(x), x, grad_out)
        return grad

    return gradient


@pytest.mark.parametrize(
    "function",
    [
        torch.nn.functional.hardtanh,
        lambda x: torch.nn.functional.threshold(x, 1.0, 0.0),
        torch.relu,
        torch.abs,
        lambda x: x.clamp(-1, 1),
        torch.nn.functional.leaky_relu,
    ],
    ids=["hardtanh", "threshold", "relu", "abs", "clamp", "leaky_relu"],
)
def test_ties_of_whole_numbers_do_not_widen_the_budget(function, dtype):
    x = (normal(11, 7) * 2).round()
    (budget,) = rounding_budget(gradient_of(function), (x, normal(11, 7, seed=1)), dtype)
    assert budget.settled
    assert budget.allowed.max() <= 64 * torch.finfo(dtype).eps * budget.truth.abs().max()


@pytest.mark.parametrize("beyond", [2**-22, -(2**-22)], ids=["active", "inactive"])
@pytest.mark.parametrize("kinked", [torch.relu, torch.nn.functional.hardtanh, torch.abs])
def test_of_a_unit_at_a_kink_the_gradient_of_either_side_passes(kinked, beyond):
    at = -1.0 if kinked is torch.nn.functional.hardtanh else 0.0
    terms = torch.tensor([[1.0 + at, -1.0 + beyond], [3.0 + at, -2.5]])
    gradient = gradient_of(lambda terms: kinked(terms.sum(-1)))
    (budget,) = rounding_budget(gradient, (terms, torch.ones(2)), torch.float32)
    assert not budget.settled
    low = -1.0 if kinked is torch.abs else 0.0
    for first, second, right in ((1, 1, True), (low, 1, True), (1, 0, False), (low, -1, False)):
        got = torch.tensor([[first, first], [second, second]])
        assert (budget.ratio(got) <= 1) is right


def test_an_infinite_intermediate_stays_infinite():
    def masked_softmax(x):
        return x.masked_fill(x < 0, -torch.inf).softmax(-1)

    x = normal(11, 7)
    (budget,) = rounding_budget(masked_softmax, (x,), torch.float32)
    assert budget.allowed.isfinite().all()
    assert budget.ratio(masked_softmax(x.float())) <= 1


def test_what_the_dtype_cannot_hold_is_not_judged():
    x = torch.tensor([1.0, 100.0])
    (budget,) = rounding_budget(torch.exp, (x,), torch.float32)
    assert budget.judged.tolist() == [True, False]
    assert budget.ratio(x.exp()) <= 1


def test_a_kink_within_rounding_lets_either_branch_pass_in_every_dtype(dtype):
    def late(x):
        return torch.relu(x * 0.8 - (x * 0.7 + x * 0.1))

    x = torch.ones(11, dtype=torch.float64)
    (budget,) = rounding_budget(gradient_of(late), (x, x), dtype)
    if not budget.settled:
        slope = 0.8 - 0.8  # either branch of a difference that is rounding alone
        assert budget.ratio(torch.full_like(x, slope)) <= 1


def test_inputs_are_left_alone_and_may_require_grad():
    x = normal(11).requires_grad_()
    before = x.detach().clone()
    rounding_budget(lambda t: t.mul_(2), (x,), torch.float64)
    assert torch.equal(x, before)


def test_counting_over_a_mask_is_no_sum_of_floats():
    (budget,) = rounding_budget(lambda x: x * (x > 0).sum(), (normal(5, 3),), torch.float32)
    assert budget.allowed.isfinite().all()


def test_fused_kernels_and_kinks_are_counted_alike_in_every_run():
    def loss(x, y):
        apart = torch.nn.functional.smooth_l1_loss(x, y, reduction="none")
        return torch.relu(apart[:, :3] - 0.2)

    x, y = normal(11, 7).float(), normal(11, 7, seed=1).float()
    (budget,) = rounding_budget(loss, (x, y), torch.float32)
    assert budget.ratio(loss(x, y)) <= 1


def test_large_inputs_have_one_run_and_room_enough():
    x, y = normal(600, 600).float(), normal(600, 600, seed=1).float()
    (budget,) = rounding_budget(lambda a, b: a @ b, (x, y), torch.float32)
    assert budget.ratio(x @ y) <= 1
    assert budget.ratio((x @ y) * 1.001) > 1


def test_a_sum_of_equal_terms_drifts_and_no_other_does():
    def added_one_by_one(x):
        return torch.zeros(1).index_add_(0, torch.zeros(len(x), dtype=torch.long), x)

    def room(x):
        (budget,) = rounding_budget(lambda x: x.sum(0, keepdim=True), (x,), torch.float32)
        assert budget.ratio(added_one_by_one(x)) <= 1
        return float(budget.allowed / budget.truth.abs())

    random = normal(20011).abs().float()
    assert room(torch.full_like(random, 1 / 3)) > 10 * room(random)

    def weighed(x, weight):
        return (x * weight).sum(0, keepdim=True)

    ones = torch.ones_like(random)
    (plain,) = rounding_budget(weighed, (random, random), torch.float32)
    (by_one,) = rounding_budget(weighed, (random, ones), torch.float32)
    assert by_one.allowed / by_one.truth < 2 * plain.allowed / plain.truth


TARGET = torch.tensor([0, 6, 3, -100, 2, 2, 1, 5, 4, 0, 3])
FUSED = {
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(0),
    "softmax of a transpose": lambda x: x.T.softmax(0),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "cat": lambda x: torch.cat((x, x, x[:3]), -2),
    "stack": lambda x: torch.stack((x, x)),
    "flip": lambda x: x.flip(0),
    "largest": lambda x: x.amax(0),
    "where": lambda x: torch.where(x > 0, x, 3.0),
    **{
        f"mse, {how}": lambda x, how=how: F.mse_loss(x, x.detach().exp(), reduction=how)
        for how in ("none", "sum", "mean")
    },
    **{
        f"nll, {how}": lambda x, how=how: F.nll_loss(x, TARGET, reduction=how)
        for how in ("none", "sum", "mean")
    },
    "weighted nll": lambda x: F.nll_loss(x, TARGET, normal(7, seed=1).exp()),
    "nll of one row": lambda x: F.nll_loss(x[0], TARGET[2]),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_kernels_are_taken_apart_as_pytorch_takes_them_apart(name, dtype, monkeypatch):
    def both(x):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            out = FUSED[name](x)
        return out.detach(), *vjp(out, [x], normal(*out.shape, seed=2))

    x = normal(11, 7).to(dtype)
    ours = rounding_budget(both, (x,), dtype)
    for user in ("noise", "kinds"):
        monkeypatch.setattr(f"manual_backprop.judge.{user}.STEPS", dict(decomposition_table))
    monkeypatch.setattr("manual_backprop.judge.kinds.WHOLE", {torch.ops.aten.ones_like.default})
    for budget, theirs in zip(ours, rounding_budget(both, (x,), dtype), strict=True):
        assert torch.equal(budget.truth, theirs.truth)
        assert torch.equal(budget.allowed, theirs.allowed)


def test_a_gradient_of_another_shape_is_refused_and_not_spread():
    x = normal(3, 5).requires_grad_()
    with pytest.raises(RuntimeError, match=r"\(5,\)"):
        vjp(x * 2, [x], torch.ones(5, dtype=torch.float64))


def test_a_vjp_is_that_of_autograd_and_can_be_differentiated():
    x, grad_out = normal(3, 5).requires_grad_(), normal(3, 5, seed=1).requires_grad_()
    (ours,) = vjp(x.exp(), [x], grad_out, create_graph=True)
    (theirs,) = torch.autograd.grad(x.exp(), x, grad_out, create_graph=True)
    assert torch.equal(ours, theirs)
    for mine, pytorchs in zip(
        torch.autograd.grad(ours.sum(), (x, grad_out)),
        torch.autograd.grad(theirs.sum(), (x, grad_out)),
        strict=True,
    ):
        assert torch.equal(mine, pytorchs)


def test_the_page_on_the_judge_tells_how_many_runs_are_made():
    page = Path(__file__).parents[1].joinpath("docs/judge.md").read_text("utf-8")
    exponent = LARGE.bit_length() - 1
    assert 2**exponent == LARGE
    assert f"over {RUNS} runs (for inputs of $2^{{{exponent}}}$ numbers or more over one" in page
