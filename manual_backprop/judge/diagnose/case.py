"""What a diagnosis has to go by: wrong gradients beside right ones, and what a cause is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import isclose
from typing import Any

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
        got, allowed = self.got[label], self.point.grads[label].allowed
        if by.shape != got.shape or not bool(by.isfinite().all() and got.isfinite().all()):
            return False
        room = 4 * float(allowed.max()) + EXPLAINED * float(got.abs().max())
        return float((got - by).abs().max()) <= room


def cases(op: Op, backward: Backward, sample: str) -> Iterator[Case]:
    """Draws at the sample's own sizes and at other primes, by turns."""
    own = axes(op, sample)
    moved = dict(zip(own, _other_primes(own), strict=True))
    for sizes, seed in (({}, 0), (moved, 0), ({}, 1), ({}, 2), (moved, 1)):
        if sample == ARTICLE:
            sizes = dict(zip(own, PRIMES[seed:], strict=False))
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


def gradient_reports(op: Op, backward: Backward, sample: str) -> list[dict[str, Any]]:
    """Gradient by gradient in float64: right or wrong, and the first and the worst wrong entry.

    Returns:
        For each gradient: "name", "shape", "right", "error" and "allowed" (relative to its largest
        entry), "wrong" and "entries" (their numbers), and where it is wrong "first" and "worst",
        each an index, what came and what is expected. Nothing where the call fails.
    """
    case = next(cases(op, backward, sample), None)
    return [_report(case, i) for i in range(len(case.labels))] if case else []


def _report(case: Case, i: int) -> dict[str, Any]:
    got, true, allowed = case.got[i], case.true[i], case.point.grads[i].allowed
    size = float(true.abs().max()) or 1.0 if true.numel() else 1.0
    error = (got - true).abs().nan_to_num(torch.inf)
    off = error > allowed
    report: dict[str, Any] = {
        "name": case.labels[i], "shape": list(got.shape), "right": i not in case.wrong,
        "error": float(error.max()) / size if error.numel() else 0.0,
        "allowed": float(allowed.max()) / size if allowed.numel() else 0.0,
        "wrong": int(off.sum()), "entries": got.numel(),
    }  # fmt: skip
    if off.any():
        flat = int((error / allowed).argmax())
        worst = [int(n) for n in torch.unravel_index(torch.tensor(flat), got.shape)]
        first = [int(n) for n in off.nonzero()[0]] if off.dim() else []
        for name, index in (("first", first), ("worst", worst)):
            entry = tuple(index)
            report[name] = {
                "index": index, "got": float(got[entry]), "expected": float(true[entry])
            }  # fmt: skip
    return report
