"""A text that a page shows is what is printed: the same words and counts, numbers but for rounding.

Another processor or another torch rounds otherwise. An error of rounding, and its share of what is
allowed, is therefore known to its order of magnitude; any other decimal fraction to the digits that
are printed or that its dtype has; and what was trained, where roundings add up, to a few percent. A
whole number is a count, a shape or a place, and the same everywhere.
"""

import re

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+| %)?")
SPEED = re.compile(r"(?<=%) +[\d,]+$", re.MULTILINE)  # images per second, at the end of a row
ROUNDING = 2e-15  # a few roundings of float64: below, an error may be none, or the other way round
ORDER = 10  # times as large, of errors
TRAINED = 0.05  # of decimal fractions
FLOAT32, FLOAT64 = 1e-6, 1e-12  # of a result, after a few roundings
DIGITS = 9  # are enough for a float32


def assert_shown(shown: str, printed: str, *, trained: bool = False) -> None:
    """A page's text is what is printed, but for digits that are the machine's own.

    Args:
        shown: on the page.
        printed: now.
        trained: whether decimal fractions are losses and the like, of many steps.
    """
    there, here = (_lines(SPEED.sub("", text)) for text in (shown, printed))
    assert [NUMBER.sub("0", line).split() for line in there] == [
        NUMBER.sub("0", line).split() for line in here
    ]
    for line, other in zip(there, here, strict=True):
        for one, two in zip(NUMBER.findall(line), NUMBER.findall(other), strict=True):
            assert alike(one, two, trained=trained), (
                f"the page shows {one}, and {two} is printed: {line!r}, {other!r}"
            )


def alike(one: str, two: str, *, trained: bool = False) -> bool:
    """Whether two numbers, as they are printed, say the same."""
    if not set(".e%") & set(one + two):
        return one == two
    a, b = (float(number.replace(",", "").removesuffix(" %")) for number in (one, two))
    largest = max(abs(a), abs(b))
    if set("e%") & set(one + two):
        return largest <= ROUNDING or (a * b > 0 and 1 / ORDER <= a / b <= ORDER)
    if trained:
        return abs(a - b) <= TRAINED * largest
    decimals = min(len(number.partition(".")[2]) for number in (one, two))
    digits = max(len(re.sub(r"\D", "", number).lstrip("0")) for number in (one, two))
    unit = 1.001 * 10.0**-decimals  # either may have been rounded the other way
    return abs(a - b) <= unit + (FLOAT32 if digits <= DIGITS else FLOAT64) * largest


def _lines(text: str) -> list[str]:
    """Those that say something; the first of a report describes the machine."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("torch ")]
