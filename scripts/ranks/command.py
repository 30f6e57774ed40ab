"""`python -m scripts.ranks`: the command line."""

import math
import os
from pathlib import Path

import click

from manual_backprop.commands import Mistake, stopped
from scripts.speed.command import ROOT, copy_pages, write

LARGEST = 1e12
MOST_ROWS = 10**9


def _number(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse nan, which is neither below nor above anything."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number", ctx=ctx, param=param)
    return value


@click.command()
@click.option("--plan", is_flag=True, help="Measure nothing: print the steps on a network.")
@click.option(
    "--bandwidth-gbit",
    type=click.FloatRange(min=0, min_open=True, max=LARGEST),
    callback=_number,
    metavar="GBIT_PER_S",
    help="Of that network, each way.",
)
@click.option(
    "--latency-us",
    type=click.FloatRange(min=0, max=LARGEST),
    callback=_number,
    metavar="MICROSECONDS",
    help="Of one message on it.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1, max=MOST_ROWS),
    metavar="N",
    show_default="200",
    help="On each rank, and beside it shared by all ranks.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True, max=LARGEST),
    callback=_number,
    metavar="TIMES",
    show_default="1",
    help="A rank computes so many times as fast as the core that was measured.",
)
@click.option("--pages", is_flag=True, help="Measure nothing: page and picture from the JSON.")
@click.option("--quick", is_flag=True, help="Few rows, ranks and rounds, for a look; needs --to.")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    show_default="this repository",
    help="Write docs/ there; for --plan, read the numbers there.",
)
def main(
    bandwidth_gbit: float | None,
    latency_us: float | None,
    rows: int | None,
    speed: float | None,
    to: Path | None,
    *,
    plan: bool,
    pages: bool,
    quick: bool,
) -> None:
    """Measure data-parallel steps of 1, 2 and 4 ranks, and write docs/ranks.md with its picture.

    Numbers go to docs/ranks. It takes less than 4 minutes on an idle machine with two cores.

    --plan computes steps for another network from the numbers that are there, as in
    --plan --bandwidth-gbit 10 --latency-us 20 --rows 200.

    Exit status: 0 written or printed, 1 something was wrong or it was stopped, 2 a mistake in the
    command.
    """
    root = ROOT if to is None else to.resolve()
    if plan + pages + quick > 1:
        raise click.UsageError("--plan, --pages and --quick are three things: take one of them")
    if plan:
        if bandwidth_gbit is None or latency_us is None:
            raise click.UsageError(
                "--plan needs the network: --bandwidth-gbit 10 --latency-us 20, for example"
            )
        from scripts.ranks.plan import show

        show(root, bandwidth_gbit * 1e9 / 8, latency_us * 1e-6, rows or 200, speed or 1.0)
        return
    asked = {"bandwidth-gbit": bandwidth_gbit, "latency-us": latency_us, "rows": rows}
    asked["speed"] = speed
    for name, value in asked.items():
        if value is not None:
            raise click.UsageError(f"--{name} is for --plan: add it, or leave --{name} away")
    if quick and root == ROOT:
        raise click.UsageError(
            "the numbers of --quick are not for the page here: say with --to where they should go"
        )
    if root != ROOT:
        copy_pages(root)
    kept = "nothing"
    with stopped(lambda: f"; kept: {kept}"):
        from scripts.ranks.kept import FILE

        if not pages:
            measured(root / FILE, quick=quick)
            kept = FILE
        from scripts.ranks.page import render

        for file in render(root):
            click.echo(file.relative_to(root).as_posix())


def measured(file: Path, *, quick: bool) -> None:
    """Measure, and write the numbers.

    Raises:
        click.ClickException: a step is wrong, or a process ended.
        Mistake: there is no such thing on this system, or the file cannot be written.
    """
    if not hasattr(os, "getloadavg"):
        raise Mistake("ranks are measured on Linux and macOS, which tell what else a machine does")
    from scripts.ranks.measure import QUICK, WHOLE, measure

    try:
        found = measure(QUICK if quick else WHOLE)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    write(file, found)
