"""What a backward with one fault in it gives: every fault at every edge, screened and proven."""

from collections.abc import Iterator
from math import isclose
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading, settled
from manual_backprop.judge.diagnose.edges import Fault, Place, naming
from manual_backprop.judge.diagnose.faults import ELEMENTWISE, faults
from manual_backprop.judge.diagnose.sizes import LOGARITHMS, NAMED, plain
from manual_backprop.judge.diagnose.tape import Edge, Tape
from manual_backprop.judge.diagnose.tapes import Recording, recordings
from manual_backprop.judge.diagnose.tensors import scale
from manual_backprop.judge.verdict import Cause

SCREENED = 1e-7
NOTHING = 1e-9


def replayed(cases: list[Case]) -> list[Reading]:
    """Every fault at one edge that explains wrong gradients, on the first recording that has any
    that explains them all.
    """
    found: list[Reading] = []
    for recording in recordings(cases):
        found += _Replay(recording).readings()
        if any(reading.covers(cases[0]) for reading in found):
            break
    return found


class _Replay:
    """All faults on one recording.

    A fault changes what flows along one edge. How far that moves each gradient along two random
    directions is an inner product of the change with the tangents there, so that nearly every fault
    is turned down without a replay; what passes is replayed for every case and held to all entries.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.cases, self.tapes = recording.cases, recording.tapes
        self.faults: dict[tuple[int, Edge], dict[Any, Fault]] = {}
        self.rows: dict[int, Tensor] = {}
        generator = torch.Generator().manual_seed(0)
        case, tape = self.cases[0], self.tapes[0]
        self.tangents, moved, size = [], [], []
        for _ in range(2):
            for leaf, got, true in zip(tape.wrt, case.got, case.true, strict=True):
                direction = torch.randn(true.shape, generator=generator, dtype=torch.float64)
                self.tangents.append(tape.tangents(leaf, direction))
                moved.append(float((direction * (got - true)).sum()))
                size.append(float(direction.norm() * torch.maximum(got.abs(), true.abs()).max()))
        self.moved = torch.tensor(moved, dtype=torch.float64).reshape(2, -1)
        self.near = SCREENED * torch.tensor(size, dtype=torch.float64).reshape(2, -1)

    def readings(self) -> list[Reading]:
        """Those that are proven, from the loss back to the arguments."""
        found: list[Reading] = []
        for edge in sorted(self.tapes[0].sent, key=lambda e: (-e.step, e.slot)):
            for fault in faults(Place(self.tapes[0], edge)):
                for labels, whole in self._screened(edge, fault):
                    found += self._proven(edge, fault, labels, whole=whole)
        return found

    def _screened(self, edge: Edge, fault: Fault) -> Iterator[tuple[tuple[int, ...], bool]]:
        """Which wrong gradients the fault may explain, and whether it leaves the others alone."""
        felt = self._felt(edge, fault.flows - self.tapes[0].sent[edge])
        wrong = self.cases[0].wrong
        if fault.times is None:
            yield from self._fitting(felt)
            return
        slope = self._felt(edge, fault.times)
        numbers: list[float] = []
        for i in wrong:
            if abs(slope[0, i]) > self.near[0, i]:
                number = float((self.moved[0, i] - felt[0, i]) / slope[0, i])
                if not any(isclose(number, n, rel_tol=1e-6, abs_tol=1e-9) for n in numbers):
                    numbers.append(number)
                    yield from self._fitting(felt + number * slope)

    def _fitting(self, felt: Tensor) -> Iterator[tuple[tuple[int, ...], bool]]:
        near = ((felt - self.moved).abs() <= self.near).all(0).tolist()
        if fits := tuple(i for i in self.cases[0].wrong if near[i]):
            still = (felt.abs() <= self.near).all(0).tolist()
            yield fits, all(still[i] for i in range(len(still)) if i not in fits)

    def _felt(self, edge: Edge, change: Tensor) -> Tensor:
        """How far a change along an edge moves each gradient along both directions, (2, wrt)."""
        source = self.tapes[0].source(edge)
        if source not in self.rows:
            none = torch.zeros_like(change)
            tangents = [tangent.get(source, none).flatten() for tangent in self.tangents]
            self.rows[source] = torch.stack(tangents)
        return (self.rows[source] @ change.flatten()).reshape(2, -1)

    def _same(self, number: int, edge: Edge, fault: Fault) -> Fault | None:
        """The same fault on the tape of another case."""
        if number == 0:
            return fault
        if (number, edge) not in self.faults:
            place = Place(self.tapes[number], edge)
            self.faults[number, edge] = {one.key: one for one in faults(place)}
        return self.faults[number, edge].get(fault.key)

    def _proven(
        self, edge: Edge, fault: Fault, labels: tuple[int, ...], *, whole: bool
    ) -> Iterator[Reading]:
        numbers = []
        for count, (case, tape) in enumerate(zip(self.cases, self.tapes, strict=True)):
            here = self._same(count, edge, fault)
            if here is None and not case.wrong and fault.times is None:
                continue  # where it would change nothing it is no fault
            if here is None:
                return
            source = tape.source(edge)
            change = tape.arriving(source, here.flows - tape.sent[edge])
            if here.times is not None:
                slope = tape.arriving(source, here.times)
                numbers.append(_solved(case, labels, change, slope))
                change = [c + numbers[-1] * s for c, s in zip(change, slope, strict=True)]
            if not all(case.explained(i, case.true[i] + change[i]) for i in labels):
                return
        if said := self._said(edge, fault, numbers):
            code, what, rank = said
            gradients = tuple(self.cases[0].labels[i] for i in labels)
            cause = Cause(code, gradients, what, where=self.recording.where(edge.step))
            yield Reading(rank, cause, whole)

    def _said(
        self, edge: Edge, fault: Fault, numbers: list[float]
    ) -> tuple[str, str, float] | None:
        """Code, sentence and rank; None where the number that was solved for is none."""
        tape = self.tapes[0]
        rank = float(fault.rank)
        source, step = naming(tape, tape.source(edge)), naming(tape, edge.step)
        if fault.code == "stale-weights":
            rate = settled(numbers, self.cases)
            if rate is None or rate < NOTHING:
                return None
            what = f"{fault.what} has already taken its step, of learning rate {rate:.4g}"
            return fault.code, what, rank
        if fault.code != "scale":
            return fault.code, fault.what, rank
        if tape.uses[tape.source(edge)] > 1:
            rank -= 0.5  # of a chain of edges that all explain it, the one where the ways part
        if max(map(abs, numbers)) < NOTHING:
            rank -= 1
            if (penalty := _multiple(self.cases, self.tapes, edge)) is not None:
                return "missing-term", f"the term {plain(penalty)} {source} is left out", rank
            code = "missing-term" if _adds_to_the_loss(tape, edge.step) else "missing-branch"
            return code, f"what {source} does through {step} is left out", rank
        if (named := scale(numbers, self.cases)) is None:
            return None
        code, text = named
        if code == "sign":
            return code, f"what {source} does through {step} has the wrong sign", rank
        simple = tape.steps[edge.step].name in ("add", "sub", *ELEMENTWISE)
        if text == "2" and tape.uses[tape.source(edge)] > 1 and simple:
            return "extra-term", f"what {source} does through {step} is counted twice", rank
        if code == "factor" and text not in (*NAMED.values(), *LOGARITHMS.values()):
            return None  # of a whole gradient this says something, of one edge it does not
        what = f"what {source} does through {step} counts {text} times what it should"
        return code, what, rank


def _adds_to_the_loss(tape: Tape, step: int) -> bool:
    """Whether a step is a term of the loss: only added, averaged and scaled on its way there."""
    if tape.grad_out.numel() != 1 or step == tape.out:
        return tape.grad_out.numel() == 1 and tape.steps[step].name in ("add", "sub")
    after = [edge for edge in tape.sent if tape.source(edge) == step]
    return (
        len(after) == 1
        and all(
            tape.steps[edge.step].name in ("add", "sub", "neg", "sum", "mean", "squeeze", "view")
            or (tape.steps[edge.step].name in ("mul", "div") and _by_a_number(tape, edge.step))
            for edge in after
        )
        and _adds_to_the_loss(tape, after[0].step)
    )


def _by_a_number(tape: Tape, step: int) -> bool:
    sources = tape.steps[step].sources
    return len(sources) == 1 or tape.steps[sources[1]].value.numel() == 1


def _multiple(cases: list[Case], tapes: list[Tape], edge: Edge) -> float | None:
    """By what an argument is multiplied where its contribution is a multiple of it: a penalty's."""
    numbers = []
    for tape in tapes:
        leaf, sent = tape.steps[tape.source(edge)].value, tape.sent[edge]
        size = float((leaf * leaf).sum())
        if tape.source(edge) not in tape.wrt or not size or leaf.numel() < 3:
            return None
        numbers.append(float((leaf * sent).sum()) / size)
        if not torch.allclose(sent, numbers[-1] * leaf, 1e-9, 0):
            return None
    return settled(numbers, cases)


def _solved(
    case: Case, labels: tuple[int, ...], change: list[Tensor], slope: list[Tensor]
) -> float:
    """The number that explains the wrong gradients best."""
    above = sum(float(((case.got[i] - case.true[i] - change[i]) * slope[i]).sum()) for i in labels)
    below = sum(float((slope[i] * slope[i]).sum()) for i in labels)
    return above / below if below else 0.0
