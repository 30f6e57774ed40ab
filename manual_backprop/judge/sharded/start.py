"""Starts the ranks of a mesh as processes of this machine, and says what became of them."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from manual_backprop.judge.sharded.ranks import MeshError
from manual_backprop.judge.trial import Backward
from manual_backprop.judge.verdict import Finding, Verdict, raised
from manual_backprop.op import Op

STARTING = 120.0  # seconds, to import torch on a machine that is busy
LOOK = 0.05  # seconds between two looks at the ranks
GRACE = 2.0  # seconds in which the others end after one has
START = (  # without the garbage collector, which finds none in half a second of looking at torch
    "import gc, json, sys\n"
    "gc.disable()\n"
    "sys.path[:] = json.loads(sys.argv[1])\n"
    "from manual_backprop.judge.sharded.child import main\n"
    "gc.freeze()\n"
    "gc.enable()\n"
    "main(sys.argv[2], int(sys.argv[3]))\n"
)

Job = tuple[Op, Backward | None]


def judged(
    jobs: Sequence[Job],
    size: int,
    *,
    device: str = "cpu",
    timeout: float,
    progress: Callable[[], None] = lambda: None,
    **asked: Any,
) -> list[Verdict]:
    """Verdicts on a mesh of processes that are started for them, all in one set of processes.

    Where a backward ends a rank or hangs, that is its verdict, and the others get new processes.
    What it prints is told on the standard error, with its rank.

    Args:
        jobs: operators, each with a backward or None; they travel by value where no module has
            them.
        size: of the mesh.
        device: "cpu", or "cuda" with one GPU for each rank.
        timeout: in seconds; so long a rank may keep the others waiting.
        progress: called after each sample x axis x length x dtype.
        asked: of every job, as `on_ranks` takes it; "samples" may be left out.

    Raises:
        BadOp: an operator cannot be judged as it is written.
        MeshError: the ranks could not be started, or cannot load an operator.
    """
    verdicts: list[Verdict] = []
    while len(verdicts) < len(jobs):
        verdicts += _some(jobs[len(verdicts) :], size, device, timeout, progress, asked)
    return verdicts


def _some(
    jobs: Sequence[Job],
    size: int,
    device: str,
    timeout: float,
    progress: Callable[[], None],
    asked: dict[str, Any],
) -> list[Verdict]:
    """The verdicts of one set of processes: on all jobs, or those up to the one that ended it."""
    # A copy of each, for an operator remembers what was drawn for it.
    sent = {
        "jobs": [(replace(op), backward) for op, backward in jobs],
        "size": size, "device": device, "timeout": timeout, "asked": asked,
    }  # fmt: skip
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            (folder / "job").write_bytes(cloudpickle.dumps(sent))
        except Exception as error:
            raise MeshError(
                f"the operator cannot be sent to the ranks ({raised(error)}); make what it closes "
                "over in its functions, or call verify_sharded on every rank of torchrun"
            ) from error
        ranks = [_Rank(folder, rank) for rank in range(size)]
        try:
            ended = _watch(ranks, folder, timeout, progress)
        finally:
            for rank in ranks:
                rank.end()
        for rank in ranks:
            sys.stderr.writelines(
                f"rank {rank.rank}: {line}\n" for line in _text(rank.printed).splitlines()
            )
        verdicts: list[Verdict] = []
        for number in range(len(jobs)):
            file = folder / f"verdict-{number}"
            if not file.exists():
                break
            result = pickle.loads(file.read_bytes())
            if isinstance(result, Exception):
                raise result
            verdicts.append(result)
        if len(verdicts) == len(jobs):
            return verdicts
        code, said = ended
        if not (folder / f"begun-{len(verdicts)}").exists():
            last = next((rank.last for rank in ranks if rank.last), "")
            raise MeshError(f"the ranks of the mesh could not be started, {said}{last}")
        op, backward = jobs[len(verdicts)]
        return [*verdicts, _cut_off(op, backward, code, said, size, device)]


def _cut_off(
    op: Op, backward: Backward | None, code: str, said: str, size: int, device: str
) -> Verdict:
    """The verdict on a backward that a rank did not come back from."""
    from manual_backprop.judge.sharded.verify import plain

    backward = plain(op, backward)
    found = Finding(backward.__name__, "", code, said, device=device, layout=f"{size} ranks")
    return Verdict(op.name, {backward.__name__: op.saves(backward)}, [found])


class _Rank:
    """One process."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.rank = rank
        self.folder = folder
        self.printed, self.errors = folder / f"printed-{rank}", folder / f"errors-{rank}"
        command = [sys.executable, "-P", "-u", "-X", "utf8", "-c", START]
        environment = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
        with self.printed.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, json.dumps(sys.path), str(folder), str(rank)],
                stdin=subprocess.PIPE,  # closes with this process, however it ends
                stdout=output,
                stderr=errors,
                env={"OMP_NUM_THREADS": "1", **environment, **os.environ},
                start_new_session=True,
            )

    @property
    def told(self) -> bool:
        """Whether it said by itself that it lost the others."""
        return (self.folder / f"lost-{self.rank}").exists()

    @property
    def last(self) -> str:
        """The last line that it wrote to its standard error, after ": "; empty where none is."""
        lines = [line for line in _text(self.errors).splitlines() if line.strip()]
        return f": {lines[-1].strip()}" if lines else ""

    def end(self) -> None:
        """Nothing that it started goes on after it."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace")


def _watch(
    ranks: Sequence[_Rank], folder: Path, timeout: float, progress: Callable[[], None]
) -> tuple[str, str]:
    """Wait for the ranks; a code and a sentence for what became of them, if not all ended well."""
    seen, heard = 0, time.monotonic()
    beats = folder / "progress"
    while True:
        alive = [rank for rank in ranks if rank.process.poll() is None]
        count = beats.stat().st_size if beats.exists() else 0
        for _ in range(seen, count):
            progress()
        if count > seen:
            seen, heard = count, time.monotonic()
        if not alive:
            break
        if any(rank.process.returncode for rank in ranks):
            _wait(ranks, GRACE)
            break
        # Of a rank that hangs the others know first, after `timeout`.
        if time.monotonic() - heard > STARTING + 4 * timeout:
            break
        time.sleep(LOOK)
    return _ended(ranks, timeout)


def _wait(ranks: Sequence[_Rank], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(rank.process.poll() is None for rank in ranks) and time.monotonic() < end:
        time.sleep(LOOK)


def _ended(ranks: Sequence[_Rank], timeout: float) -> tuple[str, str]:
    """A code and a sentence for the first rank that did not end well by itself."""
    of = f"of {len(ranks)}"
    for rank in ranks:
        status = rank.process.returncode
        if status and not rank.told:
            return "crash", f"rank {rank.rank} {of} {_how(status)}{rank.last}"
    for rank in ranks:
        if rank.process.returncode == 0:
            return "crash", f"rank {rank.rank} {of} ended by itself, with exit status 0"
    for rank in ranks:
        if rank.process.returncode is None:
            said = f"rank {rank.rank} {of} kept the others waiting for {timeout:g} seconds"
            return "timeout", said
    return "timeout", f"the {len(ranks)} ranks waited for each other for {timeout:g} seconds"


def _how(status: int) -> str:
    if status > 0:
        return f"ended with exit status {status}"
    known = {int(each): each.name for each in signal.Signals}
    return f"ended with {known.get(-status, f'signal {-status}')}"
