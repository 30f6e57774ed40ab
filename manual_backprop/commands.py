"""What all commands of `manual-backprop` have in common; importing it does not import torch."""

import io
import json
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from manual_backprop.report.files import is_stream, same_file, write

TYPED = "manual_backprop.typed"  # where a context of click keeps the command
DTYPES = ("float64", "float32", "bfloat16", "float16")


def program() -> str:
    """What stands before a command that is told: where `uv run` started this one, that too."""
    return "uv run manual-backprop" if os.environ.get("UV") else "manual-backprop"


class Mistake(click.ClickException):
    """What was asked for, or a file that it needs, is wrong: a sentence, and exit status 2."""

    exit_code = 2


class Commands(click.Group):
    """Answers with a sentence where standard output cannot take what is said."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; what was typed is kept for the reports."""
        ctx.meta[TYPED] = shlex.join(("manual-backprop", *args))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        # x̄ is in no code page of Windows, and a lone surrogate is not even in UTF-8
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename or isinstance(error, BrokenPipeError):
                raise
            from manual_backprop.report.console import nobody_reads

            with suppress(OSError):
                nobody_reads(sys.stdout)
            raise Mistake(f"cannot write to standard output: {error.strerror}") from error


def check_device(name: str) -> None:
    """Refuse a `--device` that is not there.

    Raises:
        click.BadParameter: with what is there.
    """
    from manual_backprop.judge import verify

    try:
        verify.check_device(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error


class Stopped(click.ClickException):
    """Ctrl-C: a sentence, and exit status 1."""


@contextmanager
def stopped(said: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends in a sentence that begins with "stopped", and exit status 1."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(f"stopped{said()}") from error


@contextmanager
def quiet_compilers() -> Iterator[None]:
    """torch.compile's warnings and remarks, which are nobody's mistake, are not shown."""
    names = ("torch._dynamo", "torch._inductor", "torch._logging", "torch.utils")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def read_schema(package: str, file: str) -> dict[str, Any]:
    """The JSON Schema that lies in a package of this one."""
    return json.loads(files(package).joinpath(file).read_text("utf-8"))  # type: ignore[no-any-return]


class ReportFile(click.Path):
    """A file to write a report to, in a folder that is there; - is standard output."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, allow_dash=True, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The path; refused before anything is computed where nothing can be written there."""
        if not os.fspath(value):
            self.fail("the name of the file is empty; - is standard output", param, ctx)
        file = Path(os.fsdecode(super().convert(value, param, ctx)))
        if str(file) == "-":
            return file
        folder = Path(os.path.realpath(file) if file.is_symlink() else file).parent
        try:
            if is_stream(file):
                if not os.access(file, os.W_OK):
                    self.fail(f"{file} may not be written into", param, ctx)
                return file
        except NotADirectoryError:
            pass  # as is told below
        except OSError as error:
            self.fail(f"{file} cannot be looked at: {error.strerror}", param, ctx)
        if not folder.is_dir():
            self.fail(f"no folder {folder} to write into", param, ctx)
        if not os.access(folder, os.W_OK):
            self.fail(f"the folder {folder} may not be written into", param, ctx)
        return file


def json_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--json FILE` of a command that writes `what` there; `json_file` in Python."""
    return click.option(
        "--json",
        "json_file",
        type=ReportFile(),
        help=f"Write {what} to FILE as well; - is standard output, and the table goes to stderr.",
        metavar="FILE",
    )


def html_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--html FILE` of a command that writes `what` there; `html_file` in Python."""
    return click.option(
        "--html",
        "html_file",
        type=ReportFile(),
        help=f"Write {what} to FILE as a page for a browser, in one file that needs no network; "
        "- is standard output.",
        metavar="FILE",
    )


def to_stdout(*files: Path | None) -> bool:
    """Whether a report goes to standard output, so that what people read goes to stderr.

    Raises:
        click.UsageError: two of them go to one place.
    """
    named = [file for file in files if file is not None]
    for one, other in combinations(named, 2):
        if str(one) == str(other) == "-":
            raise click.UsageError("--json - and --html - both name standard output; name a file")
        if same_file(one, other):
            raise click.UsageError(
                f"--json {one} and --html {other} name one file; give each its own"
            )
    return "-" in map(str, named)


def write_report(option: str, file: Path, text: str) -> None:
    """Write what an option such as `--json` asks for, whole or not at all.

    Raises:
        click.BadParameter: the file cannot be written.
    """
    from manual_backprop.report.console import nobody_reads

    try:
        write(file, text)
    except BrokenPipeError:
        nobody_reads(sys.stdout)
    except OSError as error:
        raise click.BadParameter(
            f"cannot write {file}: {error.strerror}", param_hint=option
        ) from error


def typed() -> str:
    """The command as it was typed, quoted for a shell; empty where it was not called so."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(TYPED, "")) if context else ""
