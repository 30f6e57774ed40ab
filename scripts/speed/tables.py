"""Tables and single numbers as Markdown, from the JSON alone."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby

from manual_backprop.bench.race import Ratio
from manual_backprop.bench.show import AGAINST, WIDEST, engineering, times
from manual_backprop.commands import Mistake
from scripts.speed.ladder import BESIDE, KEPT, NAMES, ONEDNN
from scripts.speed.results import Measured, Report, Results, Timed, in_threads

NOTHING = "-"
ONE_GRAPH = "one graph"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown with numbers to the right, and words in the first column."""
    lines = [head, [":--", *("--:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def between(ratio: Ratio | None) -> str:
    """The median and its interval, as in "1.38 (1.36 to 1.40)"."""
    if ratio is None:
        return ""
    return f"{times(ratio.median)} ({times(ratio.low)} to {times(ratio.high)})"


def verdict(case: Measured) -> str:
    """As in "wins against autograd"."""
    rival = case.rival
    if rival is None or rival.ratio is None:
        return NOTHING
    unsure = case.outcome == "parity" and rival.ratio.high > WIDEST * rival.ratio.low
    return f"{'parity? with' if unsure else AGAINST[case.outcome]} {rival.name}"


def machine(results: Results) -> str:
    """What the numbers depend on: one line for each number of threads."""
    lines = []
    for threads, report in results.of("bench"):
        limits, found = report.fields["machine"], report.fields["environment"]
        lines.append(
            f"- {limits['name']}, {in_threads(threads)}: torch {found['torch']}, Python "
            f"{found['python']}, matrix products by {limits['blas']}; a large float32 product runs "
            f"at {engineering(limits['sgemm'], 'FLOP/s')}, a copy of 64 MB at "
            f"{engineering(limits['copy'], 'B/s')}"
        )
    return "\n".join(lines)


def bench(results: Results) -> str:
    """Every case and every opponent, a table for each group."""
    reports = list(results.of("bench"))
    cases = list(results.most("bench").cases.values())
    head = [
        "",
        *(cell for threads, _ in reports for cell in (in_threads(threads), "x by hand")),
        "memory",
        "error",
        "allowed",
    ]
    found = []
    for group, some in groupby(cases, key=lambda case: str(case.fields["group"])):
        rows = [row for case in some for row in _case_rows(case, [r for _, r in reports])]
        found.append(f"### {group}\n\n{table(head, rows)}")
    return "\n\n".join(found)


def _case_rows(case: Measured, reports: Sequence[Report]) -> list[list[str]]:
    """The case with its verdicts, and a row for each opponent."""
    same = [report.cases[case.name] for report in reports]
    verdicts = [cell for one in same for cell in ("", f"**{verdict(one)}**")]
    rows = [[f"**{case.name}**<br>{case.fields['shapes']}", *verdicts, "", "", ""]]
    for name in case.opponents:
        entries = [one.opponents[name] for one in same]
        if not any(entry.there for entry in entries):
            rows.append([name, *[NOTHING, ""] * len(same), "", "", ""])
            continue
        cells = [
            cell
            for entry in entries
            for cell in (
                engineering(entry.seconds, "s") if entry.there else NOTHING,
                between(entry.ratio),
            )
        ]
        last = next(entry for entry in reversed(entries) if entry.there).fields
        near = [f"{last[word]:.1e}" for word in ("error", "allowed")]
        rows.append([name, *cells, engineering(last["peak_extra_bytes"], "B"), *near])
    return rows


def overview(results: Results) -> str:
    """How many cases are won, at parity and lost."""
    words = {"wins": "won", "parity": "at parity", "loses": "lost"}
    rows = []
    for threads, report in results.of("bench"):
        said = [case.outcome for case in report.cases.values()]
        rows.append([in_threads(threads), *(str(said.count(word)) for word in words)])
    return table(["against autograd and compiler", *words.values()], rows)


def not_won(results: Results) -> str:
    """Each case in which the hand-written is at parity or loses."""
    rows = []
    for threads, report in results.of("bench"):
        for case in report.cases.values():
            rival, mine = case.rival, next(iter(case.opponents.values()))
            if rival is not None and case.outcome != "wins":
                rows.append(
                    [
                        f"{case.name}<br>{case.fields['shapes']}",
                        str(threads),
                        engineering(mine.seconds, "s"),
                        f"{engineering(rival.seconds, 's')} {rival.name}",
                        between(rival.ratio),
                        verdict(case).split()[0],
                    ]
                )
    return table(["case", "threads", "by hand", "rival", "rival / by hand", "verdict"], rows)


def forms(results: Results) -> str:
    """lin's backward at the article's shapes, the fastest first."""
    case = results.most("bench").cases["lin-backward-article"]
    autograd = case.opponents["autograd"]
    names = {"by hand": "matmul, into kept memory", "by hand, allocating": "matmul"}
    rows = [
        [
            names.get(one.name, one.name),
            engineering(one.seconds, "s"),
            times(one.times(autograd).median),
            engineering(one.fields["peak_extra_bytes"], "B"),
            f"{one.fields['error']:.1e}",
            f"{one.fields['allowed']:.1e}",
        ]
        for one in sorted(case.timed, key=lambda one: one.seconds)
    ]
    return table(["form", "median", "x autograd", "memory", "error", "allowed"], rows)


def _batches(report: Report) -> tuple[list[Measured], list[str]]:
    cases = report.group("ladder")
    return cases, [f"batch {case.sizes['n']:,}" for case in cases]


def ladder_times(results: Results) -> str:
    """Time of one step, rung by rung, and of autograd beside."""
    found = []
    for threads, report in results.of("ladder"):
        cases, head = _batches(report)
        rows = []
        for name in (*NAMES, *BESIDE, ONE_GRAPH):
            entries = [case.opponents.get(name) for case in cases]
            if any(entry and entry.there for entry in entries):
                rows.append([name, *(_time(entry) for entry in entries)])
        found.append(table([in_threads(threads), *head], rows))
    return "\n\n".join(found)


def _time(entry: Timed | None) -> str:
    return engineering(entry.seconds, "s") if entry and entry.there else NOTHING


def ladder_memory(results: Results) -> str:
    """The most bytes at once, and all bytes that are asked for, beyond weights and batch."""
    cases, head = _batches(results.least("ladder"))
    rows = []
    for name in (*NAMES, *BESIDE, ONE_GRAPH):
        entries = [case.opponents.get(name) for case in cases]
        if any(entry and entry.there for entry in entries):
            rows.append([name, *(_bytes(entry) for entry in entries)])
    return table(["peak / all", *head], rows)


def _bytes(entry: Timed | None) -> str:
    if not entry or not entry.there:
        return NOTHING
    fields = entry.fields
    words = ("peak_extra_bytes", "allocated_bytes")
    return " / ".join(engineering(fields[word], "B") for word in words)


def gain(results: Results, *, rung: str) -> str:
    """How many times as fast a rung is as the one before it."""
    return _gains(results, {"": (rung, NAMES[NAMES.index(rung) - 1])})


def over_autograd(results: Results) -> str:
    """How many times as fast the last two rungs are as autograd with fused SGD."""
    return _gains(results, {f", {name}": (name, "fused SGD") for name in (KEPT, ONEDNN)})


def _gains(results: Results, pairs: Mapping[str, tuple[str, str]]) -> str:
    """A row for each number of threads and each pair of a rung and what it is compared with."""
    rows = []
    for threads, report in results.of("ladder"):
        cases, head = _batches(report)
        for name, (rung, before) in pairs.items():
            found = [
                _gained(case.opponents.get(before), case.opponents.get(rung)) for case in cases
            ]
            rows.append([f"{in_threads(threads)}{name}", *found])
    return table(["times as fast", *head], rows)


def _gained(before: Timed | None, rung: Timed | None) -> str:
    there = before and rung and before.there and rung.there
    return between(before.times(rung)) if there and before and rung else NOTHING


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "bench": bench,
    "overview": overview,
    "not won": not_won,
    "forms": forms,
    "ladder times": ladder_times,
    "ladder memory": ladder_memory,
    "over autograd": over_autograd,
    **{f"gain: {rung}": partial(gain, rung=rung) for rung in NAMES[1:]},
}


def number(results: Results, address: str) -> str:
    """One number by its address: PART / THREADS / CASE / OPPONENT / FIELD.

    THREADS is "1" or "most". FIELD is time, memory, ratio (its time over the first opponent's), or
    "over OTHER" (how many times as fast as OTHER it is).

    Raises:
        Mistake: nothing has that address.
    """
    try:
        part, threads, name, who, field = (word.strip() for word in address.split("/"))
        report = results.most(part) if threads == "most" else results.reports[part, int(threads)]
        if report.fields["quick"] and name not in report.cases:
            return NOTHING  # such a run has fewer sizes
        case = report.cases[name]
        entry = case.opponents[who]
        if not entry.there:
            return NOTHING
        if field.startswith("over "):
            return times(case.opponents[field.removeprefix("over ")].times(entry).median)
        found = {
            "time": lambda: engineering(entry.seconds, "s"),
            "memory": lambda: engineering(entry.fields["peak_extra_bytes"], "B"),
            "ratio": lambda: times(entry.fields["ratio"]["median"]),
        }
        return found[field]()
    except (KeyError, ValueError, IndexError) as error:
        raise Mistake(f"no number has the address {address!r}") from error
