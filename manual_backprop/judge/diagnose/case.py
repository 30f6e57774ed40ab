"""What a diagnosis has to go by: wrong gradients beside right ones, and what a cause is."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

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
        return self.point.labels

    @property
    def true(self) -> tuple[Tensor, ...]:
        return tuple(budget.truth for budget in self.point.grads)

    @cached_property
    def wrong(self) -> tuple[int, ...]:
        pairs = zip(self.point.grads, self.got, strict=True)
        return tuple(i for i, (budget, got) in enumerate(pairs) if not budget.ratio(got) <= 1)

    def explained(self, label: int, by: Tensor) -> bool:
        """Whether a gradient is what a mistake would have given."""
        got, allowed = self.got[label], self.point.grads[label].allowed
        if by.shape != got.shape or not bool(by.isfinite().all() and got.isfinite().all()):
            return False
        room = 4 * float(allowed.max()) + EXPLAINED * float(got.abs().max())
        return float((got - by).abs().max()) <= room


def cases(op: Op, backward: Backward, sample: str) -> Iterator[Case]:
    """Two draws at the sample's own sizes and one at other primes."""
    own = axes(op, sample)
    moved = {axis: prime for axis, prime in zip(own, _other_primes(own), strict=False)}
    for sizes, seed in (({}, 0), ({}, 1), (moved, 0)):
        if sample == ARTICLE:
            sizes = {a: p for a, p in zip(own, PRIMES[seed:], strict=False)}
        variant = Variant(sample, "diagnosis" if sizes else "", tuple(sizes.items()))
        with suppress(Broken, BadOp, Unjudgeable):
            here = point(op, variant, torch.float64, seed)
            trial = Trial(backward, here, "cpu", "contiguous")
            got = trial.gradients(copy=True)
            yield Case(here, got, {**own, **sizes})


def _other_primes(own: Mapping[str, int]) -> list[int]:
    """A prime for each axis, other than its own and than its neighbours'."""
    chosen: list[int] = []
    for size in own.values():
        chosen.append(next(p for p in PRIMES if p != size and p not in chosen))
    return chosen
