"""How a rank joins the others before it trains, and what it says where they cannot go on."""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import click

import manual_backprop
from manual_backprop.commands import Mistake, Stopped, stopped
from manual_backprop.training.place import Alone, BadWorld, Lost, place


@contextmanager
def joined(timeout: float, kept: Callable[[Alone], str]) -> Iterator[Alone]:
    """The world that torchrun started this process in, or a process alone.

    However the run ends, each rank says so in a sentence of its own, and why the others do.

    Args:
        timeout: seconds to wait for another rank.
        kept: what is left of the run where another rank ended it.

    Raises:
        Mistake: no world can be made of what the environment or the others tell.
        click.ClickException: the run has ended early.
    """
    try:
        where = place()
    except BadWorld as error:
        raise Mistake(str(error)) from error
    if where is None or where.size == 1:
        yield Alone()
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # each rank has a sentence of its own
    ours = f"rank {where.rank}"
    try:
        with stopped(lambda: " before the ranks had met; nothing was changed"):
            from manual_backprop.training.world import STOPPED, World

            world = World(where, timeout)
    except Stopped as error:
        _end(Stopped(f"{ours}: {error.message}"))
    except BadWorld as error:
        _end(Mistake(f"{ours}: {error}"))
    try:
        yield world
    except Stopped as error:
        about = _left(world.leave, STOPPED)
        _end(Stopped(f"{ours}: {about}{'; ' if about else ''}{error.message}"))
    except click.ClickException as error:
        said = error.format_message()
        _left(world.leave, said)
        kind = Mistake if error.exit_code == Mistake.exit_code else click.ClickException
        _end(kind(f"{ours}: {said}"))
    except BadWorld as error:
        _left(world.leave, str(error))
        _end(Mistake(f"{ours}: {error}"))
    except Lost as error:
        left = f"; {kept(world)}" if world.started else "; nothing was changed"
        about = _left(world.leave, "") or f"the network between the ranks failed ({error})"
        _end(click.ClickException(f"{ours}: {about}{left}"))
    except Exception as error:
        _left(world.leave, f"{type(error).__name__}: {error}")
        raise


def _end(error: click.ClickException) -> NoReturn:
    """Say why, here and in what torchrun prints of each rank, and end.

    At once, for a thread that still waits for another rank would keep the process, or abort it.
    """
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        with suppress(OSError):
            record = {"message": error.message, "timestamp": int(time.time())}
            Path(file).write_text(json.dumps(record))
    error.show()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.exit_code)


def _left(leave: Callable[[str], str], why: str) -> str:
    """`leave`, which nothing may cut short: torchrun stops all ranks as soon as one has ended."""
    while True:
        try:
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, signal.SIG_IGN)
            return leave(why)
        except KeyboardInterrupt:
            continue


def code() -> dict[str, str]:
    """What the bits of a run depend on beside options and data: PyTorch and the package's code."""
    digest = hashlib.sha256()
    folder = Path(manual_backprop.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return {"torch": version("torch"), "code": digest.hexdigest()[:12]}


def agree(world: Alone, name: str, about: dict[str, Any]) -> None:
    """Hold what each rank says of itself to what rank 0 says.

    Args:
        world: the ranks.
        name: of this exchange; each has one of its own.
        about: the same keys on every rank; values of JSON.

    Raises:
        BadWorld: they differ.
        Lost: another rank has ended.
    """
    first, *others = world.exchange(name, about)
    for rank, theirs in enumerate(others, 1):
        for key in {**first, **theirs}:
            one, other = (json.dumps(each.get(key)) for each in (first, theirs))
            if one != other:
                raise BadWorld(
                    f"rank {rank} has {key} {other} and rank 0 {one}: all ranks train with the "
                    "same code, options and data"
                )
