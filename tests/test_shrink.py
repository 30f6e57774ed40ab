"""A wrong gradient made small: how small, that the test which is printed tells right from wrong."""

import warnings
from dataclasses import replace
from functools import cache

import pytest
import torch

from manual_backprop import OPS, Op
from manual_backprop.judge.diagnose.case import cases
from manual_backprop.judge.shrink import LARGEST, shrink
from manual_backprop.judge.verdict import Finding
from tests.mistakes import mistakes

WRONG = """def back_lin(x, w, grad_out):
    return grad_out @ w.T, x.T @ grad_out, grad_out.mean(0)
"""


def back_lin(x, w, grad_out):
    return grad_out @ w.T, x.T @ grad_out, grad_out.mean(0)


def back_softmax(out, grad_out):
    return grad_out * out * (1 - out)


def back_relu(x, grad_out):
    return grad_out * (grad_out > 0)


def back_cross_entropy(logits, target, grad_out):
    p = torch.softmax(logits, -1)
    p[torch.arange(len(target)), target] -= 1
    return grad_out * p


def back_sigmoid(x, grad_out):
    s = torch.sigmoid(x)
    return grad_out * s * (1 - s) * (x.exp() / x.exp())


def back_tanh(out, grad_out):
    return grad_out * (1 - out * out) * (1.0 + (out.dtype is torch.float32))


def back_softmax_(out, grad_out):
    return grad_out.mul_(out)


PLANTED = {  # gradient, sample, and the shapes that it comes down to
    back_lin: ("grad_b", "rows", {"x": (2, 1), "w": (1, 1), "b": (1,)}),
    back_softmax: ("grad_x", "rows", {"x": (1, 2)}),
    back_softmax_: ("grad_x", "batched", {"x": (1, 1, 1)}),
    back_relu: ("grad_x", "rows", {"x": (1, 1)}),
    back_cross_entropy: ("grad_logits", "mean", {"logits": (2, 2), "target": (2,)}),
    back_sigmoid: ("grad_x", "vector (the edge of what exp bears)", {"x": (1,)}),
    back_tanh: ("grad_x", "vector", {"x": (1,)}),
}
planted = pytest.mark.parametrize("backward", PLANTED, ids=lambda backward: backward.__name__)


def finding(backward, gradient, sample, dtype="float32"):
    return Finding(backward.__name__, gradient, "unknown", "", sample=sample, dtype=dtype)


@cache
def small(backward):
    return anew(backward)


def anew(backward):
    op = OPS[backward.__name__.removeprefix("back_").rstrip("_")]
    gradient, sample, _ = PLANTED[backward]
    vars(op).pop("_points", None)  # as in a new process
    return shrink(op, backward, finding(backward, gradient, sample))


def passes(text):
    """Whether the test passes that is all there is in a file."""
    names = {}
    exec(compile(text, "<test>", "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    try:
        test()
    except AssertionError:
        return False
    return True


@planted
def test_shapes_come_down_to_the_smallest_that_fail(backward):
    found = small(backward)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.inputs.items()}
    assert shapes == PLANTED[backward][2]
    assert found.got.shape == found.expected.shape
    assert not torch.equal(found.got, found.expected)


@planted
def test_numbers_are_small_integers_where_those_fail_too(backward):
    found = small(backward)
    for tensor in (*found.inputs.values(), found.grad_out):
        if backward is not back_sigmoid:
            assert bool((tensor == tensor.round()).all())
            assert float(tensor.abs().max()) <= 2
    assert bool((found.grad_out == 1).all())


@planted
def test_the_test_fails_for_the_wrong_backward_and_passes_for_the_right_one(backward):
    found = small(backward)
    assert not passes(found.as_test())
    for right in found.point.op.backwards:
        assert passes(replace(found, backward=right).as_test())


@planted
def test_the_same_mistake_gives_the_same_test(backward):
    assert anew(backward).as_test() == anew(backward).as_test()


def chosen():
    every = mistakes()
    return [
        pytest.param(one, id=one.name, marks=() if i % 30 == 0 else (pytest.mark.slow,))
        for i, one in enumerate(every)
    ]


@pytest.mark.parametrize("mistake", chosen())
def test_what_people_get_wrong_becomes_a_test_that_can_be_read(mistake):
    op, backward = mistake.op, mistake.backward
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = ((case, sample) for sample in op.samples for case in cases(op, backward, sample))
        case, sample = next((pair for pair in seen if pair[0].wrong), (None, ""))
        if case is None:
            pytest.skip("values are not what is wrong")
        found = shrink(op, backward, finding(backward, case.labels[case.wrong[0]], sample))
        if found is None:
            pytest.skip("nothing small shows it")
        count = sum(t.numel() for t in found.point.raised)
        assert count <= LARGEST
        assert not passes(found.as_test())
        assert passes(replace(found, backward=op.backwards[0]).as_test())


def test_what_is_right_or_wrong_in_other_ways_is_left_alone():
    op = OPS["lin"]
    assert shrink(op, op.backwards[0], finding(op.backwards[0], "grad_b", "rows")) is None
    assert shrink(op, back_lin, finding(back_lin, "", "rows")) is None
    assert shrink(op, back_lin, finding(back_lin, "grad_x", "rows")) is None
    assert shrink(op, lambda x, w, grad_out: 0, finding(back_lin, "grad_b", "rows")) is None

    def back_lin_misshapen(x, w, grad_out):
        return grad_out @ w.T, x.T @ grad_out, grad_out

    assert shrink(op, back_lin_misshapen, finding(back_lin_misshapen, "grad_b", "rows")) is None


def scaled(x, weights, *, factor=1.0):
    for w in weights:
        x = x * w
    return x * factor


def back_scaled(x, weights, grad_out, factor=1.0):
    g = grad_out * factor
    return g * weights[0] * weights[1], (g * x * weights[1], g * x)


def test_tuples_and_options_are_written_down():
    def sample(rand, n=11):
        return (rand(n), (rand(n), rand(n))), {"factor": 2.5}

    op = Op(scaled, (back_scaled,), {"rows": sample}, ("x", "weights"))
    found = shrink(op, back_scaled, finding(back_scaled, "grad_weights[1]", "rows"))
    assert found.options == {"factor": 2.5}
    assert found.point.raised[0].shape == (1,)
    assert not passes(found.as_test())
    assert shrink(op, back_scaled, finding(back_scaled, "grad_weights[0]", "rows")) is None


def test_what_fails_only_when_it_is_large_is_kept_as_large_or_left_alone():
    def back_of_long_rows(x, grad_out):
        return grad_out * (x > 0) * (2.0 if x.numel() > 3 else 1.0)

    found = shrink(OPS["relu"], back_of_long_rows, finding(back_of_long_rows, "grad_x", "rows"))
    assert found.inputs["x"].numel() > 3

    def back_of_longer_rows(x, grad_out):
        return grad_out * (x > 0) * (2.0 if x.numel() > LARGEST else 1.0)

    assert (
        shrink(OPS["relu"], back_of_longer_rows, finding(back_of_longer_rows, "grad_x", "rows"))
        is None
    )


def test_check_prints_it_when_it_is_asked_for(learner):
    answer = learner.check(WRONG, test=True)
    (found,) = answer["functions"]
    assert "from mine import back_lin\n" in found["test"]
    assert not passes(found["test"])
    shown = "\n".join(learner.page(answer, test=True))
    assert found["test"].strip() in shown
    assert found["test"].strip() not in "\n".join(learner.page(answer))


def test_check_prints_a_test_of_a_forward_in_the_same_file(learner):
    text = (
        "def square(x):\n    return x * x\n"
        "samples = {'rows': lambda rand, n=11, i=7: (rand(n, i),)}\n"
        "def back_square(x, grad_out):\n    return x * grad_out\n"
    )
    found = learner.only(text, test=True, name="squares.py")
    assert "from squares import back_square, square\n" in found["test"]
    assert not passes(found["test"])


def test_check_prints_a_test_of_a_file_whose_name_is_no_name_of_python(learner):
    found = learner.only(WRONG, test=True, name="01_lin.py")
    assert 'back_lin = import_module("01_lin").back_lin\n' in found["test"]
    assert not passes(found["test"])


def test_check_prints_none_by_default_nor_of_what_is_right(learner):
    assert learner.only(WRONG)["test"] == ""
    right = WRONG.replace("mean", "sum")
    assert learner.only(right, test=True, name="right.py")["test"] == ""


def test_check_says_that_there_is_none(learner):
    answer = learner.check("def back_lin(x, w, grad_out):\n    return 0\n", test=True)
    assert any(line.startswith("test ") for line in learner.page(answer, test=True))
