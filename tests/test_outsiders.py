"""The judge is judged by others' work: right backwards pass, mutants of them do not."""

import pytest
import torch

from manual_backprop.judge.verify import verify
from scripts.outsiders import Score, judge_mutants
from tests.outsiders import DEFECTIVE_WHEN_EMPTY, EXCLUDED, OUTSIDERS, with_an_empty_batch
from tests.outsiders.bound import decompositions

every_outsider = pytest.mark.parametrize("name", OUTSIDERS)


@every_outsider
def test_a_right_one_passes(name):
    quick = {"dtypes": (torch.float64,), "seeds": (0,), "layouts": ("contiguous", "strided")}
    verify(OUTSIDERS[name], **quick).raise_if_wrong()


@pytest.mark.parametrize("name", DEFECTIVE_WHEN_EMPTY)
def test_what_is_defective_when_empty_is_found(name):
    verdict = verify(with_an_empty_batch(name), dtypes=(torch.float64,), parts=("made",))
    (finding,) = verdict.findings
    assert "ZeroDivisionError" in finding.message
    assert "n = 0" in finding.sample


@pytest.mark.slow
def test_none_is_forgotten():
    there = {name for name in vars(decompositions) if "_backward" in name}
    unbound = there - set(OUTSIDERS) - set(EXCLUDED)
    assert not unbound, (
        f"tests/outsiders: PyTorch has {', '.join(sorted(unbound))} too: bind each in the file of "
        "its family, or write into EXCLUDED why not"
    )


@pytest.mark.slow
@every_outsider
def test_a_right_one_passes_in_every_dtype(name):
    verify(OUTSIDERS[name]).raise_if_wrong()


@pytest.mark.slow
@every_outsider
def test_its_mutants_do_not_pass(name):
    found = Score()
    judge_mutants(name, found)
    assert not found.survivors
