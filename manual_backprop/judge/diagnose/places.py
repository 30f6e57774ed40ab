"""Where a gradient is wrong: exactly where a mask, an index or a row of the forward says."""

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.edges import at_hand
from manual_backprop.judge.diagnose.tape import Tape
from manual_backprop.judge.diagnose.tapes import recordings
from manual_backprop.judge.verdict import Cause


def where_it_is_wrong(cases: list[Case]) -> list[Reading]:
    """Wrong exactly where some tensor at hand is positive, negative, 0, or the target."""
    recording = next(recordings(cases), None)
    tapes = recording.tapes if recording else []
    found = []
    for i in cases[0].wrong:
        places = [_off(case, i) for case in cases]
        wrong = [(off, case) for off, case in zip(places, cases, strict=True) if i in case.wrong]
        if not all(2 <= int(off.sum()) < off.numel() for off, _ in wrong):
            continue
        if all(torch.equal(off, case.true[i] != 0) for off, case in wrong):
            continue  # it is wrong wherever it could be: that says nothing
        known = [dict(_sets(case, tape, i)) for case, tape in zip(cases, tapes, strict=False)]
        for name in known[0] if len(known) == len(cases) else ():
            if all(
                name in here and torch.equal(here[name], off)
                for here, off in zip(known, places, strict=True)
            ):
                count = int(places[0].sum())
                what = (
                    f"it is wrong {name} and nowhere else: {count} of {places[0].numel()} entries"
                )
                zero = all(
                    not bool(c.got[i][off].any()) for c, off in zip(cases, places, strict=True)
                )
                what += ", where it is 0" if zero else ""
                found.append(Reading(40, Cause("subset", (cases[0].labels[i],), what)))
                break
    return found


def _off(case: Case, i: int) -> Tensor:
    budget = case.point.grads[i]
    return (case.got[i] - budget.truth).abs() > budget.allowed


def _sets(case: Case, tape: Tape, i: int) -> Iterator[tuple[str, Tensor]]:
    true = case.true[i]
    for axis in range(true.dim()):
        for index, which in ((0, "first"), (-1, "last")):
            inside = torch.zeros_like(true, dtype=torch.bool)
            inside.select(axis, index).fill_(True)
            yield f"in the {which} entry of axis {axis}", inside
    for step in tape.steps[: len(case.point.raised)]:
        if step.value.dtype is torch.int64 and step.value.dim() == 1 and true.dim() == 2:
            here = torch.zeros_like(true, dtype=torch.bool)
            with suppress(RuntimeError, IndexError):
                if len(step.value) == len(true):
                    here[torch.arange(len(true)), step.value] = True
                    yield f"at the index in {step.name}", here
    for shape, tensors in at_hand(tape).items():
        try:
            wide = torch.broadcast_shapes(shape, true.shape) == true.shape
            column = len(shape) == 1 < true.dim() and shape[0] == true.shape[0]
        except RuntimeError:
            continue
        for name, tensor, _, _ in tensors if wide or column else ():
            value = tensor.reshape(-1, *(1,) * (true.dim() - 1)) if column else tensor
            value = value.expand_as(true)
            yield f"where {name} is positive", value > 0
            yield f"where {name} is not positive", value <= 0
            yield f"where {name} is negative", value < 0
            yield f"where {name} is 0", value == 0
