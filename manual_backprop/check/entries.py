"""Gradient by gradient: right or wrong, and where."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual_backprop.judge.budget import Budget
from manual_backprop.judge.draw import Variant
from manual_backprop.judge.evidence import picture
from manual_backprop.judge.point import Unjudgeable, point
from manual_backprop.judge.result import formed
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.verdict import Broken
from manual_backprop.op import Op


def gradient_reports(op: Op, backward: Backward, sample: str) -> list[dict[str, Any]]:
    """A report for each gradient in float64; none where the call or the forward fails."""
    try:
        here = point(op, Variant(sample), torch.float64, 0)
        trial = Trial(backward, here, "cpu", "contiguous")
        got = formed(trial, trial.call())
    except (Broken, Unjudgeable):
        return []
    return [report(*each) for each in zip(here.labels, got, here.grads, strict=True)]


def report(name: str, got: Tensor, budget: Budget) -> dict[str, Any]:
    """One gradient beside the right one.

    Args:
        name: as in "grad_w".
        got: of the truth's shape.
        budget: the truth and what rounding explains.

    Returns:
        "name", "shape", "right"; "error" and "allowed" at the worst entry, relative to the largest
        of the right gradient; "wrong" and "entries", their numbers, and a "picture" of them;
        where it is wrong "first" and "worst", each an index, what came and what is expected.
    """
    got = got.detach().to("cpu", torch.float64)
    error = (got - budget.truth).abs().nan_to_num(math.inf)
    off = error > budget.allowed
    size = float(budget.truth.abs().max()) or 1.0 if got.numel() else 1.0
    said: dict[str, Any] = {
        "name": name, "shape": list(got.shape), "right": budget.ratio(got) <= 1,
        "error": 0.0, "allowed": 0.0, "wrong": int(off.sum()), "entries": got.numel(),
    }  # fmt: skip
    if not got.numel():
        return said
    said["picture"] = asdict(picture(got, budget.truth, budget.allowed, budget.judged))
    worst = _index(int((error / budget.allowed).nan_to_num(0.0).argmax()), got.shape)
    said["error"] = number(float(error[worst]) / size)
    said["allowed"] = number(float(budget.allowed[worst]) / size)
    if not said["right"]:
        first = _index(int(off.reshape(-1).int().argmax()), got.shape)
        for which, index in (("first", first), ("worst", worst)):
            expected = float(budget.truth[index])
            said[which] = {
                "index": list(index),
                "got": number(float(got[index])),
                "expected": number(expected),
            }
    return said


def number(value: float) -> float | str:
    """JSON has no infinity and no nan: those are strings."""
    return value if math.isfinite(value) else str(value)


def _index(flat: int, shape: torch.Size) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unravel_index(flat, shape))
