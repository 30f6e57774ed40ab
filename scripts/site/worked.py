"""A small example of an operator, with numbers that one can follow by hand.

The inputs are the judge's own "halves", few and plain, for the operator's first sample with axes of
2 and 3; what a sample makes of them, as e to their power, is rounded to two decimals first. All
results are PyTorch's, in float64. No kink lies near: what a small step finds is the gradient, in
all the digits that are printed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import nan, prod
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.draw import Rand, axes, draw, resized, seed_of
from manual_backprop.op import Op
from scripts.site.numbers import DIGITS, number

SIZES = ((2, 3, 2, 2, 2), (3, 2, 2, 2, 2))
TRIES = 200
PLAIN = (30.0, 300.0)  # no number of the example is larger, if it can be
STEP = 0.001
END_DIGITS = 8  # of an output at an end of the step, so that its slope has DIGITS and one more
ROUNDED = 0.5 * 10.0**-DIGITS  # half a unit of the last digit printed
UPSTREAM = (1.0, -2.0, 0.5, 3.0, -1.0, 2.0)


@dataclass(frozen=True)
class Entry:
    """One entry of a gradient, as the sum that it is.

    Attributes:
        label: of the argument.
        index: of the entry; empty for a number.
        terms: grad_out at an output, times that output's slope in this entry; slopes of 0 left out.
        value: of the gradient there.
        moved: of the first that only one output feels, that output with this entry STEP less and
            STEP more.
    """

    label: str
    index: tuple[int, ...]
    terms: tuple[tuple[float, float], ...]
    value: float
    moved: tuple[float, float] | None = None

    @property
    def by_step(self) -> float:
        """The slope as the two outputs give it that are printed."""
        below, above = (round(end, END_DIGITS) for end in self.moved or (nan, nan))
        return (above - below) / (2 * STEP)


@dataclass(frozen=True)
class Worked:
    """An example: all tensors by name, in float64."""

    inputs: Mapping[str, Tensor]
    options: Mapping[str, Any]
    out: Tensor
    grad_out: Tensor
    grads: Mapping[str, Tensor]
    entries: tuple[Entry, ...]


class NoExample(Exception):  # noqa: N818 -- read as a sentence
    """No draw of an operator's sample gives plain numbers."""


def worked(op: Op) -> Worked:
    """The operator's example: the first draw with plain numbers, no gradient of 0 and no kink.

    Raises:
        NoExample: there is none.
    """
    sample = _sample(op)
    names = list(axes(op, sample))
    for plain, sizes, attempt in product(PLAIN, SIZES, range(TRIES)):
        asked = dict(zip(names, sizes if len(names) > 1 else (3,), strict=False))
        variant = resized(op, sample, asked)
        rand = Rand(seed_of(op, variant, 0, attempt), torch.float64, "halves")
        inputs, options = draw(op, variant, rand)
        rounded = {name: _rounded(value) for name, value in inputs.items()}
        example = _example(op, rounded, options, plain)
        if example is not None:
            return example
    raise NoExample(f"{op.name}: no draw of {sample} gives plain numbers")


def _sample(op: Op) -> str:
    """The first that draws a table, or else the first."""
    for name in op.samples:
        inputs, _ = draw(op, resized(op, name, {}), Rand(0, torch.float64))
        if max(tensor.dim() for _, tensor in _flat(inputs)) == 2:
            return name
    return next(iter(op.samples))


def _example(
    op: Op, inputs: Mapping[str, Any], options: Mapping[str, Any], largest: float
) -> Worked | None:
    flat = dict(_flat(inputs))
    if len({value.reshape(-1).tolist().__repr__() for value in flat.values()}) < len(flat):
        return None
    leaves = {
        name: value.clone().requires_grad_(name.split("[")[0] in op.wrt)
        for name, value in flat.items()
    }

    def forward(tensors: Mapping[str, Tensor]) -> Tensor:
        given = [_gathered(tensors, name, inputs[name]) for name in inputs]
        return (op.oracle or op.forward)(*given, **options)  # type: ignore[no-any-return]

    out = forward(leaves)
    wanted = [name for name in leaves if leaves[name].requires_grad]
    count = prod(out.shape)
    grad_out = torch.tensor([1.0] if count == 1 else [UPSTREAM[i % 6] for i in range(count)])
    grad_out = grad_out.double().reshape(out.shape)
    targets = [leaves[name] for name in wanted]
    rows = [
        torch.autograd.grad(one, targets, retain_graph=True, materialize_grads=True)
        for one in out.reshape(-1)
    ]
    grads = torch.autograd.grad(out, targets, grad_out, materialize_grads=True)
    everything = (*flat.values(), out.detach(), *grads)
    if not all(bool((t.abs() <= largest).all()) for t in everything) or not all(map(_plain, grads)):
        return None
    for name, grad in zip(wanted, grads, strict=True):
        if not _near(grad, _by_steps(forward, flat, name, grad_out)):
            return None
    entries: list[Entry] = []
    for at, (name, grad) in enumerate(zip(wanted, grads, strict=True)):
        entry = _entry(name, grad, [row[at] for row in rows], grad_out)
        if len(entry.terms) == 1 and not any(one.moved for one in entries):
            ends = [_moved(flat, name, entry.index, step) for step in (-STEP, STEP)]
            outs = [forward(one).reshape(-1) for one in ends]
            felt = int((outs[0] - outs[1]).abs().argmax())
            entry = replace(entry, moved=(float(outs[0][felt]), float(outs[1][felt])))
            if number(entry.by_step) != number(entry.terms[0][1]):
                return None
        entries.append(entry)
    named = dict(zip(wanted, grads, strict=True))
    return Worked(flat, options, out.detach(), grad_out, named, tuple(entries))


def _moved(
    flat: Mapping[str, Tensor], name: str, index: tuple[int, ...], step: float
) -> dict[str, Tensor]:
    """The inputs with one entry moved."""
    moved = flat[name].clone()
    moved[index] += step
    return {**flat, name: moved}


def _by_steps(
    forward: Callable[[Mapping[str, Tensor]], Tensor],
    flat: Mapping[str, Tensor],
    name: str,
    grad_out: Tensor,
) -> Tensor:
    """The gradient of one input by central differences."""
    found = torch.empty_like(flat[name])
    for index in product(*map(range, found.shape)):
        below, above = (forward(_moved(flat, name, index, step)) for step in (-STEP, STEP))
        found[index] = ((above - below) * grad_out).sum() / (2 * STEP)
    return found


def _near(grad: Tensor, found: Tensor) -> bool:
    """Whether two gradients are one in the digits that are printed; at a kink they are not."""
    return bool(((grad - found).abs() <= ROUNDED).all())


def _plain(grad: Tensor) -> bool:
    """Whether it is not all 0, and no entry of it is too small to be printed."""
    size = grad.abs()
    return bool((size > 0).any()) and not bool(((size > 0) & (size < 1e-3)).any())


def _entry(label: str, grad: Tensor, slopes: list[Tensor], grad_out: Tensor) -> Entry:
    """The entry that most outputs feel; of equals the last but one, which is no corner."""
    felt = torch.stack([slope.reshape(-1) != 0 for slope in slopes]).sum(0)
    best = [i for i in range(len(felt)) if felt[i] == felt.max()]
    at = best[-2] if len(best) > 1 else best[0]
    terms = tuple(
        (float(g), float(slope.reshape(-1)[at]))
        for g, slope in zip(grad_out.reshape(-1), slopes, strict=True)
        if slope.reshape(-1)[at] != 0
    )
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), grad.shape))
    return Entry(label, index, terms, float(grad.reshape(-1)[at]))


def _flat(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor with its name; those of a tuple as weights[0]."""
    for name, value in inputs.items():
        if isinstance(value, tuple):
            yield from ((f"{name}[{at}]", one) for at, one in enumerate(value))
        else:
            yield name, value


def _gathered(leaves: Mapping[str, Tensor], name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(leaves[f"{name}[{at}]"] for at in range(len(value)))
    return leaves[name]


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_rounded(one) for one in value)
    return value.round(decimals=2) if value.is_floating_point() else value
