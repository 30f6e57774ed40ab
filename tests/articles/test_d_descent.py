"""Article D: Himmelblau's landscape, accuracy as a loss, and gradient descent."""

import inspect

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import back_logistic_regression, logistic_regression, rounding_budget
from manual_backprop.ops.bce import back_bce
from manual_backprop.ops.bce_with_logits import back_bce_with_logits
from manual_backprop.ops.himmelblau import back_himmelblau, himmelblau
from manual_backprop.ops.power import back_power
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid
from tests.articles.case import Row, case, drawn, f64
from tests.printed import assert_printed


@case("D14-gradient")
def test_the_gradient_is_the_articles(row):
    x, y = f64([0.0, 1.5, -3.0]), f64([0.0, -2.5, 4.0])
    u, v = x * x + y - 11, x + y * y - 7
    grads = back_himmelblau(x, y, torch.ones_like(x))
    allowed = rounding_budget(
        lambda x, y, u, v: (4 * x * u + 2 * v, 2 * u + 4 * y * v), (x, y, u, v), x.dtype
    )
    for grad, budget in zip(grads, allowed, strict=True):
        assert budget.ratio(grad) <= 1


def descend(row, dtype):
    """Where Adam ends, by the hand-written gradient."""
    point = [torch.tensor(float(at), dtype=dtype) for at in row["inputs"]["start"]]
    adam = torch.optim.Adam(point, row["inputs"]["lr"])
    back, one = inspect.unwrap(back_himmelblau), torch.ones((), dtype=dtype)  # shapes unchecked
    for _ in range(row["inputs"]["steps"]):
        point[0].grad, point[1].grad = back(*point, one)
        adam.step()
    return point


@case("D14-adam-reaches", "reached", "value")
def test_adam_descends_to_the_nearest_of_the_minima(row):
    point = descend(row, torch.float32)
    assert [[*at.shape] for at in point] == [row["shapes"]["x"], row["shapes"]["y"]]
    assert_printed(row, "reached", torch.stack(point))
    assert_printed(row, "value", himmelblau(*point))


def hessian(x, y):
    lines = torch.autograd.functional.hessian(himmelblau, (x, y))
    return torch.stack([torch.stack(line) for line in lines])


@case("D14-four-minima", "minima")
def test_the_gradient_vanishes_beside_the_four_points_where_the_landscape_bends_up(row):
    found = []
    for start in f64(row["expected"]["minima"]):
        at = start
        for _ in range(5):  # Newton's method: each step doubles the digits that are right
            grad = torch.stack(back_himmelblau(*at, torch.ones((), dtype=at.dtype)))
            at = at - torch.linalg.solve(hessian(*at), grad)
        assert torch.linalg.eigvalsh(hessian(*at)).min() > 0
        found.append(at)
    assert_printed(row, "minima", torch.stack(found))


@case("D15-two-steps-and-one")
def test_logistic_regression_in_two_steps_and_in_one(row, seed):
    (x,) = drawn(seed, (row["inputs"]["samples"], 3), dtype=torch.float32)
    target = torch.tensor([0.0, 1, 1, 0, 1])

    def true(x):
        leaf = x.requires_grad_()
        loss = F.binary_cross_entropy_with_logits(leaf, target.double()[:, None].expand_as(x))
        return torch.autograd.grad(loss, leaf)

    (budget,) = rounding_budget(true, (x,), torch.float32)
    wide = target[:, None].expand_as(x)
    p = sigmoid(x)
    assert budget.ratio(back_sigmoid(p, back_bce(p, wide))) <= 1
    assert budget.ratio(back_bce_with_logits(x, wide)) <= 1


RIGHT = torch.tensor([True, True, False, True, True])


def accuracy(p):
    return ((p > 0.5) == RIGHT).double().mean()


def five(last):
    """Probabilities of five samples, of which three are right whatever the last one is."""
    return f64([0.9, 0.8, 0.3, 0.2, last])


@case("D15-flat-within-a-class", "change_within_a_class")
def test_accuracy_does_not_change_within_a_class(row):
    low, high = (accuracy(five(p)) for p in row["inputs"]["within_a_class"])
    assert len(five(0.5)) == row["inputs"]["samples"]
    assert_printed(row, "change_within_a_class", high - low)


@case("D15-jump-across-the-threshold", "accuracy_across_the_threshold")
def test_accuracy_jumps_across_the_threshold(row):
    across = [accuracy(five(p)) for p in row["inputs"]["across_the_threshold"]]
    assert_printed(row, "accuracy_across_the_threshold", torch.stack(across))


@case("D15-accuracy-cannot-be-the-loss")
def test_the_weights_feel_the_cross_entropy_and_not_the_accuracy(row, seed):
    x, w, b = drawn(seed, (row["inputs"]["samples"], 3), (3,), ())
    target = RIGHT.double()
    _, grad_w, grad_b = back_logistic_regression(x, w, b, target)
    h = 2.0**-20
    for i in range(3):
        step = h * torch.eye(3, dtype=torch.float64)[i]
        assert accuracy(sigmoid(x @ (w + step) + b)) == accuracy(sigmoid(x @ (w - step) + b))
        rise = logistic_regression(x, w + step, b, target) - logistic_regression(
            x, w - step, b, target
        )
        assert rise.sign() == grad_w[i].sign()
    assert grad_b != 0
    assert not accuracy(sigmoid(x @ w.requires_grad_() + b)).requires_grad


def descent(gradient, start, steps, **options):
    """Every point on the way, by torch.optim's SGD and the gradient that it is handed."""
    point = f64(start)
    sgd = torch.optim.SGD([point], **options)
    way = [point.clone()]
    for _ in range(steps):
        point.grad = gradient(point)
        sgd.step()
        way.append(point.clone())
    return torch.stack(way)


def back_saddle(point):
    """Of x² - y²."""
    one = torch.ones((), dtype=point.dtype)
    return torch.stack([back_power(point[0], one, a=2.0), back_power(point[1], -one, a=2.0)])


def back_bowl(point):
    """Of Σ x²."""
    return back_power(point, torch.ones_like(point), a=2.0)


@case("D16-saddle", "gradient")
def test_the_gradient_at_the_saddle_is_0(row):
    assert_printed(row, "gradient", back_saddle(f64(row["inputs"]["saddle"])))
    x, y = f64([3.0, -5.0])
    assert back_saddle(f64([3.0, -5.0])).equal(torch.stack([2 * x, -2 * y]))


@case("D16-saddle-is-no-minimum")
def test_descent_stays_on_the_ridge_and_leaves_the_saddle_from_beside_it(row):
    ridge = descent(back_saddle, [1.0, 0.0], 100, lr=0.1)
    beside = descent(back_saddle, [1.0, 1e-6], 100, lr=0.1)
    assert abs(ridge[-1]).max() < 1e-9
    assert abs(beside[-1, 0]) < 1e-9
    assert beside[-1, 1] > 1


@case("D16-convex-from-anywhere")
def test_a_convex_function_leads_to_its_one_minimum_from_anywhere(row, seed):
    (start,) = drawn(seed, (5,))
    way = descent(back_bowl, (10 * start).tolist(), 200, lr=0.1)
    assert (way.norm(dim=1).diff() < 0).all()
    assert way[-1].norm() < 1e-9 * way[0].norm()


@case("D16-starting-point")
def test_where_one_ends_depends_on_where_one_starts(row):
    def gradient(point):
        return torch.stack(back_himmelblau(*point, torch.ones((), dtype=point.dtype)))

    starts = [[4.0, 4.0], [-4.0, 4.0], [-4.0, -4.0], [4.0, -4.0]]
    ends = torch.stack([descent(gradient, start, 500, lr=0.01)[-1] for start in starts])
    minima = f64(Row("D14")["expected"]["minima"])
    nearest = torch.cdist(ends, minima).min(1)
    assert nearest.indices.tolist() == [0, 1, 2, 3]
    assert (nearest.values < 1e-5).all()


@pytest.mark.parametrize(("lr", "converges"), [(0.1, True), (0.9, True), (1.1, False)])
@case("D16-learning-rate")
def test_each_step_multiplies_by_one_less_twice_the_learning_rate(row, lr, converges):
    way = descent(back_bowl, [1.0], 50, lr=lr)[:, 0]
    (law,) = rounding_budget(
        lambda start: torch.stack([start * (1 - 2 * lr) ** k for k in range(51)]),
        (f64(1.0),),
        torch.float64,
    )
    assert law.ratio(way) <= 1
    assert (way.abs().diff() < 0).all() == converges
    assert way.sign().diff().any() == (lr > 0.5)  # it jumps over the minimum


@case("D16-momentum")
def test_momentum_is_further_down_a_narrow_valley_after_as_many_steps(row):
    def back_valley(point):
        """Of x² + 100 y²."""
        return back_power(point, f64([1.0, 100.0]), a=2.0)

    plain = descent(back_valley, [1.0, 1.0], 100, lr=0.005)
    heavy = descent(back_valley, [1.0, 1.0], 100, lr=0.005, momentum=0.9)
    assert heavy[-1].norm() < plain[-1].norm() / 10
