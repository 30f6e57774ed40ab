"""What a run says in the terminal while it trains."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from manual_backprop.training.options import Options
from manual_backprop.training.train import Epoch


def head(console: Console, options: Options, training: int, test: int, ranks: int) -> None:
    """One line that says what the numbers below depend on, for so many images of each kind."""
    size = min(options.batch_size, training)
    console.print(
        f"torch {torch.__version__} · {options.device} · {options.dtype} · "
        f"{f'ranks: {ranks} · ' if ranks > 1 else ''}"
        f"threads: {torch.get_num_threads()} · gradient by {options.gradient} · "
        f"{options.optimizer}, lr {options.lr:g}, batches of {size:,}"
        f"{' (all)' if size == training else ''} · "
        f"relu on the logits: {'yes' if options.relu_logits else 'no'} · "
        f"seed {options.seed} · {training:,} images, {test:,} to test",
        style="dim",
        soft_wrap=True,
    )


def before(console: Console, folder: Path, done: int, epochs: int) -> None:
    """That this run was begun before, and how far it came."""
    if done == epochs:
        said = f"{done} of {epochs} epochs were done already; more with --epochs N"
    else:
        said = f"going on from {folder} after epoch {done}"
    console.print(said, soft_wrap=True, markup=False)


def table(console: Console, history: Sequence[Epoch]) -> None:
    """The names of the columns, and the epochs so far."""
    console.print("epoch  train loss  test loss  accuracy  images/s", style="bold", soft_wrap=True)
    for epoch in history:
        row(console, epoch)


def row(console: Console, epoch: Epoch) -> None:
    """One epoch."""
    console.print(
        f"{epoch.epoch:>5}  {epoch.train_loss:>10.4f}  {epoch.test_loss:>9.4f}  "
        f"{epoch.accuracy:>8.2%}  {epoch.images_per_second:>8,.0f}",
        soft_wrap=True,
    )


def end(console: Console, last: Epoch, test: int) -> None:
    """What the last epoch makes of so many test images."""
    console.print(f"[bold]{last.accuracy:.2%}[/] of {test:,} test images are told right")
    if last.never_predicted:
        console.print(f"never predicted: {', '.join(map(str, last.never_predicted))}")
