"""How far rounding alone may carry a right gradient: one formula for every dtype.

A right implementation computes what the formula says, with every intermediate result rounded. So
the formula is run in float64 with noise in place of rounding (`noise.py`), and what that moves is
what rounding may move. For the unit roundoff u of a dtype:

    noise       v = 4 u, and at least 2⁻⁴⁰, far above float64's own rounding
    spread      D = 4 u / v · max over 8 runs of |G_run - G|
    allowed     at entry i   min(4 D_i + (16 + 2 √a) u |G_i| + max D / 25,
                                 max D + (4 + 2 √a) u max |G|) + 2 s

with s the smallest subnormal and a the longest sum, an axis of the inputs or, for a few numbers
made of many, as many: an entry may be the end of a sum, added up term by term, each time rounding a
partial sum as large as itself. Where e terms are all equal, as behind stride 0, so are their
roundings while the sum stays between two powers of 2, and they drift rather than wander: to e u / 2
of the sum, which then stands in place of 2 √a u where it is more. The first bound knows that
entries differ, the second that none may err by more than the worst may. Rounding drawn 8 times at
4 u covers real rounding at 1 u amply: `python -m scripts.alarms` prints the largest error seen over
what is allowed, and `python -m scripts.budgets` compares this budget with a simpler one.

Large inputs get one run, and then no D_i is less than the root mean square of all. Where rounding
may carry a number across a kink, further runs put it on either side, and what that moves, which
does not shrink with u, joins the spread; the second bound, which has no room for it, then goes.

To estimate rounding by running a computation several times with random rounding is CESTAC (Vignes,
A stochastic arithmetic for reliable scientific computation, 1993). That n roundings wander by √n u
and not by n u is proven in Higham and Mary, A new approach to probabilistic rounding error
analysis, 2019; that n of them are at most n u in any case, in Higham, Accuracy and Stability of
Numerical Algorithms, 2nd edition, 2002, section 4.2.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.noise import Kinks, Noise
from manual_backprop.judge.recording import Recording

RUNS = 8
LARGE = 2**18  # numbers; then many entries of one run tell what one entry of many runs would
LEAST_NOISE = 2.0**-40


@dataclass(frozen=True)
class Budget:
    """What a tensor should be, and how far from it rounding may carry each entry.

    Attributes:
        truth: the value in float64.
        allowed: the same shape; the largest absolute error that rounding explains. Infinite where
            the dtype cannot hold the truth, or an intermediate of it.
        settled: False where rounding may carry an intermediate across a kink.
    """

    truth: Tensor
    allowed: Tensor
    settled: bool = True

    @cached_property
    def judged(self) -> Tensor:
        """Where an allowance is known; bool, the shape of `truth`."""
        return self.allowed.isfinite()

    def ratio(self, got: Tensor) -> float:
        """The largest error over what is allowed there: at most 1 where `got` is right.

        Args:
            got: any dtype and device, the shape of `truth`.

        Raises:
            RuntimeError: `got` has a shape that does not broadcast with that of `truth`.
        """
        if got.numel() == 0:
            return 0.0
        error = (got.detach().to("cpu", torch.float64) - self.truth).abs()
        free = (error == 0) | self.allowed.isinf()
        return float(torch.where(free, 0.0, error / self.allowed).nan_to_num(math.inf).max())


def rounding_budget(
    function: Callable[..., Any], inputs: Sequence[Tensor], dtype: torch.dtype
) -> tuple[Budget, ...]:
    """How far rounding to `dtype` may carry each tensor that `function(*inputs)` returns.

    Args:
        function: float64 CPU tensors of the inputs' shapes -> a tensor or a tuple of tensors. It
            may call autograd: the backward pass is then rounded as the forward is.
        inputs: tensors of any dtype; floating ones are rounded to `dtype` first.
        dtype: the floating dtype in which the result was computed that is to be judged.

    Raises:
        TypeError: `dtype` is not a floating dtype.
        Exception: whatever `function` raises.

    >>> x = torch.randn(1000)
    >>> (budget,) = rounding_budget(lambda x: x.exp().sum(), (x,), torch.float32)
    >>> budget.ratio(x.exp().sum()) <= 1
    True
    """
    if not dtype.is_floating_point:
        raise TypeError(f"rounding_budget: {dtype} does not round; give a floating dtype")

    def detached(*tensors: Tensor) -> tuple[Tensor, ...]:
        result = function(*(tensor.clone() for tensor in tensors))
        results = (result,) if isinstance(result, Tensor) else tuple(result)
        return tuple(tensor.detach() for tensor in results)

    raised = [t.detach().cpu() for t in inputs]
    raised = [t.to(dtype).double() if t.is_floating_point() else t for t in raised]
    return budgets(detached, raised, dtype)


def budgets(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    dtype: torch.dtype,
    *,
    sides: bool = True,
) -> tuple[Budget, ...]:
    """`rounding_budget` for float64 inputs that already hold numbers of `dtype`.

    With `sides`, both sides of an unsettled kink are tried; without, an unsettled budget is only a
    reason to draw other inputs.

    Returns:
        One budget for each tensor that `function(*inputs)` returns, of that tensor's shape.

    Raises:
        Exception: whatever `function` raises.
    """
    unit = torch.finfo(dtype).eps / 2
    scale = max(4 * unit, LEAST_NOISE)
    runs = RUNS if sum(t.numel() for t in inputs) < LARGE else 1
    kinks = Kinks(dtype, inputs if runs > 1 else None)
    with kinks:
        truth = function(*inputs)
    spreads: list[Tensor] = []
    noisy = _Runs(function, inputs, several=runs > 2)
    for run in range(runs):
        spreads = _widened(spreads, truth, noisy.results(Noise(run, scale, kinks)))
        if not sides and not kinks.settled():
            break
    for spread in spreads:
        if runs < RUNS:
            spread.clamp_min_(float(spread.norm()) / math.sqrt(max(spread.numel(), 1)))
        spread *= 4 * unit / scale
    settled = kinks.settled()
    if not settled and sides:
        for run in range(max(runs, 2)):
            noise = Noise(run, scale, kinks, side=run)
            spreads = _widened(spreads, truth, noisy.results(noise))
    longest = max((size for t in inputs for size in t.shape), default=1)
    largest = max((t.numel() for t in inputs), default=1)
    found = []
    for true, spread in zip(truth, spreads, strict=True):
        terms = max(longest, largest // max(true.numel(), 1))
        added = max(2 * math.sqrt(terms), min(terms, kinks.equal) / 2)
        found.append(_budget(true, spread, dtype, added, settled))
    return tuple(found)


class _Runs:
    """Noisy runs of one function on the same inputs, of which only two are run as they are.

    The others make the calls of the first again, if those give the second's bits as well; where
    with other numbers they would not be the calls, the function is run itself.

    Args:
        function: float64 tensors of the inputs' shapes -> results.
        inputs: of the true run.
        several: whether there will be more than two.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        *,
        several: bool,
    ) -> None:
        self.function, self.inputs, self.several = function, inputs, several
        self.recording: Recording | None = None
        self.count = 0

    def results(self, noise: Noise) -> tuple[Tensor, ...]:
        """What the function returns in the next run.

        Raises:
            Exception: whatever the function raises.
        """
        self.count += 1
        again = noise.again()
        if self.count > 2 and (played := self._played(noise)) is not None:
            return played
        results = again.results(self.function, self.inputs, record=self.several and self.count == 1)
        if self.count == 1 and again.recording is not None and again.recording.faithful:
            self.recording = again.recording
        elif self.count == 2 and self._played(noise, results) is None:
            self.recording = None
        return results

    def _played(
        self, noise: Noise, expected: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, ...] | None:
        """The recorded calls made in a run; None, and no trace, where they are not its calls."""
        if self.recording is None:
            return None
        moved = [tensor.clone() for tensor in noise.kinks.moved]
        with suppress(Exception):  # OtherPath, or a kernel's own about shapes that do not fit
            played = noise.played(self.recording, self.inputs)
            if expected is None or all(map(_same, played, expected)):
                return played
        noise.kinks.moved = moved
        return None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, 0, 0, equal_nan=True)


def _widened(
    spreads: list[Tensor], truth: Sequence[Tensor], noisy: Sequence[Tensor]
) -> list[Tensor]:
    moved = [(result - true).abs_() for true, result in zip(truth, noisy, strict=True)]
    return list(map(torch.maximum, spreads, moved)) if spreads else moved


def _budget(
    truth: Tensor, spread: Tensor, dtype: torch.dtype, added: float, settled: bool
) -> Budget:
    if truth.numel() == 0:
        return Budget(truth, truth, settled)
    info = torch.finfo(dtype)
    unit = info.eps / 2
    size = truth.abs()
    unknown = None
    if not float(size.max() + spread.max()) < info.max:  # or either is nan
        unknown = ~(size + spread < info.max)
        spread, size = (t.masked_fill(unknown, 0.0) for t in (spread, size))
    widest = float(spread.max())
    worst = widest + (4 + added) * unit * float(size.max())
    allowed = size.mul_((16 + added) * unit).add_(spread, alpha=4).add_(widest / 25)
    if settled:
        allowed.clamp_max_(worst)
    allowed += 2 * info.smallest_normal * info.eps
    if unknown is not None:
        allowed.masked_fill_(unknown, math.inf)
    return Budget(truth, allowed, settled)
