"""What losses do at the ends: certain probabilities, no rows, tails."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError

from manual_backprop import OPS, rounding_budget, verify
from manual_backprop.ops.batch_norm import back_batch_norm, batch_norm
from manual_backprop.ops.bce import back_bce, bce
from manual_backprop.ops.bce_with_logits import (
    back_bce_with_logits,
    back_bce_with_logits_terms,
    bce_with_logits,
)
from manual_backprop.ops.cross_entropy import (
    back_cross_entropy,
    back_cross_entropy_steps,
    cross_entropy,
)
from manual_backprop.ops.entropy import back_entropy, entropy
from manual_backprop.ops.log import back_log, log
from manual_backprop.ops.mse import back_mse, mse
from manual_backprop.ops.nll import back_nll, back_nll_scatter, nll


def pytorchs(loss, x, *others, **options):
    leaf = x.clone().requires_grad_()
    out = loss(leaf, *others, **options)
    return out.detach(), torch.autograd.grad(out, leaf)[0]


def test_bce_of_certain_probabilities_is_pytorchs(dtype):
    p, target = torch.tensor([[0, 1, 0, 1], [0, 1, 1, 0]], dtype=dtype)
    loss, grad = pytorchs(F.binary_cross_entropy, p, target)
    assert bce(p, target).equal(loss)
    assert loss == 50
    ours = back_bce(p, target)
    if dtype is torch.float16:  # where 1e-12 is 0, PyTorch's gradient of what is right is 0 / 0
        assert grad[:2].isnan().all()
        assert ours[:2].eq(0).all()
        assert ours[2:].equal(grad[2:])
    elif dtype is torch.bfloat16:  # 1e12 is rounded, 1e-12 was
        (budget,) = rounding_budget(
            lambda p: pytorchs(F.binary_cross_entropy, p, target.double())[1], (p,), dtype
        )
        assert budget.ratio(ours) <= 1
    else:
        assert ours.equal(grad)


@pytest.mark.parametrize(
    ("loss", "theirs", "backwards"),
    [
        (nll, F.nll_loss, (back_nll, back_nll_scatter)),
        (cross_entropy, F.cross_entropy, (back_cross_entropy, back_cross_entropy_steps)),
    ],
)
@pytest.mark.parametrize("rows", [0, 3])
def test_the_mean_over_nothing_is_nan_and_its_gradient_0(loss, theirs, backwards, rows, dtype):
    x, target = torch.ones(rows, 4, dtype=dtype), torch.full((rows,), -100)
    out, grad = pytorchs(theirs, x, target)
    assert out.isnan()
    assert loss(x, target).isnan()
    assert loss(x, target, reduction="sum") == 0
    for backward in backwards:
        assert backward(x, target).eq(0).all()
        assert backward(x, target).equal(grad + 0.0)


@pytest.mark.parametrize(
    ("loss", "theirs", "backward"),
    [
        (lambda p, t: mse(p[:, None], t), F.mse_loss, lambda p, t: back_mse(p[:, None], t)[:, 0]),
        (bce, F.binary_cross_entropy, back_bce),
        (bce_with_logits, F.binary_cross_entropy_with_logits, back_bce_with_logits),
    ],
)
def test_the_mean_over_no_entries_is_nan_as_pytorchs_is(loss, theirs, backward, dtype):
    nothing = torch.zeros(0, dtype=dtype)
    out, grad = pytorchs(theirs, nothing, nothing)
    assert out.isnan()
    assert loss(nothing, nothing).isnan()
    assert backward(nothing, nothing).equal(grad)


def test_bce_of_what_is_no_probability_is_nan_where_pytorch_refuses(dtype):
    target = torch.tensor([1.0, 0.0], dtype=dtype)
    for p in torch.tensor([[-0.5, 0.5], [0.5, 1.5]], dtype=dtype):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            F.binary_cross_entropy(p, target)
        assert bce(p, target).isnan()


def test_a_judge_that_is_given_no_probabilities_says_what_pytorch_said():
    op = replace(OPS["bce"], samples={"rows": lambda rand, n=11: (rand(n), rand(n))})
    (finding,) = verify(op, dtypes=torch.float64).findings
    assert finding.code == "raises"
    assert "between 0 and 1" in finding.message


def test_logarithms_of_0_are_pytorchs(dtype):
    p = torch.tensor([0.0, 0.25, 1.0], dtype=dtype)
    out, grad = pytorchs(lambda x: x.log().sum(), p)
    assert log(p).sum().equal(out)
    assert back_log(p, torch.ones_like(p)).equal(grad)
    out, grad = pytorchs(lambda x: torch.special.entr(x).sum(), p)
    assert entropy(p, base=math.e).equal(out)
    ours = back_entropy(p, torch.ones_like(out), base=math.e)
    assert ours[0] == grad[0] == math.inf
    assert ours[2] == grad[2] == -1


@pytest.mark.parametrize("function", [nll, cross_entropy, back_nll, back_cross_entropy])
@pytest.mark.parametrize(
    "target",
    [torch.zeros(3), torch.zeros(3, 1, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)],
    ids=["floats", "a column", "too few"],
)
def test_targets_of_another_type_or_length_are_refused_where_shapes_are_checked(function, target):
    with pytest.raises(TypeCheckError):
        function(torch.ones(3, 4), target)


@pytest.mark.parametrize("loss", [nll, cross_entropy])
@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_class_that_there_is_not_is_refused_and_named(loss, wrong):
    with pytest.raises((IndexError, RuntimeError), match=f"index {wrong} is out of bounds"):
        loss(torch.ones(3, 4), torch.tensor([0, wrong, 2]))


def test_a_reduction_that_there_is_not_is_refused():
    x, target = torch.ones(3, 4), torch.tensor([0, 1, 2])
    for function in (nll, cross_entropy, back_nll, back_cross_entropy):
        with pytest.raises(Exception, match="reduction"):
            function(x, target, reduction="none")


def test_bce_with_logits_bears_what_bce_of_a_sigmoid_does_not(dtype):
    x = torch.tensor([200.0, -200.0], dtype=dtype)
    target = torch.tensor([0.0, 1.0], dtype=dtype)
    assert bce_with_logits(x, target) == 200
    assert bce(x.sigmoid(), target) == 100  # where the logarithms end
    assert back_bce_with_logits(x, target).tolist() == [0.5, -0.5]


def test_term_by_term_the_tail_is_kept(dtype):
    x, target = torch.full((1,), 15.0, dtype=dtype), torch.ones(1, dtype=dtype)
    assert back_bce_with_logits_terms(x, target) < 0
    if dtype in (torch.bfloat16, torch.float16):
        assert back_bce_with_logits(x, target) == 0


def test_batch_norm_of_a_single_row_which_pytorchs_layer_refuses():
    x, gamma, beta = torch.tensor([[3.0, -7.0]]), torch.tensor([2.0, 5.0]), torch.tensor([1.0, 4.0])
    with pytest.raises(ValueError, match="more than 1 value"):
        F.batch_norm(x, None, None, gamma, beta, training=True)
    assert batch_norm(x, gamma, beta).equal(beta[None])
    grad_x, grad_gamma, grad_beta = back_batch_norm(x, gamma, torch.ones_like(x))
    assert grad_x.eq(0).all()
    assert grad_gamma.eq(0).all()
    assert grad_beta.eq(1).all()


def test_batch_norm_divides_by_n_and_not_by_one_less():
    x, one = torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert batch_norm(x, one, 0 * one, eps=0.0).equal(x)
