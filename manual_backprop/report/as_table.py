"""A verdict as a table in the terminal."""

from collections.abc import Sequence
from textwrap import fill

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from manual_backprop.judge.verdict import Tally, Verdict
from manual_backprop.report.environment import device_name

LEAST_WIDTH = 80  # columns; a narrower pipe would only garble the table
NUMBERS_WIDTH = 55  # columns of four dtypes, cases and verdict, two spaces apart
CAPTION = (
    "In each cell the largest error, and under it the error that rounding alone "
    "explains at that entry, both relative to the gradient's largest entry."
)
ABOVE_1 = (
    " Above 1: at that entry rounding leaves no right digit in this dtype, so only larger errors "
    "would show."
)


def progress_bar(console: Console, time: ProgressColumn, *, moving: bool = True) -> Progress:
    """A bar with its task's description and a time; only where it can be drawn and wiped away.

    With `moving` a thread draws it ten times a second, else it is drawn by `refresh`.
    """
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        time,
        console=console,
        auto_refresh=moving,
        transient=True,
        disable=not console.is_terminal or console.is_dumb_terminal,
    )


def header(
    devices: Sequence[str], dtypes: Sequence[str], seed: int, ranks: int | None = None
) -> str:
    """One line: what the verdicts below depend on, and how many ranks a mesh has.

    Raises:
        RuntimeError: one of the devices is not there.
    """
    names = ", ".join(
        f"{device} ({device_name(device)})" if device != "cpu" else device for device in devices
    )
    mesh = f" · mesh of {ranks} ranks" if ranks else ""
    return (
        f"torch {torch.__version__} · {names}{mesh} · {', '.join(dtypes)} · "
        f"threads: {torch.get_num_threads()} · seed {seed} · TF32 and reduced-precision sums off"
    )


def show(console: Console, verdicts: Sequence[Verdict], dtypes: Sequence[str]) -> None:
    """One row per backward, then what is wrong, what is worth knowing, and the sum of it."""
    if not console.is_terminal:
        console.width = max(console.width, LEAST_WIDTH)
    console.print(_table(verdicts, dtypes, console.width))
    for verdict in verdicts:
        if not verdict.ok:
            _say(console, "wrong", "bold red", str(verdict))
        for note in verdict.notes if verdict.ok else ():
            _say(console, "note", "yellow", str(note))
    console.print(_sum(verdicts))


def _sum(verdicts: Sequence[Verdict]) -> str:
    """All verdicts in one line."""
    backwards = [(verdict, name) for verdict in verdicts for name in verdict.saves]
    wrong = [name for verdict, name in backwards if verdict.of(name)]
    alone = len(backwards) == 1
    if wrong:
        some = f"{len(wrong)} of {len(backwards)} backwards {'is' if len(wrong) == 1 else 'are'}"
        return f"[bold red]{'the backward is' if alone else some} wrong[/]: {', '.join(wrong)}"
    owner = verdicts[0].operator if len(verdicts) == 1 else f"{len(verdicts)} operators"
    all_of = "the backward is" if alone else f"all {len(backwards)} backwards of {owner} are"
    cases = sum(verdict.cases(name) for verdict, name in backwards)
    return f"[bold green]{all_of} right[/] in {cases:,} cases"


def _say(console: Console, word: str, style: str, text: str) -> None:
    """One line for each finding, so that grep finds it; broken between words in a terminal."""
    lines = f"{word:<5} {text}".splitlines()
    if console.is_terminal:
        lines = [
            fill(
                line,
                console.width - 1,
                subsequent_indent=" " * 8,
                break_long_words=False,
                break_on_hyphens=False,
            )
            for line in lines
        ]
    said = Text("\n".join(lines))
    said.stylize(style, 0, len(word))
    console.print(said, soft_wrap=True)


def _table(verdicts: Sequence[Verdict], dtypes: Sequence[str], width: int) -> Table:
    longest = max((len(name) for verdict in verdicts for name in verdict.saves), default=0)
    tallies = [tally for verdict in verdicts for tally in verdict.tallies.values()]
    hopeless = any(tally.allowed > 1 for tally in tallies)
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 0 if longest + NUMBERS_WIDTH > width else 1, 0, 0),
        pad_edge=False,
        caption=CAPTION + (ABOVE_1 if hopeless else ""),
        caption_justify="left",
    )
    table.add_column("backward", min_width=max(24, longest), overflow="fold")
    for dtype in dtypes:
        table.add_column(dtype, justify="right", no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for verdict in verdicts:
        for name, saves in verdict.saves.items():
            findings = verdict.of(name)
            below = f"saves {', '.join(saves) or 'nothing'}"
            if name in verdict.axes:
                below = f"shards {', '.join(verdict.axes[name]) or 'nothing'}"
            table.add_row(
                Text(name, "bold").append(f"\n{below}", "not bold dim"),
                *(_errors(verdict.tallies.get((name, dtype))) for dtype in dtypes),
                f"{verdict.cases(name):,}",
                Text("wrong", "bold red") if findings else Text("ok", "green"),
            )
        table.add_section()
    return table


def _errors(tally: Tally | None) -> Text:
    if tally is None:
        return Text("-", "dim")
    return Text(f"{tally.error:.1e}").append(f"\n{tally.allowed:.1e}", "dim")
