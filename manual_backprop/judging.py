"""What `manual-backprop verify` judges, with a progress bar; importing it does not import torch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from manual_backprop.judge.trial import Backward
    from manual_backprop.judge.verdict import Verdict
    from manual_backprop.op import Op


def judged(
    chosen: "Sequence[Op]",
    devices: tuple[str, ...],
    dtypes: tuple[str, ...],
    seeds: tuple[int, ...],
    console: "Console",
) -> "list[Verdict]":
    """The verdicts of all backwards of the operators.

    Raises:
        BadOp: an operator cannot be judged as it is written.
    """
    import torch

    from manual_backprop.judge.verify import verify

    steps = [len(op.backwards) * len(op.samples) * len(dtypes) * len(devices) for op in chosen]
    with _bar(chosen, sum(steps), console) as (begin, advance):
        verdicts = []
        for op in chosen:
            begin(op.name)
            verdicts.append(
                verify(
                    op,
                    dtypes=[getattr(torch, name) for name in dtypes],
                    devices=devices,
                    seeds=seeds,
                    kinks="reject",
                    progress=advance,
                )
            )
    return verdicts


def judged_on_mesh(
    jobs: "Sequence[tuple[Op, Backward]]",
    size: int,
    device: str,
    dtypes: tuple[str, ...],
    seeds: tuple[int, ...],
    console: "Console",
) -> "list[Verdict]":
    """The verdicts of plain backwards, each of its operator, on a mesh of so many processes.

    Raises:
        BadOp: an operator cannot be judged as it is written.
        ValueError: there can be no such mesh.
        MeshError: its processes could not be started.
    """
    import torch

    from manual_backprop.judge.draw import ARTICLE, axes
    from manual_backprop.judge.sharded.cut import lengths
    from manual_backprop.judge.sharded.start import judged as judged_there
    from manual_backprop.judge.sharded.verify import PATIENCE, check_mesh

    check_mesh(size, device)
    tried = [
        len(lengths(own, size)) * len(dtypes)
        for op, _ in jobs
        for sample in op.samples
        if sample != ARTICLE
        for own in axes(op, sample).values()
    ]
    with _bar([op for op, _ in jobs], sum(tried), console) as (begin, advance):
        begin(f"{size} ranks")
        return judged_there(
            jobs,
            size,
            device=device,
            timeout=PATIENCE,
            progress=advance,
            dtypes=tuple(getattr(torch, name) for name in dtypes),
            seeds=seeds,
        )


@contextmanager
def _bar(
    chosen: "Sequence[Op]", total: int, console: "Console"
) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """What begins a part of the work, and what goes one step on, where somebody watches."""
    from rich.progress import TimeElapsedColumn

    from manual_backprop.report.as_table import progress_bar

    with progress_bar(console, TimeElapsedColumn()) as bar:
        if bar.disable:
            what = chosen[0].name if len(chosen) == 1 else f"{len(chosen)} operators"
            click.echo(f"judging {what} ...", err=True)
        task = bar.add_task("", total=total)
        yield lambda name: bar.update(task, description=name), lambda: bar.advance(task)
