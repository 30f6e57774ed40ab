"""What a gradient's wrong shape tells about the mistake; nothing that the shapes do not prove."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch

Shape = tuple[int, ...]


def wrong_shape(
    got: Shape, expected: Shape, others: Mapping[str, Shape], wrt: Sequence[str]
) -> tuple[str, str]:
    """A code, and how the sentence "has shape got, not expected" goes on.

    Args:
        got: the gradient's shape.
        expected: the shape of what it is the gradient of.
        others: name -> shape of the operator's other tensors.
        wrt: the names of what gets a gradient, in order.
    """
    if len(got) >= 2 and tuple(reversed(got)) == expected:
        return "transposed", ": it is transposed"
    if name := _paired(got, expected, others):
        code = "shape" if name in ("out", "grad_out") else "broadcast-loss"
        return code, (
            f": {expected} with the {others[name]} of {name} makes all pairs; bring both to one "
            f"shape before you compute with them, as by {name}.reshape{expected}"
        )
    if got == () and _without_ones(expected):
        return "shape", (
            ": it is one number, as .sum() and .mean() give of all entries; name the axes to sum "
            "over, as in .sum(0)"
        )
    if _without_ones(got) == _without_ones(expected):
        return "shape", _misplaced_one(got, expected, others.get("grad_out", ()))
    if lent := _axes_lent(got, expected):
        return "not-reduced", (
            ": it was lent to every row by broadcasting, so its gradient is summed over the rows, "
            f"{_axes(lent)}"
        )
    for name, shape in others.items():
        if got == shape:
            ask = f"; are the gradients in the order {', '.join(wrt)}?" if name in wrt else ""
            return "shape", f": it has the shape of {name}{ask}"
    summed, due = (_left_out(others.get("grad_out", ()), shape) for shape in (got, expected))
    if summed and due and summed != due:
        are = "is" if len(due) == 1 else "are"
        return "shape", (
            f": it has the shape of grad_out summed over {_axes(summed)}, where {_axes(due)} {are} "
            "due"
        )
    if missing := _left_out(expected, got):
        return "shape", f": {_axes_are(expected, missing)} missing; was there a sum too many?"
    if extra := _left_out(got, expected):
        return "shape", f": {_axes_are(got, extra)} too many; is a sum missing?"
    return "shape", ""


def out_of_order(got: Sequence[Shape], expected: Mapping[str, Shape]) -> str:
    """The same for all gradients at once, where their shapes are right in another order.

    Args:
        got: the shapes of the gradients, as they were returned.
        expected: name -> shape of what gets a gradient, in the order of wrt.
    """
    if sorted(got) != sorted(expected.values()):
        return ""
    return f": the shapes are right in another order; return the gradients of {', '.join(expected)}"


def _paired(got: Shape, expected: Shape, others: Mapping[str, Shape]) -> str:
    """The tensor as long as the gradient that was broadcast with it, (n, 1) with (n) to (n, n)."""
    if got in others.values():
        return ""
    for name, shape in others.items():
        if shape != expected and _without_ones(shape) == _without_ones(expected):
            with suppress(RuntimeError):
                if got == torch.broadcast_shapes(shape, expected):
                    return name
    return ""


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _misplaced_one(got: Shape, expected: Shape, grad_out: Shape) -> str:
    if missing := _left_out(expected, got):
        return f": {_axes_are(expected, missing)} missing; take keepdim=True, or unsqueeze"
    if extra := _left_out(got, expected):
        rows = all(axis < len(grad_out) and grad_out[axis] == 1 for axis in extra)
        remedy = "sum over it" if rows else "leave out keepdim=True"
        return f": {_axes_are(got, extra)} too many; {remedy}, or squeeze"
    return ": an axis of 1 stands in another place"


def _axes_lent(got: Shape, expected: Shape) -> list[int]:
    """The axes of `got` along which broadcasting repeats a tensor of shape `expected`."""
    lead = len(got) - len(expected)
    if lead < 0 or any(e not in (g, 1) for g, e in zip(got[lead:], expected, strict=True)):
        return []
    stretched = [lead + i for i, e in enumerate(expected) if e != got[lead + i]]
    return [*range(lead), *stretched]


def _left_out(longer: Shape, shorter: Shape) -> list[int]:
    """The axes without which `longer` is `shorter`; none where it takes more than that."""
    out = []
    rest = list(shorter)
    for axis, size in enumerate(longer):
        if rest and rest[0] == size:
            rest.pop(0)
        else:
            out.append(axis)
    return [] if rest else out


def _axes(axes: Sequence[int]) -> str:
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"


def _axes_are(shape: Shape, axes: Sequence[int]) -> str:
    """As in "axis 0 of 11 is" and "axes 0, 2 of 11, 5 are"."""
    sizes = ", ".join(str(shape[axis]) for axis in axes)
    return f"{_axes(axes)} of {sizes} {'is' if len(axes) == 1 else 'are'}"
