"""The part of an operator's page that is followed by hand: an example, its sums and one slope."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import prod

from torch import Tensor

from scripts.site.numbers import factor, matrix, number
from scripts.site.worked import END_DIGITS, STEP, Entry, Worked

SUMS = (
    "Each entry of a gradient is a sum over the outputs that feel it: what comes from behind, "
    "times the slope of that output. One entry of each, written out:"
)


def by_hand(example: Worked) -> Iterator[str]:
    """The lines of the page, as Markdown."""
    yield from ("## By hand", "", "Numbers small enough to follow with a pencil; the results are")
    yield from ("PyTorch's, in float64, computed when this page was made.", "")
    options = ", ".join(f"`{name}={value}`" for name, value in example.options.items())
    yield from _matrices("Inputs" + (f", with {options}" if options else ""), example.inputs)
    yield from _matrices("Forward", {"out": example.out})
    yield from _matrices("From behind", {"grad_out": example.grad_out})
    yield from _matrices("Gradients", {f"grad_{n}": g for n, g in example.grads.items()})
    sums = [entry for entry in example.entries if not _is_the_slope(entry)]
    if sums:
        yield from (SUMS, "", *(f"$${sum_of(entry)}$$\n" for entry in sums))
    alone = next((entry for entry in example.entries if entry.moved), None)
    if alone is not None:
        yield from by_step(alone)


def _matrices(title: str, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    yield from (":::{div} numbers", "", f"{title}", "")
    for name, tensor in tensors.items():
        label = name.replace("_", r"\_")
        yield from (rf"$\mathtt{{{label}}} = {matrix(tensor)}$", "")
    yield from (":::", "")


def _is_the_slope(entry: Entry) -> bool:
    """Whether the sum would say no more than the gradient does."""
    return len(entry.terms) == 1 and entry.terms[0][0] == 1


def sum_of(entry: Entry) -> str:
    """One entry of a gradient with the sum that it is, as TeX; "=" where it is one as written."""
    terms = " + ".join(rf"{factor(g)} \cdot {factor(slope)}" for g, slope in entry.terms)
    written = sum(prod(Decimal(number(one)) for one in term) for term in entry.terms)
    equals = _equals(written == Decimal(number(entry.value)))
    name = _name(f"grad_{entry.label}", entry).replace("_", r"\_")
    return rf"\mathtt{{{name}}} = {terms} {equals} {number(entry.value)}"


def by_step(entry: Entry) -> Iterator[str]:
    """A slope as one finds it without any formula, from an entry that was moved."""
    below, above = (f"{end:.{END_DIGITS}f}" for end in entry.moved or ())
    slope, width = number(entry.by_step), number(2 * STEP)
    moved, gradient = (f"`{_name(label, entry)}`" for label in (entry.label, f"grad_{entry.label}"))
    yield f"The slope, found without a formula: with {moved} {STEP} less the output is"
    yield from (f"{below}, with {STEP} more {above}, and", "")
    difference = f"{above} - {f'({below})' if below.startswith('-') else below}"
    exact = Decimal(above) - Decimal(below) == Decimal(slope) * Decimal(width)
    same = _is_the_slope(entry)
    found = rf"\frac{{{difference}}}{{{width}}} {_equals(exact)} {slope}{',' if same else '.'}"
    yield from (f"$${found}$$", "")
    if same:
        yield from (f"which is {gradient}, as `grad_out` is 1.", "")


def _equals(exact: bool) -> str:
    return "=" if exact else r"\approx"


def _name(label: str, entry: Entry) -> str:
    return f"{label}[{', '.join(map(str, entry.index))}]" if entry.index else label
