"""One rank of a mesh that `start` started: judges with the others, and leaves its verdicts."""

import os
import pickle
import sys
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from threading import Thread
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import FileStore  # type: ignore[attr-defined]

from manual_backprop.judge.draw import ARTICLE
from manual_backprop.judge.sharded.ranks import THINKING, MeshError, start_mesh
from manual_backprop.judge.sharded.verify import on_ranks


def main(name: str, rank: int) -> None:
    """Judge all jobs of a folder with the other ranks.

    Args:
        name: of the folder; the first rank leaves there "begun-0", "progress" and "verdict-0".
        rank: of this process.
    """
    folder = Path(name)
    Thread(target=_end_with_parent, args=(_taken_stdin(), folder), daemon=True).start()
    sent: dict[str, Any] = pickle.loads((folder / "job").read_bytes())
    torch.set_num_threads(1)  # the ranks are the threads
    device, timeout = str(sent["device"]), float(sent["timeout"])
    if device == "cuda":
        torch.cuda.set_device(rank)
    status = 0
    for number, (op, backward) in enumerate(sent["jobs"]):
        samples = tuple(sample for sample in op.samples if sample != ARTICLE)
        asked = {"samples": samples, **sent["asked"]}
        _join(folder / f"store-{number}", rank, sent["size"], device, timeout)
        if rank == 0:
            (folder / f"begun-{number}").touch()
        try:
            mesh = start_mesh(device, sent["size"])
            result: Any = on_ranks(
                op, backward, mesh, timeout=timeout, progress=_beat(folder), **asked
            )
        except MeshError as error:
            print(error, file=sys.stderr)  # noqa: T201 -- of which `start` tells the last line
            (folder / f"lost-{rank}").touch()
            status = 1
            break
        except Exception as error:  # on every rank alike
            result = error
        dist.destroy_process_group()
        if rank == 0:
            _leave(folder / f"verdict-{number}", result)
    sys.stdout.flush()
    os._exit(status)  # without waiting for ranks that are gone


def _taken_stdin() -> int:
    """The standard input that this process was given, in place of which it has none."""
    given = os.dup(0)
    none = os.open(os.devnull, os.O_RDONLY)
    os.dup2(none, 0)
    os.close(none)
    return given


def _end_with_parent(pipe: int, folder: Path) -> None:
    """Nothing is ever written to the pipe; it ends when the process that started this one does."""
    os.read(pipe, 1)
    rmtree(folder, ignore_errors=True)
    os._exit(1)


def _join(store: Path, rank: int, size: int, device: str, timeout: float) -> None:
    """A process group for one job: after another's, a collective may not have been finished."""
    meeting = FileStore(str(store), size)
    meeting.set(f"rank {rank}", "is here")
    meeting.wait([f"rank {other}" for other in range(size)], timedelta(seconds=THINKING))
    dist.init_process_group(
        "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
        timeout=timedelta(seconds=timeout),
        store=meeting,
        rank=rank,
        world_size=size,
    )


def _beat(folder: Path) -> Any:
    def beat() -> None:
        with (folder / "progress").open("ab") as file:
            file.write(b".")

    return beat


def _leave(file: Path, result: Any) -> None:
    part = file.with_suffix(".part")
    part.write_bytes(pickle.dumps(result))
    part.rename(file)
