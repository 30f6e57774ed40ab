"""A number printed with so many digits stands for all that round to it."""

import math

import torch


def half_unit(printed, decimals=None, significant=None):
    """Half a unit of the last digit that was printed."""
    if decimals is None:
        magnitude = math.floor(math.log10(abs(printed))) if printed else -math.inf
        decimals = significant - 1 - magnitude
    return 0.5 * 10.0**-decimals


def assert_printed(row, name, got):
    """`got`, a tensor or a number, is what `row` of articles.json gives under `name`."""
    expected = torch.tensor(row["expected"][name], dtype=torch.float64)
    got = torch.as_tensor(got).detach().double()
    assert got.shape == expected.shape, f"{tuple(got.shape)}, not {tuple(expected.shape)}"
    digits = row.get("digits", {}).get(name)
    for place, (one, printed) in enumerate(
        zip(got.flatten().tolist(), expected.flatten().tolist(), strict=True)
    ):
        allowed = half_unit(printed, **digits) if digits else 0.0
        assert abs(one - printed) <= allowed, f"{name}, number {place}: {one!r}, not {printed!r}"
