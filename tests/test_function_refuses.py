"""What `verify_function` is told about: declared gradients, operators, and what it cannot judge."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop import BadOp, verify_function
from tests import functions as f

FLOAT64 = {"dtypes": torch.float64, "seeds": (0,)}


def codes(verdict):
    return {finding.code for finding in verdict.findings}


def test_a_gradient_that_is_meant_is_not_accused_and_another_is():
    meant = {"x": lambda grad_out: grad_out}
    other = {"x": lambda grad_out: 2 * grad_out}
    wrong = verify_function(f.Round, torch.round, samples=f.rows, expected_grad=other, **FLOAT64)
    assert not wrong.ok

    verdict = verify_function(f.Round, torch.round, samples=f.rows, expected_grad=meant, **FLOAT64)

    assert verdict.ok, verdict
    assert [note.code for note in verdict.notes] == ["convention"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_gradient_reversal_is_right_where_it_is_declared(declared):
    def sample(rand, n=11):
        return rand(n), 0.5

    expected = {"x": lambda grad_out, strength: -strength * grad_out} if declared else None

    verdict = verify_function(
        f.Reverse, lambda x, strength: x.clone(), samples=sample, expected_grad=expected, **FLOAT64
    )

    assert verdict.ok is declared
    assert codes(verdict) == (set() if declared else {"factor"})


def test_beside_a_declared_gradient_the_others_are_still_judged():
    class Quantised(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x.round(), w)
            return x.round() * w

        @staticmethod
        def backward(ctx, grad_out):
            rounded, w = ctx.saved_tensors
            return grad_out * w, grad_out * rounded * 2

    verdict = verify_function(
        Quantised,
        lambda x, w: x.round() * w,
        samples=f.pair,
        expected_grad={"x": lambda w, grad_out: grad_out * w},
        **FLOAT64,
    )

    assert {(x.code, x.gradient) for x in verdict.findings} == {("factor", "grad_w")}


@torch.library.custom_op("manual_backprop_tests::scaled", mutates_args=())
def scaled(x: Tensor, factor: float, more: list[Tensor]) -> tuple[Tensor, Tensor]:
    return x * factor * more[0] + more[1], x.sum()


@scaled.register_fake
def _(x, factor, more):
    return torch.empty_like(x), x.new_empty(())


def back_scaled(ctx, grad_out, grad_sum):
    x, first = ctx.saved_tensors
    grad_x = grad_out * ctx.factor * first + grad_sum
    return grad_x * ctx.times, None, [grad_out * ctx.factor * x, grad_out.clone()]


TIMES = {"times": 1}


def save_for_scaled(ctx, inputs, output):
    ctx.save_for_backward(inputs[0], inputs[2][0])
    ctx.factor, ctx.times = inputs[1], TIMES["times"]


scaled.register_autograd(back_scaled, setup_context=save_for_scaled)


@pytest.mark.parametrize("times", [1, 2])
def test_an_operator_of_torch_library_is_judged_like_a_function(times, monkeypatch):
    monkeypatch.setitem(TIMES, "times", times)

    verdict = verify_function(
        scaled,
        lambda x, factor, more: (torch.addcmul(more[1], x * factor, more[0]), x.sum()),
        samples=lambda rand, n=11: (rand(n), 3.0, [rand(n), rand(n)]),
        **FLOAT64,
    )

    assert verdict.ok is (times == 1), verdict
    if not verdict.ok:
        assert verdict.findings[0].gradient == "grad_x"
        assert verdict.findings[0].code == "factor"


def test_an_operator_without_a_backward_is_told_so():
    bare = torch.library.custom_op(
        "manual_backprop_tests::bare", torch.clone, mutates_args=(), schema="(Tensor x) -> Tensor"
    )

    verdict = verify_function(bare, lambda x: x + 0.0, samples=f.rows, **FLOAT64)

    assert codes(verdict) == {"raises"}


def test_randomness_in_the_forward_is_told_apart_from_a_wrong_forward():
    verdict = verify_function(F.dropout, lambda x: x * 1.0, samples=f.rows, **FLOAT64)

    assert codes(verdict) == {"not-repeatable"}
    assert "pass it as an argument" in str(verdict)


def test_a_function_that_leaves_the_graph_is_told_so():
    verdict = verify_function(
        lambda x: torch.from_numpy(x.detach().numpy() ** 2), torch.square, samples=f.rows, **FLOAT64
    )

    assert codes(verdict) == {"zero"}
    assert "cut off from the graph" in str(verdict)


def test_a_kernel_without_float64_is_told_what_to_leave_out():
    verdict = verify_function(f.SquareInFloat32, torch.square, samples=f.rows, **FLOAT64)

    assert codes(verdict) == {"raises"}
    assert "dtypes=" in str(verdict)


def test_a_reference_whose_autograd_is_wrong_is_found_where_the_kernel_has_no_float64():
    class SquareOfReference(f.SquareInFloat32):
        @staticmethod
        def backward(ctx, grad_out):
            return ctx.saved_tensors[0] * grad_out

    verdict = verify_function(
        SquareOfReference,
        lambda x: x * x.detach(),
        samples=f.rows,
        dtypes=torch.float32,
        seeds=(0,),
    )

    assert codes(verdict) == {"witnesses"}


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        ((3, torch.square), {}, "is no function"),
        ((torch.nn.Linear, torch.square), {}, "is no function"),
        ((f.Square, None), {}, "the reference is None"),
        ((f.Square, torch.square), {"samples": {}}, "samples is empty"),
        ((f.Square, torch.square), {"samples": {"rows": 3}}, "give a function of rand"),
        ((f.Square, torch.square), {"samples": lambda rand: 1 / 0}, "ZeroDivisionError"),
        ((f.Square, torch.square), {"samples": lambda rand: 3}, "no floating tensor"),
        ((f.Square, torch.square), {"wrt": ("y",)}, "'y' is no floating tensor"),
        ((f.Square, torch.square), {"expected_grad": {"y": abs}}, "'y' is no floating tensor"),
        ((f.Square, F.dropout), {}, "the reference gives other numbers"),
        ((f.Square, lambda x: x @ x), {}, "the reference raised RuntimeError"),
        ((f.Square, lambda x: None), {}, "something else than tensors"),
        ((f.Square, lambda x: x.detach()), {}, "depends on no argument"),
        (
            (torch.view_as_complex, torch.view_as_complex),
            {"samples": lambda rand, n=11: (rand(n, 2),)},
            "is complex",
        ),
        (
            (torch.real, torch.real),
            {"samples": lambda rand, n=11: (torch.complex(rand(n), rand(n)),)},
            "is complex",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_with_what_to_mend(arguments, more, said):
    with pytest.raises(BadOp, match=said):
        verify_function(*arguments, **{"samples": f.rows, **FLOAT64, **more})


@pytest.mark.parametrize(
    "more", [{"dtypes": ()}, {"dtypes": torch.int64}, {"seeds": ()}, {"devices": ("nowhere",)}]
)
def test_a_grid_that_is_not_there_is_an_error(more):
    with pytest.raises(ValueError, match=r"verify_function|not there"):
        verify_function(f.Square, torch.square, samples=f.rows, **more)
