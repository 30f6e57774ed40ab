"""Slopes that are taken for each other, and the names that a diagnosis has for operations."""

import pytest
import torch

from manual_backprop.judge.diagnose import diagnose
from manual_backprop.judge.diagnose.edges import naming
from manual_backprop.judge.diagnose.recorder import record
from manual_backprop.registry import OPS

LOST = {  # what people write for the derivative of one function: parameters, result, code, words
    "sin": ("x, grad_out", "x.sin() * grad_out", "wrong-argument", "sin stands where"),
    "cos": ("x, grad_out", "x.cos() * grad_out", "wrong-argument", "that of sin"),
    "exp": ("x, grad_out", "x * (x - 1).exp() * grad_out", "wrong-argument", "rule for powers"),
    "exp_base": (
        "x, grad_out, *, a=2.0", "x * a ** (x - 1) * grad_out", "wrong-argument", "rule for powers",
    ),
    "arcsin": ("x, grad_out", "grad_out / (1 + x * x).sqrt()", "wrong-argument", "that of asinh"),
    "arctan": ("x, grad_out", "grad_out / (1 - x * x)", "wrong-argument", "that of atanh"),
    "arccos": ("x, grad_out", "-grad_out / (1 - x * x)", "missing-factor", "the root"),
    "norm": ("r, grad_out", "2 * r * grad_out[..., None]", "missing-factor", "the root"),
    "entropy": (
        "p, grad_out, *, base=2.0",
        "-grad_out[..., None] * p.log() / p.new_tensor(base).log()",
        "missing-term",
        "entr is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_the_slope_of_another_function_is_told_as_such(name):
    parameters, result, code, words = LOST[name]
    known = {}
    exec(f"def back_{name}({parameters}):\n    return {result}\n", known)
    op = OPS[name]
    (cause,) = diagnose(op, known[f"back_{name}"], next(iter(op.samples)))
    assert cause.code == code
    assert words in cause.what


def test_the_slope_of_a_sigmoid_that_the_loss_has_cancelled_is_told():
    def back_logistic_regression(x, w, b, target, grad_out=1.0):
        p = (x @ w + b).sigmoid()
        grad_z = grad_out * (p - target) * p * (1 - p) / len(x)
        return grad_z[:, None] * w, x.T @ grad_z, grad_z.sum()

    op = OPS["logistic_regression"]
    (cause,) = diagnose(op, back_logistic_regression, next(iter(op.samples)))
    assert cause.code == "extra-factor"
    assert cause.gradients == ("grad_x", "grad_w", "grad_b")


def test_operations_are_called_as_people_call_them():
    x = torch.rand(3, 2, dtype=torch.float64) + 0.1

    def forward(x):
        return torch.linalg.vector_norm(torch.special.entr(x).softmax(1) + x.log_softmax(1))

    tape = record(forward, [x], ["x"], [0], torch.ones((), dtype=torch.float64), None)
    called = {step.called for step in tape.steps if step.apply is not None}
    assert called == {"entr", "softmax", "log_softmax", "add", "norm"}
    names = [naming(tape, index) for index in range(len(tape.steps))]
    assert "the sum" in names
    assert len(set(names)) == len(names)
