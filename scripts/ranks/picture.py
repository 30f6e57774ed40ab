"""The picture of docs/ranks.md: images per second against the number of ranks, by networks."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.ranks.kept import NETWORKS, Kept
from scripts.ranks.model import Network
from scripts.ranks.turns import HAND
from scripts.speed.axes import GREY, label_ends, logarithmic, times_axis
from scripts.speed.pictures import BLUE, GREEN, ORANGE, SKY, YELLOW

TICKS = [4**p for p in range(6)]
RANKS = sorted({round(2 ** (p / 8)) for p in range(81)})
COLORS = (ORANGE, YELLOW, GREEN, SKY, BLUE)  # of NETWORKS
DARK = "#333333"
BATCH, EACH = 2000, 200
LOWEST = 0.03
HEIGHT = 4.2  # inches of the axes, about


def ranks(kept: Kept) -> Figure:
    """One batch shared by all ranks, and the same rows on every rank."""
    fig = Figure(figsize=(11.6, 5.2))
    left, right = fig.subplots(1, 2, sharey=True)
    _panel(left, kept, f"same batch {BATCH}", lambda n, w: kept.same_batch(BATCH, n, w), BATCH)
    _panel(right, kept, f"same rows {EACH}", lambda n, w: kept.same_rows(EACH, n, w), None)
    left.set_title(f"{BATCH:,} rows shared by all ranks")
    right.set_title(f"{EACH:,} rows on each rank")
    left.set_ylabel("images/s, times those of one rank")
    return fig


def _panel(
    ax: Axes,
    kept: Kept,
    same: str,
    seconds: Callable[[int, Network], float],
    batch: int | None,
) -> None:
    """Lines of the networks, with what was measured.

    Args:
        ax: where they go.
        kept: the numbers.
        same: which race was measured.
        seconds: ranks and network -> seconds of a step.
        batch: its rows, or None where each rank has a batch of its own.
    """

    def speed(ranks: int, time: float) -> float:
        return (1 if batch else ranks) / time

    ax.plot(RANKS, RANKS, "--", color=GREY, lw=1.4, zorder=1)
    ends = [(float(RANKS[-1]), "ideal", GREY)]
    for network, color in zip(NETWORKS, COLORS, strict=True):
        one = speed(1, seconds(1, network))
        line = [speed(n, seconds(n, network)) / one for n in RANKS]
        ax.plot(RANKS, line, color=color)
        ends.append((line[-1], network.name, color))
    logarithmic(ax, TICKS)
    ax.set_xlabel("ranks")
    times_axis(ax, [LOWEST, float(RANKS[-1])])
    if same in kept.races:
        _measured(ax, kept, same, speed)
    label_ends(ax, RANKS[-1], ends, inches=HEIGHT)


def _measured(ax: Axes, kept: Kept, same: str, speed: Callable[[int, float], float]) -> None:
    """Dots on this machine, and the line that the model has for it."""
    cases = kept.races[same]
    ranks = [case.sizes["ranks"] for case in cases]
    found = np.array([speed(c.sizes["ranks"], c.opponents[HAND].seconds) for c in cases])
    model = np.array([speed(c.sizes["ranks"], kept.here(c, hidden=False)) for c in cases])
    ax.plot(ranks, model / model[0], ":", color=DARK, lw=1.8, zorder=3)
    ax.plot(ranks, found / found[0], "o", color=DARK, ms=7, mec="white", mew=0.8, zorder=4)
    said = "dots: measured on one machine\ndotted: the model for them"
    ax.text(1.0, 1.3 * LOWEST, said, color=DARK, fontsize=10.5)


PICTURES: dict[str, Callable[[Kept], Figure]] = {"ranks": ranks}
