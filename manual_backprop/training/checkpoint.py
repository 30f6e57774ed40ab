"""What a run leaves in its folder: a checkpoint to go on from, and its history.

A file is written whole beside its place and then moved there, so that whoever kills the run finds
the last epoch or the one before, and never half of one.
"""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from manual_backprop.training.options import CHECKPOINT, DATA, HISTORY, Options
from manual_backprop.training.train import Epoch, Trainer

VERSION = 1
FREE = ("epochs",)  # options that a resumed run may change: what was trained does not depend on it


class BadCheckpoint(ValueError):  # noqa: N818 -- says what it is of
    """A checkpoint that this run cannot go on from, and why."""


def save(
    folder: Path,
    trainer: Trainer,
    history: Sequence[Epoch],
    data: str,
    origin: tuple[str, str] | None = None,
    launch: str = "",
) -> None:
    """Write the checkpoint and then `history.json` into the folder, which is made if need be.

    Args:
        folder: where to.
        trainer: as it is at the end of the last epoch of the history.
        history: all epochs so far; none before the first.
        data: the `fingerprint` of what it is trained on.
        origin: where that was read, as in `--data` and `--root`.
        launch: what tells this start of several ranks from others.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    options = asdict(trainer.options)
    rows = [asdict(epoch) for epoch in history]
    about = {"version": VERSION, "epoch": len(rows), "options": options, "data": data}
    more = {"seed": trainer.options.seed, "history": rows, "origin": origin, "launch": launch}
    whole = {**about, **more, **trainer.state()}
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / CHECKPOINT, buffer.getvalue())
    _write(folder / HISTORY, json.dumps({**about, "history": rows}, indent=2).encode() + b"\n")


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(f"{file.name}.partial")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def check_new(folder: Path) -> None:
    """Refuse to begin a run where there is one.

    Raises:
        BadCheckpoint: the folder holds a checkpoint or a history already.
    """
    if os.path.exists(folder / CHECKPOINT):
        raise BadCheckpoint(
            f"{folder} holds a checkpoint already: go on from it with --resume, or name another "
            "--out"
        )
    if os.path.exists(folder / HISTORY):
        raise BadCheckpoint(
            f"{folder} holds a {HISTORY} of something else, which would be written over: name "
            "another --out"
        )


def is_of(launch: str, folder: Path) -> bool:
    """Whether the folder holds a checkpoint that an earlier attempt of this launch wrote.

    Raises:
        BadCheckpoint: it is damaged.
    """
    file = folder / CHECKPOINT
    return os.path.exists(file) and _load(file).get("launch") == launch


def begun_with(folder: Path) -> tuple[Options, tuple[str, str] | None]:
    """The options of the run that the folder holds, and where it read its data, if it told.

    Raises:
        BadCheckpoint: there is none, or it is damaged.
    """
    file = folder / CHECKPOINT
    found = _load(file)
    try:
        options = Options(**found["options"])
        origin = found.get("origin")
        if origin is not None and not (
            len(origin) == 2 and origin[0] in DATA and isinstance(origin[1], str)
        ):
            raise ValueError(f"its data are from {origin}")
    except KeyError as error:
        raise _unusable(file, f"is not whole: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise _unusable(file, f"is not whole: {error}") from error
    return options, origin


def resume(folder: Path, trainer: Trainer, data: str) -> list[Epoch]:
    """Give the trainer what the folder's checkpoint holds; the epochs so far.

    Args:
        folder: where `save` wrote.
        trainer: a new one, of the options that the checkpoint was made with; only `epochs` may be
            larger.
        data: the `fingerprint` of what it is trained on.

    Raises:
        BadCheckpoint: there is none, it is damaged, or it is of another run.
    """
    file = folder / CHECKPOINT
    found = _load(file)
    try:
        _same_run(file, found, trainer.options, data)
        history = [
            Epoch(**{**row, "never_predicted": tuple(row["never_predicted"])})
            for row in found["history"]
        ]
        if len(history) != found["epoch"]:
            raise ValueError(f"of {found['epoch']} epochs it tells {len(history)}")
        trainer.restore(found)
    except BadCheckpoint:
        raise
    except KeyError as error:
        raise _unusable(file, f"is not whole: it has no {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _unusable(file, f"is not whole: {error}") from error
    return history


def _load(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise BadCheckpoint(
            f"there is no {file} to go on from; start without --resume, or name the folder that "
            "was --out before"
        ) from error
    except OSError as error:
        raise BadCheckpoint(f"cannot read {file}: {error.strerror}; make it readable") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise _unusable(file, "is damaged, or no checkpoint: it cannot be read") from error
    if damaged:
        raise _unusable(file, f"is damaged: the checksum of its part {damaged} is another")
    if not isinstance(found, dict) or "version" not in found:
        raise _unusable(file, "holds something else than a checkpoint of this program")
    if found["version"] != VERSION:
        raise _unusable(
            file,
            f"is of version {found['version']}, and this program reads version {VERSION}: go on "
            "with the program that wrote it",
        )
    return found


def _unusable(file: Path, why: str) -> BadCheckpoint:
    return BadCheckpoint(f"{file} {why}; start again with another --out")


def _same_run(file: Path, found: dict[str, Any], options: Options, data: str) -> None:
    asked = asdict(options)
    names = sorted(asked, key=lambda name: name != "optimizer")  # lr depends on it
    differ = [name for name in names if name not in FREE]
    differ = [name for name in differ if found["options"].get(name) != asked[name]]
    if differ:
        theirs = " and ".join(
            f"{name.replace('_', ' ')} {found['options'].get(name)}" for name in differ
        )
        mine = " and ".join(str(asked[name]) for name in differ)
        raise BadCheckpoint(
            f"{file} was trained with {theirs}, and {mine} {'are' if len(differ) > 1 else 'is'} "
            "asked for: go on as it began, or start anew with another --out"
        )
    if found["data"] != data:
        raise BadCheckpoint(
            f"{file} was trained on other data: go on with those, or start with another --out"
        )
    if found["epoch"] > options.epochs:
        raise BadCheckpoint(
            f"{file} has {found['epoch']} epochs behind it, and {options.epochs} are asked for: "
            "ask for more"
        )
