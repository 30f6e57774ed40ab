"""What a backward with one fault in it gives: every fault at every edge, screened and proven."""

from collections.abc import Iterator
from math import isclose

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading, settled
from manual_backprop.judge.diagnose.edges import Fault, Place, naming
from manual_backprop.judge.diagnose.faults import faults
from manual_backprop.judge.diagnose.sizes import plain
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

    A fault changes what flows along one edge. How far that moves each gradient along a random
    direction is an inner product of the change with the tangent there, so that nearly every fault
    is turned down without a replay; what passes is replayed for every case and held to all entries.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.cases, self.tapes = recording.cases, recording.tapes
        generator = torch.Generator().manual_seed(0)
        case, tape = self.cases[0], self.tapes[0]
        self.tangents, self.moved, self.size = [], [], []
        for leaf, got, true in zip(tape.wrt, case.got, case.true, strict=True):
            direction = torch.randn(true.shape, generator=generator, dtype=torch.float64)
            self.tangents.append(tape.tangents(leaf, direction))
            self.moved.append(float((direction * (got - true)).sum()))
            self.size.append(float(direction.norm() * torch.maximum(got.abs(), true.abs()).max()))

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
        slope = [0.0] * len(felt)
        numbers = [0.0]
        wrong = self.cases[0].wrong
        if fault.times is not None:
            slope = self._felt(edge, fault.times)
            numbers = []
            for i in wrong:
                if abs(slope[i]) > SCREENED * self.size[i]:
                    number = (self.moved[i] - felt[i]) / slope[i]
                    if not any(isclose(number, n, rel_tol=1e-6, abs_tol=1e-9) for n in numbers):
                        numbers.append(number)
        for number in numbers:
            now = [f + number * s for f, s in zip(felt, slope, strict=True)]
            near = [
                abs(n - m) <= SCREENED * s
                for n, m, s in zip(now, self.moved, self.size, strict=True)
            ]
            if fits := tuple(i for i in wrong if near[i]):
                still = all(
                    abs(now[i]) <= SCREENED * self.size[i] for i in range(len(now)) if i not in fits
                )
                yield fits, still

    def _felt(self, edge: Edge, change: Tensor) -> list[float]:
        source = self.tapes[0].source(edge)
        return [
            float((tangent[source] * change).sum()) if source in tangent else 0.0
            for tangent in self.tangents
        ]

    def _proven(
        self, edge: Edge, fault: Fault, labels: tuple[int, ...], *, whole: bool
    ) -> Iterator[Reading]:
        numbers = []
        for case, tape in zip(self.cases, self.tapes, strict=True):
            here = next((f for f in faults(Place(tape, edge)) if f.key == fault.key), None)
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
            return "missing-branch", f"what {source} does through {step} is left out", rank
        if (named := scale(numbers, self.cases)) is None:
            return None
        code, text = named
        if code == "sign":
            return code, f"what {source} does through {step} has the wrong sign", rank
        rank += 14 if code == "factor" and text not in ("2", "1/2") else 0
        what = f"what {source} does through {step} counts {text} times what it should"
        return code, what, rank


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
