"""The gradient of another forward: a loss over all pairs, a variance of n - 1."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.faults import ELEMENTWISE
from manual_backprop.judge.diagnose.recorder import place_of
from manual_backprop.judge.diagnose.replay import tapes_of
from manual_backprop.judge.diagnose.tape import Step, Tape
from manual_backprop.judge.verdict import Cause


def of_another_forward(cases: list[Case]) -> list[Reading]:
    """A loss over all pairs; a variance of n - 1; an activation that is not there."""
    found: list[Reading] = []
    for function in (cases[0].point.op.oracle, cases[0].point.op.forward):
        for split in (0, 2):
            tapes = tapes_of(cases, function, split) if function else []
            for index, step in enumerate(tapes[0].steps if tapes else []):
                if step.apply is None or index not in tapes[0].adjoints:
                    continue
                for code, what, other in _instead(step):
                    if reading := _elsewhere(cases, tapes, index, code, what, other, function):
                        found.append(reading)
    return found


def _instead(step: Step) -> Iterator[tuple[str, str, Any]]:
    called = step.name.strip("_")
    if called in ("squeeze", "unsqueeze", "view", "reshape", "unsafe_view"):
        what = (
            f"without {called}, shapes such as (n, 1) and (n) broadcast to (n, n): it is the "
            "gradient of a loss over all pairs"
        )
        yield "broadcast-loss", what, lambda inputs: inputs[0]
    if called in ("var", "std", "var_mean"):
        for correction, said in ((1, "n - 1"), (0, "n")):
            yield (
                "convention",
                f"it is the gradient with a variance over {said}",
                lambda inputs, c=correction: _with_correction(step, inputs[0], c),
            )
    if len(step.sources) == 1 and called in ELEMENTWISE:
        what = f"it is the gradient of the same loss without {called}"
        yield "wrong-variable", what, lambda inputs: inputs[0]


def _with_correction(step: Step, x: Tensor, correction: int) -> Tensor:
    axis = step.flat[1]
    keep = step.flat[-1] is True
    function = torch.std if step.name == "std" else torch.var
    return function(x, dim=axis, correction=correction, keepdim=keep)


def _elsewhere(
    cases: list[Case],
    tapes: list[Tape],
    index: int,
    code: str,
    what: str,
    other: Any,
    function: Any,
) -> Reading | None:
    explained = set(cases[0].wrong)
    whole = True
    for case, tape in zip(cases, tapes, strict=True):
        try:
            grads = tape.rerun({index: other})
        except (RuntimeError, IndexError):  # shapes do not fit without it
            return None
        fits = {i for i, grad in enumerate(grads) if case.explained(i, grad)}
        explained &= fits
        whole &= all(i in fits for i in range(len(grads)) if i not in case.wrong)
    if not explained:
        return None
    labels = tuple(cases[0].labels[i] for i in sorted(explained))
    where = place_of(tapes[0].steps[index].line, function)
    return Reading(30, Cause(code, labels, what, where=where), whole)
