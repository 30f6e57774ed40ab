"""One case from its inputs to its outcome: values first, then memory, then the race."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from manual_backprop.bench.case import Case, Opponent, Run, Sizes
from manual_backprop.bench.machine import Machine
from manual_backprop.bench.measure import Closeness, Memory, Truth, memory
from manual_backprop.bench.race import QUICK, WHOLE, Pace, Ratio, outcome, race, ratio
from manual_backprop.judge.verdict import reason


@dataclass(frozen=True)
class Entry:
    """What one opponent did.

    Attributes:
        name: as the case calls it.
        closeness: how right it is; None where it did not run.
        missing: why it did not run.
        seconds: of one call, the median of all rounds; None where nothing was timed.
        ratio: its time over that of the first; None for the first.
        memory: what a call takes beyond its inputs; None where it did not run, or is wrong.
        share: of what the machine's limits allow; above 1 where all fits into a cache.
        calls: in each round so many.
        samples: seconds of one call, round by round; those of one case are paired.
        ours: as the case says.
    """

    name: str
    closeness: Closeness | None = None
    missing: str = ""
    seconds: float | None = None
    ratio: Ratio | None = None
    memory: Memory | None = None
    share: float | None = None
    calls: int = 0
    samples: tuple[float, ...] = ()
    ours: bool = False

    @property
    def rounds(self) -> int:
        """How often it was timed."""
        return len(self.samples)

    @property
    def wrong(self) -> bool:
        """Whether its values are."""
        return self.closeness is not None and not self.closeness.right


@dataclass(frozen=True)
class Record:
    """A case that was timed, or why it was not.

    Attributes:
        case, sizes: at which it was timed.
        entries: in the order of the case; the first is the one that others are compared with.
    """

    case: Case
    sizes: Sizes
    entries: tuple[Entry, ...]

    @property
    def best(self) -> Entry | None:
        """The fastest opponent, where any was timed."""
        timed = [e for e in self.entries if e.ratio is not None and not e.ours]
        return min(timed, key=_median_ratio) if timed else None

    @property
    def outcome(self) -> str:
        """Of the first against the best: "wins", "parity", "loses"; "wrong", "missing", "alone"."""
        first = self.entries[0]
        if first.wrong or first.missing:
            return "wrong" if first.wrong else "missing"
        best = self.best
        return outcome(best.ratio) if best is not None and best.ratio is not None else "alone"

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and the first could be timed."""
        return not any(entry.wrong for entry in self.entries) and not self.entries[0].missing


def _median_ratio(entry: Entry) -> float:
    return entry.ratio.median if entry.ratio is not None else 0.0


def bench(
    case: Case,
    machine: Machine,
    device: str,
    *,
    quick: bool = False,
    pace: Pace | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Record:
    """Judge all opponents of a case, and time those that are right.

    Args:
        case: what to time.
        machine: its limits.
        device: cpu, cuda, cuda:1, ...
        quick: smaller sizes and fewer rounds, and nothing is compiled.
        pace: in place of that of `quick`.
        progress: called once for each opponent, and once for the race.
    """
    sizes = case.quick if quick else case.sizes
    inputs = case.inputs(sizes)
    truth = Truth(case.truth(sizes), inputs, case.rows)
    given = [t.to(device) for t in inputs]
    entries: list[Entry] = []
    runs: dict[int, Run] = {}
    for opponent in case.opponents:
        if opponent.only_on not in ("", torch.device(device).type):
            progress()
            continue
        if quick and opponent.compiled:
            entry = Entry(opponent.name, missing="--quick compiles nothing")
        else:
            entry, run = _tried(opponent, given, truth, device)
            entry = replace(entry, ours=opponent.ours)
            if run is not None:
                runs[len(entries)] = run
        entries.append(entry)
        progress()
    del truth
    if 0 in runs:
        _race(case, sizes, machine, device, entries, runs, pace or (QUICK if quick else WHOLE))
    progress()
    return Record(case, sizes, tuple(entries))


def _tried(
    opponent: Opponent, inputs: Sequence[Tensor], truth: Truth, device: str
) -> tuple[Entry, Run | None]:
    """How right it is, and what to time where it is."""
    try:
        run = opponent.run(inputs)
        run.fresh()
        run.call()  # compiles, and fills what is kept between calls
        run.fresh()
        near = truth.closeness(run.call())
        if not near.right:
            return Entry(opponent.name, near), None
        run.fresh()
        taken = memory(run.call, device)
    except Exception as error:
        return Entry(opponent.name, missing=reason(error)), None
    return Entry(opponent.name, near, memory=taken), run


def _race(
    case: Case,
    sizes: Sizes,
    machine: Machine,
    device: str,
    entries: list[Entry],
    runs: dict[int, Run],
    pace: Pace,
) -> None:
    """Write the times into the entries of those that run."""
    seconds, calls = race(list(runs.values()), device, pace)
    for column, place in enumerate(runs):
        own = seconds[:, column]
        typical = float(median(own))
        entries[place] = replace(
            entries[place],
            seconds=typical,
            ratio=None if place == 0 else ratio(own, seconds[:, 0]),
            share=machine.share(case.work(**sizes), typical),
            calls=calls[column],
            samples=tuple(map(float, own)),
        )
