"""What all commands of `manual-backprop` have in common; importing it does not import torch."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

DTYPES = ("float64", "float32", "bfloat16", "float16")


class Mistake(click.ClickException):
    """What was asked for, or a file that it needs, is wrong: a sentence, and exit status 2."""

    exit_code = 2


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


def json_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--json FILE` of a command that writes `what` there; `json_file` in Python."""
    return click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help=f"Write {what} to FILE as well; - is standard output, and the table goes to stderr.",
        metavar="FILE",
    )


def check_folder(json_file: Path | None) -> None:
    """Refuse a `--json` that has no folder to lie in, before anything is computed.

    Raises:
        click.BadParameter: there is no such folder.
    """
    if json_file is not None and str(json_file) != "-" and not json_file.parent.is_dir():
        raise click.BadParameter(f"no folder {json_file.parent} to write into", param_hint="--json")


def write_json(json_file: Path, fields: dict[str, Any]) -> None:
    """Write what `--json` asks for.

    Raises:
        click.BadParameter: the file cannot be written.
    """
    from manual_backprop.report import as_json
    from manual_backprop.report.console import nobody_reads

    try:
        as_json.write(json_file, fields)
    except BrokenPipeError:
        nobody_reads(sys.stdout)
    except OSError as error:
        raise click.BadParameter(
            f"cannot write {json_file}: {error.strerror}", param_hint="--json"
        ) from error
