"""`manual-backprop train`: the command line of training. Torch is imported when it runs."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from rich.console import Console

    from manual_backprop.training.digits import Digits
    from manual_backprop.training.train import Epoch, Options, Trainer

DTYPES = ("float64", "float32", "bfloat16", "float16")
ROOT = Path("~/.cache/manual_backprop")


class _Mistake(click.ClickException):
    exit_code = 2


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
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--batch-size", default=200, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    show_default="0.1; 0.01 with momentum, 0.001 with adam",
    help="Learning rate.",
)
@click.option(
    "--optimizer",
    default="sgd",
    show_default=True,
    type=click.Choice(["sgd", "momentum", "adam"]),
)
@click.option(
    "--gradient",
    default="hand",
    show_default=True,
    type=click.Choice(["hand", "autograd"]),
    help="Whose; the rest is the same.",
)
@click.option(
    "--article",
    is_flag=True,
    help="As the source article has it: relu on the logits too, sgd, lr 0.01, 10 epochs of 200.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(DTYPES))
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of weights and order; the same seed gives the same bits.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep checkpoint.pt and history.json there, written after every epoch.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.pass_context
def mnist(ctx: click.Context, /, **asked: Any) -> None:
    """Train 784-200-200-10 on handwritten digits, without autograd.

    Exit status: 0 trained, 1 it was stopped, diverged or could not be written, 2 a mistake in the
    command or the data.
    """
    out, resume = asked["out"], asked["resume"]
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder to go on from")
    if asked["lr"] is not None and not isfinite(asked["lr"]):
        raise click.BadParameter("a learning rate is a finite number", param_hint="--lr")

    import torch

    from manual_backprop.judge.verify import check_device
    from manual_backprop.training.train import Diverged, Trainer

    options = _options(ctx, asked)
    try:
        check_device(options.device)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
    training, test = _digits(asked["data"], asked["root"])
    trainer = Trainer(options)
    history, data = _begin(trainer, (training, test), out, resume=resume)
    try:
        _train(trainer, training, test, history, out, data)
    except KeyboardInterrupt as error:
        raise click.ClickException(f"stopped; {_kept(out)}") from error
    except Diverged as error:
        raise click.ClickException(f"{error}; {_kept(out)}") from error
    except torch.OutOfMemoryError as error:
        raise click.ClickException(f"{options.device} has not enough memory") from error


def _options(ctx: click.Context, asked: dict[str, Any]) -> "Options":
    from manual_backprop.training.train import ARTICLE, LEARNING_RATES, Options

    same = {name: asked[name] for name in ("gradient", "device", "dtype", "seed")}
    numbers = {name: asked[name] for name in ("epochs", "batch_size", "lr", "optimizer")}
    if not asked["article"]:
        numbers["lr"] = numbers["lr"] or LEARNING_RATES[asked["optimizer"]]
        return Options(**numbers, **same)
    for name, value in numbers.items():
        given = ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and value != getattr(ARTICLE, name):
            raise click.UsageError(
                f"--article is with --{name.replace('_', '-')} {getattr(ARTICLE, name)}; "
                "leave one of the two away"
            )
    return Options(**{**vars(ARTICLE), **same})


def _digits(data: str, root: Path) -> "tuple[Digits, Digits]":
    from manual_backprop.training.digits import BadData, subset, whole

    try:
        return subset() if data == "subset" else whole(root.expanduser())
    except (BadData, FileNotFoundError) as error:
        raise _Mistake(str(error)) from error


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
    if resume:
        try:
            history = checkpoint.resume(out, trainer, data)
        except checkpoint.BadCheckpoint as error:
            raise _Mistake(str(error)) from error
    elif (out / checkpoint.CHECKPOINT).exists():
        raise _Mistake(
            f"{out} holds a checkpoint already: go on from it with --resume, or name another --out"
        )
    try:
        checkpoint.save(out, trainer, history, data)  # what cannot be written is known now
    except OSError as error:
        raise click.BadParameter(
            f"cannot write to {out}: {error.strerror}", param_hint="--out"
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
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from manual_backprop.report.as_table import Report

    console = Report(highlight=False)
    _head(console, trainer.options, len(training), len(test))
    for epoch in history:
        _row(console, epoch)
    batches = -(-len(training) // trainer.options.batch_size)
    columns = TextColumn("{task.description:<12}"), BarColumn(), TimeRemainingColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
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
            f"cannot write to {out}: {error.strerror}; it holds what was written before"
        ) from error


def _head(console: "Console", options: "Options", training: int, test: int) -> None:
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


def _kept(out: Path | None) -> str:
    if out is None:
        return "nothing was kept, for there was no --out"
    return f"{out} holds all epochs before: go on from there with --resume"
