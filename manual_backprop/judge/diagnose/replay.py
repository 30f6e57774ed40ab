"""What a backward with one fault in it gives: every fault at every edge, screened and proven."""

from collections.abc import Iterator
from math import isclose
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.edges import Fault, Place, naming
from manual_backprop.judge.diagnose.faults import faults
from manual_backprop.judge.diagnose.recorder import place_of, record
from manual_backprop.judge.diagnose.sizes import plain
from manual_backprop.judge.diagnose.tape import Edge, Tape, without_shifts
from manual_backprop.judge.diagnose.tensors import scale
from manual_backprop.judge.point import Point
from manual_backprop.judge.verdict import Cause

SCREENED = 1e-7


def replayed(cases: list[Case]) -> list[Reading]:
    found: list[Reading] = []
    known: set[tuple[Any, ...]] = set()
    for function in (cases[0].point.op.oracle, cases[0].point.op.forward):
        for split in (0, 1, 2):
            if function is None:
                continue
            tapes = tapes_of(cases, function, split)
            if not tapes or (form := _form(tapes[0])) in known:
                continue
            known.add(form)
            found += _Replay(cases, tapes, function).readings()
            if any(_covers(reading, cases[0]) for reading in found):
                return found
    return found


def _covers(reading: Reading, case: Case) -> bool:
    return reading.whole and set(reading.cause.gradients) == {case.labels[i] for i in case.wrong}


def _form(tape: Tape) -> tuple[Any, ...]:
    return tuple((step.name, step.sources) for step in tape.steps), tape.cut


def tapes_of(cases: list[Case], function: Any, split: int) -> list[Tape]:
    """A tape of each case; none where they are not of one form or do not give the right gradients."""
    tapes = []
    for case in cases:
        here = case.point
        try:
            tape = record(
                lambda *leaves, here=here: here._apply(function, *leaves), here.raised,
                _leaf_names(here), here.places, here.grad_out.double(), function, split=split,
            )  # fmt: skip
            tape = without_shifts(tape) or tape if _right(without_shifts(tape), case) else tape
            if not _right(tape, case):
                return []
        except Exception:  # another author's forward need not bear being recorded
            return []
        tapes.append(tape)
    return tapes if all(_form(tape) == _form(tapes[0]) for tape in tapes) else []


def _right(tape: Tape | None, case: Case) -> bool:
    return tape is not None and all(
        budget.ratio(grad) <= 1
        for budget, grad in zip(case.point.grads, tape.leaf_grads(), strict=True)
    )


def _leaf_names(here: Point) -> list[str]:
    names: list[str] = []
    for name, value in here.inputs.items():
        many = isinstance(value, tuple)
        names += [f"{name}[{i}]" for i in range(len(value))] if many else [name]
    return names


class _Replay:
    """All faults on one recording, screened by an inner product and proven by a replay."""

    def __init__(self, cases: list[Case], tapes: list[Tape], function: Any) -> None:
        self.cases = cases
        self.tapes = tapes
        self.function = function
        generator = torch.Generator().manual_seed(0)
        case, tape = cases[0], tapes[0]
        self.tangents, self.moved, self.size = [], [], []
        for leaf, got, true in zip(tape.wrt, case.got, case.true, strict=True):
            direction = torch.randn(true.shape, generator=generator, dtype=torch.float64)
            self.tangents.append(tape.tangents(leaf, direction))
            self.moved.append(float((direction * (got - true)).sum()))
            self.size.append(float(direction.norm() * torch.maximum(got.abs(), true.abs()).max()))

    def readings(self) -> list[Reading]:
        found = []
        for edge in sorted(self.tapes[0].sent, key=lambda e: (-e.step, e.slot)):
            place = Place(self.tapes[0], edge)
            for fault in faults(place):
                found += self._proven(edge, fault)
        return found

    def _proven(self, edge: Edge, fault: Fault) -> Iterator[Reading]:
        """The fault as an explanation of as many wrong gradients as it explains."""
        felt = self._felt(edge, fault.flows - self.tapes[0].sent[edge])
        wrong = self.cases[0].wrong
        if fault.times is None:
            fits = [i for i in wrong if self._near(i, felt[i])]
            numbers = [0.0]
        else:
            slope = self._felt(edge, fault.times)
            numbers = []
            for i in wrong:
                if abs(slope[i]) > SCREENED * self.size[i]:
                    number = (self.moved[i] - felt[i]) / slope[i]
                    if not any(isclose(number, n, rel_tol=1e-6, abs_tol=1e-9) for n in numbers):
                        numbers.append(number)
            fits = []
        for number in numbers:
            if fault.times is not None:
                felt_now = [f + number * s for f, s in zip(felt, slope, strict=True)]
                fits = [i for i in wrong if self._near(i, felt_now[i])]
            else:
                felt_now = felt
            if fits:
                whole = all(
                    self._near(i, felt_now[i]) for i in range(len(felt)) if i not in wrong
                ) and all(i in fits or abs(felt_now[i]) <= SCREENED * self.size[i] for i in wrong)
                if reading := self._verified(edge, fault, tuple(fits), whole):
                    yield reading

    def _felt(self, edge: Edge, change: Tensor) -> list[float]:
        source = self.tapes[0].source(edge)
        return [
            float((tangent[source] * change).sum()) if source in tangent else 0.0
            for tangent in self.tangents
        ]

    def _near(self, i: int, felt: float) -> bool:
        return abs(felt - self.moved[i]) <= SCREENED * self.size[i]

    def _verified(
        self, edge: Edge, fault: Fault, labels: tuple[int, ...], whole: bool
    ) -> Reading | None:
        numbers = []
        for case, tape in zip(self.cases, self.tapes, strict=True):
            same = [f for f in faults(Place(tape, edge)) if f.key == fault.key]
            if not same:
                return None
            here = same[0]
            source = tape.source(edge)
            change = tape.arriving(source, here.flows - tape.sent[edge])
            if here.times is not None:
                slope = tape.arriving(source, here.times)
                number = _solved(case, labels, change, slope)
                numbers.append(number)
                change = [c + number * s for c, s in zip(change, slope, strict=True)]
            if not all(case.explained(i, case.true[i] + change[i]) for i in labels):
                return None
        return self._reading(edge, fault, labels, whole, numbers)

    def _reading(
        self,
        edge: Edge,
        fault: Fault,
        labels: tuple[int, ...],
        whole: bool,
        numbers: list[float],
    ) -> Reading | None:
        tape = self.tapes[0]
        step = tape.steps[edge.step]
        code, what, rank = fault.code, fault.what, float(fault.rank)
        source = naming(tape, tape.source(edge))
        if code == "scale":
            if max(map(abs, numbers)) < 1e-9:
                code = "missing-branch"
                what = f"what {source} does through {naming(tape, edge.step)} is left out"
                if (penalty := _multiple(self.tapes, edge)) is not None:
                    code = "missing-term"
                    what = f"the term {plain(penalty)} {source} is left out"
            elif named := scale(numbers, self.cases):
                code, text = named
                what = f"what flows from {naming(tape, edge.step)} to {source} is {text} times as large as it should be"
                if text == "-1":
                    what = (
                        f"what flows from {naming(tape, edge.step)} to {source} has the wrong sign"
                    )
                if code == "factor" and text not in ("2", "1/2"):
                    rank += 14
            else:
                return None
        elif code == "stale-weights":
            if (
                not all(isclose(n, numbers[0], rel_tol=1e-6) for n in numbers)
                or abs(numbers[0]) < 1e-9
            ):
                return None
            what = f"{fault.what} has already taken its step, of learning rate {numbers[0]:.4g}"
        gradients = tuple(self.cases[0].labels[i] for i in labels)
        return Reading(
            rank,
            Cause(code, gradients, what, where=place_of(step.line, self.function)),
            whole,
        )


def _multiple(tapes: list[Tape], edge: Edge) -> float | None:
    """By what an argument is multiplied where its contribution is a multiple of itself: a penalty's."""
    numbers = []
    for tape in tapes:
        leaf, sent = tape.steps[tape.source(edge)].value, tape.sent[edge]
        size = float((leaf * leaf).sum())
        number = float((leaf * sent).sum()) / size if size else 0.0
        if tape.source(edge) not in tape.wrt or not torch.allclose(sent, number * leaf, 1e-9, 0):
            return None
        numbers.append(number)
    return numbers[0]


def _solved(
    case: Case, labels: tuple[int, ...], change: list[Tensor], slope: list[Tensor]
) -> float:
    """The number that explains the wrong gradients best."""
    above = sum(float(((case.got[i] - case.true[i] - change[i]) * slope[i]).sum()) for i in labels)
    below = sum(float((slope[i] * slope[i]).sum()) for i in labels)
    return above / below if below else 0.0
