"""An operator's cases of the benchmark, from the numbers in docs/speed."""

from collections.abc import Iterator
from functools import cache

from manual_backprop.bench.show import engineering
from manual_backprop.op import Op
from manual_backprop.registry import OPS
from scripts.site.cache import ROOT
from scripts.speed.results import Measured, Results
from scripts.speed.tables import between, table, verdict

BY_OTHER_NAMES = {"mnist-step": "classifier"}  # groups that are not called after their operator


@cache
def _results() -> Results:
    return Results(ROOT / "docs" / "speed", {"bench": None})


def _operator(case: Measured) -> str:
    """The operator that a case is of: the longest name that its group begins with."""
    group = str(case.fields["group"])
    if group in BY_OTHER_NAMES:
        return BY_OTHER_NAMES[group]
    words = group.replace("-", "_")
    return max((name for name in OPS if words.startswith(name)), key=len, default="")


def benchmark(op: Op) -> Iterator[str]:
    """A table of its cases, for each number of threads; nothing where it has none."""
    rows = [
        _row(case, threads)
        for threads, report in _results().of("bench")
        for case in report.cases.values()
        if _operator(case) == op.name
    ]
    if not rows:
        return
    yield from ("## Benchmark", "")
    yield "In float32, against the fastest opponent that is not hand-written."
    yield "`rival / by hand` is above 1 where the hand-written backward is faster; in brackets the"
    yield "interval that holds it with 95 %. [What is measured, and how](../speed.md)"
    head = ("case", "threads", "by hand", "rival", "rival / by hand", "verdict")
    yield from ("", ":::{div} wide", "", table(head, rows), "", ":::", "")


def _row(case: Measured, threads: int) -> list[str]:
    rival = case.rival
    first = next(iter(case.opponents.values()))
    name = f"{case.name}<br>{case.fields['shapes']}"
    if rival is None:
        return [name, str(threads), engineering(first.seconds, "s"), "", "", verdict(case)]
    return [
        name,
        str(threads),
        engineering(first.seconds, "s"),
        f"{engineering(rival.seconds, 's')} {rival.name}",
        between(rival.ratio),
        case.outcome,
    ]
