"""Tables and single numbers of the page as Markdown, from the JSON and the model."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from manual_backprop.bench.show import engineering, times
from manual_backprop.commands import Mistake
from scripts.ranks.kept import LAYERS, NETWORKS, Kept
from scripts.ranks.model import messages
from scripts.ranks.turns import DDP, HAND, ONE
from scripts.speed.results import Measured
from scripts.speed.tables import NOTHING, between, table

RANKS = (2, 8, 64, 512)
ROWS = (200, 2000)  # of a rank
BATCHES = (200, 2000, 10_000)


def machine(kept: Kept) -> str:
    """What the numbers depend on."""
    found, there = kept.fields["environment"], kept.fields["machine"]
    return (
        f"{found['devices']['cpu']}, {there['cores']} cores, one thread for each rank; torch "
        f"{found['torch']}, Python {found['python']}; load before it began: {there['load']:.1f}."
    )


def computation(kept: Kept) -> str:
    """The parts of a step by the rows of a rank."""
    head = ["rows", *kept.computed[0].opponents, "step", "images/s"]
    rows = []
    for case in kept.computed:
        parts = [part.seconds for part in case.timed]
        whole = sum(parts)
        cells = [engineering(seconds, "s") for seconds in (*parts, whole)]
        rows.append([f"{case.sizes['n']:,}", *cells, f"{case.sizes['n'] / whole:,.0f}"])
    return table(head, rows)


def at_once(kept: Kept) -> str:
    """The computation where several ranks are at work on one machine, beside one that is alone."""
    several = [size for size in kept.at_once if size > 1]
    head = ["rows of each", "alone"]
    for size in several:
        head += [f"{size} at once", "x alone"]
    rows = []
    for alone, *others in zip(*kept.at_once.values(), strict=True):
        one = sum(part.seconds for part in alone.timed)
        cells = [f"{alone.sizes['n']:,}", engineering(one, "s")]
        for other in others:
            seconds = sum(part.seconds for part in other.timed)
            cells += [engineering(seconds, "s"), times(seconds / one)]
        rows.append(cells)
    return table(head, rows)


def buckets(kept: Kept) -> str:
    """What is sent, and when it is ready."""
    found = []
    ready = [np.cumsum(kept.work(rows).until) for rows in ROWS]
    last = LAYERS
    for place, (size, layer) in enumerate(zip(kept.buckets, kept.filled_by, strict=True)):
        at = [engineering(times[place], "s") for times in ready]
        layers = ", ".join(str(number) for number in range(last, layer - 1, -1))
        found.append([f"layer{'s' if last > layer else ''} {layers}", f"{size:,}", *at])
        last = layer - 1
    ends = [engineering(kept.work(rows).seconds, "s") for rows in ROWS]
    found.append(["step without messages", "", *ends])
    return table(["bucket", "bytes", *(f"ready, {rows:,} rows" for rows in ROWS)], found)


def all_reduce(kept: Kept) -> str:
    """Measured all-reduces by bytes, and what the fit gives."""
    head = ["bytes"]
    columns = []
    for ranks, (_, ratios) in kept.loopback.items():
        head += [f"{ranks} ranks", "model / measured"]
        cases = kept.report.group(f"all-reduce {ranks}")
        columns.append([engineering(case.opponents["gloo"].seconds, "s") for case in cases])
        columns.append([times(ratio) for ratio in ratios])
        sizes = [f"{case.sizes['bytes']:,}" for case in cases]
    return table(head, [list(row) for row in zip(sizes, *columns, strict=True)])


def fit(kept: Kept) -> str:
    """Latency and bandwidth of loopback, and how near they come."""
    rows = []
    for ranks, (network, ratios) in kept.loopback.items():
        off = np.exp(np.abs(np.log(ratios)))
        rows.append(
            [
                f"{ranks} ranks",
                engineering(network.latency, "s"),
                engineering(network.bandwidth, "B/s"),
                *(f"{100 * (one - 1):.0f} %" for one in (np.median(off), off.max())),
            ]
        )
    return table(["", "latency α", "bandwidth β", "usually off by", "at most by"], rows)


def _named(same: str, case: Measured) -> list[str]:
    ranks = case.sizes["ranks"]
    return [f"{same}, {ranks} rank{'s' * (ranks != 1)}", f"{case.sizes['n']:,}"]


def _of_one(cases: list[Measured]) -> tuple[float, float]:
    """Images per second of one rank, and of it or one process that updates within the product,
    whichever is faster.
    """
    (one,) = (case for case in cases if case.sizes["ranks"] == 1)
    n, seconds = one.sizes["n"], one.opponents[HAND].seconds
    return n / seconds, n / min(seconds, one.opponents[ONE].seconds)


def _titled(same: str) -> str:
    """As in "same rows: 2,000"."""
    words, _, number = same.rpartition(" ")
    return f"{words}: {int(number):,}"


def steps(kept: Kept) -> str:
    """Measured steps by hand and by DDP, and how many times as many images one rank learns from."""
    rows = []
    for same, cases in kept.races.items():
        one, best = _of_one(cases)
        for case in cases:
            hand, ddp = case.opponents[HAND], case.opponents[DDP]
            speed = case.sizes["n"] * case.sizes["ranks"] / hand.seconds
            rows.append(
                [
                    *_named(_titled(same), case),
                    engineering(hand.seconds, "s"),
                    engineering(ddp.seconds, "s"),
                    between(ddp.times(hand)),
                    f"{speed:,.0f}",
                    times(speed / one),
                    times(speed / best),
                ]
            )
    head = ["", "rows of a rank", "by hand", "DDP", "DDP / by hand", "images/s"]
    return table([*head, "x one rank", "x one process"], rows)


def check(kept: Kept) -> str:
    """What the model gives for the steps that were measured."""
    rows = []
    for same, cases in kept.races.items():
        for case in cases:
            seconds = case.opponents[HAND].seconds
            cells = [*_named(_titled(same), case), engineering(seconds, "s")]
            for hidden in (False, True):
                model = kept.here(case, hidden=hidden)
                cells += [engineering(model, "s"), times(model / seconds)]
            rows.append(cells)
    head = ["", "rows of a rank", "measured", "nothing hidden", "x measured", "hidden"]
    return table([*head, "x measured"], rows)


def networks(kept: Kept) -> str:
    """What is assumed of networks, and how long all messages of a step take."""
    work = kept.work(1)
    rows = [
        [
            network.name,
            engineering(network.latency, "s"),
            engineering(network.bandwidth, "B/s"),
            *(engineering(messages(work, ranks, network), "s") for ranks in RANKS),
        ]
        for network in NETWORKS
    ]
    head = ["", "latency α", "bandwidth β", *(f"messages, {ranks} ranks" for ranks in RANKS)]
    return table(head, rows)


def more_images(kept: Kept) -> str:
    """Efficiency where every rank has the same rows."""
    rows = []
    for each in ROWS:
        for network in NETWORKS:
            one = kept.same_rows(each, 1, network)
            found = [one / kept.same_rows(each, ranks, network) for ranks in RANKS]
            rows.append([f"{each:,} rows, {network.name}", *(f"{share:.0%}" for share in found)])
    return table(["on each rank", *(f"{ranks} ranks" for ranks in RANKS)], rows)


def same_batch(kept: Kept) -> str:
    """With how many ranks a batch's step is the shortest."""
    rows = []
    for batch in BATCHES:
        for network in NETWORKS:
            best = kept.best(batch, network)
            one = kept.same_batch(batch, 1, network)
            shortest = kept.same_batch(batch, best, network)
            turn = kept.turning_point(batch, network)
            rows.append(
                [
                    f"{batch:,} rows, {network.name}",
                    f"{turn:,.0f}" if math.isfinite(turn) else NOTHING,
                    f"{best:,}",
                    engineering(shortest, "s"),
                    times(one / shortest),
                ]
            )
    return table(["in all", "p*", "fastest ranks", "step", "x one rank"], rows)


TABLES: dict[str, Callable[[Kept], str]] = {
    "machine": machine,
    "computation": computation,
    "buckets": buckets,
    "at once": at_once,
    "all-reduce": all_reduce,
    "fit": fit,
    "steps": steps,
    "check": check,
    "networks": networks,
    "more images": more_images,
    "same batch": same_batch,
}


def _measured(kept: Kept, *, alone: bool) -> "np.ndarray[Any, Any]":
    """Measured steps of one rank or of several, in times of the model without hiding."""
    cases = [c for some in kept.races.values() for c in some if (c.sizes["ranks"] == 1) == alone]
    return np.array([c.opponents[HAND].seconds / kept.here(c, hidden=False) for c in cases])


def _range(ratios: "np.ndarray[Any, Any]") -> str:
    """As in "1.2 times as long (1.05 to 1.4)"."""
    low, middle, high = (times(ratio) for ratio in (ratios.min(), np.median(ratios), ratios.max()))
    return f"{middle} times as long ({low} to {high})"


NUMBERS: dict[str, Callable[[Kept], str]] = {
    "bytes": lambda kept: engineering(sum(kept.buckets), "B"),
    "one rank": lambda kept: _range(_measured(kept, alone=True)),
    "several ranks": lambda kept: _range(_measured(kept, alone=False)),
}


def number(kept: Kept, name: str) -> str:
    """One number by its name.

    Raises:
        Mistake: none is called so.
    """
    if name not in NUMBERS:
        raise Mistake(f"no number is called {name!r}; there are {', '.join(NUMBERS)}")
    return NUMBERS[name](kept)
