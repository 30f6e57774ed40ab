"""The gradient of another forward: a loss over all pairs, a variance of n - 1."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.edges import MASKS, PLAIN, naming
from manual_backprop.judge.diagnose.faults import ELEMENTWISE
from manual_backprop.judge.diagnose.normals import over
from manual_backprop.judge.diagnose.tape import Step, Tape
from manual_backprop.judge.diagnose.tapes import Recording, recordings
from manual_backprop.judge.verdict import Cause

PAIRS = (
    "a column (n, 1) beside a row (n) broadcasts to (n, n): it is the gradient of a loss over all "
    "pairs"
)


def of_another_forward(cases: list[Case]) -> list[Reading]:
    """Gradients of the forward with one step or argument exchanged."""
    found: list[Reading] = []
    for recording in recordings(cases, (0, 2)):
        tape = recording.tapes[0]
        for index, step in enumerate(tape.steps):
            if step.apply is None and step.name and index not in tape.wrt:
                exchanges = _arguments(step, sum(index in s.sources for s in tape.steps))
            elif step.apply is not None and index in tape.adjoints:
                exchanges = _steps(tape, index)
            elif step.name == "_to_copy" and step.value.is_floating_point():
                said = naming(tape, step.sources[0])  # labels that are whole numbers
                exchanges = _arguments(replace(step, name=said), 2)
            else:
                continue
            for code, what, other in exchanges:
                found += _explaining(recording, index, Cause(code, (), what), other)
    return found


def _arguments(step: Step, uses: int) -> Iterator[tuple[str, str, Any]]:
    """Labels of another convention; a mask that is inverted or not there."""
    numbers = step.value.is_floating_point() or step.value.dtype is torch.int64
    if not step.value.is_floating_point() and bool(((step.value == 0) | (step.value == 1)).all()):
        for what, other in (
            ("without", torch.ones_like), ("with the inverse of", lambda y: 1 - y.long())
        ):  # fmt: skip
            said = f"it is the gradient {what} the mask {step.name}"
            yield "mask", said, lambda inputs, f=other: f(inputs[0]).to(inputs[0].dtype)
    elif step.value.dtype is torch.int64:
        for shift in (1, -1):
            said = f"it is the gradient with every index in {step.name} moved by {shift}"
            yield "convention", said, lambda inputs, s=shift: (inputs[0] + s).clamp(min=0)
    if numbers:
        for what, other in (
            ("-1 and 1 where it holds 0 and 1", lambda y: 2 * y - 1),
            ("0 and 1 where it holds -1 and 1", lambda y: (y + 1) / 2),
            ("1 - it", lambda y: 1 - y),
        ):
            said = f"it is the gradient with {what}, of {step.name}"
            code = "mask" if uses == 1 and what == "1 - it" else "convention"
            yield code, said, lambda inputs, f=other: f(inputs[0])
    if numbers and step.value.dim() == 1:
        yield "broadcast-loss", PAIRS, lambda inputs: inputs[0].unsqueeze(1)


def _steps(tape: Tape, index: int) -> Iterator[tuple[str, str, Any]]:
    step = tape.steps[index]
    called = step.called
    if called in ("squeeze", "unsqueeze", "view", "reshape", "unsafe_view", "select", "slice"):
        yield "broadcast-loss", PAIRS, lambda inputs: inputs[0]
    if called in ("var", "std", "var_mean"):
        for correction, said in ((1, "n - 1"), (0, "n")):
            yield (
                "convention",
                f"it is the gradient with a variance over {said}",
                lambda inputs, c=correction: _with_correction(step, inputs[0], c),
            )
    if called in ("add", "sub") and len(step.sources) == 2:
        for slot, sign in ((0, 1), (1, 1 if called == "add" else -1)):
            term = naming(tape, step.sources[slot])
            whole = "sum" if called == "add" else "difference"
            code = "missing-term" if called == "add" else "wrong-argument"
            what = f"{term} is left out of a {whole} that the backward computes again"
            yield code, what, partial(_without, step, slot, sign)
    if called == "sigmoid":
        what = "it is the gradient with 1 - sigmoid, where the forward has sigmoid: the gate turned"
        yield "convention", what, lambda inputs: 1 - step.run(inputs)
    if called in ("maximum", "minimum"):
        other = torch.minimum if called == "maximum" else torch.maximum
        yield "mask", f"the mask of {called} is inverted", lambda inputs: other(*inputs)
    if called == "where" and len(step.sources) == 3:
        for what, order in (("is inverted", (0, 2, 1)), ("is left out", (0, 1, 1)),
                            ("is left out", (0, 2, 2))):  # fmt: skip
            yield "mask", f"the mask of where {what}", partial(_in_order, step, order)
    if called in ("add", "sub") and len(step.sources) == 1:
        code = "mask" if _feeds_a_mask(tape, index) else "missing-term"
        what = f"the constant that {called} has is left out where it is computed again"
        yield code, what, lambda inputs: inputs[0]
    if len(step.sources) == 1 and called in ELEMENTWISE:
        what = f"{called} is left out where the backward computes the forward again"
        yield "wrong-argument", what, partial(_unapplied, step)
    if len(step.sources) == 1 and called in ELEMENTWISE and called != "neg":
        what = f"it is the gradient of the same loss without {called}"
        code = "mask" if called in MASKS else "wrong-variable"
        yield code, what, lambda inputs: inputs[0]
    if called == "normalise":
        known = step.apply.keywords  # type: ignore[union-attr]
        turned: dict[str, Any] = {"correction": 1 - known["correction"]}
        none: dict[str, Any] = {"eps": 0.0}
        changed = f"it is the gradient with {over(turned['correction'])}"
        for code, what, keywords in (
            ("convention", changed, turned),
            ("missing-term", "it is the gradient with ε left out of σ", none),
            ("convention", f"{changed}, and ε left out of σ", turned | none),
        ):
            function = partial(step.apply.func, **{**known, **keywords})  # type: ignore[union-attr]
            yield code, what, lambda inputs, f=function: f(inputs[0])


def _in_order(step: Step, order: tuple[int, ...], inputs: list[Tensor]) -> Tensor:
    return step.run([inputs[i] for i in order])


def _feeds_a_mask(tape: Tape, index: int) -> bool:
    """Whether a mask is what comes next, but for sums."""
    after = next((i for i, s in enumerate(tape.steps) if index in s.sources), None)
    if after is None or tape.steps[after].name not in PLAIN:
        return after is not None and tape.steps[after].name in MASKS
    return _feeds_a_mask(tape, after)


def _without(step: Step, slot: int, sign: int, inputs: list[Tensor]) -> Tensor:
    """The sum without one term, and with the derivatives of the whole."""
    return step.run(inputs) - sign * inputs[slot].detach()


def _unapplied(step: Step, inputs: list[Tensor]) -> Tensor:
    """The step's input in place of its value, and the step's derivative."""
    value = step.run(inputs)
    return value + (inputs[0] - value).detach()


def _with_correction(step: Step, x: Tensor, correction: int) -> Tensor:
    axis = step.flat[1]
    keep = step.flat[-1] is True
    function = torch.std if step.name == "std" else torch.var
    return function(x, dim=axis, correction=correction, keepdim=keep)


def _explaining(recording: Recording, index: int, cause: Cause, other: Any) -> Iterator[Reading]:
    """The reading that a step computes something else, where it explains anything."""
    cases = recording.cases
    explained, whole = set(cases[0].wrong), True
    for case, tape in zip(cases, recording.tapes, strict=True):
        try:
            grads = tape.rerun({index: other})
        except (RuntimeError, IndexError):  # shapes do not fit, or an index is out of range
            return
        fits = {i for i, grad in enumerate(grads) if case.explained(i, grad)}
        explained &= fits
        whole &= all(i in fits for i in range(len(grads)) if i not in case.wrong)
    if explained:
        labels = tuple(cases[0].labels[i] for i in sorted(explained))
        where = recording.where(index)
        yield Reading(30, replace(cause, gradients=labels, where=where), whole)
