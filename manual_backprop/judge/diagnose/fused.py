"""Sees a sigmoid, a softmax or a normalisation in the steps that compute it, by its values.

People write 1 / (1 + e^-x) and derive s (1 - s). What is wrong with that shows only where the
sigmoid is one step.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import isclose
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from manual_backprop.judge.diagnose.edges import MOVES
from manual_backprop.judge.diagnose.normals import equal, seen
from manual_backprop.judge.diagnose.tape import Step, Tape

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus,
    "silu": torch.nn.functional.silu,
}  # fmt: skip
ALONG: dict[str, Callable[[Tensor, int], Tensor]] = {
    "_softmax": torch.softmax, "_log_softmax": torch.log_softmax,
}  # fmt: skip


def fused(tape: Tape) -> Tape | None:
    """The tape with those steps as one; None where it has none."""
    steps = [*tape.steps]
    changed = False
    for index in sorted(tape.adjoints):
        step = steps[index]
        known = step.name in (*FUNCTIONS, *ALONG, *MOVES)
        if step.apply is None or known or index in tape.cut:
            continue
        for source in _before(tape, index):
            one = _as_one(steps, index, source) or _scaled(tape, steps, index, source)
            if one is not None:
                steps[index] = one
                changed = True
                break
    return replace(tape, steps=steps) if changed else None


def _before(tape: Tape, index: int) -> Iterator[int]:
    """Values that the step was computed from by two steps or more, the furthest first."""
    ancestors: set[int] = set()
    reach = [*tape.steps[index].sources]
    while reach:
        source = reach.pop()
        if source not in ancestors:
            ancestors.add(source)
            reach += tape.steps[source].sources
    shape = tape.steps[index].value.shape
    for source in sorted(ancestors & tape.adjoints.keys()):
        before = tape.steps[source].value.shape
        if before == shape or (len(before) and sum(before) - sum(shape) in (*before, *(
            size - 1 for size in before)) and len(before) - len(shape) in (0, 1)):  # fmt: skip
            yield source


def _as_one(steps: list[Step], index: int, source: int) -> Step | None:
    value, x = steps[index].value, steps[source].value
    if value.numel() < 3:
        return None
    if value.shape != x.shape:
        for axis in range(x.dim()):
            if x.shape[axis] < 2:
                continue
            for keep in (False, True):
                row = x.logsumexp(axis, keep)
                if row.shape == value.shape and equal(value, row):
                    return _one(steps[index], "logsumexp", source, torch.logsumexp, axis, keep)
        return None
    first, start = float(value.flatten()[0]), x.flatten()[0]
    for name, function in FUNCTIONS.items():
        if isclose(first, float(function(start)), rel_tol=1e-9) and equal(value, function(x)):
            return _one(steps[index], name, source, function)
    for axis in range(x.dim()):
        if x.shape[axis] < 2:
            continue
        for name, along in ALONG.items():
            if equal(value, along(x, axis)):
                return _one(steps[index], name, source, partial(_swapped, along), axis)
    if (normal := seen(value, x)) is not None:
        return _one(steps[index], normal.func.__name__, source, normal)
    return None


def _scaled(tape: Tape, steps: list[Step], index: int, source: int) -> Step | None:
    """A normalised value times an argument, as γ (x - μ) / σ."""
    value, x = steps[index].value, steps[source].value
    if value.shape != x.shape or value.numel() < 3 or steps[index].name not in ("div", "mul"):
        return None
    for leaf in tape.wrt:
        gamma = steps[leaf].value
        if leaf == source or gamma.dim() > value.dim() or not bool(gamma.all()):
            continue
        try:
            plain = value / gamma
        except RuntimeError:
            continue
        normal = seen(plain, x) if plain.shape == value.shape else None
        if normal is not None:
            hidden = _one(replace(steps[index], value=plain), normal.func.__name__, source, normal)
            return _product(steps, index, leaf, hidden)
    return None


def _product(steps: list[Step], index: int, leaf: int, normal: Step) -> Step | None:
    """γ times the normalised step, which takes the place of a step that is no longer needed."""
    free = next(
        (i for i in reversed(range(index)) if steps[i].apply is not None
         and i in steps[index].sources
         and sum(i in s.sources for s in steps) == 1),
        None,
    )  # fmt: skip
    if free is None or max(leaf, *normal.sources) >= free:
        return None
    steps[free] = normal
    flat, spec = tree_flatten(((None, None), {}))
    return Step(torch.mul, "mul", steps[index].value, tuple(flat), spec, (0, 1), (leaf, free),
                steps[index].line)  # fmt: skip


def _one(step: Step, name: str, source: int, function: Any, *constants: Any) -> Step:
    flat, spec = tree_flatten(((None, *constants), {}))
    return Step(function, name, step.value, tuple(flat), spec, (0,), (source,), step.line)


def _swapped(along: Callable[[Tensor, int], Tensor], x: Tensor, axis: int) -> Tensor:
    return along(x, axis)
