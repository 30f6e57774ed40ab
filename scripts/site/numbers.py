"""Numbers and small tensors as TeX and as text."""

from math import isfinite

from torch import Tensor

DIGITS = 4


def number(value: float) -> str:
    """At most four decimals, and none that is 0; three digits of what is small."""
    if not isfinite(value):
        return str(value)
    if value and abs(value) < 10 ** (1 - DIGITS):
        return f"{value:.{DIGITS - 1}g}"
    short = f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def matrix(tensor: Tensor) -> str:
    """A tensor of at most two axes in brackets, as TeX; of more, its last two."""
    if tensor.dim() == 0:
        return number(float(tensor))
    flat = tensor.reshape(-1, tensor.shape[-1])
    rows = [" & ".join(number(float(one)) for one in row) for row in flat]
    below = r" \\ ".join(rows)
    return rf"\begin{{bmatrix}} {below} \end{{bmatrix}}"


def factor(value: float) -> str:
    """A number in a product, in parentheses where it is negative."""
    return f"({number(value)})" if value < 0 else number(value)
