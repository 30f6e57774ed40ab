"""`manual-backprop bench`: the command line of the benchmark. Torch is imported when it runs."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manual_backprop.commands import (
    check_device,
    html_option,
    json_option,
    quiet_compilers,
    stopped,
    to_stdout,
    typed,
    write_report,
)

if TYPE_CHECKING:
    from manual_backprop.bench.case import Case
    from manual_backprop.bench.machine import Machine
    from manual_backprop.bench.race import Pace
    from manual_backprop.bench.run import Record

PRODUCT, QUICK_PRODUCT = 2048, 1024  # the size of the matrices that the machine is measured by


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="as many as PyTorch likes",
    help="Of one operation on the CPU.",
)
@json_option("the numbers")
@html_option("the numbers")
@click.option(
    "--quick",
    is_flag=True,
    help="In a minute rather than ten: smaller sizes, fewer rounds, and no torch.compile.",
)
@click.option("--list", "list_", is_flag=True, help="Name the cases, and time nothing.")
def bench(
    names: tuple[str, ...],
    device: str,
    threads: int | None,
    json_file: Path | None,
    html_file: Path | None,
    *,
    quick: bool,
    list_: bool,
) -> None:
    """Time hand-written backwards against autograd and torch.compile, or only the NAMEd cases.

    NAME is a case or a group of cases, as in mnist-step-200 or mnist-step; --list names them.
    Opponents take turns in every round, and nothing is timed before its values are right.

    Exit status: 0 all right, however fast, 1 one was wrong or it was stopped, 2 a mistake in the
    command.
    """
    to_stderr = to_stdout(json_file, html_file)
    with stopped(lambda: " before anything was timed"):
        # else PyTorch's profiler tells of each time that it counts bytes
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        import torch

        from manual_backprop.bench import as_json
        from manual_backprop.bench.machine import measured
        from manual_backprop.bench.show import show, show_list
        from manual_backprop.report.console import Report
        from manual_backprop.report.files import as_text

        cases = _chosen(names)
        if list_:
            show_list(Report(highlight=False), cases)
            return
        check_device(device)
        if torch.device(device).type not in ("cpu", "cuda"):
            raise click.BadParameter(
                f"it is not known how to wait for {device}; give cpu or cuda", param_hint="--device"
            )
        if threads is not None:
            torch.set_num_threads(threads)
        size = QUICK_PRODUCT if quick else PRODUCT
        machine = measured(device, size)
        records: list[Record] = []
        console = Report(stderr=to_stderr, highlight=False)
        try:
            timed(cases, machine, device, records, quick=quick)
        except KeyboardInterrupt as error:
            if records:
                show(console, records, machine, size)
            raise click.ClickException(
                f"stopped in {cases[len(records)].name}; {len(records)} of {len(cases)} cases were "
                f"timed{', and no report is written' if json_file or html_file else ''}"
            ) from error
        show(console, records, machine, size)
        fields = as_json.report(records, machine, device, quick=quick, command=typed())
        if json_file is not None:
            write_report("--json", json_file, as_text(fields))
        if html_file is not None:
            from manual_backprop.bench.as_html import bench_page

            write_report("--html", html_file, bench_page(fields))
        raise SystemExit(0 if all(record.ok for record in records) else 1)


def _chosen(names: tuple[str, ...]) -> "list[Case]":
    """The cases named, each once, in their own order; all where none is named."""
    from manual_backprop.bench.cases import CASES

    known = [*CASES, *(case.group for case in CASES.values())]
    for name in names:
        if name.lower() not in known:
            close = list(dict.fromkeys(get_close_matches(name.lower(), known, cutoff=0.5)))
            hint = f"did you mean {' or '.join(close)}?" if close else "--list names them"
            raise click.BadParameter(f"no case {name!r}; {hint}", param_hint="NAME")
    asked = {name.lower() for name in names}
    return [case for case in CASES.values() if not asked or asked & {case.name, case.group}]


def timed(
    cases: "Sequence[Case]",
    machine: "Machine",
    device: str,
    records: "list[Record]",
    *,
    quick: bool,
    pace: "Pace | None" = None,
) -> "list[Record]":
    """Add a record for each case, with a progress bar where somebody watches.

    Args:
        cases: what to time.
        machine: its limits.
        device: cpu, cuda, cuda:1, ...
        records: which are added to, so that those before an interruption are there.
        quick: smaller sizes and fewer rounds, and nothing is compiled.
        pace: in place of that of `quick`.

    Returns:
        The records.
    """
    from rich.progress import TimeElapsedColumn

    from manual_backprop.bench.run import bench as one
    from manual_backprop.report.as_table import progress_bar
    from manual_backprop.report.console import Report

    with (
        quiet_compilers(),
        # a thread that draws would take its time from those who are timed
        progress_bar(
            Report(stderr=True, highlight=False), TimeElapsedColumn(), moving=False
        ) as bar,
    ):
        if bar.disable:
            what = cases[0].name if len(cases) == 1 else f"{len(cases)} cases"
            click.echo(f"timing {what} ...", err=True)
        wide = max(len(case.name) for case in cases)
        task = bar.add_task("", total=sum(len(case.opponents) + 1 for case in cases))
        for case in cases:
            bar.update(task, description=f"{case.name:<{wide}}", refresh=True)
            records.append(
                one(
                    case,
                    machine,
                    device,
                    quick=quick,
                    pace=pace,
                    progress=lambda: bar.update(task, advance=1, refresh=True),
                )
            )
    return records
