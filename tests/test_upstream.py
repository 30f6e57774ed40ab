"""Each of several mistakes is told: beside a missing grad_out, and in other gradients."""

import torch

from manual_backprop.judge.verify import verify
from manual_backprop.registry import OPS


def test_a_mistake_beside_a_missing_grad_out_is_told_of_the_product():
    mse = OPS["mse"]

    def back_mse(pred, target):
        return 2 * (pred - target[..., None])

    first, second, *_ = verify(mse, back_mse, samples=["column"], dtypes=torch.float64).findings
    assert first.code == "ignores-grad-out"
    assert second.code == "sum-for-mean"
    assert second.cause.gradients == ("grad_pred",)
    assert "multiplied by grad_out" in second.message
    assert "multiplied by grad_out" in second.cause.what


def test_a_missing_grad_out_alone_is_one_finding():
    mse = OPS["mse"]

    def back_mse(pred, target):
        return 2 * (pred - target[..., None]) / target.numel()

    found = verify(mse, back_mse, samples=["column"], dtypes=torch.float64, parts=["values"])
    assert {finding.code for finding in found.findings} == {"ignores-grad-out"}


def test_only_the_gradients_without_grad_out_are_multiplied_by_it():
    line = OPS["linear_regression"]

    def back(x, w, b, target, grad_out):
        r = 2 * (w * x + b - target) / max(len(x), 1)
        return r * w, grad_out * (r @ x), r.sum() * len(x)

    found = verify(line, back, dtypes=torch.float64, parts=["values"], seeds=(0,)).findings
    assert [(one.gradient, one.code) for one in found][:2] == [
        ("grad_x", "ignores-grad-out"), ("grad_b", "sum-for-mean"),
    ]  # fmt: skip


def test_what_is_wrong_beside_a_dtype_is_told_and_rounding_is_not():
    def back_relu(x, grad_out):
        return (x > 0).float()

    def in_float32(x, grad_out):
        return (x > 0) * grad_out.float() * (1 + 1e-9)

    asked = {"samples": ["rows"], "dtypes": torch.float64, "parts": ["values"]}
    found = verify(OPS["relu"], back_relu, **asked).findings
    assert [one.code for one in found] == ["dtype", "missing-factor"]
    assert found[1].cause.what == "once it is float64, the factor grad_out is missing"
    assert [one.code for one in verify(OPS["relu"], in_float32, **asked).findings] == ["dtype"]


def test_each_gradient_that_is_wrong_by_another_mistake_is_told():
    def back_lin(x, w, grad_out):
        return grad_out @ w.T, -x.T @ grad_out, grad_out.mean(0)

    found = verify(OPS["lin"], back_lin, samples=["rows"], dtypes=torch.float64, parts=["values"])
    assert {(one.gradient, one.code) for one in found.findings} == {
        ("grad_w", "sign"), ("grad_b", "mean-for-sum"),
    }  # fmt: skip
