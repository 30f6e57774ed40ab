"""The article's script in its own notation, mended, and what each of its five faults would do."""

import pytest
import torch

from manual_backprop import lin, mse, relu, rounding_budget
from manual_backprop.data import article_numbers
from manual_backprop.dot_g import back_lin, back_mse, back_relu

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
    """The article's forward and backward; returns the tensors that carry a gradient."""
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


def test_the_script_gives_autograds_gradients(tensors):
    script(**tensors)
    budgets = rounding_budget(by_autograd, tuple(tensors.values()), torch.float32)
    for name, budget in zip(NAMES, budgets, strict=True):
        assert budget.ratio(tensors[name].g) <= 1, name


def test_nothing_is_recorded_though_the_weights_ask_for_it(tensors):
    """Fault 1b: the article's backward records a graph of its own."""
    for name in NAMES:
        tensors[name].requires_grad_()
    script(**tensors)
    assert not any(tensors[name].g.requires_grad for name in NAMES)


def test_a_backward_that_only_returns_leaves_the_next_without_a_gradient(tensors):
    """Fault 1: back_relu and back_mse return their result and never store it."""
    out = lin(relu(lin(*[tensors[name] for name in NAMES[:3]])), tensors["w2"], tensors["b2"])
    with pytest.raises(AttributeError, match=r"out has no \.g yet: first call the backward"):
        back_lin(tensors["x"], tensors["w2"], tensors["b2"], out)


def test_a_gradient_of_another_shape_is_refused(tensors):
    out = torch.zeros(3, 1)
    out.g = torch.zeros(3)
    with pytest.raises(ValueError, match=r"out\.g is \(3,\) and out is \(3, 1\)"):
        back_relu(torch.zeros(3, 1), out)


def test_clones_of_what_requires_grad_are_no_leaves(tensors):
    """Fault 2: the article clones tensors that require grad, and their .grad is None."""
    w = tensors["w1"].requires_grad_()
    clone = w.clone()
    clone.sum().backward()
    with pytest.warns(UserWarning, match="not a leaf"):
        assert clone.grad is None
    assert w.grad is not None


def article_says_close(a, b):
    """The article's comparison: no absolute value, no scale."""
    return bool((a - b).max() < 1e-4)


def test_comparing_b2_twice_lets_a_wrong_b1_pass(tensors):
    """Fault 3: of five gradients four are compared."""
    script(**tensors)
    true = dict(zip(NAMES, by_autograd(**tensors), strict=True))
    tensors["b1"].g = tensors["b1"].g * 7
    budgets = dict(
        zip(
            NAMES, rounding_budget(by_autograd, tuple(tensors.values()), torch.float32), strict=True
        )
    )
    compared = ("w1", "b2", "b2", "x")
    assert all(budgets[name].ratio(tensors[name].g) <= 1 for name in compared)
    assert budgets["b1"].ratio(tensors["b1"].g) > 1
    assert true["b1"].shape == tensors["b1"].g.shape


def test_without_an_absolute_value_whatever_is_too_small_passes(tensors):
    """Fault 4: (a - b).max() < 1e-4 of a gradient that is 1000 too small everywhere."""
    script(**tensors)
    for name in NAMES:
        g = tensors[name].g
        assert article_says_close(g - 1000, g)


def test_without_a_scale_a_right_gradient_is_accused():
    """Fault 5: with inputs of the article's size w2's rounding is 1.7e-3, of entries near 3217."""
    rand = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=rand) for shape in ((1000, 784), (784, 50), (50,))]
    drawn += [torch.randn(shape, generator=rand) for shape in ((50, 1), (1,), (1000,))]
    tensors = dict(zip((*NAMES, "target"), drawn, strict=True))
    script(**tensors)
    budgets = rounding_budget(by_autograd, drawn, torch.float32)
    truth = dict(zip(NAMES, budgets, strict=True))["w2"]
    error = (tensors["w2"].g.double() - truth.truth).abs()
    assert truth.ratio(tensors["w2"].g) <= 1
    assert error.max() > 1e-4
