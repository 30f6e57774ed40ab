"""What came in place of an argument's gradient: another tensor, or it and something added."""

from collections.abc import Iterator
from math import isclose

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.edges import at_hand, naming
from manual_backprop.judge.diagnose.sizes import plain
from manual_backprop.judge.diagnose.tapes import Recording, recordings
from manual_backprop.judge.verdict import Cause


def at_the_argument(cases: list[Case]) -> list[Reading]:
    """Wrong gradients that are a tensor at hand, or differ by a multiple of one from the right."""
    found: list[Reading] = []
    for recording in recordings(cases):
        for i in cases[0].wrong:
            found += _another_tensor(recording, i)
            found += _added(recording, i)
        if found:
            break
    return found


def _another_tensor(recording: Recording, i: int) -> Iterator[Reading]:
    cases, label = recording.cases, recording.cases[0].labels[i]
    known = [dict(at_hand(tape).get(case.true[i].shape, [])) for case, tape in
             zip(cases, recording.tapes, strict=True)]  # fmt: skip
    for name in known[0]:
        if all(name in here and case.explained(i, here[name])
               for case, here in zip(cases, known, strict=True)):  # fmt: skip
            of_another = name.startswith("the gradient of ")
            code = "wrong-variable" if of_another else "wrong-argument"
            said = f"it is {name}" + ("; the way from there is left out" if of_another else "")
            yield Reading(16, Cause(code, (label,), said))


def _added(recording: Recording, i: int) -> Iterator[Reading]:
    cases, label = recording.cases, recording.cases[0].labels[i]
    leaf = recording.tapes[0].wrt[i]
    for name, _ in at_hand(recording.tapes[0]).get(cases[0].true[i].shape, []):
        if name == f"the gradient of {naming(recording.tapes[0], leaf)}":
            continue
        numbers = []
        for case, tape in zip(cases, recording.tapes, strict=True):
            tensor = dict(at_hand(tape).get(case.true[i].shape, [])).get(name)
            if tensor is None or tensor.numel() < 3:
                break
            off = case.got[i] - case.true[i]
            numbers.append(float((off * tensor).sum() / (tensor * tensor).sum()))
            if not case.explained(i, case.true[i] + numbers[-1] * tensor):
                break
        else:
            if all(isclose(n, numbers[0], rel_tol=1e-6) for n in numbers):
                times = "" if isclose(numbers[0], 1) else f"{plain(numbers[0])} times "
                what = f"{times}{name} is added, which the forward does not have"
                yield Reading(22, Cause("extra-term", (label,), what))
