"""`manual-backprop train`: the command line of training. Torch is imported when it runs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from manual_backprop.commands import DTYPES, Mistake, check_device
from manual_backprop.training.options import ARTICLE, CHOICES, LEARNING_RATES, Options

if TYPE_CHECKING:
    from rich.console import Console

    from manual_backprop.training.digits import Digits
    from manual_backprop.training.train import Epoch, Trainer

DEFAULT = Options()
ROOT = Path("~/.cache/manual_backprop")


@click.group()
def train() -> None:
    """Train a network with gradients that are written by hand."""


@train.command()
@click.option(
    "--data",
    default="subset",
    show_default=True,
    type=click.Choice(["subset", "full"]),
    help="The 6,000 images of the package, or all 70,000.",
)
@click.option(
    "--root",
    default=ROOT,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
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
    help="Learning rate, above 0.",
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
    help="Written by hand, or torch.autograd's; all else is the same.",
)
@click.option(
    "--article",
    is_flag=True,
    help="As the source article has it: relu on the logits too, sgd, lr 0.01, 10 epochs of 200.",
)
@click.option("--device", default=DEFAULT.device, show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--dtype", default=DEFAULT.dtype, show_default=True, type=click.Choice(DTYPES))
@click.option(
    "--seed",
    default=DEFAULT.seed,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of weights and order; the same seed gives the same bits.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep checkpoint.pt and history.json there, written after every epoch: a run that is "
    "killed loses the epoch that it is in, and nothing else.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the checkpoint in --out, with the options that it was begun with; "
    "--epochs may be more.",
)
@click.pass_context
def mnist(ctx: click.Context, /, **asked: Any) -> None:
    """Train 784-200-200-10 on handwritten digits, without autograd.

    Exit status: 0 trained, 1 it was stopped, diverged or could not be written, 2 a mistake in the
    command or the data.
    """
    out, resume = asked["out"], asked["resume"]
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder to go on from")
    options = _options(ctx, asked)

    import torch

    from manual_backprop.training.train import Diverged, Trainer

    check_device(options.device)
    try:
        with _terminated_is_interrupted():
            training, test = _digits(asked["data"], asked["root"])
            trainer = Trainer(options)
            history, data = _begin(trainer, (training, test), out, resume=resume)
            _train(trainer, training, test, history, out, data)
    except KeyboardInterrupt as error:
        raise click.ClickException(
            f"stopped; {_kept(out, ': go on from there with --resume')}"
        ) from error
    except Diverged as error:
        raise click.ClickException(f"{error}; {_kept(out)}") from error
    except torch.OutOfMemoryError as error:
        raise click.ClickException(f"{options.device} has not enough memory") from error


def _options(ctx: click.Context, asked: dict[str, Any]) -> Options:
    same = {name: asked[name] for name in ("gradient", "device", "dtype", "seed")}
    numbers = {name: asked[name] for name in ("epochs", "batch_size", "lr", "optimizer")}
    if not asked["article"]:
        if numbers["lr"] is None:
            numbers["lr"] = LEARNING_RATES[asked["optimizer"]]
        try:
            return Options(**numbers, **same)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    for name, value in numbers.items():
        given = ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and value != getattr(ARTICLE, name):
            raise click.UsageError(
                f"--article is with --{name.replace('_', '-')} {getattr(ARTICLE, name)}; "
                "leave one of the two away"
            )
    return Options(**{**vars(ARTICLE), **same})


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM, which ends a job that is over its time, stops as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _digits(data: str, root: Path) -> "tuple[Digits, Digits]":
    from manual_backprop.training.digits import BadData, subset, whole

    try:
        return subset() if data == "subset" else whole(_expanded(root))
    except (BadData, FileNotFoundError) as error:
        raise Mistake(str(error)) from error


def _expanded(root: Path) -> Path:
    try:
        return root.expanduser()
    except RuntimeError as error:
        raise click.BadParameter(
            f"cannot tell which folder {root} is; write it out", param_hint="--root"
        ) from error


def _begin(
    trainer: "Trainer", digits: "tuple[Digits, Digits]", out: Path | None, *, resume: bool
) -> "tuple[list[Epoch], str]":
    """The epochs that are done already, and the fingerprint of the data."""
    from manual_backprop.training import checkpoint
    from manual_backprop.training.digits import fingerprint

    if out is None:
        return [], ""
    data = fingerprint(*digits)
    history: list[Epoch] = []
    try:
        if resume:
            history = checkpoint.resume(out, trainer, data)
        else:
            checkpoint.check_new(out)
    except checkpoint.BadCheckpoint as error:
        raise Mistake(str(error)) from error
    try:
        checkpoint.save(out, trainer, history, data)  # what cannot be written is known now
    except OSError as error:
        raise click.BadParameter(
            f"cannot write to {out}: {error.strerror}; make it writable, or name another folder",
            param_hint="--out",
        ) from error
    return history, data


def _train(
    trainer: "Trainer",
    training: "Digits",
    test: "Digits",
    history: "list[Epoch]",
    out: Path | None,
    data: str,
) -> None:
    """All epochs that are left, each with its row; with a progress bar where somebody watches."""
    from rich.progress import TimeRemainingColumn

    from manual_backprop.report.as_table import progress_bar
    from manual_backprop.report.console import Report

    console = Report(highlight=False)
    _head(console, trainer.options, len(training), len(test))
    for epoch in history:
        _row(console, epoch)
    batches = -(-len(training) // trainer.options.batch_size)
    with progress_bar(console, TimeRemainingColumn()) as bar:
        task = bar.add_task("training", total=batches * (trainer.options.epochs - len(history)))
        for epoch in trainer.run(
            training, test, done=len(history), progress=lambda: bar.advance(task)
        ):
            history.append(epoch)
            if out is not None:
                _keep(out, trainer, history, data)
            _row(console, epoch)
    last = history[-1]
    console.print(f"[bold]{last.accuracy:.2%}[/] of {len(test):,} test images are told right")
    if last.never_predicted:
        console.print(f"never predicted: {', '.join(map(str, last.never_predicted))}")


def _keep(out: Path, trainer: "Trainer", history: "list[Epoch]", data: str) -> None:
    from manual_backprop.training.checkpoint import save

    try:
        save(out, trainer, history, data)
    except OSError as error:
        raise click.ClickException(
            f"cannot write to {out}: {error.strerror}; it holds what was written before: make "
            "room, and go on with --resume"
        ) from error


def _head(console: "Console", options: Options, training: int, test: int) -> None:
    import torch

    console.print(
        f"torch {torch.__version__} · {options.device} · {options.dtype} · gradient by "
        f"{options.gradient} · {options.optimizer}, lr {options.lr:g}, batches of "
        f"{options.batch_size} · relu on the logits: {'yes' if options.relu_logits else 'no'} · "
        f"seed {options.seed} · {training:,} images, {test:,} to test",
        style="dim",
        soft_wrap=True,
    )
    console.print("epoch  train loss  test loss  accuracy  images/s", style="bold", soft_wrap=True)


def _row(console: "Console", epoch: "Epoch") -> None:
    console.print(
        f"{epoch.epoch:>5}  {epoch.train_loss:>10.4f}  {epoch.test_loss:>9.4f}  "
        f"{epoch.accuracy:>8.2%}  {epoch.images_per_second:>8,.0f}",
        soft_wrap=True,
    )


def _kept(out: Path | None, what_to_do: str = "") -> str:
    from manual_backprop.training.checkpoint import CHECKPOINT

    if out is None:
        return "nothing was kept, for there was no --out"
    if not os.path.exists(out / CHECKPOINT):
        return "nothing was written yet"
    return f"{out} holds all epochs before{what_to_do}"
