"""What is measured on this machine: computation, all-reduces, and steps of 1, 2 and 4 ranks.

Every number of ranks has a pool of processes with one thread each, and all pools live until the
end: whoever is compared takes turns with the others, round by round, as in the benchmark.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from manual_backprop.bench.measure import Truth
from manual_backprop.bench.race import Pace, interleaved
from manual_backprop.report.environment import environment
from scripts.ranks import turns
from scripts.ranks.turns import DDP, HAND, NET, ONE
from scripts.speed.ladder import STEP
from tests.ranks import Ranks

DIGITS = 5  # of the seconds of a round; no clock is steadier
CHECKED = 11  # rows of a rank where values are held to the truth
SCALING = ("same rows", "same batch")  # on every rank; shared by all ranks


@dataclass(frozen=True)
class Sizes:
    """At which all is measured.

    Attributes:
        ranks: numbers of ranks.
        rows: of a rank, for the computation.
        bytes: of an all-reduce.
        races: what stays the same, and how many rows that is.
        pace: of each race.
    """

    ranks: tuple[int, ...]
    rows: tuple[int, ...]
    bytes: tuple[int, ...]
    races: tuple[tuple[str, int], ...]
    pace: Pace


WHOLE = Sizes(
    ranks=(1, 2, 4),
    rows=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000),
    bytes=tuple(4 * 4**p for p in range(11)),
    races=(
        *(("same rows", rows) for rows in (200, 2000)),
        *(("same batch", rows) for rows in (200, 2000, 10_000)),
    ),
    pace=Pace(turn=0.06, seconds=12.0, least=7, most=31),
)
QUICK = Sizes(
    ranks=(1, 2),
    rows=(1, 8, 64),
    bytes=(4, 4096, 1_048_576),
    races=(("same rows", 8), ("same batch", 64)),
    pace=Pace(turn=0.0, seconds=0.0, least=2, most=2),
)

Pools = Mapping[int, Ranks]


def measure(sizes: Sizes) -> dict[str, Any]:
    """All of it, in the form that `scripts.speed.results.Report` reads.

    Raises:
        RuntimeError: a step is wrong, or a process ended.
    """
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    with pools(sizes.ranks) as ranks:
        try:
            for size, pool in ranks.items():
                hold_to_the_truth(size, pool)
            (buckets,) = ranks[1].run(turns.buckets)
            cases = [
                *_computed(ranks, sizes),
                *_summed(ranks, sizes),
                *(case for race in sizes.races for case in _raced(ranks, *race, sizes.pace)),
            ]
        except EOFError as error:
            raise RuntimeError("one of the ranks has ended; what it said stands above") from error
    return {
        "quick": sizes is not WHOLE,
        "environment": environment(("cpu",)),
        "machine": {"cores": cores(), "load": load},
        "buckets": buckets,
        "cases": cases,
    }


def cores() -> int:
    """On how many this process may run."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere it may run on all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def pools(sizes: Sequence[int]) -> Iterator[Pools]:
    """Processes for each number of ranks; Ctrl-C is for the one that asks them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which those who are started inherit
    try:
        started = {size: Ranks(size) for size in sizes}
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield started
    finally:
        for pool in started.values():
            with suppress(OSError):  # a rank that has ended hears nothing
                pool.end()


def hold_to_the_truth(size: int, pool: Ranks) -> None:
    """One step of each engine, held to float64.

    Raises:
        RuntimeError: its loss or its weights are wrong.
    """
    there = {"n": CHECKED * size, **NET}
    truth = Truth(STEP.truth(there), STEP.inputs(there))
    for engine in _engines(size):
        for rank, found in enumerate(pool.run(turns.learned, engine, CHECKED)):
            if not truth.closeness([torch.from_numpy(array) for array in found]).right:
                raise RuntimeError(f"rank {rank} of {size} learns something wrong {engine}")


def _engines(ranks: int) -> tuple[str, ...]:
    return (HAND, DDP, ONE) if ranks == 1 else (HAND, DDP)


def _computed(ranks: Pools, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """The parts of a step with so many ranks at work at once, a case for each number of rows.

    All take turns with each other; of several ranks the slowest counts.
    """
    asked = [(size, number) for size in ranks for number in sizes.rows]
    found: dict[tuple[int, int], list[list[float]]] = {case: [] for case in asked}

    def turn(size: int, number: int) -> Callable[[], float]:
        once = max(map(sum, ranks[size].run(turns.parts, number, 1)))
        count = max(1, round(sizes.pace.turn / once))

        def take() -> float:
            seconds = max(ranks[size].run(turns.parts, number, count), key=sum)
            found[size, number].append(seconds)
            return float(sum(seconds))

        return take

    interleaved([turn(*case) for case in asked], sizes.pace)
    for (size, number), seconds in found.items():
        columns = [list(column) for column in zip(*seconds, strict=True)]
        yield {
            "case": f"rows {number}, {size} at once",
            "group": f"computation {size}",
            "sizes": {"n": number, "ranks": size},
            "opponents": [_timed(*part) for part in zip(turns.PARTS, columns, strict=True)],
        }


def _summed(ranks: Pools, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """All-reduces by bytes, a case for each number of ranks."""
    for size, pool in ranks.items():
        if size == 1:
            continue
        asked = [partial(pool.run, turns.sums, number) for number in sizes.bytes]
        columns = _in_turns(asked, sizes.pace)
        for number, seconds in zip(sizes.bytes, columns, strict=True):
            yield {
                "case": f"{number} bytes, {size} ranks",
                "group": f"all-reduce {size}",
                "sizes": {"ranks": size, "bytes": number},
                "opponents": [_timed("gloo", seconds)],
            }


def _raced(ranks: Pools, same: str, rows: int, pace: Pace) -> Iterator[dict[str, Any]]:
    """Steps of every number of ranks by every engine, all in one race; a case for each number."""
    each = {size: rows if same == "same rows" else rows // size for size in ranks}
    turns_of = [(size, engine) for size in ranks for engine in _engines(size)]
    asked = [partial(ranks[p].run, turns.steps, engine, each[p]) for p, engine in turns_of]
    columns = dict(zip(turns_of, _in_turns(asked, pace), strict=True))
    for size in ranks:
        yield {
            "case": f"{same} {rows}, {size} ranks",
            "group": f"{same} {rows}",
            "sizes": {"ranks": size, "n": each[size]},
            "opponents": [_timed(one, columns[size, one]) for one in _engines(size)],
        }


def _in_turns(asked: Sequence[Callable[..., list[float]]], pace: Pace) -> list[list[float]]:
    """Seconds in each round, for each that is asked; the slowest rank's are what counts."""

    def turn(ask: Callable[..., list[float]]) -> Callable[[], float]:
        ask(1)  # prepares what it needs
        count = max(1, round(pace.turn / max(ask(1))))
        return lambda: max(ask(count))

    found = interleaved([turn(ask) for ask in asked], pace)
    return [column.tolist() for column in found.T]


def _timed(name: str, seconds: Sequence[float]) -> dict[str, Any]:
    """As the benchmark's JSON has an opponent."""
    samples = [float(f"{one:.{DIGITS}g}") for one in seconds]
    return {"opponent": name, "seconds": median(seconds), "samples": samples}
