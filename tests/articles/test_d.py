"""Article D: the norm, entropy, Himmelblau's function and the common functions."""

import math

import pytest
import torch

from manual_backprop import OPS, rounding_budget
from manual_backprop.data import article_numbers
from manual_backprop.ops.arcsin import back_arcsin
from manual_backprop.ops.entropy import entropy
from manual_backprop.ops.himmelblau import back_himmelblau, himmelblau
from manual_backprop.ops.mse import mse
from manual_backprop.ops.norm import back_norm, norm
from tests.printed import assert_printed, half_unit


@pytest.fixture
def article():
    return article_numbers()


def f64(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_d5_the_mean_squared_error_is_not_the_norm():
    pred, target = f64([[2.0], [-1.0], [5.0], [0.0]]), f64([1.0, 1.0, 1.0, 1.0])
    loss, length = mse(pred, target), norm(pred.squeeze(-1) - target)
    (budget,) = rounding_budget(
        lambda pred, target: (pred.squeeze(-1) - target).square().sum(), (pred, target), pred.dtype
    )
    assert loss != length
    assert budget.ratio(length.square()) <= 1
    assert budget.ratio(len(target) * loss) <= 1


def test_d5_the_gradient_of_the_norm_is_the_direction():
    r = f64([3.0, -4.0])
    length = norm(r)
    assert length == 5
    (budget,) = rounding_budget(lambda r: r / 5, (r,), r.dtype)
    assert budget.ratio(back_norm(r, length, f64(1.0))) <= 1


def test_d5_the_norm_has_gradient_0_at_0_where_its_parts_in_turn_have_nan():
    r = torch.zeros(3, requires_grad=True)
    (in_turn,) = torch.autograd.grad(r.square().sum().sqrt(), r)
    (pytorchs,) = torch.autograd.grad(torch.linalg.vector_norm(r), r)
    r = r.detach()
    assert in_turn.isnan().all()
    assert back_norm(r, norm(r), torch.ones(())).equal(pytorchs)


def test_d5_the_norm_of_large_numbers_does_not_overflow():
    r = torch.full((4,), 1e30)
    assert r.square().sum().sqrt().isinf()
    (budget,) = rounding_budget(torch.linalg.vector_norm, (r,), torch.float32)
    assert budget.ratio(norm(r)) <= 1


def test_d5_an_integer_fill_cannot_require_grad(article):
    whole = torch.full((1,), article["D5"]["inputs"]["w"])
    with pytest.raises(RuntimeError, match="floating point"):
        whole.requires_grad_()
    assert torch.full((1,), float(whole)).requires_grad_().requires_grad


def test_d6_entropy_in_bits(article):
    row = article["D6"]
    for name, p in row["inputs"].items():
        assert_printed(row, name, entropy(f64(p)))


def test_d6_numbers_that_sum_to_1_have_another_entropy(article):
    row = article["D6"]
    p = f64([*row["inputs"]["one_almost_certain"][:3], 0.997])
    right = row["computed"]["one_almost_certain_with_0.997"]
    assert abs(entropy(p) - right) <= half_unit(right, decimals=4)


def test_d6_large_entropy_is_much_surprise(article):
    p = {name: f64(numbers) for name, numbers in article["D6"]["inputs"].items()}
    bits = {name: float(entropy(numbers)) for name, numbers in p.items()}
    assert bits["equal"] > bits["one_likely"] > bits["one_almost_certain"]
    rarest = {name: float(-numbers.min().log2()) for name, numbers in p.items()}
    for name, numbers in p.items():
        assert bits[name] < rarest[name] or numbers.eq(numbers[0]).all()


def test_d14_the_gradient_is_the_articles(article):
    x, y = f64([0.0, 1.5, -3.0]), f64([0.0, -2.5, 4.0])
    u, v = x * x + y - 11, x + y * y - 7
    grads = back_himmelblau(x, y, torch.ones_like(x))
    allowed = rounding_budget(
        lambda x, y, u, v: (4 * x * u + 2 * v, 2 * u + 4 * y * v), (x, y, u, v), x.dtype
    )
    for grad, budget in zip(grads, allowed, strict=True):
        assert budget.ratio(grad) <= 1


def test_d14_the_gradient_is_0_at_the_four_minima_to_the_digits_printed(article):
    row = article["D14"]
    minima = f64(row["expected"]["minima"])
    unit = 2 * half_unit(0, **row["digits"]["minima"])  # 3.1313125 is printed cut off, not rounded
    x, y = minima.T
    grads = torch.stack(back_himmelblau(x, y, torch.ones_like(x)))
    for i, (a, b) in enumerate(minima):
        hessian = torch.autograd.functional.hessian(himmelblau, (a, b))
        bends = f64([[float(entry) for entry in line] for line in hessian]).abs().sum(1)
        assert (grads[:, i].abs() <= unit * bends).all()
        assert torch.linalg.eigvalsh(f64([[float(e) for e in line] for line in hessian])).min() > 0
    reached = f64([float(n) for n in row["expected"]["reached"]])
    assert himmelblau(*reached) == row["expected"]["value"]


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
def test_d17_a_known_value_and_slope_of_each_function(name):
    op, (at, value, slope) = OPS[name], KNOWN[name]
    x = f64(at)
    given = {"x": x, "out": op.forward(x), "grad_out": f64(1.0)}
    out, grad = rounding_budget(lambda y, g: (y.clone(), g.clone()), f64([value, slope]), x.dtype)
    assert out.ratio(given["out"]) <= 1
    for backward in op.backwards:
        names = [*op.saves(backward), "grad_out"]
        got = backward(*(given[name].clone() for name in names))
        assert grad.ratio(got) <= 1, backward.__name__


def test_d17_arcsin_keeps_the_digits_near_1_that_a_square_loses():
    x = (1 - torch.exp2(-torch.arange(2.0, 24.0))).requires_grad_()
    (pytorchs,) = torch.autograd.grad(x.arcsin(), x, torch.ones_like(x))
    wide = x.detach().double()
    right = ((1 - wide) * (1 + wide)).rsqrt()
    ours = back_arcsin(x.detach(), torch.ones_like(right, dtype=torch.float32))
    off = [((grad.double() - right) / right).abs().max() for grad in (ours, pytorchs)]
    assert off[0] < off[1]


@pytest.mark.parametrize("x", [0.0, 2.0])
def test_d17_a_constant_power_has_slope_0(x):
    power = OPS["power"]
    for backward in power.backwards:
        assert backward(f64(x), f64(3.0), a=0.0) == 0
