"""Article C's whole script in its own notation, mended, and what each of its faults does."""

import pytest
import torch

from manual_backprop import lin, mse, relu, rounding_budget
from manual_backprop.data import article_numbers
from manual_backprop.dot_g import back_lin, back_mse, back_relu
from manual_backprop.networks.two_layer import back_two_layer, back_two_layer_broadcast, two_layer
from tests.articles.case import case
from tests.printed import assert_printed

NAMES = ("x", "w1", "b1", "w2", "b2")


@pytest.fixture
def tensors(seed):
    """x, w1, b1, w2, b2 and target of the article's sizes, drawn like the article's."""
    shapes = article_numbers()["C4"]["shapes"]
    rand = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shapes[name], generator=rand) for name in (*NAMES, "target")}
    drawn["w1"] = drawn["w1"] * (2 / shapes["w1"][0]) ** 0.5
    return drawn


def script(x, w1, b1, w2, b2, target):
    """The article's forward and backward; every tensor on the way has its .g then."""
    l1 = lin(x, w1, b1)
    l2 = relu(l1)
    out = lin(l2, w2, b2)
    loss = mse(out, target)

    back_mse(out, target)
    back_lin(l2, w2, b2, out)
    back_relu(l1, l2)
    back_lin(x, w1, b1, l1)
    return loss, l1, l2, out


def by_autograd(x, w1, b1, w2, b2, target):
    leaves = [t.detach().requires_grad_() for t in (x, w1, b1, w2, b2)]
    x, w1, b1, w2, b2 = leaves
    hidden = torch.nn.functional.linear(x, w1.T, b1).relu()
    pred = torch.nn.functional.linear(hidden, w2.T, b2).squeeze(-1)
    return torch.autograd.grad(torch.nn.functional.mse_loss(pred, target), leaves)


def true_gradients(tensors):
    budgets = rounding_budget(by_autograd, tuple(tensors.values()), torch.float32)
    return dict(zip(NAMES, budgets, strict=True))


def article_says_close(row, a, b):
    """The article's comparison."""
    return bool((a - b).max() < row["inputs"]["allowed"])


@case("C4-gradients-equal-autograds")
def test_the_network_has_autograds_gradients(row, tensors):
    true = true_gradients(tensors)
    assert [*two_layer(**tensors).shape] == row["shapes"]["loss"]
    for backward in (back_two_layer, back_two_layer_broadcast):
        for name, grad in zip(NAMES, backward(**tensors), strict=True):
            assert [*grad.shape] == row["shapes"][name]
            assert true[name].ratio(grad) <= 1, (backward.__name__, name)


def articles_back_mse(pred, target):
    """The right gradient, returned."""
    return 2 * (pred.squeeze(-1) - target).unsqueeze(-1) / len(pred)


@case("C4-returned-and-never-stored")
def test_a_backward_that_only_returns_leaves_the_next_without_a_gradient(row, tensors):
    x, w1, b1, w2, b2, target = tensors.values()
    l2 = relu(lin(x, w1, b1))
    out = lin(l2, w2, b2)
    returned = articles_back_mse(out, target)
    with pytest.raises(AttributeError, match=r"out has no \.g yet: first call the backward"):
        back_lin(l2, w2, b2, out)
    assert back_mse(out, target) is None
    back_lin(l2, w2, b2, out)
    (budget,) = rounding_budget(articles_back_mse, (out, target), out.dtype)
    assert budget.ratio(returned) <= 1
    assert budget.ratio(out.g) <= 1


@case("C4-clones-are-no-leaves")
def test_clones_of_what_requires_grad_have_no_grad(row, tensors):
    w = tensors["w1"].requires_grad_()
    clone = w.clone()
    clone.sum().backward()
    with pytest.warns(UserWarning, match="not a leaf"):
        assert clone.grad is None
    assert w.grad is not None


@case("C4-b2-twice-and-b1-never")
def test_comparing_b2_twice_lets_a_wrong_b1_pass(row, tensors):
    script(**tensors)
    true = true_gradients(tensors)
    tensors["b1"].g = tensors["b1"].g * 7
    compared = ("w1", "b2", "b2", "x", "w2")
    assert all(true[name].ratio(tensors[name].g) <= 1 for name in compared)
    assert tensors["b1"].g.shape == tensors["b1"].shape
    assert true["b1"].ratio(tensors["b1"].g) > 1


@case("C4-no-absolute-value")
def test_without_an_absolute_value_whatever_is_too_small_passes(row, tensors):
    script(**tensors)
    true = true_gradients(tensors)
    for name in NAMES:
        wrong = tensors[name].g - 1000
        assert article_says_close(row, wrong, tensors[name].g)
        assert not article_says_close(row, tensors[name].g, wrong)
        assert true[name].ratio(wrong) > 1


@case("C4-no-scale", "w2_largest")
def test_without_a_scale_a_right_gradient_is_accused(row):
    rand = torch.Generator().manual_seed(row["inputs"]["seed"])
    names = ("x", "target", "w1", "b1", "w2", "b2")
    drawn = {name: torch.randn(row["shapes"][name], generator=rand) for name in names}
    tensors = {name: drawn[name] for name in (*NAMES, "target")}
    script(**tensors)
    true = true_gradients(tensors)["w2"]
    error = (tensors["w2"].g.double() - true.truth).abs()
    assert_printed(row, "w2_largest", true.truth.abs().max())
    assert error.max() > row["inputs"]["allowed"]
    assert true.ratio(tensors["w2"].g) <= 1


@case("C4-records-a-graph")
def test_a_backward_written_without_no_grad_is_recorded(row, tensors):
    for name in NAMES:
        tensors[name].requires_grad_()
    _, *between = script(**tensors)
    l1, _, out = between
    assert l1.requires_grad
    carriers = (*between, *(tensors[name] for name in NAMES))
    assert not any(tensor.g.requires_grad for tensor in carriers)
    assert (out.g @ tensors["w2"].T).grad_fn is not None  # as the article computes l2.g


@case("C5-script")
def test_the_whole_script_gives_autograds_gradients(row, tensors):
    script(**tensors)
    true = true_gradients(tensors)
    for name in NAMES:
        assert tensors[name].g.shape == tensors[name].shape
        assert true[name].ratio(tensors[name].g) <= 1, name


@case("C5-every-tensor-on-the-way")
def test_what_lies_between_carries_its_gradient_too(row, tensors):
    loss, *between = script(**tensors)
    assert loss == two_layer(**tensors)
    for tensor in between:
        assert tensor.g.shape == tensor.shape
        assert tensor.g.any()


@case("C5-a-gradient-has-its-tensors-shape")
def test_a_gradient_of_another_shape_is_refused(row):
    out = torch.zeros(3, 1)
    out.g = torch.zeros(3)
    with pytest.raises(ValueError, match=r"out\.g is \(3,\) and out is \(3, 1\)"):
        back_relu(torch.zeros(3, 1), out)
