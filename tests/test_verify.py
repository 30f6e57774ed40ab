"""The door to the judge: what it refuses to be asked, and what it leaves as it was."""

import pytest
import torch

from manual_backprop.judge.draw import Rand, axes, draw_grad_out
from manual_backprop.judge.verify import verify
from manual_backprop.op import BadOp
from manual_backprop.registry import OPS
from tests.every import every_op
from tests.squares import op, square


def asks_for_weight(weight, grad_out):
    return grad_out


def back_square_none(x, grad_out):
    return None


def test_wrong_names_in_the_call_are_refused():
    for wrong in (
        {"samples": ["rowz"]},
        {"layouts": ["sideways"]},
        {"parts": ["everything"]},
        {"kinks": "ignore"},
        {"devices": ["cuda:99"]},
    ):
        with pytest.raises(ValueError, match=r"there (is|are)"):
            verify(op(), **wrong)
    with pytest.raises(BadOp, match="not function"):
        verify(square)
    with pytest.raises(BadOp, match="asks for 'weight'"):
        verify(op(), asks_for_weight)


@pytest.mark.parametrize(
    "empty",
    [
        {"dtypes": ()},
        {"seeds": ()},
        {"parts": ()},
        {"layouts": ()},
        {"samples": ()},
        {"devices": ()},
    ],
    ids=str,
)
def test_nothing_to_judge_is_not_right(empty):
    with pytest.raises(ValueError, match=r"nothing to judge|is given"):
        verify(op(), **empty)


@pytest.mark.parametrize("dtypes", [["float64"], [torch.int64], [torch.complex64]], ids=str)
def test_a_dtype_that_is_none_is_refused(dtypes):
    with pytest.raises(ValueError, match="no dtype to judge in"):
        verify(op(), dtypes=dtypes)


def test_where_only_rounding_is_left_closeness_is_not_relative_to_it():
    """Batch norm of equal rows has no gradient of x; relative to rounding, any error is large."""
    verdict = verify(OPS["batch_norm"], dtypes=[torch.float64], layouts=["expanded"])
    assert verdict.ok
    assert all(tally.allowed < 2.0**-30 for tally in verdict.tallies.values())


def test_the_grad_out_of_a_loss_is_never_next_to_nothing(dtype):
    for seed in range(100):
        one = draw_grad_out(torch.Size([]), dtype, "normal", Rand(seed, dtype))
        assert 1.5 <= one.abs() <= 8


def test_judges_whatever_way_tf32_was_switched():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        assert verify(op(), dtypes=[torch.float64], parts=["values"]).ok
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_a_judged_operator_can_be_forgotten():
    import gc
    import weakref

    judged = op()
    verify(judged, dtypes=[torch.float64], parts=["values"])
    gone = weakref.ref(judged)
    del judged
    gc.collect()
    assert gone() is None


def test_a_wrong_gradient_can_be_raised():
    from manual_backprop import WrongGradient

    with pytest.raises(WrongGradient, match="back_square_none"):
        verify(op(), back_square_none).raise_if_wrong()
    assert issubclass(WrongGradient, AssertionError)


@every_op
@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_no_row_and_of_one_is_right_without_complaint(op, n):
    if not any("n" in axes(op, sample) for sample in op.samples):
        pytest.skip("has no batch")
    parts = ("forward", "slopes", "values", "promises")
    verdict = verify(op, sizes={"n": n}, dtypes=torch.float64, parts=parts)
    assert verdict.ok, str(verdict)
    assert not verdict.notes, str(verdict)
