"""A sum of products put together from the wrong ones: a regression on all that could stand in it.

What a wrong gradient says about the number of times that each product is in it is a linear system;
what solves it with such numbers as 0, 1 and -1, for every draw, is what was computed.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.products import Fork, Key, forks
from manual_backprop.judge.diagnose.tape import Tape
from manual_backprop.judge.diagnose.tapes import Recording, recordings
from manual_backprop.judge.verdict import Cause

COUNTS = torch.tensor([0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5], dtype=torch.float64)
CLEAR = 1e-6  # how near to a count a solution of the system lies
RANK = 28


def wrong_products(cases: list[Case]) -> list[Reading]:
    """Wrong products at one fork, or at several that explain only together what is wrong."""
    every: list[Reading] = []
    for recording in recordings(cases, (0,)):
        found: list[Reading] = []
        changes: list[list[Tensor]] = [[torch.zeros_like(t) for t in c.true] for c in cases]
        causes: list[Cause] = []
        for fork in forks(recording.tapes[0]):
            if solved := _solved(recording, fork):
                cause, moved = solved
                found += _reading(recording, [cause], moved)
                causes.append(cause)
                changes = [
                    [a + b for a, b in zip(*both, strict=True)]
                    for both in zip(changes, moved, strict=False)
                ]
        if len(causes) > 1:
            found += _reading(recording, causes, changes)
        every += found
        if any(reading.covers(cases[0]) for reading in found):
            break
    return every


def _reading(
    recording: Recording, causes: list[Cause], changes: list[list[Tensor]]
) -> Iterator[Reading]:
    """What these changes of the right gradients explain."""
    cases = recording.cases
    fits = [
        {i for i, moved in enumerate(change) if case.explained(i, case.true[i] + moved)}
        for case, change in zip(cases, changes, strict=True)
    ]
    every = set.intersection(*fits)
    if explained := sorted(every & set(cases[0].wrong)):
        labels = tuple(cases[0].labels[i] for i in explained)
        what = "; ".join(dict.fromkeys(cause.what for cause in causes))
        cause = Cause(causes[0].code, labels, what, where=causes[0].where)
        untouched = set(range(len(cases[0].true))) - set(cases[0].wrong)
        yield Reading(RANK, cause, untouched <= every)


def _solved(recording: Recording, fork: Fork) -> tuple[Cause, list[list[Tensor]]] | None:
    """The products of which a wrong gradient consists, and how they move all gradients."""
    cases, tapes = recording.cases, recording.tapes
    alike: dict[tuple[Key, ...], list[tuple[Case, Tape, dict[Key, Tensor]]]] = {}
    for case, tape in zip(cases, tapes, strict=True):
        products = fork.products(tape)
        alike.setdefault(tuple(products), []).append((case, tape, products))
    keys = min(alike, key=lambda keys: ((0, 1) not in keys, len(keys)))
    arriving = [
        {key: tape.arriving(fork.source, product) for key, product in products.items()}
        for _, tape, products in alike[keys]
    ]
    for i in cases[0].wrong:
        columns = torch.cat(
            [torch.stack([here[key][i].flatten() for key in keys], 1) for here in arriving]
        )
        off = torch.cat([(case.got[i] - case.true[i]).flatten() for case, _, _ in alike[keys]])
        counts = _counts(columns, off)
        if counts is None or not any(counts):
            continue
        said = fork.said(tapes, {key: n for key, n in zip(keys, counts, strict=True) if n})
        if said is None:
            continue
        moved = [tape.arriving(fork.source, said.added(tape)) for tape in tapes]
        if all(
            case.explained(i, case.true[i] + change[i])
            for case, change in zip(cases, moved, strict=True)
        ):
            return Cause(said.code, (), said.what, where=recording.where(fork.step)), moved
    return None


def _counts(columns: Tensor, off: Tensor) -> list[float] | None:
    """How many times too often each column is in a sum that is off; None where that is no count."""
    if len(columns) < columns.shape[1] + 2 or not bool(columns.any()):
        return None
    solution = torch.linalg.lstsq(columns, off, driver="gelsd").solution
    nearest = COUNTS[(solution[:, None] - COUNTS).abs().argmin(1)]
    return nearest.tolist() if float((solution - nearest).abs().max()) <= CLEAR else None
