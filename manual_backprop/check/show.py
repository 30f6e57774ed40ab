"""What a check found, for the terminal; imports no torch."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

LABEL = 9  # columns of the labels at the left


def show(
    answer: dict[str, Any],
    file: Path,
    *,
    hints: int = 3,
    solution: bool = False,
    console: Console | None = None,
) -> None:
    """Print what a check found.

    Args:
        answer: as `command.run` returns it.
        file: as the learner named it.
        hints: how much to tell, 1 to 4.
        solution: show the house's own backward as well.
        console: where to; standard output by default.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 80)
    if answer.get("printed"):
        console.print(Text(f"{file.name} printed:", "dim"))
        console.print(Padding(Text(answer["printed"], "dim"), (0, 0, 1, 2)))
    if "refused" in answer:
        console.print(_line("cannot", answer["refused"], "bold red"))
        return
    for number, record in enumerate(answer["functions"]):
        if number:
            console.print()
        _function(console, record, file, hints, solution=solution)


def _function(
    console: Console, record: dict[str, Any], file: Path, hints: int, *, solution: bool
) -> None:
    where = f"{file}:{record['line']}" if record["line"] else str(file)
    formula = f": {record['formula']}" if record["formula"] else ""
    title = Text.assemble(
        (record["function"], "bold"), f" in {where}, held to {record['operator']}{formula}"
    )
    console.print(title, soft_wrap=True)
    console.print()
    if record["gradients"]:
        console.print(Padding(_gradients(record["gradients"]), (0, 0, 0, 2)))
        console.print()
    if record["ok"]:
        console.print(_line("right", f"in {record['cases']:,} cases", "bold green"))
    for finding in record["findings"]:
        _finding(console, record, finding, hints)
    if not record["ok"] and hints >= 4 and record["derivation"]:
        console.print(Text("derivation", "bold"))
        console.print(Text(record["derivation"]), soft_wrap=True)
    for note in record["notes"] if record["ok"] else ():
        console.print(_line("note", _told(note), "yellow"))
    if solution and record["solution"]:
        console.print(_line("solution", "", "bold"))
        console.print(
            Padding(Syntax(record["solution"], "python", theme="ansi_dark"), (0, 0, 0, 2))
        )


def _gradients(gradients: list[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for gradient in gradients:
        if gradient["right"]:
            said = (
                f"error {gradient['error']:.0e} where rounding explains {gradient['allowed']:.0e}"
            )
            table.add_row(gradient["name"], Text("right", "green"), Text(said, "dim"))
            continue
        some = "all" if gradient["wrong"] == gradient["entries"] else gradient["wrong"]
        table.add_row(
            gradient["name"],
            Text("wrong", "red"),
            f"{some} of {gradient['entries']} entries, shape {tuple(gradient['shape'])}",
        )
        for name in ("first", "worst"):
            entry = gradient[name]
            if name == "worst" and entry == gradient["first"]:
                continue
            index = entry["index"] or "the number"
            said = f"{name} {index}: got {entry['got']:.9g}, expected {entry['expected']:.9g}"
            table.add_row("", "", Text(said))
    return table


def _finding(console: Console, record: dict[str, Any], finding: dict[str, Any], hints: int) -> None:
    cause, code = finding.get("cause"), finding["code"]
    if hints == 1:
        said = ", ".join(cause["gradients"]) if cause else finding.get("gradient") or "the call"
        console.print(_line("wrong", said, "bold red"))
        return
    console.print(_line("wrong", f"{code}: {record['kind'][code]}", "bold red"))
    if hints == 2:
        return
    if cause:
        said = f"{', '.join(cause['gradients'])}: {cause['what']}"
        console.print(_line("cause", said, "bold"))
        if proof := cause.get("evidence"):
            console.print(_line("proof", proof, "bold"))
        if where := cause.get("where"):
            console.print(_line("forward", where, "bold"))
        for other in cause.get("also", ()):
            console.print(_line("or", other, "dim"))
    else:
        console.print(_line("found", _told(finding), "bold"))
    console.print(_line("try", record["advice"][code], "bold cyan"))


def _told(finding: dict[str, Any]) -> str:
    what = f"{finding['gradient']}: " if finding.get("gradient") else ""
    where = ", ".join(finding[key] for key in ("sample", "dtype", "layout") if finding.get(key))
    return f"{what}{finding['message']}" + (f" [{where}]" if where else "")


def _line(label: str, said: str, style: str) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=LABEL, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(label, style), Text(said))
    return table
