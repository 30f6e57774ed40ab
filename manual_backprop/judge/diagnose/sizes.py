"""What a number has to do with the sizes of the axes: 11 is n, 0.2 is 1/h, 55 is n h."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import isclose, log

CLOSE = 1e-9
NAMED = {-1.0: "-1", 2.0: "2", 0.5: "1/2", -2.0: "-2", -0.5: "-1/2", 4.0: "4", 0.25: "1/4"}
LOGARITHMS = {log(2): "ln 2", 1 / log(2): "1/ln 2", log(10): "ln 10", 1 / log(10): "1/ln 10"}


def readings(
    numbers: Sequence[float], sizes: Sequence[Mapping[str, int]], close: float = CLOSE
) -> list[str]:
    """What a number may stand for, from its value at several sizes of the axes; the simplest first.

    Args:
        numbers: its values.
        sizes: as many mappings of axes to sizes.
        close: how far a number may be from what it stands for, relative.

    Returns:
        Expressions such as "n", "1/(n h)", "2/n", "n/(n - 1)"; none where no expression has all
        the values. Where all sizes are the same, a plain number and an axis can both fit.

    >>> readings([11, 13], [{"n": 11, "i": 7}, {"n": 13, "i": 5}])
    ['n']
    """
    return [
        text
        for text, values in _expressions(sizes)
        if all(isclose(a, b, rel_tol=close) for a, b in zip(values, numbers, strict=True))
    ]


def plain(number: float, close: float = CLOSE) -> str:
    """The number as people write it, as in "1/2", "ln 2" or "1.37".

    >>> plain(1 / 3), plain(1 + 1e-7)
    ('0.333333', '1.0000001')
    """
    for value, text in {**NAMED, **LOGARITHMS}.items():
        if isclose(number, value, rel_tol=close):
            return text
    short = f"{number:.6g}"
    digits = short.partition("e")[0].strip("-0.").replace(".", "")
    looks_exact = len(digits) < 6 and not isclose(float(short), number, rel_tol=close)
    return f"{number:.12g}" if looks_exact else short


def _expressions(
    sizes: Sequence[Mapping[str, int]],
) -> Iterator[tuple[str, list[float]]]:
    names = [name for name in sizes[0] if all(name in other for other in sizes)]
    powers = sorted(product((0, 1, -1), repeat=len(names)), key=lambda p: sum(map(abs, p)))
    for constant, power in product((1.0, 2.0, 0.5, -1.0, -2.0, -0.5), powers):
        if not any(power) or sum(map(abs, power)) > 3:
            continue
        values = []
        for here in sizes:
            value = constant
            for name, exponent in zip(names, power, strict=True):
                value *= float(here[name]) ** exponent
            values.append(value)
        yield _text(constant, names, power), values
    for name in [name for name in names if all(here[name] > 1 for here in sizes)]:
        yield f"{name}/({name} - 1)", [s[name] / (s[name] - 1) for s in sizes]
        yield f"({name} - 1)/{name}", [(s[name] - 1) / s[name] for s in sizes]
        yield f"1/({name} - 1)", [1 / (s[name] - 1) for s in sizes]
        yield f"{name} - 1", [s[name] - 1.0 for s in sizes]


def _text(constant: float, names: Sequence[str], power: Sequence[int]) -> str:
    above = [name for name, p in zip(names, power, strict=True) if p > 0]
    below = [name for name, p in zip(names, power, strict=True) if p < 0]
    sign = "-" if constant < 0 else ""
    if abs(constant) == 2:
        above.insert(0, "2")
    if abs(constant) == 0.5:
        below.insert(0, "2")
    top = " ".join(above) or "1"
    if not below:
        return sign + top
    bottom = " ".join(below)
    return f"{sign}{top}/{f'({bottom})' if len(below) > 1 else bottom}"
