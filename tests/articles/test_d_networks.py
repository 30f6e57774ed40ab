"""Article D: perceptrons, the chain rule in whole numbers, sigmoid layers of any depth."""

from itertools import pairwise

import pytest
import torch

from manual_backprop import back_chain, back_perceptron, chain_edges, rounding_budget
from manual_backprop.networks.chain import back_chain_paths
from manual_backprop.networks.sigmoid_mlp import back_sigmoid_mlp, back_sigmoid_mlp_layers
from manual_backprop.ops.lin import back_lin, lin
from tests.articles.case import case, drawn, f64, weights_for
from tests.printed import assert_printed


@case("D11-one-output", "one_output_from", "one_output_to")
def test_some_input_has_the_two_printed_numbers_of_one_output(row):
    given = row["inputs"]
    x = torch.linspace(given["x_from"], given["x_to"], 10, dtype=torch.float64)[None]
    w = weights_for(f64([given["o_one"]]), x)
    assert [[*x.shape], [*w.shape]] == [row["shapes"]["x"], row["shapes"]["w_one"]]
    _, grad_w = back_perceptron(x, w, f64([[float(given["target"])]]))
    assert_printed(row, "one_output_from", grad_w.min())
    assert_printed(row, "one_output_to", grad_w.max())


@case("D11-row-ratio", "row_ratio")
def test_the_rows_of_two_outputs_are_as_what_each_output_lacks(row, seed):
    (x,) = drawn(seed, row["shapes"]["x"])
    w = weights_for(f64(row["inputs"]["o_several"]), x)
    assert [*w.shape] == row["shapes"]["w_several"]
    target = torch.full((1, 2), float(row["inputs"]["target"]), dtype=torch.float64)
    first, second = back_perceptron(x, w, target)[1]
    for ratio in first / second:
        assert_printed(row, "row_ratio", ratio)


@case("D11-rank-one", "rank")
def test_with_several_outputs_and_any_target_the_gradient_is_of_rank_one(row, seed):
    x, w, target = drawn(seed, row["shapes"]["x"], row["shapes"]["w_several"], (1, 2))
    _, grad_w = back_perceptron(x, w, target)
    assert_printed(row, "rank", torch.linalg.matrix_rank(grad_w))


def links(row):
    return [f64(float(row["inputs"][name])) for name in ("x", "w1", "b1", "w2")]


@case("D12-dy2-dy1", "dy2_dy1")
def test_the_second_line_by_the_first(row):
    x, w1, b1, w2 = links(row)
    assert_printed(row, "dy2_dy1", chain_edges(x, w1, b1, w2)["y2/y1"])
    assert_printed(row, "dy2_dy1", back_chain(x, w1, b1, w2, f64(1.0))[2])


@case("D12-dy1-dw1", "dy1_dw1")
def test_the_first_line_by_its_weight(row):
    assert_printed(row, "dy1_dw1", chain_edges(*links(row))["y1/w1"])


@case("D12-dy2-dw1", "dy2_dw1")
def test_the_second_line_by_the_firsts_weight(row):
    for backward in (back_chain, back_chain_paths):
        assert_printed(row, "dy2_dw1", backward(*links(row), f64(1.0))[1])
    x, w1, b1, w2 = (link.reshape(1, 1) for link in links(row))  # as two linear layers
    grad_y1, _, _ = back_lin(lin(x, w1, b1[0]), w2, torch.ones_like(x))
    _, grad_w1, _ = back_lin(x, w1, grad_y1)
    assert_printed(row, "dy2_dw1", grad_w1[0, 0])


@pytest.mark.parametrize("widths", [(4, 3), (5, 4, 3, 2), (2, 3, 2, 3, 2, 3)], ids=str)
@case("D13-any-depth")
def test_the_delta_recursion_is_right_at_any_depth(row, widths, seed):
    x, target, *weights = drawn(seed, (3, widths[0]), (3, widths[-1]), *pairwise(widths))

    def by_autograd(x, target, *weights):
        leaves = [w.detach().requires_grad_() for w in weights]
        out = x
        for w in leaves:
            out = torch.sigmoid(out @ w)
        return torch.autograd.grad((out - target).square().sum() / 2, leaves)

    budgets = rounding_budget(by_autograd, (x, target, *weights), torch.float64)
    for backward in (back_sigmoid_mlp, back_sigmoid_mlp_layers):
        for budget, grad in zip(budgets, backward(x, tuple(weights), target)[1], strict=True):
            assert budget.ratio(grad) <= 1


@case("D13-deltas")
def test_a_weights_gradient_is_its_input_times_the_delta_that_it_leads_to(row, seed):
    x, target, w1, w2 = drawn(seed, (1, 5), (1, 3), (5, 4), (4, 3))
    h = torch.sigmoid(x @ w1)
    o = torch.sigmoid(h @ w2)

    def deltas(x, h, o, target, w2):
        delta2 = (o - target) * o * (1 - o)
        delta1 = h * (1 - h) * (w2 * delta2).sum(1)
        return torch.outer(x[0], delta1[0]), torch.outer(h[0], delta2[0])

    budgets = rounding_budget(deltas, (x, h, o, target, w2), x.dtype)
    for budget, grad in zip(budgets, back_sigmoid_mlp(x, (w1, w2), target)[1], strict=True):
        assert budget.ratio(grad) <= 1
