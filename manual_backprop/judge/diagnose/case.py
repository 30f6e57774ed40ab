"""What a diagnosis has to go by: wrong gradients beside right ones, and what a cause is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import isclose

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.sizes import CLOSE
from manual_backprop.judge.draw import ARTICLE, Variant, axes
from manual_backprop.judge.point import Point, Unjudgeable, point
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.verdict import Broken, Cause
from manual_backprop.op import BadOp, Op

PRIMES = (5, 7, 11, 13, 3, 17, 19, 23)
EXPLAINED = 1e-11  # of the largest entry; what is right by chance alone comes no nearer than 1e-3


@dataclass(frozen=True)
class Reading:
    """One explanation; `rank` says how soon it is named when several explain the same."""

    rank: float
    cause: Cause
    whole: bool = True  # it leaves what is right as it is

    def covers(self, case: "Case") -> bool:
        """Whether it explains all that is wrong and nothing that is not."""
        return self.whole and set(self.cause.gradients) == {case.labels[i] for i in case.wrong}


@dataclass(frozen=True, eq=False)
class Case:
    """A backward's gradients at one point, beside the right ones."""

    point: Point
    got: tuple[Tensor, ...]
    sizes: Mapping[str, int]

    @property
    def labels(self) -> tuple[str, ...]:
        """The gradients' names, one per tensor."""
        return self.point.labels

    @property
    def true(self) -> tuple[Tensor, ...]:
        """The right gradients."""
        return tuple(budget.truth for budget in self.point.grads)

    @cached_property
    def wrong(self) -> tuple[int, ...]:
        """Which gradients are wrong, by their numbers."""
        pairs = zip(self.point.grads, self.got, strict=True)
        return tuple(i for i, (budget, got) in enumerate(pairs) if not budget.ratio(got) <= 1)

    def explained(self, label: int, by: Tensor) -> bool:
        """Whether a gradient is what a mistake would have given."""
        got = self.got[label]
        if by.shape != got.shape or not bool(by.isfinite().all() and got.isfinite().all()):
            return False
        return float((got - by).abs().max()) <= self.room(label)

    def room(self, label: int) -> float:
        """How far a gradient may be from what a mistake gives, where rounding alone parts them."""
        size, budget = float(self.got[label].abs().max()), self.point.grads[label]
        allowed, true = float(budget.allowed.max()), float(budget.truth.abs().max())
        if self.point.dtype is torch.float64:
            return 4 * allowed + EXPLAINED * size
        times = size / true if true else 1.0  # n times the gradient has n times its rounding
        return 4 * allowed * max(1.0, times)

    def close(self, label: int) -> float:
        """How far apart two factors of a gradient may be and be the same, relative."""
        if self.point.dtype is torch.float64:
            return CLOSE
        return self.room(label) / float(self.got[label].abs().max())


def cases(
    op: Op, backward: Backward, sample: str, dtype: torch.dtype = torch.float64
) -> Iterator[Case]:
    """Draws at the sample's own sizes and at other primes, by turns."""
    own = axes(op, sample)
    moved = dict(zip(own, _other_primes(own), strict=True))
    for sizes, seed in (({}, 0), (moved, 0), ({}, 1), ({}, 2), (moved, 1)):
        if sample == ARTICLE:
            sizes = dict(zip(own, PRIMES[seed:], strict=False))
        variant = Variant(sample, "diagnosis" if sizes else "", tuple(sizes.items()))
        with suppress(Broken, BadOp, Unjudgeable):
            here = point(op, variant, dtype, seed)
            trial = Trial(backward, here, "cpu", "contiguous")
            got = trial.gradients(copy=True)
            yield Case(here, got, {**own, **sizes})


def _other_primes(own: Mapping[str, int]) -> list[int]:
    """A prime for each axis, other than its own and than its neighbours'."""
    chosen: list[int] = []
    for size in own.values():
        chosen.append(next(p for p in PRIMES if p != size and p not in chosen))
    return chosen


def settled(numbers: Sequence[float], seen: Sequence[Case]) -> float | None:
    """The constant that a number is in all cases, by itself or but for a factor of grad_out.

    Where the result is one number, grad_out is one too: a penalty's λ comes multiplied by it, and
    the step of weights that were moved by a gradient without it comes divided by it.
    """
    outer = [case.point.grad_out.double() for case in seen]
    for power in (0, -1, 1):
        if power and any(grad.numel() != 1 for grad in outer):
            return None
        values = [n * float(g.sum()) ** power for n, g in zip(numbers, outer, strict=True)]
        if all(isclose(value, values[0], rel_tol=1e-7) for value in values):
            return values[0]
    return None
