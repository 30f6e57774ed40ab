"""Records as a table in the terminal: a block per group, a line per opponent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from rich.console import Console
from rich.text import Text

from manual_backprop.bench.case import Case
from manual_backprop.bench.machine import Machine
from manual_backprop.bench.measure import UNLIKE
from manual_backprop.bench.run import Entry, Record
from manual_backprop.report.as_table import LEAST_WIDTH

WIDE = 100  # columns; from here on there is room for more numbers
STYLES = {"wins": "bold green", "parity": "bold", "loses": "bold yellow", "alone": "dim"}
AGAINST = {"wins": "wins against", "parity": "parity with", "loses": "loses to"}
SUMMED = {"wins": "won", "parity": "at parity", "loses": "lost", "alone": "without opponent"}
SUMMED |= {"missing": "missing", "wrong": "wrong"}
WIDEST = 1.25  # from the lower end of an interval to the upper
BUSY = (
    "parity?: so wide an interval says that the machine had other things to do, and not who is "
    "faster. Ask for that case again, or with --threads 1."
)
CAPTION = (
    "Time and memory are those of one call; memory is the most that it takes at once beyond its "
    "inputs. x hand: the time over that of the hand-written, paired by rounds, the median and the "
    "interval that holds it with 95 %; parity is an interval that contains 1, or lies from 0.97 to "
    "1.03. limit: the least time that the formula's work takes at the speeds in the first line, "
    "over the time; above 100 % where all fits into a cache. error: that of the worst entry beside "
    "what rounding allows there, both relative to the largest entry."
)


def show(console: Console, records: Sequence[Record], machine: Machine, size: int) -> None:
    """All records, and the sum of them; `size` is that of the product which was timed."""
    if not console.is_terminal:
        console.width = max(console.width, LEAST_WIDTH)
    console.print(Text(header(machine, size), "dim"))
    names = max((len(e.name) for record in records for e in record.entries), default=0)
    columns = _Columns(names, wide=console.width >= WIDE)
    for _, some in groupby(records, key=lambda record: record.case.group):
        for number, record in enumerate(some):
            if not number:
                console.print()
            _case(console, record, columns, head=not number)
    console.print()
    console.print(Text(CAPTION, "dim"))
    if any(map(_unsettled, records)):
        console.print(Text(BUSY, "yellow"))
    console.print(_sum(records))


def _unsettled(record: Record) -> bool:
    """Whether the rounds differ too much to tell more than an order of magnitude."""
    best = record.best.ratio if record.best is not None else None
    return best is not None and record.outcome == "parity" and best.high > WIDEST * best.low


def header(machine: Machine, size: int) -> str:
    """What the numbers depend on."""
    return (
        f"{machine.name} · threads: {torch.get_num_threads()} · torch {torch.__version__} · "
        f"{machine.blas} · float32 product of {size}³ {engineering(machine.sgemm, 'FLOP/s')} · "
        f"copy of 64 MB {engineering(machine.copy, 'B/s')}"
    )


class _Columns:
    """Widths; the first column is as wide as the longest name."""

    def __init__(self, names: int, *, wide: bool) -> None:
        self.names, self.wide = names + 2, wide

    def line(self, name: str, cells: Iterable[str], *, more: Iterable[str]) -> str:
        """One line; `more` only where it has room."""
        time, ratio, between, memory, limit, error, allowed = cells
        memory_ratio, flops = more
        found = f"{name:<{self.names}} {time:>8}  {ratio:>6} {between:<11}  {memory:>8}"
        if self.wide:
            found += f"  {memory_ratio:>6}  {flops:>12}"
        return f"{found}  {limit:>5}  {error:>7}  {allowed:>7}"

    def head(self) -> str:
        """What stands above the numbers."""
        cells = ("time", "x hand", "", "memory", "limit", "error", "allowed")
        return self.line("", cells, more=("x hand", ""))


def _case(console: Console, record: Record, columns: _Columns, *, head: bool) -> None:
    case, sizes = record.case, record.sizes
    work = case.work(**sizes)
    about = [
        case.described(sizes),
        engineering(work.flops, "FLOP"),
        engineering(work.least_bytes, "B"),
    ]
    console.print(Text(f"{case.name}  ", "bold").append(_verdict(record)))
    console.print(Text(" · ".join(about), "dim"))
    if head:
        console.print(Text(columns.head(), "dim"), soft_wrap=True)
    first = record.entries[0]
    missing: dict[str, list[str]] = {}
    for entry in record.entries:
        if entry.missing:
            missing.setdefault(entry.missing, []).append(entry.name)
        else:
            console.print(_line(entry, first, work.flops, columns), soft_wrap=True)
    for reason, names in missing.items():
        console.print(Text(f"  {', '.join(names)}: missing, {reason}", "dim"))
    if case.remark:
        console.print(Text(f"  {case.remark}", "dim"))


def _verdict(record: Record) -> Text:
    word = record.outcome
    if record.best is None or word not in AGAINST:
        return Text({"alone": "no opponent"}.get(word, word), STYLES.get(word, "bold red"))
    if _unsettled(record):
        return Text(f"parity? with {record.best.name}", "yellow")
    return Text(f"{AGAINST[word]} {record.best.name}", STYLES[word])


def _line(entry: Entry, first: Entry, flops: int, columns: _Columns) -> Text:
    name = f"  {entry.name}"
    near = entry.closeness
    assert near is not None
    if not near.right:
        said = f"wrong: off by {near.error:.1e} where rounding allows {near.allowed:.1e}"
        if near == UNLIKE:
            said = "wrong: another number of results, or results of another shape"
        return Text(f"{name:<{columns.names}} ").append(said, "bold red")
    if entry.seconds is None or entry.share is None or entry.memory is None:
        return Text(f"{name:<{columns.names}} right, and not timed", "dim")
    ratio, between = "", ""
    if entry.ratio is not None:
        ratio = times(entry.ratio.median)
        between = f"{times(entry.ratio.low)}-{times(entry.ratio.high)}"
    peak = first.memory.peak_extra_bytes if first.memory is not None else 0
    taken = entry.memory.peak_extra_bytes
    more = (
        times(taken / peak) if peak and entry is not first else "",
        engineering(flops / entry.seconds, "FLOP/s"),
    )
    cells = (
        engineering(entry.seconds, "s"),
        ratio,
        between,
        engineering(taken, "B"),
        f"{entry.share:.0%}" if entry.share >= 0.01 else "< 1%",
        f"{near.error:.1e}",
        f"{near.allowed:.1e}",
    )
    return Text(columns.line(name, cells, more=more))


def _sum(records: Sequence[Record]) -> Text:
    """All cases in one line."""
    said = Text(f"{len(records)} case{'s' * (len(records) != 1)}: ")
    counts = Counter(record.outcome for record in records)
    for word, told in SUMMED.items():
        if word in counts:
            said.append(f"{counts[word]} {told}", STYLES.get(word, "bold red")).append(", ")
    wrong = [
        f"{record.case.name} {entry.name}"
        for record in records
        for entry in record.entries
        if entry.wrong
    ]
    said = said[:-2]
    if wrong:
        said.append("\nwrong, and not timed: ", "bold red").append(", ".join(wrong))
    return said


def show_list(console: Console, cases: Iterable[Case]) -> None:
    """The names that can be asked for, group by group."""
    for group, some in groupby(cases, key=lambda case: case.group):
        for number, case in enumerate(some):
            if case.name != group and not number:
                console.print(Text(group, "bold"))
            name = f"  {case.name}" if case.name != group else case.name
            shapes = case.described(case.sizes)
            style = "" if case.name != group else "bold"
            console.print(Text(f"{name:<24}", style).append(shapes, "dim"), soft_wrap=True)


def times(ratio: float) -> str:
    """As in "1.02", "12.3", "1,230"."""
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:,.0f}"


def engineering(number: float, unit: str) -> str:
    """As in "3.14 MB": three digits and a prefix."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1), ("m", 1e-3)):
        if abs(number) >= size * 0.9995:
            digits = (
                f"{number / size:.3g}" if abs(number) < 999.5 * size else f"{number / size:.0f}"
            )
            return f"{digits} {prefix}{unit}"
    return f"{number / 1e-6:.3g} µ{unit}" if number else f"0 {unit}"
