"""Article E: one small network in plain numbers, by operators and with autograd, and its losses."""

import inspect
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import back_scalar_net, rounding_budget, scalar_net, scalar_net_units, verify
from manual_backprop.ops.cross_entropy_soft import back_cross_entropy_soft, cross_entropy_soft
from manual_backprop.ops.lin import back_lin, lin
from manual_backprop.ops.mse import back_mse, mse
from manual_backprop.ops.relu import back_relu, relu
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid
from manual_backprop.ops.softmax import softmax
from manual_backprop.registry import OPS
from tests.articles.case import Row, case, drawn, f64, inputs
from tests.printed import assert_printed


def by_names(kind, given, activation, loss):
    """Outputs, loss and the gradients of w1 to w8, each number of that kind."""
    numbers = [kind(number) for number in (*given["x"], *given["y"], *given["w"])]
    *_, o1, o2 = scalar_net_units(*numbers[:2], *numbers[4:], activation=activation)
    grads = back_scalar_net(*numbers, activation=activation, loss=loss)[2:]
    assert all(type(got) is type(numbers[0]) for got in (o1, o2, *grads))
    return f64([o1, o2]), scalar_net(*numbers, activation=activation, loss=loss), f64(grads)


def by_numbers(*asked):
    """The same of plain numbers."""
    return by_names(float, *asked)


def by_tensors(*asked):
    """The same of tensors without axes."""
    return by_names(f64, *asked)


def by_operators(given, activation, loss):
    """The same by the operators' own backwards, one behind the other."""
    x, y, w = (f64(given[name]) for name in "xyw")
    w_in, w_out = w.reshape(2, 2, 2)
    none = torch.zeros(2, dtype=torch.float64)
    f = {"sigmoid": sigmoid, "relu": relu}[activation]

    def back_f(z, out, grad_out):
        return back_sigmoid(out, grad_out) if activation == "sigmoid" else back_relu(z, grad_out)

    z_h = lin(x, w_in, none)
    h = f(z_h)
    z_o = lin(h, w_out, none)
    o = f(z_o)
    if loss == "cross-entropy":
        value = cross_entropy_soft(o[None], y[None])
        grad_o = back_cross_entropy_soft(o[None], y[None])[0][0]
    else:  # mse compares a column with its targets; its mean over two is one half of their sum
        value, grad_o = mse(o[:, None], y), back_mse(o[:, None], y)[:, 0]
    grad_h, grad_w_out, _ = back_lin(h, w_out, back_f(z_o, o, grad_o))
    _, grad_w_in, _ = back_lin(x, w_in, back_f(z_h, h, grad_h))
    return o, value, torch.cat([grad_w_in, grad_w_out]).flatten()


def by_autograd(given, activation, loss):
    """The same by torch alone."""
    x, y, w = (f64(given[name]) for name in "xyw")
    w.requires_grad_()
    f = getattr(torch, activation)
    o = f(f(x @ w[:4].reshape(2, 2)) @ w[4:].reshape(2, 2))
    value = {
        "half-sum": lambda: (o - y).square().sum() / 2,
        "mean": lambda: F.mse_loss(o, y),
        "cross-entropy": lambda: F.cross_entropy(o, y),
    }[loss]()
    return o.detach(), value.detach(), torch.autograd.grad(value, w)[0]


every_way = pytest.mark.parametrize("way", [by_numbers, by_tensors, by_operators, by_autograd])


@every_way
@case("E1-outputs", "o")
def test_the_outputs_of_two_sigmoids(row, way):
    assert_printed(row, "o", way(row["inputs"], "sigmoid", "half-sum")[0])


@every_way
@case("E1-loss", "loss")
def test_half_the_sum_of_the_squares(row, way):
    assert_printed(row, "loss", way(row["inputs"], "sigmoid", "half-sum")[1])


@every_way
@case("E1-gradients", "gradients")
def test_the_gradients_of_eight_weights(row, way):
    assert_printed(row, "gradients", way(row["inputs"], "sigmoid", "half-sum")[2])


@every_way
@case("E1-one-step", "w_after_one_step")
def test_the_weights_after_one_step_of_size_1(row, way):
    grads = way(row["inputs"], "sigmoid", "half-sum")[2]
    moved = f64(row["inputs"]["w"]) - row["inputs"]["lr"] * grads
    assert_printed(row, "w_after_one_step", moved)


@case("E1-graph-is-dynamic")
def test_each_call_records_a_graph_of_its_own(row):
    def halved_until_small(x):
        """As often as the number asks for: no graph that is made before it is seen can know."""
        times = 0
        while x.detach().abs() > 1:
            x, times = x / 2, times + 1
        return x, times

    def length(node):
        """Of the chain of divisions: a leaf has no node."""
        behind = node.next_functions if node else ()
        return 1 + length(behind[0][0]) if behind else 0

    lengths = []
    for start in (0.5, 3.0, 100.0):
        x = f64(start).requires_grad_()
        out, times = halved_until_small(x)
        out.backward()
        assert x.grad == 2.0**-times
        lengths.append(length(out.grad_fn))
    assert lengths[0] < lengths[1] < lengths[2]


@case("E2-wrong-output-terms")
def test_a_hidden_weight_built_from_the_wrong_output_terms_is_found_and_named(row):
    def back_scalar_net_e2(x1, x2, y1, y2, w1, w2, w3, w4, w5, w6, w7, w8, grad_out):
        given = (x1, x2, y1, y2, w1, w2, w3, w4, w5, w6, w7, w8)
        grads = list(back_scalar_net(*given, grad_out))
        h1, _, o1, o2 = scalar_net_units(x1, x2, *given[4:])
        d3, d4 = (o1 - y1) * o1 * (1 - o1), (o2 - y2) * o2 * (1 - o2)
        grads[2] = grad_out * (d3 * w5 + d4 * w7) * h1 * (1 - h1) * x1  # w7 leads from h2
        return tuple(grads)

    judged = partial(
        verify,
        OPS["scalar_net"],
        samples=["sigmoid, half-sum"],
        dtypes=torch.float64,
        parts=["values"],
    )
    assert {finding.gradient for finding in judged(back_scalar_net_e2).findings} == {"grad_w1"}
    assert judged(back_scalar_net).ok


@case("E2-formula")
def test_the_right_gradient_of_that_weight_has_both_output_terms(row):
    given = inputs("E1")
    (x1, x2), (y1, y2), w = given["x"], given["y"], given["w"]
    h1, _, o1, o2 = scalar_net_units(x1, x2, *w)
    (budget,) = rounding_budget(
        lambda h1, o1, o2: (
            ((o1 - y1) * o1 * (1 - o1) * w[4] + (o2 - y2) * o2 * (1 - o2) * w[5])
            * h1 * (1 - h1) * x1
        ),
        [f64(unit) for unit in (h1, o1, o2)],
        torch.float64,
    )  # fmt: skip
    assert budget.ratio(f64(back_scalar_net(x1, x2, y1, y2, *w)[2])) <= 1


@case("E3-sigmoid")
def test_the_sigmoid_written_by_hand_is_pytorchs(row, dtype):
    x = torch.linspace(-20, 20, 101, dtype=dtype)
    (budget,) = rounding_budget(torch.sigmoid, (x,), dtype)
    assert budget.ratio(sigmoid(x)) <= 1
    assert budget.ratio(torch.sigmoid(x)) <= 1


@every_way
@case("E4-outputs", "o")
def test_the_outputs_of_two_relus(row, way):
    assert_printed(row, "o", way(row["inputs"], "relu", "half-sum")[0])


@every_way
@case("E4-loss", "loss")
def test_the_loss_with_relu(row, way):
    assert_printed(row, "loss", way(row["inputs"], "relu", "half-sum")[1])


@every_way
@case("E4-gradients", "gradients")
def test_the_gradients_with_relu(row, way):
    assert_printed(row, "gradients", way(row["inputs"], "relu", "half-sum")[2])


@every_way
@case("E4-dead-units")
def test_what_leads_to_or_from_a_dead_unit_has_gradient_0(row, way):
    given = row["inputs"]
    h1, h2, o1, o2 = scalar_net_units(*given["x"], *given["w"], activation="relu")
    assert [unit > 0 for unit in (h1, h2, o1, o2)] == [True, False, True, False]
    grads = way(given, "relu", "half-sum")[2]
    assert grads.ne(0).tolist() == [True, False, True, False, True, False, False, False]


@every_way
@case("E5-mean-is-half-the-sum")
def test_the_mean_of_two_is_half_their_sum(row, way):
    e1 = Row("E1")
    found = way(e1["inputs"], "sigmoid", "mean")
    for name, got in zip(("o", "loss", "gradients"), found, strict=True):
        assert_printed(e1, name, got)


@every_way
@case("E6-loss", "loss")
def test_the_loss_with_class_probabilities(row, way):
    assert_printed(row, "loss", way(row["inputs"], "sigmoid", "cross-entropy")[1])


@every_way
@case("E6-gradients", "gradients")
def test_the_gradients_with_class_probabilities(row, way):
    assert_printed(row, "gradients", way(row["inputs"], "sigmoid", "cross-entropy")[2])


def back_textbook(logits, target, grad_out=1.0):
    _, grad_target = back_cross_entropy_soft(logits, target, grad_out)
    return grad_out / max(len(logits), 1) * (softmax(logits) - target), grad_target


@case("E6-targets-do-not-sum-to-1", "sum_of_targets")
def test_softmax_less_y_is_wrong_where_y_does_not_sum_to_1(row):
    y = f64([row["inputs"]["y"]])
    assert_printed(row, "sum_of_targets", y.sum())
    o = f64([[0.5, 0.25]])
    (true,) = rounding_budget(lambda o, y: y.sum() * o.softmax(-1) - y, (o, y), o.dtype)
    assert true.ratio(back_cross_entropy_soft(o, y)[0]) <= 1
    assert true.ratio(back_textbook(o, y)[0]) > 1

    judged = partial(verify, OPS["cross_entropy_soft"], back_textbook, dtypes=torch.float64)
    assert judged(samples=["probabilities"]).ok
    any_numbers = judged(samples=["any numbers"])
    assert {finding.gradient for finding in any_numbers.findings} == {"grad_logits"}


@case("E6-unbounded-below")
def test_with_a_negative_target_the_loss_has_no_lower_bound(row):
    y = f64([row["inputs"]["y"]])
    logits = f64([[0.0, -1.0]])
    losses = [float(cross_entropy_soft(size * logits, y)) for size in (1, 100, 10_000)]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < -100


@case("E6-squashed-twice")
def test_behind_a_sigmoid_no_weights_can_make_a_class_certain(row, seed):
    (w,) = drawn(seed, (100, 8))
    x1, x2 = row["inputs"]["x"]
    units = scalar_net_units(*(torch.full((100,), x, dtype=w.dtype) for x in (x1, x2)), *1e3 * w.T)
    o = torch.stack(units[2:], 1)
    least, most = 1 / (1 + torch.e), torch.e / (1 + torch.e)
    (bounds,) = rounding_budget(lambda o: o.clone(), (f64([least, most]),), o.dtype)
    p = softmax(o)
    ends = torch.stack([p.min(), p.max()])
    assert bounds.ratio(ends) <= 1  # reached where one output is 1 and the other 0
    assert softmax(torch.logit(o.clamp(1e-6, 1 - 1e-6))).max() > 1 - 1e-3  # squashed once


@case("E7-loss-after-999-updates", "loss")
def test_the_loss_of_the_thousandth_iteration_for_four_step_sizes(row):
    given, losses = inputs("E1"), []
    for lr in row["inputs"]["lr"]:
        w = given["w"]
        for _ in range(row["inputs"]["updates"]):
            grads = back_scalar_net(*given["x"], *given["y"], *w)[2:]
            w = [one - lr * grad for one, grad in zip(w, grads, strict=True)]
        losses.append(scalar_net(*given["x"], *given["y"], *w))
    assert_printed(row, "loss", f64(losses))
    assert all(loss > row["expected"]["bound"] for loss in losses)


@case("E7-bound", "bound")
def test_a_sigmoid_cannot_reach_a_negative_target(row, seed):
    given = inputs("E1")
    _, below = given["y"]
    assert below < 0
    bound = below**2 / 2
    assert_printed(row, "bound", bound)
    (w,) = drawn(seed, (100, 8))
    data = [torch.full((100,), number, dtype=w.dtype) for number in (*given["x"], *given["y"])]
    assert (scalar_net(*data, *10 * w.T) >= bound).all()


def test_no_other_activation_or_loss():
    """Underneath the checks that only tests have."""
    given = inputs("E1")
    with pytest.raises(ValueError, match="no activation 'tanh'; there are sigmoid, relu"):
        inspect.unwrap(scalar_net_units)(*given["x"], *given["w"], activation="tanh")
    with pytest.raises(ValueError, match="no loss 'sum'; there are half-sum, mean, cross-entropy"):
        inspect.unwrap(scalar_net)(*given["x"], *given["y"], *given["w"], loss="sum")
