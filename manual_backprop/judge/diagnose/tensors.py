"""What a wrong gradient is, taken by itself: a multiple, a transpose, another's."""

import re
from collections.abc import Iterator
from math import isclose

from manual_backprop.judge.diagnose.case import Case, Reading
from manual_backprop.judge.diagnose.sizes import CLOSE, plain, readings
from manual_backprop.judge.verdict import Cause


def as_they_are(cases: list[Case]) -> list[Reading]:
    """Readings of the wrong gradients beside the right ones, without a look at the forward."""
    found: list[Reading] = []
    first = cases[0]
    found += _zero(cases)
    for i in first.wrong:
        found += _another(cases, i)
        found += _turned(cases, i)
    found += _swapped(cases)
    found += _uniform(cases)
    return found


def _zero(cases: list[Case]) -> Iterator[Reading]:
    """All gradients that are 0, and all that are so small that rounding parts them from 0."""
    exact = [i for i in cases[0].wrong if not any(bool(case.got[i].any()) for case in cases)]
    small = [i for i in cases[0].wrong if all(case.explained(i, 0 * case.got[i]) for case in cases)]
    for rank, what, found in (
        (0, "every entry is 0", exact),
        (2.5, "every entry is 0 but for rounding", small),
    ):
        if found and not (found == exact and rank):
            labels = tuple(cases[0].labels[i] for i in found)
            yield Reading(rank, Cause("zero", labels, what))


def _swapped(cases: list[Case]) -> Iterator[Reading]:
    wrong = cases[0].wrong
    for a in wrong:
        for b in wrong:
            if a < b and all(
                case.true[a].shape == case.true[b].shape
                and case.explained(a, case.true[b])
                and case.explained(b, case.true[a])
                for case in cases
            ):
                labels = (cases[0].labels[a], cases[0].labels[b])
                yield Reading(
                    1, Cause("swapped", labels, f"{labels[0]} and {labels[1]} have changed places")
                )


def _another(cases: list[Case], i: int) -> Iterator[Reading]:
    """Another argument's right gradient."""
    for j, other in enumerate(cases[0].labels):
        if j != i and all(case.explained(i, case.true[j]) for case in cases):
            what = f"it is the right {other}, not {cases[0].labels[i]}"
            yield Reading(5, Cause("wrong-argument", (cases[0].labels[i],), what))


def _turned(cases: list[Case], i: int) -> Iterator[Reading]:
    """The right gradient, transposed or flipped."""
    true = cases[0].true[i]
    label = (cases[0].labels[i],)
    if true.dim() == 2 and all(case.explained(i, case.true[i].T) for case in cases):
        yield Reading(3, Cause("transposed", label, "it is the right gradient, transposed"))
    long = [axis for axis in range(true.dim()) if true.shape[axis] >= 3]
    for chosen in [(axis,) for axis in long] + ([tuple(long)] if len(long) > 1 else []):
        if all(case.explained(i, case.true[i].flip(chosen)) for case in cases):
            names = " and ".join(map(str, chosen))
            what = f"it is the right gradient, flipped along axis {names}"
            yield Reading(4, Cause("flipped", label, what))


def _uniform(cases: list[Case]) -> Iterator[Reading]:
    """A constant times the right gradient, in every entry."""
    numbers: dict[int, list[float]] = {}
    for i in cases[0].wrong:
        here = [_factor(case, i) for case in cases]
        if all(here):  # neither None nor 0, which `_zero` tells
            numbers[i] = [float(number or 0) for number in here]
    for i, values in numbers.items():
        close = max(case.close(i) for case in cases)
        alike = [
            j for j in numbers
            if all(isclose(a, b, rel_tol=close) for a, b in zip(values, numbers[j], strict=True))
        ]  # fmt: skip
        if alike[0] != i:
            continue
        if named := scale(values, cases, close):
            code, text = named
            labels = tuple(cases[0].labels[j] for j in alike)
            every = "every gradient is" if len(alike) == len(cases[0].labels) > 1 else "it is"
            what = f"{every} {text} times what it should be, in every entry"
            yield Reading(2, Cause(code, labels, what, _evidence(cases, alike, values)))


def _factor(case: Case, i: int) -> float | None:
    true, got = case.true[i], case.got[i]
    size = float((true * true).sum())
    number = float((true * got).sum()) / size if size else 0.0
    return number if size and case.explained(i, number * true) else None


def _evidence(cases: list[Case], labels: list[int], values: list[float]) -> str:
    left = max(
        float((case.got[i] - value * case.true[i]).abs().max() / case.got[i].abs().max())
        for case, value in zip(cases, values, strict=True)
        for i in labels
    )
    return f"left over after dividing by {values[0]:.12g}: {left:.0e} of the largest entry"


def scale(values: list[float], cases: list[Case], close: float = CLOSE) -> tuple[str, str] | None:
    """The code of a constant factor, and what it is called; None where it is no constant."""
    constant = all(isclose(value, values[0], rel_tol=close) for value in values)
    sizes = _sizes(cases)
    fixed = all(here == sizes[0] for here in sizes)
    if constant and not fixed:
        number = values[0]
        said = plain(number, close)
        return ("sign" if said == "-1" else "factor"), said
    named = readings(values, sizes, close)
    if constant:  # the sizes cannot be changed, so that every reading stands
        number = values[0]
        text = " or ".join(dict.fromkeys([plain(number, close), *named[:3]]))
        if isclose(number, -1, rel_tol=close):
            return "sign", text
        if named and plain(number, close) == f"{number:.6g}":
            return ("sum-for-mean" if abs(number) > 1 else "mean-for-sum"), text
        return "factor", text
    if not named:
        return None
    number = values[0]
    text = f"{named[0]} (here {number:.6g})"
    if " - 1" in named[0]:
        return "convention", text
    if re.fullmatch(r"[a-z]\w*/[a-z]\w*", named[0]):
        return "wrong-axis", text
    return ("sum-for-mean" if abs(number) > 1 else "mean-for-sum"), text


def _sizes(cases: list[Case]) -> list[dict[str, int]]:
    """Of each case's axes, and of grad_out's where they are none of these, as a convolution's."""
    known = [list(sizes) for sizes in zip(*(case.sizes.values() for case in cases), strict=True)]
    computed = list(zip(*(case.point.grad_out.shape for case in cases), strict=True))
    return [
        {
            **case.sizes,
            **{
                f"grad_out.shape[{axis}]": here[number]
                for axis, here in enumerate(computed)
                if list(here) not in known and min(here) > 1
            },
        }
        for number, case in enumerate(cases)
    ]
