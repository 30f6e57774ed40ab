"""The articles' small networks: what they print, and what is exact about them."""

import inspect
from itertools import pairwise

import pytest
import torch

from manual_backprop import (
    back_chain,
    back_classifier,
    back_computational_graph,
    back_linear_regression,
    back_perceptron,
    back_scalar_net,
    back_sigmoid_mlp,
    chain,
    chain_edges,
    classifier,
    computational_graph,
    computational_graph_edges,
    perceptron,
    rounding_budget,
    scalar_net,
    scalar_net_units,
    verify,
)
from manual_backprop.data import article_numbers
from manual_backprop.networks.classifier import classifier_layers
from manual_backprop.registry import OPS
from tests.printed import assert_printed


@pytest.fixture
def article():
    return article_numbers()


def f64(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def drawn(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_a1_perceptron_with_one_output_has_the_gradient_of_the_formula(article, seed):
    row = article["A1"]
    x, w = drawn(seed, row["shapes"]["x"], row["shapes"]["w"])
    target = torch.full(row["shapes"]["o"], float(row["inputs"]["target"]), dtype=torch.float64)
    o = torch.sigmoid(x @ w.T)
    _, grad_w = back_perceptron(x, w, target)
    (budget,) = rounding_budget(
        lambda x, o, t: 2 * (o - t) * o * (1 - o) * x, (x, o, target), torch.float64
    )
    assert [*perceptron(x, w, target).shape] == row["shapes"]["loss"]
    assert budget.ratio(grad_w) <= 1


def test_a2_perceptron_with_two_outputs(article):
    row = article["A2"]
    x, o = f64([row["computed"]["x"]]), f64(row["computed"]["o"])
    w = torch.outer(o.logit(), x[0]) / x.square().sum()
    target = torch.full((1, 2), float(row["inputs"]["target"]), dtype=torch.float64)
    assert_printed(row, "loss", perceptron(x, w, target))
    assert_printed(row, "gradient", back_perceptron(x, w, target)[1])


def test_a3_every_edge_of_the_chain_has_its_local_derivative(article):
    row = article["A3"]
    x, w1, b1, w2, b2 = f64([row["expected"]["at_once"], 0.5, -0.25, 1.0, 2.0])
    edge = chain_edges(x, w1, b1, w2)
    y1 = x * w1 + b1
    parts = torch.autograd.functional.jacobian(lambda *a: a[0] * a[1] + a[2], (x, w1, b1))
    assert [edge["y1/x"], edge["y1/w1"], edge["y1/b1"]] == list(parts)
    parts = torch.autograd.functional.jacobian(lambda *a: a[0] * a[1] + a[2], (y1, w2, b2))
    assert [edge["y2/y1"], edge["y2/w2"], edge["y2/b2"]] == list(parts)
    assert_printed(row, "by_chain", edge["y2/y1"] * edge["y1/w1"])
    assert_printed(row, "at_once", back_chain(x, w1, b1, w2, torch.ones_like(x))[1])


def test_a4_a_small_step_against_the_gradient_lowers_the_loss(seed):
    x, w, target = drawn(seed, (3, 7), (5, 7), (3, 5))
    _, grad_w = back_perceptron(x, w, target)
    assert perceptron(x, w - 1e-3 * grad_w, target) < perceptron(x, w, target)


def test_b1_computational_graph(article, seed):
    row = article["B1"]
    a, b, c = drawn(seed, *(row["shapes"][name] for name in "abc"))
    assert computational_graph(a, b, c) == 3 * (a + b * c)
    grads = back_computational_graph(b, c, torch.ones_like(a))
    assert list(grads) == [f64(3), 3 * c, 3 * b]
    edge = computational_graph_edges(b, c)
    assert edge["J/u"] * edge["u/a"] == grads[0]
    assert edge["J/u"] * edge["u/v"] * edge["v/b"] == grads[1]
    assert edge["J/u"] * edge["u/v"] * edge["v/c"] == grads[2]


def test_b6_gradient_descent_on_a_line_follows_the_exact_law(article, seed):
    row = article["B6"]
    given, generator = row["inputs"], torch.Generator().manual_seed(seed)
    x = torch.rand(row["shapes"]["x"], generator=generator, dtype=torch.float64)
    best = f64([float(given["w"]), float(given["b"])])
    target = best[0] * x + best[1]
    point = torch.zeros(2, dtype=torch.float64)
    for _ in range(given["steps"]):
        _, *grads = back_linear_regression(x, *point, target)
        point = point - given["lr"] * torch.stack(grads)

    one = torch.ones_like(x)
    hessian = 2 * torch.stack([x, one]) @ torch.stack([x, one]).T / len(x)
    step = torch.eye(2, dtype=torch.float64) - given["lr"] * hessian
    error = torch.linalg.matrix_power(step, given["steps"]) @ -best
    eps = torch.finfo(torch.float64).eps  # each step rounds once, and no step enlarges an error
    assert ((point - best - error).abs() <= given["steps"] * eps * best.abs().max()).all()
    low, high = row["expected"]["w_short_by"]
    assert low <= best[0] - point[0] <= high


def test_d10_modules_with_the_same_weights_have_the_same_gradients(article, seed):
    shapes = article["D9"]["shapes"]
    names = ("w1", "b1", "w2", "b2", "w3", "b3")
    x, *params = drawn(seed, (7, shapes["x"][1]), *(shapes[name] for name in names))
    params = [p / max(p.shape) ** 0.5 for p in params]
    target = torch.arange(7) % shapes["w3"][0]
    linears = [torch.nn.Linear(*shapes[f"w{k}"][::-1], dtype=torch.float64) for k in (1, 2, 3)]
    in_place = torch.nn.ReLU(inplace=True)
    model = torch.nn.Sequential(linears[0], in_place, linears[1], in_place, linears[2])
    with torch.no_grad():
        for own, given in zip(model.parameters(), params, strict=True):
            own.copy_(given)
    loss = torch.nn.functional.cross_entropy(model(x), target)
    loss.backward()

    h1, h2, logits = classifier_layers(x[:1], *params)
    printed = article["D10"]["shapes"]
    assert [[*t.shape] for t in (h1, h2, logits)] == [printed[f"layer{k}"] for k in (1, 2, 3)]
    oracle = OPS["classifier"].oracle

    def by_oracle(x, *rest):
        leaves = [t.detach().requires_grad_() for t in rest[:6]]
        value = oracle(x, *leaves, rest[6])
        return value.detach(), *torch.autograd.grad(value, leaves)

    budgets = rounding_budget(by_oracle, (x, *params, target), torch.float64)
    _, *grads = back_classifier(x, *params, target)
    for budget, hand, module in zip(
        budgets,
        (classifier(x, *params, target), *grads),
        (loss, *(p.grad for p in model.parameters())),
        strict=True,
    ):
        assert budget.ratio(hand) <= 1
        assert budget.ratio(module) <= 1


def test_d11_with_several_outputs_the_gradient_is_of_rank_one(article, seed):
    row = article["D11"]
    x, w, target = drawn(seed, row["shapes"]["x"], row["shapes"]["w_several"], (1, 2))
    _, grad_w = back_perceptron(x, w, target)
    assert torch.linalg.matrix_rank(grad_w) == row["expected"]["rank"]


@pytest.mark.parametrize("widths", [(4, 3), (5, 4, 3, 2), (2, 3, 2, 3, 2, 3)], ids=str)
def test_d13_the_delta_recursion_is_right_at_any_depth(widths, seed):
    x, target, *weights = drawn(seed, (3, widths[0]), (3, widths[-1]), *pairwise(widths))
    (grads,) = back_sigmoid_mlp(x, tuple(weights), target)[1:]

    def by_autograd(x, target, *weights):
        leaves = [w.detach().requires_grad_() for w in weights]
        out = x
        for w in leaves:
            out = torch.sigmoid(out @ w)
        return torch.autograd.grad((out - target).square().sum() / 2, leaves)

    budgets = rounding_budget(by_autograd, (x, target, *weights), torch.float64)
    for budget, grad in zip(budgets, grads, strict=True):
        assert budget.ratio(grad) <= 1


def plain(row):
    """x1, x2, y1, y2, w1 to w8 as plain numbers."""
    return (*row["inputs"]["x"], *row["inputs"]["y"], *row["inputs"]["w"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("E1", {}),
        ("E4", {"activation": "relu"}),
        ("E6", {"loss": "cross-entropy"}),
    ],
)
@pytest.mark.parametrize("kind", ["numbers", "tensors"])
def test_e_by_plain_numbers_and_by_tensors(article, name, options, kind):
    row = article[name]
    given = plain(row) if kind == "numbers" else [f64(number) for number in plain(row)]
    activation = {"activation": options.get("activation", "sigmoid")}
    if "o" in row["expected"]:
        units = scalar_net_units(*given[:2], *given[4:], **activation)
        assert_printed(row, "o", f64([float(o) for o in units[2:]]))
    assert_printed(row, "loss", scalar_net(*given, **options))
    grads = [float(grad) for grad in back_scalar_net(*given, **options)[2:]]
    assert_printed(row, "gradients", f64(grads))


def test_e1_one_step_of_size_1(article):
    row = article["E1"]
    grads = back_scalar_net(*plain(row))[2:]
    moved = [
        w - row["inputs"]["lr"] * grad for w, grad in zip(row["inputs"]["w"], grads, strict=True)
    ]
    assert_printed(row, "w_after_one_step", f64(moved))


def test_e2_a_hidden_weight_built_from_the_wrong_output_terms_is_found():
    def back_scalar_net_e2(x1, x2, y1, y2, w1, w2, w3, w4, w5, w6, w7, w8, grad_out):
        given = (x1, x2, y1, y2, w1, w2, w3, w4, w5, w6, w7, w8)
        grads = list(back_scalar_net(*given, grad_out))
        h1, _, o1, o2 = scalar_net_units(x1, x2, *given[4:])
        d3, d4 = (o1 - y1) * o1 * (1 - o1), (o2 - y2) * o2 * (1 - o2)
        grads[2] = grad_out * (d3 * w5 + d4 * w7) * h1 * (1 - h1) * x1  # w7 leads from h2
        return tuple(grads)

    op, sample = OPS["scalar_net"], "sigmoid, half-sum"
    verdict = verify(op, back_scalar_net_e2, samples=[sample], dtypes=torch.float64)
    assert {finding.gradient for finding in verdict.findings} == {"grad_w1"}


def test_e5_the_mean_of_two_is_half_their_sum(article):
    given = plain(article["E1"])
    assert scalar_net(*given, loss="mean") == scalar_net(*given, loss="half-sum")
    assert back_scalar_net(*given, loss="mean") == back_scalar_net(*given, loss="half-sum")


def test_e7_the_loss_of_the_thousandth_iteration_for_four_step_sizes(article):
    row = article["E7"]
    *data, _, _, _, _, _, _, _, _ = plain(article["E1"])
    losses = []
    for lr in row["inputs"]["lr"]:
        w = article["E1"]["inputs"]["w"]
        for _ in range(row["inputs"]["updates"]):
            grads = back_scalar_net(*data, *w)[2:]
            w = [one - lr * grad for one, grad in zip(w, grads, strict=True)]
        losses.append(scalar_net(*data, *w))
    assert_printed(row, "loss", f64(losses))
    assert all(loss > row["expected"]["bound"] for loss in losses)


def test_no_other_activation_or_loss(article):
    """Underneath the checks that only tests have."""
    x1, x2, _, _, *w = given = plain(article["E1"])
    with pytest.raises(ValueError, match="no activation 'tanh'; there are sigmoid, relu"):
        inspect.unwrap(scalar_net_units)(x1, x2, *w, activation="tanh")
    with pytest.raises(ValueError, match="no loss 'sum'; there are half-sum, mean, cross-entropy"):
        inspect.unwrap(scalar_net)(*given, loss="sum")


def test_chain_of_numbers_is_the_formula(seed):
    x, w1, b1, w2, b2 = drawn(seed, *[()] * 5)
    assert chain(x, w1, b1, w2, b2) == (x * w1 + b1) * w2 + b2
