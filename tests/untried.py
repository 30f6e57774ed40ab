"""What tests of untried lines and masks share: samples, a backward with a branch, notes."""

import inspect
import sys

import pytest
import torch

from manual_backprop.judge.verify import verify
from tests.squares import op

ROWS = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}
BATCHED = {"batched": lambda rand, m=3, n=11, i=7: (rand(m, n, i),)}
GRID = {"dtypes": torch.float64, "seeds": (0,)}


@pytest.fixture(autouse=True)
def no_other_trace_function():
    before = sys.gettrace()
    sys.settrace(None)
    yield
    assert sys.gettrace() is None
    sys.settrace(before)


def untried(verdict):
    """What the notes say was not tried, of a verdict with nothing wrong."""
    assert verdict.ok, verdict
    return [note.message for note in verdict.notes if note.code == "not-exercised"]


def judged(backward, drawn=ROWS, **chosen):
    return untried(verify(op(samples=drawn), backward, **{**GRID, **chosen}))


def number(function, text):
    """The line of a function's file where a text stands."""
    lines, first = inspect.getsourcelines(function)
    (found,) = [i for i, line in enumerate(lines, first) if text in line]
    return found


def back_by_axes(x, grad_out):
    if x.dim() == 3:
        twice = x + x
        return twice * grad_out
    return 2 * x * grad_out
