"""What the pictures have in common: curves of time, their ratio below, and labels at their ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from scripts.speed.results import Measured

GREY, FAINT = "#767676", "#dddddd"
LINE = 0.235  # inches from the middle of one label to that of the next
MOST_TICKS = 6


@dataclass(frozen=True)
class Curve:
    """An opponent as a line.

    Attributes:
        name: in the JSON.
        label: beside the line.
        color: of both.
    """

    name: str
    label: str
    color: str


def times_below(
    above: Axes, below: Axes, cases: Sequence[Measured], grown: str, curves: Sequence[Curve]
) -> None:
    """Seconds of two opponents and of the machine's limit; below, how many times the first's.

    Args:
        above: for the seconds.
        below: for the ratio, of the same column.
        cases: of one group.
        grown: which of their sizes grows.
        curves: the first is by hand.
    """
    x = [case.sizes[grown] for case in cases]
    limit = [case.limit for case in cases]
    above.plot(x, limit, "--", color=GREY, lw=1.4, zorder=1)
    ends = [(limit[-1], "machine's limit", GREY)]
    for curve in curves:
        seconds = [case.opponents[curve.name].seconds for case in cases]
        above.plot(x, seconds, "o-", color=curve.color, ms=4.5, mec="white", mew=0.6)
        ends.append((seconds[-1], curve.label, curve.color))
    logarithmic(above, x)
    above.yaxis.set_major_formatter(EngFormatter("s"))
    label_ends(above, x[-1], ends, inches=3.2)

    hand, other = curves
    ratios = [case.opponents[other.name].times(case.opponents[hand.name]) for case in cases]
    middle = np.array([one.median for one in ratios])
    outer = [middle - [one.low for one in ratios], [one.high for one in ratios] - middle]
    below.axhline(1, color=hand.color, lw=1.4)
    below.errorbar(
        x, middle, np.maximum(outer, 0), fmt="o-", color=other.color, ms=4.5, mec="white", mew=0.6,
        elinewidth=1.4,
    )  # fmt: skip
    logarithmic(below, x)
    times_axis(below, [1.0, *(v for one in ratios for v in (one.low, one.high))])


def logarithmic(ax: Axes, x: Sequence[int]) -> None:
    """Both axes, with thin lines at the powers of ten."""
    ax.set(xscale="log", yscale="log")
    ax.grid(color=FAINT, lw=0.7)
    ax.set_axisbelow(True)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    if high < 100 * low:  # else there might be a single power of ten
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    ticks = [v for v in x if _is_power_of(10, v)]
    if len(ticks) < len(x) / 3:
        ticks = list(x[:: -(-len(x) // MOST_TICKS)])
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))


def _is_power_of(base: int, number: int) -> bool:
    power = round(float(np.log(number) / np.log(base)))
    return bool(base**power == number)


def times_axis(ax: Axes, values: Sequence[float]) -> None:
    """Ticks that read "2 x" where ratios are drawn on a logarithmic axis."""
    low, high = min(values) / 1.15, max(values) * 1.15
    small = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    ticks = small if high < 60 else [float(10**p) for p in range(-2, 6)]
    if high / low < 6:
        ticks = [0.25, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6]
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g} x"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())


def label_ends(
    ax: Axes, x: float, ends: Sequence[tuple[float, str, str]], *, inches: float
) -> None:
    """A label to the right of each line's last point, pushed apart where lines end close together.

    The scales and limits of the axes are set.

    Args:
        ax: where they go.
        x: of the last points.
        ends: y, label and colour of each.
        inches: about how high the axes are.
    """
    to_axes = ax.transData + ax.transAxes.inverted()
    placed = sorted(ends)
    heights = [float(to_axes.transform((x, y))[1]) for y, _, _ in placed]
    for _ in range(100):
        heights[-1], heights[0] = min(heights[-1], 0.97), max(heights[0], 0.03)
        for lower in range(len(heights) - 1):
            close = LINE / inches - (heights[lower + 1] - heights[lower])
            if close > 0:
                heights[lower] -= close / 2
                heights[lower + 1] += close / 2
    for height, (_, label, color) in zip(heights, placed, strict=True):
        ax.text(1.015, height, label, color=color, transform=ax.transAxes, va="center")
