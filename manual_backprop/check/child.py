"""The process that imports learners' files and judges them; what it found goes to files.

`state.json` always tells how far it came, and `trace.txt` where it was when it was ended, so that
the process that waits for this one can say what a file did to it.
"""

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from manual_backprop.check.judged import fields, header, judged
from manual_backprop.check.load import Refused, place
from manual_backprop.check.target import Target, targets
from manual_backprop.judge.verdict import Finding, error_at, raised
from manual_backprop.op import BadOp
from manual_backprop.report.environment import environment


def main(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Judge what a request names.

    Args:
        request: "file", "function" and "of" (both may be None), "thorough", "solution",
            "test".
        tell: is handed what is known so far before each function is called: "functions", those
            that are judged, and "running", what is known of the next.

    Returns:
        "refused": a sentence; or "functions": a record for each, as `check.schema.json` describes
        it, "skipped": a sentence for each that cannot be judged, and the "environment".
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
    except SystemExit as error:
        return {"refused": f"{place(error, Path(request['file']))}: calls exit(); leave it out"}
    return {"functions": records, "skipped": skipped, "environment": environment(("cpu",))}


def _record(target: Target, request: dict[str, Any]) -> dict[str, Any]:
    with once_aloud(target.backward) as backward:
        try:
            asked = {name: request[name] for name in ("thorough", "solution", "test")}
            return judged(target, backward, **asked)
        except _Unwritten as error:
            found = "unwritten", str(error)
        except SystemExit as error:
            found = "crash", f"calls exit(), at {place(error, Path(request['file']))}; leave it out"
        except Exception:
            raise
        except BaseException as error:  # KeyboardInterrupt, say, which the judge lets pass
            found = "raises", f"raised {error_at(error, target.backward)}"
        finding = Finding(target.backward.__name__, "", *found)
        return {"findings": [fields(finding)]}


class _Unwritten(BaseException):
    """The function raises NotImplementedError, and so will every further call."""


@contextmanager
def once_aloud(backward: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The function, which is heard once: what it prints in later calls goes nowhere."""
    kept: dict[int, int] | None = None

    @wraps(backward)
    def heard(*args: Any, **kwargs: Any) -> Any:
        nonlocal kept
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
            if kept is None:
                kept = _silenced()

    try:
        yield heard
    finally:
        _flush()
        for stream, descriptor in (kept or {}).items():
            os.dup2(descriptor, stream)
            os.close(descriptor)


def _silenced() -> dict[int, int]:
    """Where the standard streams went; a file may have closed them."""
    _flush()
    kept = {}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):
            kept[stream] = os.dup(stream)
            os.dup2(nowhere, stream)
    os.close(nowhere)
    return kept


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # whatever a file has put in its place
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
            try:
                answers.append(main(request, tell))
            except Exception as error:
                traceback.print_exc()
                said = raised(error)
                answers.append({"refused": f"the judge itself failed with {said}; report it, and "
                                "the file with it"})  # fmt: skip
        tell({})
        _flush()
        os._exit(0)  # whatever threads or exit handlers a file has started
