"""The same fault wherever a step is repeated: in every layer of a loop, at every moment of time."""

import re
from collections.abc import Iterator

from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.edges import PLAIN, Fault, Place
from manual_backprop.judge.diagnose.faults import everywhere
from manual_backprop.judge.diagnose.tape import Edge, Tape
from manual_backprop.judge.diagnose.tapes import Recording, recordings
from manual_backprop.judge.verdict import Cause


def repeated(cases: list[Case]) -> list[Reading]:
    """Faults that are made at every edge of a kind."""
    found: list[Reading] = []
    for recording in recordings(cases):
        tape = recording.tapes[0]
        kinds: dict[tuple[str, int], list[Edge]] = {}
        for edge in tape.sent:
            if tape.steps[edge.step].name in PLAIN:
                continue
            kinds.setdefault((tape.steps[edge.step].name, edge.slot), []).append(edge)
        for edges in kinds.values():
            if len(edges) > 1:
                found += _explaining(recording, tuple(edges))
        if any(reading.covers(cases[0]) for reading in found):
            break
    return found


def _explaining(recording: Recording, edges: tuple[Edge, ...]) -> Iterator[Reading]:
    first = recording.tapes[0]
    name = first.steps[edges[0].step].called
    kinds = {fault.key[1]: fault for edge in edges for fault in everywhere(Place(first, edge))}
    for kind, fault in kinds.items():
        wrong = recording.cases[0].wrong
        for case, tape in zip(recording.cases, recording.tapes, strict=True):
            grads = _with(tape, edges, kind)
            wrong = tuple(i for i in wrong if case.explained(i, grads[i]))
            if not wrong:
                break
        if wrong:
            right = all(
                i in wrong or recording.cases[-1].explained(i, grads[i]) for i in range(len(grads))
            )
            of_each = re.sub(r" number \d+ of \d+ in the forward", "", fault.what)
            what = f"{of_each}, at each of {len(edges)} places where there is {name}"
            labels = tuple(recording.cases[0].labels[i] for i in wrong)
            where = recording.where(edges[-1].step)
            yield Reading(25, Cause(fault.code, labels, what, where=where), right)


def _with(tape: Tape, edges: tuple[Edge, ...], kind: object) -> list[Tensor]:
    """The gradients of a backward with a fault at all these edges."""

    def fault(faulty: Tape, edge: Edge) -> Tensor | None:
        if edge not in edges:
            return None
        same: Iterator[Fault] = (f for f in everywhere(Place(faulty, edge)) if f.key[1] == kind)
        return next((f.flows for f in same), None)

    return tape.replay(fault).leaf_grads()
