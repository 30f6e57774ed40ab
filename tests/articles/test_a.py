"""Article A: perceptrons, the chain rule and the update."""

from dataclasses import replace

import torch

from manual_backprop import back_chain, chain, chain_edges, perceptron, rounding_budget
from manual_backprop.networks.chain import back_chain_paths
from manual_backprop.networks.perceptron import back_perceptron
from manual_backprop.ops.lin import back_lin, lin
from manual_backprop.ops.mse import back_mse, mse
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid
from manual_backprop.training.options import Options
from manual_backprop.training.train import Trainer
from tests.articles.case import case, drawn, f64, weights_for
from tests.printed import assert_printed, rounding_of


def by_operators(x, w, target):
    """The perceptron's outputs, loss and gradient of w, each operator's backward in turn."""
    out = sigmoid(lin(x, w.T, torch.zeros(len(w), dtype=x.dtype)))
    column, wanted = out.reshape(-1, 1), target.flatten()  # what mse compares
    grad_out = back_mse(column, wanted).reshape(out.shape)
    _, grad_w, _ = back_lin(x, w.T, back_sigmoid(out, grad_out))
    return out, mse(column, wanted), grad_w.T


@case("A1-gradient", "gradient")
def test_some_input_and_weights_have_the_printed_gradient(row):
    x, o, target = f64([row["inputs"]["x"]]), f64([row["inputs"]["o"]]), f64([[1.0]])
    assert target == row["inputs"]["target"]
    w = weights_for(o, x)
    assert_printed(row, "gradient", back_perceptron(x, w, target)[1][0])
    assert_printed(row, "gradient", by_operators(x, w, target)[2][0])
    leaf = w.requires_grad_()
    loss = torch.nn.functional.mse_loss(torch.sigmoid(x @ leaf.T), target)
    assert_printed(row, "gradient", torch.autograd.grad(loss, leaf)[0][0])


@case("A1-shapes")
def test_an_output_of_one_row_and_a_loss_without_axes(row):
    x, w = drawn(0, row["shapes"]["x"], row["shapes"]["w"])
    target = torch.ones(row["shapes"]["o"], dtype=torch.float64)
    assert [*by_operators(x, w, target)[0].shape] == row["shapes"]["o"]
    assert [*perceptron(x, w, target).shape] == row["shapes"]["loss"]
    assert back_perceptron(x, w, target)[1].shape == w.shape


@case("A1-formula")
def test_the_gradient_is_that_of_the_formula(row, seed):
    x, w = drawn(seed, row["shapes"]["x"], row["shapes"]["w"])
    target = torch.full(row["shapes"]["o"], float(row["inputs"]["target"]), dtype=torch.float64)
    o = torch.sigmoid(x @ w.T)
    _, grad_w = back_perceptron(x, w, target)
    (budget,) = rounding_budget(
        lambda x, o, t: 2 * (o - t) * o * (1 - o) * x, (x, o, target), torch.float64
    )
    assert budget.ratio(grad_w) <= 1


def two_outputs(row):
    x, o = f64([row["inputs"]["x"]]), f64(row["inputs"]["o"])
    target = torch.full(row["shapes"]["o"], float(row["inputs"]["target"]), dtype=torch.float64)
    return x, weights_for(o, x), target


@case("A2-loss", "loss")
def test_the_loss_of_two_outputs(row):
    x, w, target = two_outputs(row)
    out, loss, _ = by_operators(x, w, target)
    assert [*out.shape] == row["shapes"]["o"]
    assert_printed(row, "loss", loss)
    assert_printed(row, "loss", perceptron(x, w, target))


@case("A2-gradient", "gradient")
def test_the_gradient_of_two_outputs(row):
    x, w, target = two_outputs(row)
    assert_printed(row, "gradient", by_operators(x, w, target)[2])
    assert_printed(row, "gradient", back_perceptron(x, w, target)[1])


@case("A2-rank-one")
def test_the_gradient_of_one_row_is_an_outer_product(row, seed):
    x, w, target = drawn(seed, *(row["shapes"][name] for name in "xwo"))
    for grad_w in (by_operators(x, w, target)[2], back_perceptron(x, w, target)[1]):
        assert torch.linalg.matrix_rank(grad_w) == 1


@case("A2-printed-rows-are-proportional")
def test_the_printed_rows_are_proportional_to_the_digits_printed(row):
    first, second = f64(row["expected"]["gradient"])
    half = rounding_of(0, **row["digits"]["gradient"])
    for i in range(10):
        minors = (first[i] * second - second[i] * first).abs()
        sizes = first[i].abs() + second.abs() + second[i].abs() + first.abs()
        assert (minors <= half * sizes + 2 * half**2).all()


def links(row):
    return [f64(row["inputs"][name]) for name in ("x", "w1", "b1", "w2", "b2")]


@case("A3-by-chain", "by_chain")
def test_the_product_of_two_local_derivatives(row):
    edge = chain_edges(*links(row)[:4])
    assert_printed(row, "by_chain", edge["y2/y1"] * edge["y1/w1"])


@case("A3-at-once", "at_once")
def test_the_derivative_of_the_whole(row):
    x, w1, b1, w2, b2 = links(row)
    one = torch.ones_like(x)
    for backward in (back_chain, back_chain_paths):
        assert_printed(row, "at_once", backward(x, w1, b1, w2, one)[1])
    leaf = w1.requires_grad_()
    assert_printed(row, "at_once", torch.autograd.grad(chain(x, leaf, b1, w2, b2), leaf)[0])


@case("A3-local-derivatives")
def test_every_edge_of_the_chain_has_its_local_derivative(row, seed):
    x, w1, b1, w2, b2 = drawn(seed, *[row["shapes"]["x"]] * 5)
    edge = chain_edges(x, w1, b1, w2)
    y1 = x * w1 + b1
    parts = torch.autograd.functional.jacobian(lambda *a: a[0] * a[1] + a[2], (x, w1, b1))
    assert [edge["y1/x"], edge["y1/w1"], edge["y1/b1"]] == list(parts)
    parts = torch.autograd.functional.jacobian(lambda *a: a[0] * a[1] + a[2], (y1, w2, b2))
    assert [edge["y2/y1"], edge["y2/w2"], edge["y2/b2"]] == list(parts)


@case("A3-formula")
def test_the_chain_of_numbers_is_two_lines(row, seed):
    x, w1, b1, w2, b2 = drawn(seed, *[row["shapes"]["x"]] * 5)
    assert chain(x, w1, b1, w2, b2) == (x * w1 + b1) * w2 + b2


SMALL = Options(dtype="float64", hidden=(7, 5))


@case("A4-update")
def test_training_takes_lr_times_the_gradient_off_every_weight(row, seed):
    (x,) = drawn(seed, (3, 784))
    target = torch.tensor([0, 9, 4])
    for lr in (0.25, 0.5):
        trainer = Trainer(replace(SMALL, lr=lr, seed=seed, gradient="composed"))
        before = [weight.clone() for weight in trainer.weights]
        trainer.step(x, target)
        for weight, old in zip(trainer.weights, before, strict=True):
            assert weight.grad.any()
            (budget,) = rounding_budget(
                lambda w, g, lr=lr: w - lr * g, (old, weight.grad), old.dtype
            )
            assert budget.ratio(weight) <= 1


@case("A4-a-small-step-lowers-the-loss")
def test_a_small_step_against_the_gradient_lowers_the_loss(row, seed):
    x, w, target = drawn(seed, (3, 7), (5, 7), (3, 5))
    _, grad_w = back_perceptron(x, w, target)
    loss = perceptron(x, w, target)
    assert (
        perceptron(x, w - 1e-3 * grad_w, target) < loss < perceptron(x, w + 1e-3 * grad_w, target)
    )
