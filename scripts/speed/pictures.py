"""The pictures: drawn from the JSON, in the look of the examples, on white."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from manual_backprop.bench.show import engineering
from scripts.speed.axes import FAINT, GREY, Curve, label_ends, logarithmic, times_axis, times_below
from scripts.speed.ladder import NAMES
from scripts.speed.results import Measured, Results, in_threads
from scripts.speed.scaling import broadcast_bytes, matmul_bytes
from scripts.speed.tables import ONE_GRAPH

Numbers = TypeVar("Numbers")
COLORS = 128
DPI = 144  # 1,152 pixels for 8 inches, sharp at the width of a page
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
)  # fmt: skip
BATCH_COLORS = (BLUE, SKY, GREEN, YELLOW, ORANGE)
HAND_AND_FUSED = (
    Curve("by hand", "by hand", BLUE),
    Curve("fused SGD", "autograd", ORANGE),
)
LAST_ROWS = 10**6


def bench(results: Results) -> Figure:
    """Each case against the fastest that autograd or a compiler makes, by threads."""
    reports = list(results.of("bench"))
    cases = list(results.most("bench").cases)
    fig = Figure(figsize=(8, 0.27 * len(cases) + 1.2))
    ax = fig.subplots()
    values = [1.0]
    shift = np.linspace(-0.16, 0.16, len(reports)) if len(reports) > 1 else [0.0]
    for (threads, report), color, down in zip(reports, (BLUE, ORANGE, GREEN), shift, strict=False):
        for row, name in enumerate(cases):
            rival = report.cases[name].rival
            if rival is None or rival.ratio is None:
                continue
            found = rival.ratio
            values += [found.low, found.high]
            ax.plot([found.low, found.high], [row + down] * 2, color=color, lw=1.8)
            ax.plot(found.median, row + down, "o", color=color, ms=5.5, mec="white", mew=0.6)
        ax.plot([], [], "o-", color=color, label=in_threads(threads))
    low, high = min(values) / 1.2, max(values) * 1.2
    ax.axvline(1, color="0.25", lw=1.2, zorder=0)
    ax.axvspan(low, 1, color="0.95", lw=0, zorder=-1)
    ax.set(xscale="log", xlim=(low, high), ylim=(len(cases) - 0.4, -0.6))
    ax.xaxis.set_major_locator(
        FixedLocator([t for t in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32) if low <= t <= high])
    )
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda v, _: f"{v:g} x" if v >= 1 else f"1/{1 / v:g} x")
    )
    ax.set_yticks(range(len(cases)), cases)
    ax.tick_params(axis="y", length=0, labelsize=10.5)
    ax.grid(axis="x", color=FAINT, lw=0.7)
    ax.set_xlabel("time by autograd or torch.compile / time by hand")
    ax.legend(loc="lower right", handletextpad=0.4)
    return fig


def ladder(results: Results) -> Figure:
    """How many times as fast as autograd with fused SGD each rung is."""
    reports = list(results.of("ladder"))
    graph = any(ONE_GRAPH in case.opponents for _, r in reports for case in r.group("ladder"))
    names = [*NAMES, *([ONE_GRAPH] if graph else [])]
    fig = Figure(figsize=(5.4 * len(reports), 5.2))
    axes = np.atleast_1d(fig.subplots(1, len(reports), sharey=True))
    values = [1.0]
    all_ends = []
    for ax, (threads, report) in zip(axes, reports, strict=True):
        ends = []
        for case, color in zip(report.group("ladder"), BATCH_COLORS, strict=False):
            steps = _over_fused(case, names)
            values += [v for v in steps if np.isfinite(v)]
            rungs = range(len(NAMES))
            ax.step(rungs, steps[: len(NAMES)], where="mid", color=color, lw=1.6, alpha=0.55)
            ax.plot(range(len(names)), steps, "o", color=color, ms=6.5, mec="white", mew=0.8)
            last = next(v for v in reversed(steps) if np.isfinite(v))
            ends.append((last, f"batch {case.sizes['n']:,}", color))
        ax.axhline(1, color=GREY, lw=1.2, ls="--", zorder=0)
        ends.append((1.0, "autograd", GREY))
        ax.set_title(in_threads(threads))
        ax.set_xticks(range(len(names)), names, rotation=38, ha="right", rotation_mode="anchor")
        ax.grid(axis="y", color=FAINT, lw=0.7)
        ax.set_axisbelow(True)
        ax.set_xlim(-0.5, len(names) - 0.5)
        all_ends.append(ends)
    for ax in axes:
        times_axis(ax, values)
    for ax, ends in zip(axes, all_ends, strict=True):
        label_ends(ax, len(names) - 1, ends, inches=3.6)
    axes[0].set_ylabel("times as fast as autograd with fused SGD")
    return fig


def _over_fused(case: Measured, names: list[str]) -> list[float]:
    fused = case.opponents["fused SGD"]
    return [
        fused.times(one).median if (one := case.opponents.get(name)) and one.there else np.nan
        for name in names
    ]


def step_by_batch(results: Results) -> Figure:
    """The training step against the batch, by threads."""
    reports = list(results.of("batch"))
    fig, columns = _two_rows(len(reports), 5.2 if len(reports) > 1 else 8)
    for (above, below), (threads, report) in zip(columns, reports, strict=True):
        times_below(above, below, report.group("step-batch"), "n", HAND_AND_FUSED)
        above.set_title(in_threads(threads))
        below.set_xlabel("batch")
    columns[0][1].set_ylabel("autograd / hand")
    return fig


def _one(
    results: Results, *, group: str, grown: str, x: str, y: str, curves: tuple[Curve, Curve]
) -> Figure:
    """A curve over one size, with the most threads."""
    fig, ((above, below),) = _two_rows(1, 8)
    times_below(above, below, results.most("scaling").group(group), grown, curves)
    above.set_title(in_threads(results.threads("scaling")[-1]))
    below.set(xlabel=x, ylabel=y)
    return fig


def _two_rows(columns: int, width: float) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    fig = Figure(figsize=(width * columns, 5.6))
    axes = fig.subplots(
        2, columns, sharex="col", sharey="row", height_ratios=(2.4, 1), squeeze=False
    )
    axes[0][0].set_ylabel("time")
    return fig, list(zip(axes[0], axes[1], strict=True))


def wall(results: Results) -> Figure:
    """Memory of lin's backward against the rows: measured where it fits, beyond it counted."""
    report = results.most("wall")
    cases = report.group("wall")
    i, o = cases[0].sizes["i"], cases[0].sizes["o"]
    rows = [case.sizes["n"] for case in cases]
    line = np.unique(np.logspace(0, np.log10(LAST_ROWS), 61).astype(int))
    fig = Figure(figsize=(8, 4.8))
    ax = fig.subplots()
    ends = []
    forms = (
        ("broadcast", broadcast_bytes, ORANGE, "broadcast"),
        ("by hand, allocating", matmul_bytes, BLUE, "matrix product"),
    )
    for name, formula, color, label in forms:
        beyond = [formula(int(n), i, o) for n in line]
        ax.plot(line, beyond, color=color, lw=1.6)
        taken = [case.opponents[name].fields["peak_extra_bytes"] for case in cases]
        ax.plot(rows, taken, "o", color=color, ms=7, mec="white", mew=0.8)
        ends.append((beyond[-1], label, color))
    logarithmic(ax, [10**p for p in range(7)])
    ax.yaxis.set_major_formatter(EngFormatter("B"))
    ax.set(
        xlim=(0.8, LAST_ROWS * 1.15),
        ylim=(2e4, 5e11),
        xlabel=f"rows n of x (n, {i}), w ({i}, {o})",
        ylabel="most bytes at once",
    )
    there = report.fields["memory_bytes"]
    if there:
        ax.axhspan(there, 5e11, color="0.93", lw=0, zorder=0)
        ax.axhline(there, color=GREY, lw=1.4, ls="--", zorder=1)
        ax.text(
            1,
            there * 1.25,
            f"this machine's memory, {engineering(there, 'B')}",
            color=GREY,
            va="bottom",
        )
    label_ends(ax, LAST_ROWS, ends, inches=4.0)
    ax.text(
        rows[-1],
        1.4e5,
        "dots: measured\nlines: counted from the formula",
        color=GREY,
        va="center",
        ha="center",
        fontsize=10.5,
        bbox={"fc": "white", "ec": "none", "pad": 2},
    )
    return fig


def _scaled(
    group: str, grown: str, x: str, y: str, hand: Curve, other: Curve
) -> Callable[[Results], Figure]:
    return partial(_one, group=group, grown=grown, x=x, y=y, curves=(hand, other))


PICTURES: dict[str, Callable[[Results], Figure]] = {
    "speed": bench,
    "ladder": ladder,
    "step_by_batch": step_by_batch,
    "step_by_width": _scaled("step-width", "h", "hidden width", "autograd / hand", *HAND_AND_FUSED),
    "softmax": _scaled(
        "softmax-classes", "k", "classes", "Jacobian / hand",
        Curve("by hand", "by hand", BLUE), Curve("Jacobian", "Jacobian", ORANGE),
    ),
    "cross_entropy": _scaled(
        "cross-entropy-classes", "k", "classes", "autograd / hand",
        Curve("by hand", "by hand", BLUE), Curve("autograd", "autograd", ORANGE),
    ),
    "memory_wall": wall,
}  # fmt: skip


def drawn(draw: Callable[[Numbers], Figure], numbers: Numbers) -> Figure:
    """One picture, with the style that it was made for."""
    with style.context(["default", "manual_backprop.pictures"]):
        fig = draw(numbers)
        fig.draw_without_rendering()
        return fig


def save(draw: Callable[[Numbers], Figure], numbers: Numbers, file: Path) -> None:
    """Draw one picture and write it, in as many colours as lines and letters need.

    Raises:
        OSError: the file cannot be written.
    """
    with style.context(["default", "manual_backprop.pictures"]), BytesIO() as whole:
        draw(numbers).savefig(whole, dpi=DPI, facecolor="white")
        image = Image.open(whole).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
        image.save(file, optimize=True)
