"""`manual-backprop check`: runs the judge on a learner's file and says what it found.

This module imports no torch.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from math import isnan
from pathlib import Path
from threading import Timer
from typing import Any

import click

from manual_backprop.check.process import judge
from manual_backprop.commands import (
    Mistake,
    html_option,
    program,
    read_schema,
    to_stdout,
    typed,
    write_report,
)
from manual_backprop.report.files import now, same_file

SCHEMA = "manual-backprop/check"
VERSION = 1  # raised when a field goes away or changes its meaning; new fields do not raise it
HOME = Path(__file__).parents[1]
HINTS = 4
PATIENCE = 6.0  # seconds, after which a person at a terminal is told that it still runs


class Target(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """FILE.py or FILE.py::FUNCTION, where there is such a file."""

    name = "target"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Path, str | None]:
        """The file, and the function if one is named."""
        name, _, function = str(value).partition("::")
        file = Path(name)
        try:
            file.stat()
        except FileNotFoundError:
            pass  # as is told below
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            self.fail(f"{name} cannot be looked at: {why}", param, ctx)
        if file.is_dir():
            self.fail(f"{name} is a folder; name a file in it{_one_of(file)}", param, ctx)
        if file.suffix != ".py":
            self.fail(f"{name} is no Python file; its name must end in .py", param, ctx)
        if not file.is_file():
            here = [other.name for other in file.parent.glob("*.py")]
            close = get_close_matches(file.name, here, n=1, cutoff=0.6)
            hint = f"; did you mean {file.parent / close[0]}?" if close else ""
            self.fail(f"there is no file {name}{hint}", param, ctx)
        return file, function or None


class Operator(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An operator of the house; its name is that of its file, so that knowing it needs no torch."""

    name = "operator"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The operator's name."""
        names = sorted(
            file.stem
            for folder in ("ops", "networks")
            for file in (HOME / folder).glob("[a-z]*.py")
        )
        if value in names:
            return str(value)
        close = get_close_matches(str(value), names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"see `{program()} list`"
        return self.fail(f"no operator {value!r}; {hint}", param, ctx)


class Seconds(click.FloatRange):
    """Of a range, and a number."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number of seconds."""
        seconds = float(super().convert(value, param, ctx))
        return self.fail("nan is no number of seconds", param, ctx) if isnan(seconds) else seconds


class Check(click.Command):
    """Where JSON is asked for, a mistake in the command is told in JSON too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; exit status 2 where that fails."""
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)
            if ctx.params.get("watch") and ctx.params.get("as_json"):
                said = "--watch is for people, --json for programs; give one of them"
                raise click.UsageError(said, ctx)
            html = ctx.params.get("html_file")
            target = ctx.params.get("target")
            if html and target and same_file(html, target[0]):
                said = f"--html {html} is the file under check, and would be lost; name another"
                raise click.UsageError(said, ctx)
            if to_stdout(html):
                for option, name in (("--json", "as_json"), ("--watch", "watch")):
                    if ctx.params.get(name):
                        said = f"{option} takes standard output; give --html the name of a file"
                        raise click.UsageError(said, ctx)
        except click.UsageError as error:
            if "--json" not in given:
                raise
            named: Any = None
            with suppress(click.UsageError):
                named = self.make_parser(ctx).parse_args(given)[0].get("target")
            answer = {"refused": error.format_message(), "printed": ""}
            _print_json(answer, named if isinstance(named, str) else "")
            ctx.exit(2)
        return rest


@click.command(cls=Check)
@click.argument("target", metavar="FILE.py[::FUNCTION]", type=Target())
@click.option(
    "--of", type=Operator(), metavar="OPERATOR", help="Hold it to this operator, whatever its name."
)
@click.option(
    "--hints",
    type=click.IntRange(1, HINTS),
    default=3,
    show_default=True,
    help="How much to tell: 1 where it is wrong, 2 what kind of mistake it is, 3 the cause and "
    "its proof, 4 the derivation as well.",
)
@click.option("--solution", is_flag=True, help="Show the house's own backward at the end.")
@click.option(
    "--test",
    is_flag=True,
    help="Show a wrong gradient on the smallest shapes and numbers, as a test to paste.",
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Judge in four dtypes, on all samples and memory layouts, and let everything count.",
)
@click.option(
    "--timeout",
    type=Seconds(min=0, min_open=True, max=86400),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the file's import, and the judging of a function, after so long.",
)
@html_option("what was found")
@click.option("--watch", is_flag=True, help="Check again at every save, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON and nothing else.")
def check(
    target: tuple[Path, str | None],
    of: str | None,
    hints: int,
    timeout: float,
    html_file: Path | None,
    *,
    solution: bool,
    test: bool,
    thorough: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Judge the backwards in your own file, and say what is wrong with them.

    A function back_lin is held to the operator lin. A file with its own OP = Op(...), or with a
    forward f, a backward back_f and a dict of samples, is judged as it stands.

    The file runs in a process of its own: it may loop, crash or call exit().

    Exit status: 0 all right, 1 a function is wrong or does not come to its end, 2 a mistake in the
    command or the file.
    """
    file, function = target
    request = {
        "file": str(file.resolve()), "function": function, "of": of, "thorough": thorough,
        "solution": solution, "test": test,
    }  # fmt: skip
    while True:
        seen = _stamp(file)
        answer = _judged(request, timeout, (lambda: None) if as_json else _show)
        told: dict[str, Any] = {"hints": hints, "solution": solution, "test": test}
        if as_json:
            _print_json(answer, file)
        else:
            if watch:
                click.clear()
            _show()(answer, file, **told, to_stderr=to_stdout(html_file))
        if html_file is not None:
            from manual_backprop.check.as_html import check_page

            write_report("--html", html_file, check_page(record(answer, file), **told))
        if not watch:
            raise SystemExit(status(answer))
        click.secho(f"\nwatching {file}; Ctrl-C ends", dim=True)
        try:
            while _stamp(file) == seen:
                time.sleep(0.2)
        except KeyboardInterrupt:
            click.echo()
            raise SystemExit(status(answer)) from None


def _one_of(folder: Path) -> str:
    """A file that one may have meant, if there is any."""
    first = min(folder.glob("*.py"), default=None)
    return f", as in {first}" if first else ""


def _show() -> Callable[..., None]:
    """The page, imported while torch is imported in the other process."""
    from manual_backprop.check.show import show

    return show


def _judged(
    request: dict[str, Any], timeout: float, meanwhile: Callable[[], object]
) -> dict[str, Any]:
    waiting = f"still running; it is stopped after {timeout:g} s, Ctrl-C stops it now"
    timer = Timer(PATIENCE, click.echo, (waiting,), {"err": True})
    if sys.stderr.isatty():
        timer.start()
    try:
        return judge([request], timeout, meanwhile)[0]
    except KeyboardInterrupt:
        raise Mistake("stopped by Ctrl-C before it was judged") from None
    finally:
        timer.cancel()


def _print_json(answer: dict[str, Any], file: Path | str) -> None:
    click.echo(json.dumps(record(answer, file), indent=2, allow_nan=False))


def record(answer: dict[str, Any], file: Path | str) -> dict[str, Any]:
    """What was found in the form that `check.schema.json` beside this file describes."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "command": typed(),
        "made": now(),
        "environment": answer.get("environment", {}),
        "file": str(file),
        "ok": status(answer) == 0,
        "refused": answer.get("refused", ""),
        "skipped": answer.get("skipped", []),
        "functions": answer.get("functions", []),
        "printed": answer["printed"],
    }


def schema() -> dict[str, Any]:
    """The JSON Schema of what `--json` prints."""
    return read_schema("manual_backprop.check", "check.schema.json")


def status(answer: dict[str, Any]) -> int:
    """0 where every function is right, 1 where one is wrong, 2 where nothing could be judged."""
    if "refused" in answer:
        return 2
    return 0 if all(function["ok"] for function in answer["functions"]) else 1


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:  # between two writes of an editor
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
