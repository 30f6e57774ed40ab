"""A number printed with so many digits stands for all that round to it."""

import math

import torch


def rounding_of(printed, decimals=None, significant=None, units=0.5):
    """How far from what was printed the number may be: half a unit of the last digit, or more."""
    if decimals is None:
        magnitude = math.floor(math.log10(abs(printed))) if printed else -math.inf
        decimals = significant - 1 - magnitude
    return units * 10.0**-decimals


def assert_printed(row, name, got):
    """`got`, a tensor or a number, is what `row` of the articles gives under `name`."""
    row.compared.add(name)
    expected = torch.tensor(row.number(name), dtype=torch.float64)
    got = torch.as_tensor(got).detach().double()
    assert got.shape == expected.shape, f"{tuple(got.shape)}, not {tuple(expected.shape)}"
    digits = row.get("digits", {}).get(name)
    for place, (one, printed) in enumerate(
        zip(got.flatten().tolist(), expected.flatten().tolist(), strict=True)
    ):
        allowed = rounding_of(printed, **digits) if digits else 0.0
        assert abs(one - printed) <= allowed, f"{name}, number {place}: {one!r}, not {printed!r}"


def assert_between(row, name, got):
    """Every entry of `got` lies between the two numbers that `row` gives under `name`."""
    row.compared.add(name)
    low, high = row.number(name)
    digits = row["digits"][name]
    assert low - rounding_of(low, **digits) <= got.min()
    assert got.max() <= high + rounding_of(high, **digits)
