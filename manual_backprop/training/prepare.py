"""What a run needs before it trains: options, data and ranks that agree, all found good.

Importing it does not import torch.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manual_backprop.commands import Mistake, check_device
from manual_backprop.training.choice import chosen, chosen_again, origin
from manual_backprop.training.joined import agree, code
from manual_backprop.training.options import Options
from manual_backprop.training.place import Alone

if TYPE_CHECKING:
    from manual_backprop.training.digits import Digits


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, found good before anything is written.

    Attributes:
        options: the same on every rank.
        training, test: images and labels.
        fingerprint: of both; empty where nobody asks for it.
        origin: where they were read, as in `--data` and `--root`.
        resume: whether the run goes on from a checkpoint.
    """

    options: Options
    training: "Digits"
    test: "Digits"
    fingerprint: str
    origin: tuple[str, str]
    resume: bool


def prepare(ctx: click.Context, asked: dict[str, Any], world: Alone) -> Prepared:
    """Options and data of a run, the same on every rank.

    Args:
        ctx: tells what was typed.
        asked: the command's parameters by name.
        world: the ranks, which are made ready for training.

    Raises:
        click.UsageError, Mistake: what was asked for, or the data, are wrong.
        BadWorld: the ranks differ, or cannot connect.
        Lost: another rank has ended.
    """
    if world.size > 1:
        typed = {name: value for name, value in asked.items() if name not in ("root", "out")}
        agree(world, "options", {**code(), **typed})
    asked["root"] = _expanded(asked["root"])
    first = world.exchange("start", None if world.rank else _first(ctx, asked, world))[0]
    options = Options(**{**first["options"], "hidden": tuple(first["options"]["hidden"])})
    data, root = first["data"], Path(first["root"])
    import torch

    from manual_backprop.training.digits import fingerprint

    world.start(options.device)  # first of all, for it chooses the GPU
    check_device(options.device)
    torch.set_num_threads(1)  # threads wait where cores are busy, and their number changes bits
    digits = _digits(data, root)
    mark = "" if asked["out"] is None and world.size == 1 else fingerprint(*digits)
    agree(world, "data", {"data": mark[:12]})
    return Prepared(options, *digits, mark, origin(data, root), first["resume"])


def _first(ctx: click.Context, asked: dict[str, Any], world: Alone) -> dict[str, Any]:
    """What rank 0 decides for all, of the folder that it alone reads and writes."""
    out, resume = asked["out"], asked["resume"]
    if out is not None and not resume:
        resume = _restarted(out, world)
    options, data, root = (
        chosen_again(ctx, asked, out)
        if resume
        else (chosen(ctx, asked), asked["data"], asked["root"])
    )
    if world.size > 1 and options.gradient != "hand":
        raise click.UsageError(
            f"--gradient {options.gradient} trains in one process, and these are {world.size}: "
            "leave it at hand, whose gradients the ranks share"
        )
    if world.size > 1 and options.device not in ("cpu", "cuda"):
        raise click.UsageError(
            f"--device {options.device} is one GPU, and these are {world.size} processes: --device "
            "cuda gives each one of its own"
        )
    return {"options": asdict(options), "data": data, "root": str(root), "resume": resume}


def _restarted(out: Path, world: Alone) -> bool:
    """Whether torchrun started the ranks anew and they left a checkpoint; else refuse any."""
    from manual_backprop.training import checkpoint

    try:
        if world.attempt > 0 and checkpoint.is_of(world.launch, out):
            return True
        checkpoint.check_new(out)
    except checkpoint.BadCheckpoint as error:
        raise Mistake(str(error)) from error
    return False


def _digits(data: str, root: Path) -> "tuple[Digits, Digits]":
    from manual_backprop.training.digits import BadData, subset, whole

    try:
        return subset() if data == "subset" else whole(root)
    except (BadData, FileNotFoundError) as error:
        raise Mistake(str(error)) from error


def _expanded(root: Path) -> Path:
    try:
        return root.expanduser()
    except RuntimeError as error:
        raise click.BadParameter(
            f"cannot tell which folder {root} is; write it out", param_hint="--root"
        ) from error
