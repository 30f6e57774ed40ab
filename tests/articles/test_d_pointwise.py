"""Article D: activations, softmax and the common functions."""

import math

import pytest
import torch

from manual_backprop import OPS, rounding_budget
from manual_backprop.ops.arcsin import back_arcsin
from manual_backprop.ops.relu import relu
from manual_backprop.ops.sigmoid import back_sigmoid, back_sigmoid_from_x, sigmoid
from manual_backprop.ops.softmax import (
    back_softmax,
    back_softmax_jacobian,
    softmax,
    softmax_jacobian,
)
from manual_backprop.ops.tanh import back_tanh, back_tanh_from_x, tanh
from tests.articles.case import case, drawn, f64
from tests.printed import assert_printed, rounding_of


def line(row):
    given = row["inputs"]
    dtype = getattr(torch, given["dtype"])
    return torch.linspace(given["from"], given["to"], given["count"], dtype=dtype)


@case("D1-sigmoid", "sigmoid")
def test_sigmoid_of_ten_numbers(row):
    out = sigmoid(line(row))
    assert_printed(row, "sigmoid", torch.cat([torch.zeros(1), out[1:]]))
    assert_printed(row, "sigmoid", torch.cat([torch.zeros(1), torch.sigmoid(line(row))[1:]]))


@case("D1-first-is-not-0", "first")
def test_the_first_of_them_is_subnormal_and_some_kernels_give_0(row):
    first = line(row)[0]
    assert_printed(row, "first", sigmoid(first.double()).float())
    for got in (sigmoid(first), torch.sigmoid(first)):
        assert 0 <= got < torch.finfo(first.dtype).tiny


@case("D1-derivative")
def test_the_slope_of_sigmoid_is_s_times_what_it_lacks_of_1(row):
    x = line(row)
    s, one = sigmoid(x), torch.ones_like(x)
    (true,) = rounding_budget(lambda x: x.sigmoid() * (-x).sigmoid(), (x,), x.dtype)
    (formula,) = rounding_budget(lambda s: s * (1 - s), (s,), x.dtype)
    assert true.ratio(back_sigmoid_from_x(x, one)) <= 1
    assert formula.ratio(back_sigmoid(s, one)) <= 1


@case("D1-vanishing-gradient")
def test_through_each_sigmoid_at_most_a_quarter_of_the_gradient_passes(row, seed):
    assert back_sigmoid(sigmoid(f64(0.0)), f64(1.0)) == 1 / 4
    (x,) = drawn(seed, (101,))
    outs = [x]
    for _ in range(10):
        outs.append(sigmoid(outs[-1]))
    grad = torch.ones_like(x)
    for out in reversed(outs[1:]):
        passed = back_sigmoid(out, grad)
        assert (passed <= grad / 4).all()
        assert (passed > 0).all()
        grad = passed
    assert grad.max() <= 4.0**-10


@case("D1-step-has-no-derivative")
def test_the_step_is_flat_and_then_jumps(row):
    x = line(row).requires_grad_()
    step = (x > 0).to(x.dtype)
    assert step.unique().tolist() == [0, 1]
    assert not step.requires_grad  # there is nothing that autograd could pass back
    h = torch.exp2(-torch.arange(20.0))
    elsewhere = ((x.detach() + h[:, None] > 0).float() - step) / h[:, None]
    assert not elsewhere.any()
    at_0 = ((h > 0).float() - (-h > 0).float()) / (2 * h)
    assert (at_0.diff() > 0).all()
    assert at_0.equal(1 / (2 * h))  # and no bound to it


@case("D2-tanh", "tanh")
def test_tanh_of_ten_numbers(row):
    assert_printed(row, "tanh", tanh(line(row)))
    assert_printed(row, "tanh", torch.tanh(line(row)))


@case("D2-derivative")
def test_the_slope_of_tanh_is_what_its_square_lacks_of_1(row):
    x = line(row)
    t, one = tanh(x), torch.ones_like(x)
    (true,) = rounding_budget(lambda x: x.cosh().pow(-2), (x,), x.dtype)
    (formula,) = rounding_budget(lambda t: 1 - t * t, (t,), x.dtype)
    assert true.ratio(back_tanh_from_x(x, one)) <= 1
    assert formula.ratio(back_tanh(t, one)) <= 1


@case("D3-relu", "relu")
def test_relu_of_ten_numbers(row):
    assert_printed(row, "relu", relu(line(row)))
    assert_printed(row, "relu", torch.relu(line(row)))


def jacobian(row):
    return softmax_jacobian(softmax(f64(row["inputs"]["p"]).log()))


@case("D4-d-p1", "d_p1")
def test_the_second_row_of_the_jacobian(row):
    assert_printed(row, "d_p1", jacobian(row)[1])
    p, unit = softmax(f64(row["inputs"]["p"]).log()), f64([0.0, 1, 0])
    for backward in (back_softmax, back_softmax_jacobian):
        assert_printed(row, "d_p1", backward(p, unit))


@case("D4-d-p2", "d_p2")
def test_the_third_row_of_the_jacobian(row):
    assert_printed(row, "d_p2", jacobian(row)[2])
    p, unit = softmax(f64(row["inputs"]["p"]).log()), f64([0.0, 0, 1])
    for backward in (back_softmax, back_softmax_jacobian):
        assert_printed(row, "d_p2", backward(p, unit))


@case("D4-form")
def test_the_jacobian_is_symmetric_and_positive_on_its_diagonal_alone(row, seed):
    (x,) = drawn(seed, row["shapes"]["p"])
    found = softmax_jacobian(softmax(x))
    (true,) = rounding_budget(
        lambda x: torch.autograd.functional.jacobian(lambda x: x.softmax(-1), x), (x,), x.dtype
    )
    assert [*found.shape] == row["shapes"]["J"]
    assert true.ratio(found) <= 1
    assert found.equal(found.T)
    assert found.sign().equal(2 * torch.eye(3, dtype=torch.float64) - 1)


@case("D4-printed-rows-are-of-a-jacobian")
def test_what_is_printed_is_such_a_jacobian(row):
    first, second = f64(row["expected"]["d_p1"]), f64(row["expected"]["d_p2"])
    for printed, name in ((first, "d_p1"), (second, "d_p2")):
        assert abs(printed.sum()) <= 3 * rounding_of(0, **row["digits"][name])
    assert first[2] == second[1]
    assert first.sign().tolist() == [-1, 1, -1]
    assert second.sign().tolist() == [-1, -1, 1]


KNOWN = {  # x, y, slope at x
    "power": (2.0, 8.0, 12.0),
    "sqrt": (4.0, 2.0, 1 / 4),
    "exp": (1.0, math.e, math.e),
    "exp_base": (3.0, 8.0, 8 * math.log(2)),
    "log": (math.e, 1.0, 1 / math.e),
    "log_base": (100.0, 2.0, 1 / (100 * math.log(10))),
    "sin": (math.pi / 6, 1 / 2, math.sqrt(3) / 2),
    "cos": (math.pi / 6, math.sqrt(3) / 2, -1 / 2),
    "tan": (math.pi / 4, 1.0, 2.0),
    "arcsin": (1 / 2, math.pi / 6, 2 / math.sqrt(3)),
    "arccos": (1 / 2, math.pi / 3, -2 / math.sqrt(3)),
    "arctan": (1.0, math.pi / 4, 1 / 2),
}


@pytest.mark.parametrize("name", KNOWN)
@case("D17-known-slope")
def test_a_known_value_and_slope_of_each_function(row, name):
    op, (at, value, slope) = OPS[name], KNOWN[name]
    assert any(code.endswith(f".back_{name}") for code in row["code"])
    x = f64(at)
    given = {"x": x, "out": op.forward(x), "grad_out": f64(1.0)}
    out, grad = rounding_budget(lambda y, g: (y.clone(), g.clone()), f64([value, slope]), x.dtype)
    assert out.ratio(given["out"]) <= 1
    for backward in op.backwards:
        names = [*op.saves(backward), "grad_out"]
        got = backward(*(given[name].clone() for name in names))
        assert grad.ratio(got) <= 1, backward.__name__


@case("D17-arcsin-near-1")
def test_arcsin_keeps_the_digits_near_1_that_a_square_loses(row):
    x = (1 - torch.exp2(-torch.arange(2.0, 24.0))).requires_grad_()
    (pytorchs,) = torch.autograd.grad(x.arcsin(), x, torch.ones_like(x))
    wide = x.detach().double()
    right = ((1 - wide) * (1 + wide)).rsqrt()
    ours = back_arcsin(x.detach(), torch.ones_like(right, dtype=torch.float32))
    off = [((grad.double() - right) / right).abs().max() for grad in (ours, pytorchs)]
    assert off[0] < off[1]


@pytest.mark.parametrize("x", [0.0, 2.0])
@case("D17-constant-power")
def test_a_constant_power_has_slope_0(row, x):
    power = OPS["power"]
    for backward in power.backwards:
        assert backward(f64(x), f64(3.0), a=0.0) == 0
