"""A verdict as a table in the terminal."""

from collections.abc import Sequence

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from manual_backprop.judge.verdict import Tally, Verdict
from manual_backprop.report.environment import device_name

LEAST_WIDTH = 80  # columns; a narrower pipe would only garble the table


def header(devices: Sequence[str], dtypes: Sequence[str], seed: int) -> str:
    """One line: what the verdicts below depend on."""
    names = ", ".join(
        f"{device} ({device_name(device)})" if device != "cpu" else device for device in devices
    )
    return (
        f"torch {torch.__version__} · {names} · {', '.join(dtypes)} · "
        f"threads: {torch.get_num_threads()} · seed {seed} · TF32 and reduced-precision sums off"
    )


def show(console: Console, verdicts: Sequence[Verdict], dtypes: Sequence[str]) -> None:
    """One row per backward, then what is wrong, what is worth knowing, and the sum of it."""
    if not console.is_terminal:
        console.width = max(console.width, LEAST_WIDTH)
    console.print(_table(verdicts, dtypes))
    for verdict in verdicts:
        if not verdict.ok:
            console.print(f"[bold red]wrong[/] {escape(str(verdict))}", soft_wrap=True)
        for note in verdict.notes if verdict.ok else ():
            console.print(f"[yellow]note[/]  {escape(str(note))}", soft_wrap=True)
    backwards = [(verdict, name) for verdict in verdicts for name in verdict.saves]
    wrong = [name for verdict, name in backwards if verdict.of(name)]
    cases = sum(verdict.cases(name) for verdict, name in backwards)
    said = (
        f"[bold red]{len(wrong)} of {len(backwards)} backwards are wrong[/]: {', '.join(wrong)}"
        if wrong
        else f"[bold green]all {len(backwards)} backwards of {len(verdicts)} operators are right[/]"
        if len(backwards) > 1
        else "[bold green]the backward is right[/]"
    )
    console.print(said if wrong else f"{said} in {cases:,} cases")


def _table(verdicts: Sequence[Verdict], dtypes: Sequence[str]) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption="In each cell the largest error, and under it the error that rounding alone "
        "explains at that entry, both relative to the gradient's largest entry.",
        caption_justify="left",
    )
    table.add_column("backward", min_width=24, overflow="fold")
    for dtype in dtypes:
        table.add_column(dtype, justify="right", no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for verdict in verdicts:
        for name, saves in verdict.saves.items():
            findings = verdict.of(name)
            table.add_row(
                Text(name, "bold").append(
                    f"\nsaves {', '.join(saves) or 'nothing'}", "not bold dim"
                ),
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
