"""`manual-backprop train`: the command line of training. Torch is imported when it runs."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manual_backprop.commands import DTYPES, Mistake, quiet_compilers, stopped
from manual_backprop.training.joined import joined
from manual_backprop.training.options import (
    CHECKPOINT,
    CHOICES,
    DATA,
    LARGEST_LR,
    LARGEST_SEED,
    LEARNING_RATES,
    Options,
)
from manual_backprop.training.place import Alone
from manual_backprop.training.prepare import Prepared, prepare

if TYPE_CHECKING:
    from manual_backprop.training.train import Epoch, Trainer

DEFAULT = Options()
ROOT = Path("~/.cache/manual_backprop")


class _Folder(click.Path):
    """A folder that has a name: the empty one would be where the command happens to run."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click does."""
        if value == "":
            self.fail("it is empty; name a folder, or . for this one", param, ctx)
        return super().convert(value, param, ctx)


class _Seconds(click.FloatRange):
    """A number; nan is in every range, and no time."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click does."""
        seconds = super().convert(value, param, ctx)
        if seconds != seconds:
            self.fail("nan is no time", param, ctx)
        return seconds


@click.group()
def train() -> None:
    """Train a network with gradients that are written by hand."""


@train.command()
@click.option(
    "--data",
    default="subset",
    show_default=True,
    type=click.Choice(DATA),
    help="The 6,000 images of the package, or all 70,000.",
)
@click.option(
    "--root",
    default=ROOT,
    show_default=True,
    type=_Folder(file_okay=False, path_type=Path),
    help="Where the full data are, or are fetched to.",
)
@click.option(
    "--epochs",
    default=DEFAULT.epochs,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often each image is learned from.",
)
@click.option(
    "--batch-size",
    default=DEFAULT.batch_size,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images per step; all of them where there are fewer.",
)
@click.option(
    "--lr",
    type=float,
    show_default=", ".join(f"{lr:g} with {name}" for name, lr in LEARNING_RATES.items()),
    help=f"Learning rate, above 0 and at most {LARGEST_LR:g}.",
)
@click.option(
    "--optimizer",
    default=DEFAULT.optimizer,
    show_default=True,
    type=click.Choice(CHOICES["optimizer"]),
)
@click.option(
    "--gradient",
    default=DEFAULT.gradient,
    show_default=True,
    type=click.Choice(CHOICES["gradient"]),
    help="By hand in kept memory, by oneDNN's products (sgd in float32 on the CPU), or as one "
    "graph of torch.compile; composed of the operators' backwards; or torch.autograd's.",
)
@click.option(
    "--article",
    is_flag=True,
    help="As the source article has it: relu on the logits too, sgd, lr 0.01, batches of 200; "
    "--epochs is free.",
)
@click.option("--device", default=DEFAULT.device, show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--dtype", default=DEFAULT.dtype, show_default=True, type=click.Choice(DTYPES))
@click.option(
    "--seed",
    default=DEFAULT.seed,
    show_default=True,
    type=click.IntRange(min=0, max=LARGEST_SEED),
    help="Of weights and order; the same seed gives the same bits.",
)
@click.option(
    "--out",
    type=_Folder(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep checkpoint.pt and history.json there, written after every epoch: a run that is "
    "killed loses the epoch that it is in, and nothing else.",
)
@click.option(
    "--timeout",
    default=120.0,
    show_default=True,
    type=_Seconds(min=0, min_open=True, max=86400),
    metavar="SECONDS",
    help="Under torchrun, how long a rank waits for another before it ends.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the checkpoint in --out. What you do not type is as the run was begun with; "
    "--epochs may be more.",
)
@click.pass_context
def mnist(ctx: click.Context, /, **asked: Any) -> None:
    """Train 784-200-200-10 on handwritten digits, without autograd.

    Under torchrun all its processes train together, each with its part of every batch.
    Exit status: 0 trained, 1 it was stopped, diverged or could not be written, 2 a mistake in the
    command or the data.
    """
    out, resume, timeout = asked["out"], asked["resume"], asked.pop("timeout")
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder to go on from")
    moment = "it went on" if resume else "the first epoch"
    with _terminated_is_interrupted(), joined(timeout, partial(_kept, out)) as world:
        with stopped(lambda: f" before {moment}; nothing was changed"):  # torch takes seconds
            start = prepare(ctx, asked, world)
        with stopped(lambda: f"; {_kept(out, world, ': go on from there with --resume')}"):
            _run(start, out, world)


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM, which ends a job that is over its time, stops as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:  # a rank that is about to end
            signal.signal(signal.SIGTERM, before)


def _run(start: Prepared, out: Path | None, world: Alone) -> None:
    import torch

    from manual_backprop.training import checkpoint
    from manual_backprop.training.one_graph import NotCompiled
    from manual_backprop.training.train import Diverged, Trainer

    if start.options.gradient == "onednn" and not torch.backends.mkldnn.is_available():
        raise Mistake("this PyTorch is built without oneDNN; leave --gradient at hand")
    try:
        trainer = Trainer(start.options, world)
        history: list[Epoch] = []
        if out is not None and start.resume and world.rank == 0:
            history = checkpoint.resume(out, trainer, start.fingerprint)
        if world.size > 1:
            history, state = world.from_first((history, trainer.state()))
            trainer.restore(state)

        def keep() -> None:
            if out is not None and world.rank == 0:
                launch = world.launch
                checkpoint.save(out, trainer, history, start.fingerprint, start.origin, launch)

        _try(out, keep)  # what cannot be written is known now
        compiled = start.options.gradient == "compiled"
        with quiet_compilers() if compiled else nullcontext():
            _train(start, trainer, history, keep, out)
        world.end()
    except checkpoint.BadCheckpoint as error:
        raise Mistake(str(error)) from error
    except Diverged as error:
        raise click.ClickException(f"{error}; {_kept(out, world)}") from error
    except NotCompiled as error:
        raise click.ClickException(f"{error}; --gradient hand needs no compiler") from error
    except torch.OutOfMemoryError as error:
        raise click.ClickException(f"{start.options.device} has not enough memory") from error


def _try(out: Path | None, keep: Callable[[], None]) -> None:
    try:
        keep()
    except OSError as error:
        raise click.BadParameter(
            f"cannot write to {out}: {error.strerror}; make it writable, or name another folder",
            param_hint="--out",
        ) from error


def _train(
    start: Prepared,
    trainer: "Trainer",
    history: "list[Epoch]",
    keep: Callable[[], None],
    out: Path | None,
) -> None:
    """All epochs that are left, each with its row; with a progress bar where somebody watches."""
    from rich.progress import TimeRemainingColumn

    from manual_backprop.report.as_table import progress_bar
    from manual_backprop.report.console import Report
    from manual_backprop.training import rows

    console = Report(highlight=False, quiet=trainer.world.rank > 0)
    options, training, test = start.options, start.training, start.test
    rows.head(console, options, len(training), len(test), trainer.world.size)
    if history and out is not None:
        rows.before(console, out, len(history), options.epochs)
    rows.table(console, history)
    batches = -(-len(training) // options.batch_size)
    with progress_bar(console, TimeRemainingColumn()) as bar:
        task = bar.add_task("training", total=batches * (options.epochs - len(history)))
        for epoch in trainer.run(
            training, test, done=len(history), progress=lambda: bar.advance(task)
        ):
            history.append(epoch)
            try:
                keep()
            except OSError as error:
                raise click.ClickException(
                    f"cannot write to {out}: {error.strerror}; it holds what was written before: "
                    "make room, and go on with --resume"
                ) from error
            rows.row(console, epoch)
    rows.end(console, history[-1], len(test))


def _kept(out: Path | None, world: Alone, what_to_do: str = "") -> str:
    if out is None:
        return "nothing was kept, for there was no --out"
    if not os.path.exists(out / CHECKPOINT):
        return "rank 0 says what is kept" if world.rank else "nothing was written yet"
    return f"{out} holds all epochs before{what_to_do}"
