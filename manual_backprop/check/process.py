"""Judges files in a process of its own, and says what became of it; imports no torch.

An endless loop, `exit()`, a crash or a flood of prints in a learner's file ends in a sentence.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from manual_backprop.judge.codes import CODES

PRINTED = 800  # characters of what the files print that are kept; the last ones
PATIENCE = 60.0  # seconds, to import torch and to come to an end; the child ends itself in time
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP")
ROOT = Path(__file__).parents[2]
START = (  # without the garbage collector, which finds none in half a second of looking at torch
    "import gc, json, pathlib, sys\n"
    "gc.disable()\n"
    "sys.path.append(sys.argv[1])\n"
    "from manual_backprop.check.child import process\n"
    "gc.freeze()\n"
    "gc.enable()\n"
    "process(json.loads(sys.argv[2]), pathlib.Path(sys.argv[3]), float(sys.argv[4]))\n"
)


def judge(
    requests: list[dict[str, Any]], timeout: float, meanwhile: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Judge what each request names.

    Args:
        requests: as `child.main` takes them.
        timeout: in seconds, of an import and of each function.
        meanwhile: is called while the process starts.

    Returns:
        For each request what `child.main` returns, or what it came to where a file ended the
        process; and "printed", the last of what was printed meanwhile.
    """
    answers: list[dict[str, Any]] = []
    while len(answers) < len(requests):
        answers += _some(requests[len(answers) :], timeout, meanwhile)
    return answers


def _some(
    requests: list[dict[str, Any]], timeout: float, meanwhile: Callable[[], object]
) -> list[dict[str, Any]]:
    """The answers of one process: to all requests, or to those up to the one that ended it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            sys.executable, "-P", "-u", "-X", "utf8", "-c", START,
            str(ROOT), json.dumps(requests), name, str(timeout),
        ]  # fmt: skip
        with subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child:
            assert child.stdout is not None
            tail = _Tail(child.stdout)
            try:
                meanwhile()
                in_time = _waited(child, folder / "state.json", timeout + PATIENCE)
            finally:
                _end(child)
            printed = tail.text()
        state: dict[str, Any] = {"answers": [], "now": {}, "started": False}
        with suppress(OSError):
            state = {**state, **json.loads((folder / "state.json").read_text("utf-8"))}
            state["started"] = True
        trace = ""
        with suppress(OSError):
            trace = (folder / "trace.txt").read_text("utf-8", "replace")
    answers = list(state["answers"])
    if len(answers) < len(requests):
        file = Path(requests[len(answers)]["file"])
        code = child.returncode if in_time else None
        said = _ended(code, trace, file, timeout)
        answers.append(_cut_off(said, state, file, printed))
    return [{**answer, "printed": printed} for answer in answers]


def _cut_off(
    said: tuple[str, str], state: dict[str, Any], file: Path, printed: str
) -> dict[str, Any]:
    """The answer to a request that ended the process."""
    code, message = said
    if not state["started"]:
        last = printed.splitlines()[-1] if printed else "nothing was printed"
        return {"refused": f"the judge could not start: {last}"}
    now = state["now"]
    if not now:
        return {"refused": f"{file.name} {message}, while it is imported"}
    finding = {
        "backward": now["running"]["function"], "code": code, "message": message,
        "meaning": CODES[code].meaning, "advice": CODES[code].advice,
    }  # fmt: skip
    return {
        "functions": [*now["functions"], {**now["running"], "findings": [finding]}],
        "skipped": [],
    }


def _ended(code: int | None, trace: str, file: Path, timeout: float) -> tuple[str, str]:
    """How a process came to its end, by itself or not: a code and a sentence."""
    lines = re.findall(rf'File "{re.escape(str(file))}", line (\d+)', trace)
    at = f", at {file.name}:{lines[0]}" if lines else ""
    if code is None or trace.startswith("Timeout"):
        more = f"--timeout {3 * timeout:g} waits longer"
        return "timeout", f"was still running after {timeout:g} seconds{at}; {more}"
    if code == -signal.SIGKILL:
        return "crash", "was killed by the system, as it does where memory runs out"
    if code < 0:
        known = {int(each): each.name for each in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        why = ": compiled code crashed" if name in CRASHES else ", which a program sends"
        return "crash", f"ended the process with {name}{why}{at}"
    return "crash", f"ended the process with exit status {code}, as os._exit() does"


def _waited(child: "subprocess.Popen[bytes]", state: Path, patience: float) -> bool:
    """Whether the process ended before it told nothing new for so many seconds."""
    heard = -1
    while True:
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)
            return True
        now = state.stat().st_mtime_ns if state.exists() else 0
        if now == heard:
            return False
        heard = now


class _Tail(threading.Thread):
    """Reads all that a stream holds and keeps its end, so that a flood neither stops nor fills.

    What has left the session of a file's process keeps the stream open; nobody waits for that.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.descriptor = stream.fileno()
        self.kept = b""
        self.cut = False
        self.over = False
        self.start()

    def run(self) -> None:
        while (block := os.read(self.descriptor, 65536)) and not self.over:
            self.kept += block
            self.cut = self.cut or len(self.kept) > PRINTED
            self.kept = self.kept[-PRINTED:]

    def text(self) -> str:
        """What is kept, from the beginning of a line."""
        self.join(2)
        self.over = True
        text = self.kept.decode("utf-8", "replace")
        if self.cut:
            text = "...\n" + (text.partition("\n")[2] or text)
        return text.strip("\n")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Nothing that a file started in its session goes on after it."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
