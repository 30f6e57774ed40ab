"""Processes that train together, on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from manual_backprop.training.place import Place
from manual_backprop.training.world import World

ROOT = Path(__file__).parents[1]
LONGEST = 600  # seconds that anything may take, however busy the machine is
OUTSIDE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Ranks:
    """So many processes that run a function at the same time, each with its world."""

    def __init__(self, size: int) -> None:
        spawn, port = get_context("spawn"), free_port()
        self.pipes: list[Connection] = []
        self.processes: list[SpawnProcess] = []
        for rank in range(size):
            ours, theirs = spawn.Pipe()
            place = Place(rank, size, rank, "127.0.0.1", port)
            self.processes.append(spawn.Process(target=_serve, args=(place, theirs), daemon=True))
            self.processes[-1].start()
            self.pipes.append(ours)

    def run(self, function: Callable[..., Any], *args: object) -> list[Any]:
        """What `function(world, *args)` returns on each rank; tensors come as numpy keeps them."""
        for pipe in self.pipes:
            pipe.send((function, args))
        answers = [pipe.recv() if pipe.poll(120) else TimeoutError() for pipe in self.pipes]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(10)


def _serve(place: Place, pipe: Connection) -> None:
    torch.set_num_threads(1)
    world = World(place, timeout=60)
    world.start("cpu")
    while asked := pipe.recv():
        function, args = asked
        try:
            pipe.send(function(world, *args))
        except Exception as error:
            pipe.send(error)
    world.end()


def environment(rank: int | None = None, size: int = 2, port: int | None = None) -> dict[str, str]:
    """The environment of a process that is one of several, or none of them."""
    outside = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    plain = {**outside, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if rank is None:
        return plain
    world = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**plain, **{name: str(value) for name, value in world.items() if value is not None}}


def process(*words: object, **of: Any) -> subprocess.Popen[str]:
    """One of several, or alone, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        env=environment(**of),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def nobody_else() -> Iterator[int]:
    """A port that another program has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


class Launched:
    """What torchrun made of some words: its exit status, and what each rank of an attempt said."""

    def __init__(self, folder: Path, size: int, *words: object, restarts: int = 0) -> None:
        port = free_port()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}"),
                *(f"--max-restarts={restarts}", f"--master-port={port}", "--redirects=3"),
                *(f"--log-dir={folder}", "-m", *map(str, words)),
            ],
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        self.status, self.summary, self.folder, self.size = (
            done.returncode,
            done.stderr,
            folder,
            size,
        )

    def said(self, attempt: int = 0, stream: str = "stderr") -> list[str]:
        """By rank."""
        return [
            next(self.folder.glob(f"*/attempt_{attempt}/{rank}/{stream}.log")).read_text()
            for rank in range(self.size)
        ]
