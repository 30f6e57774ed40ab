"""`manual-backprop`: the judge at the command line. Torch is imported when a command needs it."""

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manual_backprop import __version__
from manual_backprop.bench.command import bench
from manual_backprop.check.command import check
from manual_backprop.commands import (
    DTYPES,
    Commands,
    Mistake,
    check_device,
    html_option,
    json_option,
    program,
    to_stdout,
    typed,
    write_report,
)
from manual_backprop.exercise.command import exercise
from manual_backprop.judge.codes import CODES
from manual_backprop.judging import judged, judged_on_mesh
from manual_backprop.training.command import train

if TYPE_CHECKING:
    from manual_backprop.judge.trial import Backward
    from manual_backprop.op import Op


def _words(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001
    """Words from options given several times, with commas, or both; each once."""
    return tuple(dict.fromkeys(word for words in value for word in words.split(",")))


def _dtypes(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """As `_words`, of dtypes; "all" is all of them."""
    names = _words(ctx, param, value)
    for name in names:
        if name not in (*DTYPES, "all"):
            raise click.BadParameter(
                f"no {name!r}; there are {', '.join(DTYPES)}, and all", ctx, param
            )
    return DTYPES if "all" in names else names


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="manual-backprop", message="%(prog)s %(version)s")
def main() -> None:
    """Every gradient written by hand, proven against PyTorch, and named when it is wrong."""


@main.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("all",),
    show_default="all that are there",
    callback=_words,
    metavar="[all|NAME,...]",
    help="cpu, cuda, cuda:1, ...",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    default=("all",),
    show_default=True,
    callback=_dtypes,
    metavar="[all|NAME,...]",
    help=f"Of {', '.join(DTYPES)}.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Draw other numbers; the same seed draws the same.",
)
@click.option(
    "--mesh",
    "ranks",
    type=click.IntRange(min=2),
    metavar="N",
    help="Judge the plain backwards on DTensors, each axis in turn sharded over N processes.",
)
@json_option("the verdicts")
@html_option("the verdicts")
def verify(
    names: tuple[str, ...],
    devices: tuple[str, ...],
    dtypes: tuple[str, ...],
    seed: int,
    ranks: int | None,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Hold all backwards to PyTorch, or only the operators and backwards that are NAMEd.

    With --mesh, the first backward of each operator that returns tensors of its own, and each
    backward that is NAMEd, on the CPU or with --device cuda on one GPU for each process.

    Exit status: 0 all right, 1 a wrong gradient, 2 a mistake in the command.
    """
    to_stderr = to_stdout(json_file, html_file)
    import torch

    from manual_backprop.judge.sharded.ranks import MeshError
    from manual_backprop.judge.verify import available_devices
    from manual_backprop.op import BadOp
    from manual_backprop.report import as_json, as_table
    from manual_backprop.report.console import Report
    from manual_backprop.report.files import as_text

    chosen = _chosen(names)
    for name in (name for name in devices if name != "all"):
        check_device(name)
    if ranks is not None:
        devices = _device_of_mesh(devices, ranks)
    devices = available_devices() if "all" in devices else devices
    seeds = (seed, seed + 1) if ranks is None else (seed,)

    torch.set_num_threads(1)  # on tensors this small, threads only wait for each other
    console = Report(stderr=to_stderr, highlight=False)
    console.print(as_table.header(devices, dtypes, seed, ranks), style="dim", soft_wrap=True)
    try:
        if ranks is None:
            verdicts = judged(chosen, devices, dtypes, seeds, console)
        else:
            verdicts = judged_on_mesh(_plain(names), ranks, devices[0], dtypes, seeds, console)
    except BadOp as error:
        raise Mistake(str(error)) from error
    except MeshError as error:
        raise click.ClickException(str(error)) from error
    as_table.show(console, verdicts, dtypes)
    fields = as_json.report(verdicts, devices, dtypes, seeds, typed(), ranks)
    if json_file is not None:
        write_report("--json", json_file, as_text(fields))
    if html_file is not None:
        from manual_backprop.report.as_html import verify_page

        write_report("--html", html_file, verify_page(fields))
    raise SystemExit(0 if all(verdict.ok for verdict in verdicts) else 1)


@main.command()
@click.argument("operator", metavar="NAME")
@click.option(
    "--verdict/--no-verdict",
    default=True,
    show_default=True,
    help="Judge its backwards, or the example of a code, on the CPU, and show what is found.",
)
def explain(operator: str, *, verdict: bool) -> None:
    """Show one operator whole: formula, derivation, code, what each backward saves, verdict.

    NAME is an operator or one of its backwards. It may also be the code of a finding, as in
    mean-for-sum: then what it means, the smallest example, and how to mend it.
    Exit status: 0 all right, 1 a wrong gradient, 2 a mistake in the command.
    """
    from manual_backprop.report.console import Report

    console = Report(highlight=False)
    if operator.lower() in CODES:
        from manual_backprop.report.as_code import show_code

        show_code(console, operator.lower(), verdict=verdict)
        return
    from manual_backprop.report import as_page, as_table

    op, _ = _found(operator, CODES)
    as_page.show_page(console, op)
    if not verdict:
        return
    import torch

    torch.set_num_threads(1)
    console.print()
    console.rule("[bold]Verdict[/]", align="left", style="dim")
    verdicts = judged([op], ("cpu",), DTYPES, (0, 1), console)
    as_table.show(console, verdicts, DTYPES)
    raise SystemExit(0 if verdicts[0].ok else 1)


@main.command("list")
@click.option("--codes", is_flag=True, help="Name the codes of findings instead.")
def list_(*, codes: bool) -> None:
    """Name all operators, in the order in which one learns them."""
    from manual_backprop.report.console import Report

    if codes:
        from manual_backprop.report.as_code import show_codes

        show_codes(Report(highlight=False))
        return
    from manual_backprop.op import BadOp
    from manual_backprop.report import as_page

    try:
        from manual_backprop.registry import learning_order

        ordered = learning_order()
    except BadOp as error:
        raise Mistake(str(error)) from error
    as_page.show_list(Report(highlight=False), ordered)


main.add_command(bench)
main.add_command(check)
main.add_command(exercise)
main.add_command(train)


def _device_of_mesh(devices: tuple[str, ...], ranks: int) -> tuple[str]:
    """The one device that a mesh is of, the CPU by default.

    Raises:
        click.BadParameter: there can be no such mesh.
    """
    from manual_backprop.judge.sharded.verify import check_mesh

    if len(devices) > 1:
        raise click.BadParameter("a mesh is of one device; give cpu or cuda", param_hint="--device")
    device = "cpu" if devices == ("all",) else devices[0]
    try:
        check_mesh(ranks, device)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--mesh") from error
    return (device,)


def _chosen(names: tuple[str, ...]) -> "list[Op]":
    """The operators named, each with those of its backwards that are named, or with all."""
    asked: dict[Op, set[str]] = {}
    for op, backwards in map(_found, names or _operators()):
        asked.setdefault(op, set()).update(backwards)
    return [
        replace(op, backwards=tuple(b for b in op.backwards if b.__name__ in backwards))
        for op, backwards in asked.items()
    ]


def _plain(names: tuple[str, ...]) -> "list[tuple[Op, Backward]]":
    """Each backward that is named, and the first plain one of each operator that is.

    Raises:
        BadOp: there is none, or one that is named is not plain.
    """
    from manual_backprop.judge.sharded.verify import plain

    asked = {}
    for op, backwards in map(_found, names or _operators()):
        named = [b for b in op.backwards if b.__name__ in backwards]
        backward = plain(op, named[0] if len(named) == 1 else None)
        asked[backward.__name__] = op, backward
    return list(asked.values())


def _found(name: str, others: Iterable[str] = ()) -> "tuple[Op, list[str]]":
    """The operator of that name and all its backwards, or the owner of that backward and it.

    Where there is none, `others` are names that may be meant as well.
    """
    ops, typed, name = _operators(), name, name.lower()
    owners = {back.__name__: op for op in ops.values() for back in op.backwards}
    if name in ops:
        return ops[name], [back.__name__ for back in ops[name].backwards]
    if name in owners:
        return owners[name], [name]
    what, known = ("backward", owners) if name.startswith("back_") else ("operator", ops)
    close = get_close_matches(name, [*known, *others], cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"{program()} list names them"
    raise click.BadParameter(f"no {what} {typed!r}; {hint}", param_hint="NAME")


def _operators() -> "dict[str, Op]":
    from manual_backprop.op import BadOp

    try:
        from manual_backprop.registry import OPS
    except BadOp as error:
        raise Mistake(str(error)) from error
    return OPS
