"""Opponents that take turns: paired times, the median of their ratios, and how sure it is.

    ratio_r = seconds of the opponent in round r / seconds of the hand-written in round r

What slows the machine for a while slows the turns of one round alike, so it cancels in the ratio;
the order rotates from round to round, so nobody always comes after the same one. The interval holds
the ratio with a probability of 95 %, by the bootstrap: the median of rounds drawn again and again
from those that there are.

Source: Efron, Bootstrap methods: another look at the jackknife (1979)
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from manual_backprop.bench.case import Run

PARITY = (0.97, 1.03)  # a difference that nobody notices, and that another day may turn round
RESAMPLES = 2000
Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Pace:
    """How long a case is timed.

    Attributes:
        turn: seconds that one opponent's turn should take at least.
        seconds: after which no further round begins.
        least, most: rounds, whatever they take.
    """

    turn: float
    seconds: float
    least: int
    most: int


WHOLE = Pace(turn=0.02, seconds=5.0, least=5, most=61)
QUICK = Pace(turn=0.01, seconds=0.6, least=5, most=31)


@dataclass(frozen=True)
class Ratio:
    """How many times as long an opponent takes: the median of all rounds, and its interval."""

    median: float
    low: float
    high: float


def ratio(theirs: Sequence[float] | Seconds, ours: Sequence[float] | Seconds) -> Ratio:
    """Of seconds per call, round by round; the same numbers give the same interval."""
    paired = np.asarray(theirs) / np.asarray(ours)
    drawn = np.random.default_rng(0).integers(len(paired), size=(RESAMPLES, len(paired)))
    low, high = np.quantile(np.median(paired[drawn], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(paired)), float(low), float(high))


def outcome(against: Ratio) -> str:
    """For the hand-written: "wins", "parity" or "loses"."""
    least, most = PARITY
    if against.low <= 1 <= against.high or (least <= against.low and against.high <= most):
        return "parity"
    return "wins" if against.low > 1 else "loses"


def interleaved(turns: Sequence[Callable[[], float]], pace: Pace) -> Seconds:
    """Seconds per call, (rounds, opponents); each turn takes one and returns it."""
    rows: list[list[float]] = []
    end = time.perf_counter() + pace.seconds
    while len(rows) < pace.most and (len(rows) < pace.least or time.perf_counter() < end):
        row = [0.0] * len(turns)
        for place in range(len(turns)):
            who = (len(rows) + place) % len(turns)
            row[who] = turns[who]()
        rows.append(row)
    return np.array(rows)


def race(runs: Sequence[Run], device: str, pace: Pace) -> tuple[Seconds, list[int]]:
    """Seconds per call, (rounds, opponents), and how many calls a turn has; all have been warmed.

    The device must be idle, but for the caller.
    """
    calls = [_calls(run, device, pace.turn) for run in runs]

    def turn(run: Run, count: int) -> Callable[[], float]:
        def take() -> float:
            run.fresh()
            return _seconds(run.call, count, device) / count

        return take

    collected = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        return interleaved([turn(*one) for one in zip(runs, calls, strict=True)], pace), calls
    finally:
        if collected:
            gc.enable()


def _calls(run: Run, device: str, least: float) -> int:
    """How many calls take at least so many seconds."""
    count = 1
    run.fresh()
    while (taken := _seconds(run.call, count, device)) < least / 4:
        count *= 2
        run.fresh()
    return max(1, round(least / (taken / count) + 0.5))


def _seconds(call: Callable[[], object], count: int, device: str) -> float:
    """How long so many calls take, with the work that they leave to a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        stream = torch.cuda.current_stream(device)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(stream)
        for _ in range(count):
            call()
        end.record(stream)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    begin = time.perf_counter_ns()
    for _ in range(count):
        call()
    return (time.perf_counter_ns() - begin) / 1e9
