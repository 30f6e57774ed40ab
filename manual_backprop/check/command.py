"""`manual-backprop check`: runs the judge on a learner's file and says what it found.

The file runs in a process of its own with a time limit: an endless loop, `exit()`, a crash or a
flood of prints ends in a sentence. This module imports no torch.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import click

PRINTED = 4000  # characters of what the file prints that are kept; the last ones
HINTS = ("location", "kind", "cause", "formula")


@click.command()
@click.argument("target", metavar="FILE.py[::FUNCTION]")
@click.option("--of", metavar="OPERATOR", help="Hold it to this operator, whatever its name.")
@click.option(
    "--hints",
    type=click.IntRange(1, len(HINTS)),
    default=3,
    show_default=True,
    help="How much to tell: 1 where it is wrong, 2 what kind of mistake, 3 the cause and its "
    "proof, 4 the derivation as well.",
)
@click.option("--solution", is_flag=True, help="Show the house's own backward at the end.")
@click.option("--thorough", is_flag=True, help="Judge in all four dtypes and with two seeds.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the file after so long.",
)
@click.option("--watch", is_flag=True, help="Check again at every save, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON and nothing else.")
def check(
    target: str,
    of: str | None,
    hints: int,
    timeout: float,
    *,
    solution: bool,
    thorough: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Judge the backwards in your own file, and say what is wrong with them.

    A function back_lin is held to the operator lin. A file with its own OP = Op(...), or with a
    forward f, a backward back_f and a dict of samples, is judged as it stands.

    Exit status: 0 all right, 1 a wrong gradient, 2 a mistake in the command or the file.
    """
    name, _, function = target.partition("::")
    file = Path(name)
    if not file.is_file():
        raise click.BadParameter(f"no file {name}", param_hint="FILE.py")
    if of is not None:
        of = _known(of)
    request = {
        "file": str(file.resolve()), "function": function or None, "of": of, "thorough": thorough
    }  # fmt: skip
    while True:
        seen = _stamp(file)
        answer = run(request, timeout)
        if as_json:
            click.echo(json.dumps(answer, indent=2))
        else:
            from manual_backprop.check.show import show

            if watch:
                click.clear()
            show(answer, file, hints=hints, solution=solution)
        if not watch:
            raise SystemExit(status(answer))
        click.secho(f"watching {file}; Ctrl-C ends", dim=True)
        try:
            while _stamp(file) == seen:
                time.sleep(0.2)
        except KeyboardInterrupt:
            raise SystemExit(status(answer)) from None


def status(answer: dict[str, Any]) -> int:
    """0 where every function is right, 1 where one is wrong, 2 where nothing could be judged."""
    if "refused" in answer:
        return 2
    return 0 if all(record["ok"] for record in answer["functions"]) else 1


def run(request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Judge in a process of its own.

    Args:
        request: as `child.main` takes it.
        timeout: in seconds.

    Returns:
        As `child.main`; "refused" as well where the process did not come to its end. "printed" is
        the last of what the file printed.
    """
    with TemporaryDirectory() as folder:
        result = Path(folder) / "answer.json"
        command = [
            sys.executable, "-m", "manual_backprop.check.child", json.dumps(request), str(result)
        ]  # fmt: skip
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child:
            assert child.stdout is not None
            tail = _Tail(child.stdout)
            try:
                child.wait(timeout)
                timed_out = False
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                _end(child)
            printed = tail.text()
        if result.exists():
            answer = json.loads(result.read_text("utf-8"))
        else:
            answer = {"refused": _why(child.returncode, timed_out, timeout, printed, request)}
    return {**answer, "printed": printed}


class _Tail(threading.Thread):
    """Reads all that a stream holds and keeps its end, so that a flood neither stops nor fills."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.kept = b""
        self.start()

    def run(self) -> None:
        while block := self.stream.read1(65536):  # type: ignore[attr-defined]
            self.kept = (self.kept + block)[-PRINTED:]

    def text(self) -> str:
        self.join(2)
        return self.kept.decode("utf-8", "replace").strip()


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Nothing that the file started goes on after it."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _why(code: int, timed_out: bool, timeout: float, printed: str, request: dict[str, Any]) -> str:
    name = Path(request["file"]).name
    if timed_out:
        return (
            f"timeout: {name} was stopped after {timeout:g} seconds; look for a loop that does not "
            "end, or give more time with --timeout"
        )
    if code < 0:
        called = signal.Signals(-code).name
        return f"{name} ended the process with {called}: a crash in compiled code, or out of memory"
    last = printed.splitlines()[-1] if printed else "nothing was printed"
    return f"{name} ended the process with exit status {code} before it was judged: {last}"


def _stamp(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # between two writes of an editor
        return 0.0


def _known(operator: str) -> str:
    """The operator's name; names are those of files, so that knowing them needs no torch."""
    from difflib import get_close_matches

    home = Path(__file__).parent.parent
    names = sorted(
        path.stem for folder in ("ops", "networks") for path in (home / folder).glob("[a-z]*.py")
    )
    if operator in names:
        return operator
    close = get_close_matches(operator, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "see `manual-backprop list`"
    raise click.BadParameter(f"no operator {operator!r}; {hint}", param_hint="--of")
