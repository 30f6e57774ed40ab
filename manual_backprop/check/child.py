"""The process that imports learners' files and judges them; what it found goes to files.

`state.json` always tells how far it came, and `trace.txt` where it was when it was ended, so that
the process that waits for this one can say what a file did to it.
"""

import faulthandler
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from manual_backprop.check.judged import fields, header, judged
from manual_backprop.check.load import Refused
from manual_backprop.check.target import Target, targets
from manual_backprop.judge.verdict import Finding
from manual_backprop.op import BadOp


def main(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Judge what a request names.

    Args:
        request: "file", "function" and "of" (both may be None), "thorough", "solution",
            "test".
        tell: is handed what is known so far before each function is called: "functions", those
            that are judged, and "running", what is known of the next.

    Returns:
        "refused": a sentence; or "functions": a record for each, as `check.schema.json` describes
        it, and "skipped": a sentence for each that cannot be judged.
    """
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = []
    try:
        found, skipped = targets(Path(request["file"]), request["function"], request["of"])
        for target in found:
            about = header(target, solution=request["solution"])
            tell({"functions": records, "running": about})
            records.append({**about, **_record(target, request)})
    except (Refused, BadOp) as error:
        return {"refused": str(error)}
    return {"functions": records, "skipped": skipped}


def _record(target: Target, request: dict[str, Any]) -> dict[str, Any]:
    with once_aloud(target.backward) as backward:
        try:
            asked = {name: request[name] for name in ("thorough", "solution", "test")}
            return judged(target, backward, **asked)
        except _Unwritten as error:
            found = "unwritten", str(error)
        except SystemExit:
            found = "crash", "calls exit(); return the gradients instead"
        finding = Finding(target.backward.__name__, "", *found)
        return {"findings": [fields(finding)]}


class _Unwritten(BaseException):
    """The function raises NotImplementedError, and so will every further call."""


@contextmanager
def once_aloud(backward: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The function, which is heard once: what it prints in later calls goes nowhere."""
    kept: list[int] = []

    @wraps(backward)
    def heard(*args: Any, **kwargs: Any) -> Any:
        try:
            return backward(*args, **kwargs)
        except NotImplementedError as error:
            if error.__traceback__ and error.__traceback__.tb_next:
                inner = error.__traceback__.tb_next
                if inner.tb_frame.f_code is backward.__code__ and inner.tb_next is None:
                    name = Path(backward.__code__.co_filename).name
                    raise _Unwritten(f"line {inner.tb_lineno} of {name} says so") from error
            raise
        finally:
            if not kept:
                kept.extend(_silenced())

    try:
        yield heard
    finally:
        if kept:
            _flush()
            for stream, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, stream)
                os.close(descriptor)


def _silenced() -> list[int]:
    _flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    return kept


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def process(requests: list[dict[str, Any]], folder: Path, timeout: float) -> None:
    """Judge request after request, and end the process.

    Args:
        requests: as `main` takes them.
        folder: where `state.json` and `trace.txt` go.
        timeout: in seconds, of an import and of each function.
    """
    answers: list[dict[str, Any]] = []
    with (folder / "trace.txt").open("w") as trace:
        faulthandler.enable(trace)

        def tell(now: dict[str, Any]) -> None:
            faulthandler.dump_traceback_later(timeout, exit=True, file=trace)
            partial = folder / "partial.json"
            partial.write_text(json.dumps({"answers": answers, "now": now}), "utf-8")
            os.replace(partial, folder / "state.json")

        for request in requests:
            tell({})
            answers.append(main(request, tell))
        tell({})
        _flush()
        os._exit(0)  # whatever threads or exit handlers a file has started
