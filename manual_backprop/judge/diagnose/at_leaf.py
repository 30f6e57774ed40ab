"""What came in place of an argument's gradient: another tensor, or it and something added."""

from collections.abc import Iterator
from itertools import permutations
from math import isclose

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading, settled
from manual_backprop.judge.diagnose.edges import MOVES, Place, at_hand, naming
from manual_backprop.judge.diagnose.exchanged import difference, factor
from manual_backprop.judge.diagnose.sizes import NAMED, plain
from manual_backprop.judge.diagnose.tape import Edge, Tape
from manual_backprop.judge.diagnose.tapes import Recording, recordings
from manual_backprop.judge.verdict import Cause


def at_the_argument(cases: list[Case]) -> list[Reading]:
    """Wrong gradients that are a tensor at hand, or differ by a multiple of one from the right."""
    found: list[Reading] = []
    for recording in recordings(cases):
        for i in cases[0].wrong:
            shapes = [case.true[i].shape for case in recording.cases]
            known = [
                {one.name: one.tensor for one in at_hand(tape).get(shape, [])}
                for tape, shape in zip(recording.tapes, shapes, strict=True)
            ]
            found += _another_tensor(recording, i, known)
            found += _added(recording, i, known)
            found += _of_probabilities(recording, i)
            found += _of_a_function(recording, i)
            found += _summed(recording, i)
            found += _blocks(recording, i)
            found += _whole(recording, i)
        if found:
            break
    return found


def _another_tensor(
    recording: Recording, i: int, known: list[dict[str, Tensor]]
) -> Iterator[Reading]:
    cases, label = recording.cases, recording.cases[0].labels[i]
    for name in known[0]:
        if all(name in here and case.explained(i, here[name])
               for case, here in zip(cases, known, strict=True)):  # fmt: skip
            of_another = name.startswith("the gradient of ")
            code = "wrong-variable" if of_another else "wrong-argument"
            said = f"it is {name}" + ("; the way from there is left out" if of_another else "")
            yield Reading(16, Cause(code, (label,), said))


def _added(recording: Recording, i: int, known: list[dict[str, Tensor]]) -> Iterator[Reading]:
    cases, label = recording.cases, recording.cases[0].labels[i]
    leaf = recording.tapes[0].wrt[i]
    for name in known[0]:
        if name == f"the gradient of {naming(recording.tapes[0], leaf)}":
            continue
        numbers = []
        for case, here in zip(cases, known, strict=True):
            tensor = here.get(name)
            if tensor is None or tensor.numel() * len(cases) < 3:
                break
            off = case.got[i] - case.true[i]
            numbers.append(float((off * tensor).sum() / (tensor * tensor).sum()))
            if not case.explained(i, case.true[i] + numbers[-1] * tensor):
                break
        else:
            number = settled(numbers, cases)
            if number is not None and (
                not name.startswith("the gradient") or _named_number(number)
            ):
                times = "" if isclose(number, 1) else f"{plain(number)} times "
                what = f"{times}{name} is added, which the forward does not have"
                yield Reading(22, Cause("extra-term", (label,), what))


def _named_number(number: float) -> bool:
    """Whether it is one that people leave out or write twice, and not any number that fits."""
    return any(isclose(number, known, rel_tol=1e-9) for known in (1.0, *NAMED))


def _of_probabilities(recording: Recording, i: int) -> Iterator[Reading]:
    """The gradient with respect to the logits of an argument that holds probabilities."""
    cases = recording.cases
    leaves = [tape.steps[tape.wrt[i]].value for tape in recording.tapes]
    if all(bool(((p > 0) & (p < 1)).all()) for p in leaves) and all(
        case.explained(i, case.true[i] * p * (1 - p)) for case, p in zip(cases, leaves, strict=True)
    ):
        name = naming(recording.tapes[0], recording.tapes[0].wrt[i])
        what = f"it is multiplied by {name} (1 - {name}): the gradient of the logits of {name}"
        yield Reading(15, Cause("wrong-variable", (cases[0].labels[i],), what))


def _of_a_function(recording: Recording, i: int) -> Iterator[Reading]:
    """The gradient with respect to a function of the argument: of e^s for that of s."""
    first = recording.tapes[0]
    for index, step in enumerate(first.steps):
        if step.apply is None or step.sources != (first.wrt[i],) or step.name in MOVES:
            continue
        if step.value.shape == first.steps[first.wrt[i]].value.shape and all(
            case.explained(i, case.true[i] / _slope(tape, index))
            for case, tape in zip(recording.cases, recording.tapes, strict=True)
        ):
            name = naming(first, index)
            what = f"it is the gradient with respect to {name}: that function's slope is left out"
            yield Reading(15, Cause("wrong-variable", (recording.cases[0].labels[i],), what))


def _slope(tape: Tape, index: int) -> Tensor:
    """The derivative of a step's function, entry by entry; nan where it has none."""
    step = tape.steps[index]
    flows = step.pull(torch.ones_like(step.value), tape.inputs(index))[0]
    return torch.full_like(step.value, torch.nan) if flows is None else flows


def _summed(recording: Recording, i: int) -> Iterator[Reading]:
    """Another gradient, summed over an axis."""
    cases = recording.cases
    for j, other in enumerate(cases[0].labels):
        for axis in range(cases[0].true[j].dim() if j != i else 0):
            if all(case.explained(i, case.true[j].sum(axis)) for case in cases):
                what = f"it is {other} summed over axis {axis}: a factor is there once too often"
                yield Reading(15, Cause("extra-factor", (cases[0].labels[i],), what))


def _blocks(recording: Recording, i: int) -> Iterator[Reading]:
    """The right gradient with its parts in another order, as of gates that were computed as one."""
    cases = recording.cases
    true = cases[0].true[i]
    for axis in range(true.dim()):
        for count in (2, 3, 4):
            if any(case.true[i].shape[axis] % count for case in cases) or true.shape[axis] == count:
                continue
            for order in permutations(range(count)):
                parts = [case.true[i].chunk(count, axis) for case in cases]
                if order != tuple(range(count)) and all(
                    case.explained(i, torch.cat([part[k] for k in order], axis))
                    for case, part in zip(cases, parts, strict=True)
                ):
                    what = f"its {count} parts along axis {axis} stand in the order {order}"
                    yield Reading(15, Cause("swapped", (cases[0].labels[i],), what))


class _Argument(Place):
    """An argument's whole gradient, taken for what flows along one edge."""

    @property
    def name(self) -> str:
        return ""

    @property
    def right(self) -> Tensor:
        return self.tape.adjoints[self.edge.step]

    @property
    def inputs(self) -> list[Tensor]:
        return []


def _whole(recording: Recording, i: int) -> Iterator[Reading]:
    """A difference or a product that the whole gradient is, with another tensor in it."""
    places = [_Argument(tape, Edge(tape.wrt[i], 0)) for tape in recording.tapes]
    for kind in (difference, factor):
        known = [{fault.key: fault for fault in kind(place)} for place in places]
        for key, fault in known[0].items():
            if all(key in here and case.explained(i, here[key].flows)
                   for case, here in zip(recording.cases, known, strict=True)):  # fmt: skip
                cause = Cause(fault.code, (recording.cases[0].labels[i],), fault.what)
                yield Reading(fault.rank, cause)
