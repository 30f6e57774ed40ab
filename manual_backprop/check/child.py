"""The process that imports the learner's file and judges it; what it found goes to a file."""

import json
import os
import sys
from collections.abc import Callable
from inspect import getsource, getsourcelines
from pathlib import Path
from typing import Any

import torch

from manual_backprop.check.target import Refused, targets
from manual_backprop.judge.codes import CODES
from manual_backprop.judge.diagnose.case import gradient_reports
from manual_backprop.judge.verdict import Verdict
from manual_backprop.judge.verify import DTYPES, PARTS, verify
from manual_backprop.op import BadOp, Op
from manual_backprop.report.as_json import finding_fields
from manual_backprop.report.as_page import docstring, formula


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Judge what the request names.

    Args:
        request: "file", "function" and "of" (both may be None), "thorough".

    Returns:
        "refused": a sentence; or "functions": a record for each.
    """
    torch.set_num_threads(1)
    try:
        found = targets(Path(request["file"]), request["function"], request["of"])
        return {"functions": [_judged(op, f, thorough=request["thorough"]) for op, f in found]}
    except (Refused, BadOp) as error:
        return {"refused": str(error)}


def _judged(op: Op, backward: Callable[..., Any], *, thorough: bool) -> dict[str, Any]:
    samples = [name for name in op.samples if name != "article"] or list(op.samples)
    first = verify(
        op, backward, dtypes=torch.float64, seeds=(0,), samples=samples, layouts=("contiguous",),
        parts=("forward", "slopes", "values", "promises"),
    )  # fmt: skip
    verdict = first
    if first.ok:
        dtypes = DTYPES if thorough else (torch.float64, torch.float32)
        seeds = (0, 1) if thorough else (0,)
        parts = [part for part in PARTS if part != "slopes"]
        verdict = verify(op, backward, dtypes=dtypes, seeds=seeds, samples=samples, parts=parts)
    return {
        "function": backward.__name__,
        "line": _line(backward),
        "operator": op.name,
        "house": op.forward.__module__.startswith("manual_backprop."),
        "arguments": list(op.arguments),
        "wrt": list(op.wrt),
        "ok": verdict.ok,
        "cases": verdict.cases(backward.__name__),
        "gradients": _gradients(op, backward, verdict, samples),
        "findings": [finding_fields(finding) for finding in _distinct(verdict)],
        "notes": [finding_fields(note) for note in verdict.notes],
        "advice": {f.code: CODES[f.code].advice for f in verdict.findings},
        "kind": {f.code: CODES[f.code].meaning for f in verdict.findings},
        **_of_the_house(op),
    }


def _gradients(
    op: Op, backward: Callable[..., Any], verdict: Verdict, samples: list[str]
) -> list[dict[str, Any]]:
    """Gradient by gradient, at the sample where something was found; empty where a call fails."""
    at = verdict.findings[0].sample.partition(" (")[0] if verdict.findings else samples[0]
    return gradient_reports(op, backward, at if at in op.samples else samples[0])


def _distinct(verdict: Verdict) -> list[Any]:
    """The first finding of a kind; where a cause is found, it stands for all that it explains."""
    kept: list[Any] = []
    seen: set[Any] = set()
    for finding in verdict.findings:
        key = (finding.code, finding.cause.what if finding.cause else finding.gradient)
        if key not in seen:
            seen.add(key)
            kept.append(finding)
    return kept


def _of_the_house(op: Op) -> dict[str, Any]:
    """Formula, derivation and code, to be shown when they are asked for."""
    if not op.forward.__module__.startswith("manual_backprop."):
        return {"formula": "", "derivation": "", "solution": ""}
    text = docstring(op)
    derivation = text.partition("Derivation\n")[2].partition("\n\n")[0]
    return {
        "formula": formula(op),
        "derivation": derivation,
        "solution": getsource(op.backwards[0]).rstrip(),
    }


def _line(function: Callable[..., Any]) -> int:
    try:
        return getsourcelines(function)[1]
    except (OSError, TypeError):
        return 0


if __name__ == "__main__":
    answer = main(json.loads(sys.argv[1]))
    destination = Path(sys.argv[2])
    partial = destination.with_suffix(".partial")
    partial.write_text(json.dumps(answer), "utf-8")
    os.replace(partial, destination)
    os._exit(0)  # whatever threads or exit handlers the file has started
