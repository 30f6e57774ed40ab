"""Marks that run a test for every operator, backward and sample of the house, and its verdict."""

import pytest

from manual_backprop.judge.draw import ARTICLE, LAYOUTS
from manual_backprop.judge.verify import verify
from manual_backprop.registry import OPS

_SAMPLES = [(op, sample) for op in OPS.values() for sample in op.samples]
_BACKWARDS = [(op, back, sample) for op, sample in _SAMPLES for back in op.backwards]


def _is_small(case):
    return case[-1] != ARTICLE


SMALL_BACKWARDS = [*filter(_is_small, _BACKWARDS)]


def name_of(case):
    """Of an operator, a backward and a sample."""
    return f"{case[1].__name__}-{case[2]}"


def long(*values):
    """A case that only -m slow tries."""
    return pytest.param(*values, marks=pytest.mark.slow)


def judged(op, backward, sample, dtype, device, **chosen):
    """The verdict on a backward, or on all where it is None, in one row of the grid."""
    return verify(op, backward, samples=[sample], dtypes=[dtype], devices=[device], **chosen)


every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)
every_sample = pytest.mark.parametrize(
    ("op", "sample"), _SAMPLES, ids=[f"{op.name}-{sample}" for op, sample in _SAMPLES]
)
every_small_sample = pytest.mark.parametrize(
    ("op", "sample"),
    [case for case in _SAMPLES if _is_small(case)],
    ids=[f"{op.name}-{sample}" for op, sample in _SAMPLES if _is_small((op, sample))],
)
every_backward = pytest.mark.parametrize(
    ("op", "backward", "sample"), _BACKWARDS, ids=map(name_of, _BACKWARDS)
)
every_small_backward = pytest.mark.parametrize(
    ("op", "backward", "sample"),
    SMALL_BACKWARDS,
    ids=map(name_of, SMALL_BACKWARDS),
)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_article = pytest.mark.parametrize(
    ("op", "backward"),
    [case[:2] for case in _BACKWARDS if not _is_small(case)],
    ids=[case[1].__name__ for case in _BACKWARDS if not _is_small(case)],
)
