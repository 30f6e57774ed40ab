"""Every backward agrees with torch.autograd, whatever way its tensors lie in memory."""

import torch

from manual_backprop.judge.draw import ARTICLE
from manual_backprop.judge.verdict import dtype_name
from tests.every import every_article, every_layout, every_small_backward, judged


@every_layout
@every_small_backward
def test_agrees_with_autograd(op, backward, sample, layout, dtype, device, seed):
    verdict = judged(
        op,
        backward,
        sample,
        dtype,
        device,
        seeds=(seed, seed + 1),
        layouts=[layout],
        kinks="reject",
        parts=["values"],
    )
    verdict.raise_if_wrong()
    assert verdict.tallies[backward.__name__, dtype_name(dtype)].cases >= 2


@every_article
def test_agrees_with_autograd_at_the_articles_size(op, backward, dtype, device, seed):
    verdict = judged(op, backward, ARTICLE, dtype, device, seeds=(seed,), parts=["values"])
    verdict.raise_if_wrong()
    assert verdict.tallies[backward.__name__, dtype_name(dtype)].cases == 1


@every_small_backward
def test_agrees_on_inputs_that_the_judge_makes(op, backward, sample, dtype, device, seed):
    verdict = judged(
        op, backward, sample, dtype, device, seeds=(seed,), kinks="reject", parts=["made"]
    )
    verdict.raise_if_wrong()
    assert {note.code for note in verdict.notes} <= {"unstable"}
    if dtype is not torch.float16:
        assert not verdict.notes
