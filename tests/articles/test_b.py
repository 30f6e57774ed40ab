"""Article B: a graph, recording, a slope, output gradients, accumulation, a line."""

import pytest
import torch

from manual_backprop import (
    back_computational_graph,
    back_linear_regression,
    computational_graph,
    computational_graph_edges,
    linear_regression,
    rounding_budget,
)
from manual_backprop.ops.add_constant import add_constant, back_add_constant
from manual_backprop.ops.shifted_square import (
    back_shifted_square,
    back_shifted_square_steps,
    shifted_square,
)
from manual_backprop.training.options import Options
from manual_backprop.training.train import Trainer, by_autograd
from tests.articles.case import case, drawn, f64
from tests.printed import assert_between, assert_printed


@case("B1-partials")
def test_the_three_partials(row, seed):
    a, b, c = drawn(seed, *(row["shapes"][name] for name in "abc"))
    assert computational_graph(a, b, c) == 3 * (a + b * c)
    grads = back_computational_graph(b, c, torch.ones_like(a))
    assert list(grads) == [f64(3), 3 * c, 3 * b]


@case("B1-edges")
def test_each_partial_is_the_product_of_the_edges_on_its_path(row, seed):
    b, c = drawn(seed, row["shapes"]["b"], row["shapes"]["c"])
    grad_a, grad_b, grad_c = back_computational_graph(b, c, torch.ones_like(b))
    edge = computational_graph_edges(b, c)
    assert list(edge.values()) == [3, 1, 1, c, b]
    assert edge["J/u"] * edge["u/a"] == grad_a
    assert edge["J/u"] * edge["u/v"] * edge["v/b"] == grad_b
    assert edge["J/u"] * edge["u/v"] * edge["v/c"] == grad_c


def ones(row):
    return torch.ones(row["shapes"]["x"], requires_grad=True)


@case("B2-recorded")
def test_what_needs_a_gradient_is_recorded(row):
    x = ones(row)
    y = add_constant(x)
    assert y.equal(torch.full(row["shapes"]["y"], 6.0))
    assert y.requires_grad
    assert y.grad_fn is not None
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.equal(torch.ones_like(x))


@case("B2-not-recorded-under-no-grad")
def test_under_no_grad_nothing_is_recorded(row):
    x = ones(row)
    with torch.no_grad():
        z = 3 * x + 2
    assert z.equal(torch.full(row["shapes"]["z"], 5.0))
    assert not z.requires_grad
    assert z.grad_fn is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        z.sum().backward()
    assert (3 * x + 2).requires_grad


@case("B3-derivative-is-4", "gradient")
def test_the_slope_of_the_shifted_square_at_1(row):
    x = torch.tensor(float(row["inputs"]["x"]), requires_grad=True)
    (true,) = torch.autograd.grad(shifted_square(x), x)
    assert_printed(row, "gradient", true)
    for backward in (back_shifted_square, back_shifted_square_steps):
        assert_printed(row, "gradient", backward(x.detach(), torch.ones(())))


@case("B4-needs-an-output-gradient")
def test_an_output_of_many_numbers_has_no_gradient_of_its_own(row):
    x = ones(row)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        add_constant(x).backward()
    add_constant(x).backward(torch.ones(row["shapes"]["grad_out"]))
    assert x.grad.equal(back_add_constant(torch.ones(row["shapes"]["grad_out"])))


@case("B4-vector-jacobian-product")
def test_the_gradient_is_the_output_gradient_times_the_jacobian(row):
    x = ones(row)
    grad_out = torch.arange(4.0).reshape(row["shapes"]["grad_out"])
    jacobian = torch.autograd.functional.jacobian(add_constant, x).reshape(4, 4)
    grad_x = back_add_constant(grad_out)
    assert grad_x.flatten().equal(grad_out.flatten() @ jacobian)
    assert grad_x.equal(torch.autograd.grad(add_constant(x), x, grad_out)[0])


@case("B4-gradient-is-a-copy")
def test_the_gradient_is_a_copy_where_pytorch_hands_on_the_same_memory(row):
    grad_out = torch.ones(row["shapes"]["grad_out"])
    back_add_constant(grad_out).mul_(2)
    assert grad_out.equal(torch.ones(row["shapes"]["grad_out"]))


@case("B5-twice-without-zeroing", "factor")
def test_a_second_backward_without_zeroing_adds_to_the_first(row):
    x = torch.linspace(-1, 2, 5, requires_grad=True)
    once = back_shifted_square(x.detach(), torch.ones(5))
    shifted_square(x).sum().backward()
    assert x.grad.equal(once)
    shifted_square(x).sum().backward()
    assert_printed(row, "factor", (x.grad / once)[1])
    assert x.grad.equal(row["expected"]["factor"] * once)
    x.grad.zero_()
    shifted_square(x).sum().backward()
    assert x.grad.equal(once)


@case("B5-training-does-not-accumulate")
def test_each_step_of_training_has_the_gradient_of_its_own_batch(row, seed):
    x, other = drawn(seed, (3, 784), (3, 784))
    target = torch.tensor([0, 9, 4])
    options = Options(dtype="float64", hidden=(7, 5), seed=seed, gradient="composed")
    trainer = Trainer(options)
    trainer.step(other, target)
    at = [weight.clone() for weight in trainer.weights]
    trainer.step(x, target)

    def true(x, target, *weights):
        return by_autograd(x, weights, target, relu_logits=False)[1]

    budgets = rounding_budget(true, (x, target, *at), x.dtype)
    for weight, budget in zip(trainer.weights, budgets, strict=True):
        assert budget.ratio(weight.grad) <= 1


def points(row, seed, draws=1):
    """x (draws, n), uniform where the row says."""
    given, generator = row["inputs"], torch.Generator().manual_seed(seed)
    unit = torch.rand(draws, *row["shapes"]["x"], generator=generator, dtype=torch.float64)
    assert unit.shape[1] == given["points"]
    return given["x_from"] + (given["x_to"] - given["x_from"]) * unit


def best(row):
    return f64([float(row["inputs"][name]) for name in ("w", "b")])


def errors_by_law(row, x):
    """How far w and b are from the best after the last step, by the exact law: (draws, 2)."""
    one = torch.ones_like(x)
    ends = torch.stack([x, one], 1)
    hessian = 2 * ends @ ends.mT / x.shape[1]
    step = torch.eye(2, dtype=torch.float64) - row["inputs"]["lr"] * hessian
    return torch.linalg.matrix_power(step, row["inputs"]["steps"]) @ -best(row)


@case("B6-gradients")
def test_the_gradients_are_two_means(row, seed):
    (x,) = points(row, seed)
    w, b = drawn(seed, row["shapes"]["w"], row["shapes"]["b"])
    target = best(row)[0] * x + best(row)[1]
    budgets = rounding_budget(
        lambda x, w, b, y: (2 * ((w * x + b - y) * x).mean(), 2 * (w * x + b - y).mean()),
        (x, w, b, target),
        x.dtype,
    )
    for grad, budget in zip(back_linear_regression(x, w, b, target)[1:], budgets, strict=True):
        assert budget.ratio(grad) <= 1
    assert linear_regression(x, *best(row), target) == 0


@case("B6-exact-law")
def test_gradient_descent_follows_the_exact_law(row, seed):
    (x,) = points(row, seed)
    target = best(row)[0] * x + best(row)[1]
    point = torch.zeros(2, dtype=torch.float64)
    for _ in range(row["inputs"]["steps"]):
        _, *grads = back_linear_regression(x, *point, target)
        point = point - row["inputs"]["lr"] * torch.stack(grads)

    (error,) = errors_by_law(row, x[None])
    eps = torch.finfo(torch.float64).eps  # each step rounds once, and no step enlarges an error
    allowed = row["inputs"]["steps"] * eps * best(row).abs().max()
    assert ((point - best(row) - error).abs() <= allowed).all()


@case("B6-w-is-short", "w_short_by")
def test_w_is_still_short_of_3_after_the_last_step(row):
    assert_between(row, "w_short_by", -errors_by_law(row, points(row, 0, 200))[:, 0])


@case("B6-b-is-above", "b_above_by")
def test_b_is_still_above_1_after_the_last_step(row):
    assert_between(row, "b_above_by", errors_by_law(row, points(row, 0, 200))[:, 1])
