"""`manual-backprop exercise`: one operator after the other, without its backward.

What is kept of a learner's progress is the files that they write: which of them are right is found
out anew each time. This module imports no torch.
"""

from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from textwrap import shorten
from typing import Any

import click

from manual_backprop.check.command import status
from manual_backprop.check.process import judge
from manual_backprop.commands import Mistake, program
from manual_backprop.exercise.write import ORDER, exercise_text, file_name, is_unwritten, title

TIMEOUT = 60.0  # seconds, of each function
STATES = {"right": "green", "wrong": "red", "not written": "yellow", "not started": "dim"}

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("exercises"),
    show_default=True,
    help="Where the files lie.",
)


@click.group()
def exercise() -> None:
    """Write the backwards yourself, from lin to batch_norm, one file each."""


@exercise.command("list")
@folder_option
def list_(folder: Path) -> None:
    """Show all exercises, and check those that are started.

    Exit status: 0.
    """
    answers = _judged(folder, _started(folder))
    for number, name in enumerate(ORDER, 1):
        state = _state(folder, name, answers)
        line = f"{number:>2}  {name:<14} {shorten(title(name), 48, placeholder=' ...')}"
        click.echo(click.style(f"{state:<12}", fg=None if state == "not started" else STATES[state],
                               dim=state == "not started") + line)  # fmt: skip
    click.echo(f"\nin {folder}; `{program()} exercise next` goes on")


@exercise.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Begin anew: what is in the file is lost.")
@folder_option
def start(name: str, folder: Path, *, force: bool) -> None:
    """Write the file of the exercise NAME: the forward, the question, and an empty backward.

    Exit status: 0, or 2 where there is such a file already.
    """
    if name not in ORDER:
        close = get_close_matches(name, ORDER, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(ORDER)}"
        raise click.BadParameter(f"no exercise {name!r}; {hint}", param_hint="NAME")
    _write(folder, name, force=force)


@exercise.command("next")
@click.option(
    "--hints", type=click.IntRange(1, 4), default=3, show_default=True, help="As of check."
)
@folder_option
def next_(folder: Path, hints: int) -> None:
    """Check what is started; where all of it is right, write the file of the next exercise.

    Exit status: 0, or 1 where an exercise is not right yet, or 2 where its file cannot be judged.
    """
    from manual_backprop.check.show import show

    started = _started(folder)
    answers = _judged(folder, started)
    for name in started:
        if name not in answers:
            file = folder / file_name(name)
            click.echo(f"{file} is not written yet: put the gradients in place of\n"
                       "raise NotImplementedError, and ask again")  # fmt: skip
            raise SystemExit(1)
        if result := status(answers[name]):
            show(answers[name], folder / file_name(name), hints=hints)
            raise SystemExit(result)
    if started:
        click.secho(f"right: {', '.join(started)}", fg="green")
    missing = [name for name in ORDER if name not in started]
    if not missing:
        click.echo(f"That was the last one. `{program()} list` names other operators to write.")
        return
    _write(folder, missing[0], force=False)


def _started(folder: Path) -> list[str]:
    try:
        return [name for name in ORDER if (folder / file_name(name)).is_file()]
    except OSError as error:
        raise Mistake(f"cannot look into {folder}: {error.strerror}") from error


def _judged(folder: Path, started: list[str]) -> dict[str, dict[str, Any]]:
    """What `check` finds in each file whose backward is written, in one process."""
    requests = {}
    for name in started:
        file = folder / file_name(name)
        try:
            text = file.read_text("utf-8", "replace")
        except OSError as error:
            raise Mistake(f"cannot read {file}: {error.strerror}") from error
        if not is_unwritten(text, name):
            requests[name] = {
                "file": str(file.resolve()), "function": f"back_{name}", "of": name,
                "thorough": False, "solution": False, "test": False,
            }  # fmt: skip
    try:
        return dict(zip(requests, judge(list(requests.values()), TIMEOUT), strict=True))
    except KeyboardInterrupt:
        raise Mistake("stopped by Ctrl-C before all was judged") from None


def _state(folder: Path, name: str, answers: dict[str, dict[str, Any]]) -> str:
    if name in answers:
        return "wrong" if status(answers[name]) else "right"
    return "not written" if (folder / file_name(name)).is_file() else "not started"


def _write(folder: Path, name: str, *, force: bool) -> None:
    file = folder / file_name(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(exercise_text(name, file))
    except FileExistsError as error:
        raise Mistake(f"there is {file} already; --force begins it anew") from error
    except OSError as error:
        raise Mistake(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {file}: {title(name)}")
    click.echo(f"write its last function, then: {program()} check {quote(str(file))}")
