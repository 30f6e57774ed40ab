"""A text that a page shows is what is printed: the same words and counts, numbers but for rounding.

Another processor or another torch rounds otherwise, so an error of rounding is known to its order
of magnitude, and a decimal fraction to some digits. A whole number is a count, a shape or a place,
and the same everywhere.
"""

import re

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
SPEED = re.compile(r"(?<=%) +[\d,]+$", re.MULTILINE)  # images per second, at the end of a row
ROUNDING = 1e-12  # below which an error may be none, or the other way round
ORDER = 30  # times as large, of errors
NEAR = 0.05  # of decimal fractions


def assert_shown(shown: str, printed: str) -> None:
    """A page's text is what is printed, but for digits that are the machine's own."""
    there, here = (_lines(SPEED.sub("", text)) for text in (shown, printed))
    assert [NUMBER.sub("0", line).split() for line in there] == [
        NUMBER.sub("0", line).split() for line in here
    ]
    for line, other in zip(there, here, strict=True):
        for one, two in zip(NUMBER.findall(line), NUMBER.findall(other), strict=True):
            assert alike(one, two), (
                f"the page shows {one}, and {two} is printed: {line!r}, {other!r}"
            )


def alike(one: str, two: str) -> bool:
    """Whether two numbers, as they are printed, say the same."""
    if not set(".e") & set(one + two):
        return one == two
    a, b = (float(number.replace(",", "")) for number in (one, two))
    small = max(abs(a), abs(b)) <= ROUNDING
    if "e" in one + two:
        return small or (a * b > 0 and 1 / ORDER <= a / b <= ORDER)
    return abs(a - b) <= NEAR * max(abs(a), abs(b))


def _lines(text: str) -> list[str]:
    """Those that say something; the first of a report describes the machine."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("torch ")]
