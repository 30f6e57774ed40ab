"""Every oracle's gradient is the slope of the forward: a witness that is not autograd."""

import math

import pytest
import torch

from manual_backprop.judge.verify import verify
from manual_backprop.judge.witnesses import AGREEMENT, one_sided, slope
from manual_backprop.op import Op
from tests.every import every_small_sample


@every_small_sample
def test_autograd_agrees_with_the_slopes(op, sample, seed):
    verdict = verify(op, samples=[sample], dtypes=[torch.float64], seeds=(seed,), parts=["slopes"])
    verdict.raise_if_wrong()
    assert not verdict.notes


def test_slopes_are_right_to_ten_digits_or_say_so():
    lines = {  # function of t, its slope at 0
        lambda t: math.exp(0.3 + t): math.exp(0.3),
        lambda t: (1 + t) ** 7: 7.0,
        lambda t: 3 * t: 3.0,
        lambda t: 5.0: 0.0,
        lambda t: abs(t - 1e-4) - 2 * t: -3.0,  # a kink beside the point
    }
    for line, right in lines.items():
        found = slope(line, 1.0)
        assert abs(found.value - right) <= 10 * found.error
        assert found.error < 1e-7


@pytest.mark.parametrize("beside", [1e-2, 2.856e-3, 1.615e-3, 5.1e-4])
def test_slopes_beside_a_pole_claim_no_more_than_they_know(beside):
    x = math.pi / 2 - beside
    right = 1 + math.tan(x) ** 2
    found = slope(lambda t: math.tan(x + t), math.tan(x) + x * right)
    assert abs(found.value - right) <= max(10 * found.error, AGREEMENT * right)


def test_steep_slopes_raise_no_alarm():
    def tan(x):
        return x.tan()

    op = Op(
        forward=tan,
        backwards=(lambda x, grad_out: grad_out / x.cos().square(),),
        samples={"by a pole": lambda rand, n=11: (math.pi / 2 - 1e-3 * rand(n).abs(),)},
        wrt=("x",),
        oracle=torch.tan,
    )
    verify(op, dtypes=[torch.float64], seeds=range(9), parts=["slopes"]).raise_if_wrong()


def test_a_step_has_no_slope():
    assert slope(lambda t: float(t > 0), 1.0).error == float("inf")


def test_slopes_beside_a_kink_are_one_sided():
    assert abs(one_sided(abs, 1) - 1) < 1e-9
    assert abs(one_sided(abs, -1) + 1) < 1e-9


@pytest.mark.parametrize(
    ("clip", "mask"),
    [(lambda x: torch.where(x > 1, 1.0, x), lambda x: x < 1),
     (lambda x: torch.where(x >= 1, 1.0, x), lambda x: x <= 1)],
    ids=["inclusive", "exclusive"],
)  # fmt: skip
def test_where_pytorch_takes_one_side_of_a_kink_the_other_comparison_is_advised(clip, mask):
    def clipped(x):
        return clip(x)

    def back_clipped(x, grad_out):
        return mask(x) * grad_out

    def at_one(rand, n=11):
        return (torch.cat([torch.ones(1, dtype=rand.dtype), rand(n)]),)

    op = Op(clipped, (back_clipped,), {"at one": at_one}, ("x",), None)
    verdict = verify(op, dtypes=[torch.float64], parts=["values"])
    assert verdict.ok
    (note,) = [note for note in verdict.notes if note.code == "kink"]
    assert "at [0], where x is 1, exactly on a kink" in note.message
    assert "turn > into >= or >= into >" in note.message
    assert "sign" not in note.message


def test_a_wrong_oracle_is_found_by_the_slopes():
    op = Op(
        forward=lambda x: x * x,
        backwards=(lambda x, grad_out: 3 * x * grad_out,),
        samples={"rows": lambda rand, n=11: (rand(n),)},
        wrt=("x",),
        oracle=_wrong_square,
    )
    codes = {finding.code for finding in verify(op, dtypes=[torch.float64]).findings}
    assert codes == {"witnesses"}


def _at_its_kink(forward, n, oracle=None):
    """A verdict on relu's backward, on numbers of which many are 0."""
    op = Op(
        forward=forward,
        backwards=(lambda x, grad_out: grad_out * (x > 0),),
        samples={"whole": lambda rand, n=n: (rand(n).round(),)},
        wrt=("x",),
        oracle=oracle,
    )
    return verify(op, dtypes=[torch.float64])


@pytest.mark.parametrize("n", [11, 61])
def test_a_forward_of_ones_own_may_be_tried_on_its_kink(n):
    verdict = _at_its_kink(lambda x: torch.where(x > 0, x, 0 * x), n)
    assert verdict.ok, verdict


def test_on_a_kink_only_a_slope_between_its_sides_will_do():
    verdict = _at_its_kink(lambda x: x.relu(), 11, oracle=_too_steep_at_0)
    assert "witnesses" in {finding.code for finding in verdict.findings}


class _TooSteepAtZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, grad_out):
        (x,) = ctx.saved_tensors
        return grad_out * torch.where(x == 0, 2, (x > 0).to(x.dtype))


def _too_steep_at_0(x):
    return _TooSteepAtZero.apply(x)


class _WrongSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_out):
        return 3 * ctx.saved_tensors[0] * grad_out


def _wrong_square(x):
    return _WrongSquare.apply(x)
