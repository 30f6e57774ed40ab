"""Targets that do not count: what the judge makes of them, and the mistakes that it then names."""

import pytest
import torch
import torch.nn.functional as F

from manual_backprop.judge.draw import Rand, draw, made
from manual_backprop.judge.verify import verify
from manual_backprop.op import Op

IGNORED = ("all targets ignored", "every other target ignored")


def nll(log_p, target, *, ignore_index=-100):
    return F.nll_loss(log_p, target, ignore_index=ignore_index)


def seen(log_p, target):
    return (target[:, None] == torch.arange(log_p.shape[-1], device=target.device)).to(log_p.dtype)


def back_right(log_p, target, grad_out, *, ignore_index=-100):
    kept = (target != ignore_index).to(log_p.dtype)
    return -seen(log_p, target) * (kept * grad_out / kept.sum().clamp_min(1))[:, None]


def back_over_all_rows(log_p, target, grad_out, *, ignore_index=-100):
    kept = (target != ignore_index).to(log_p.dtype)
    return -seen(log_p, target) * (kept * grad_out / max(len(target), 1))[:, None]


def back_over_no_row(log_p, target, grad_out, *, ignore_index=-100):
    kept = (target != ignore_index).to(log_p.dtype)
    return -seen(log_p, target) * (kept * grad_out / kept.sum())[:, None]


def back_forgets(log_p, target, grad_out, *, ignore_index=-100):
    some = target.where(target != ignore_index, 0)
    return -seen(log_p, some) * (grad_out / (target != ignore_index).sum().clamp_min(1))


def op(backward):
    # no target of the sample itself is ignored, as in most that are written
    rows = {"rows": lambda rand, n=11, k=7: (rand(n, k), rand.integers(k, n))}
    return Op(nll, (backward,), rows, ("log_p",), F.nll_loss)


@pytest.mark.parametrize(
    ("wrong", "code", "change"),
    [
        (back_over_all_rows, "unknown", IGNORED[1]),
        (back_over_no_row, "nan", IGNORED[0]),
        (back_forgets, "unknown", IGNORED[0]),
    ],
)
def test_a_wrong_count_of_rows_is_found_where_some_are_ignored(wrong, code, change, dtype):
    verdict = verify(op(wrong), dtypes=[dtype])
    assert [finding.code for finding in verdict.findings] == [code], str(verdict)
    assert change in verdict.findings[0].sample


def test_a_right_count_passes(dtype):
    verdict = verify(op(back_right), dtypes=[dtype])
    assert verdict.ok
    assert not verdict.notes, str(verdict)


def test_the_index_to_ignore_is_the_samples_own_where_it_has_one():
    one = op(back_right)
    rows = one.samples["rows"]
    own = Op(
        nll,
        (back_right,),
        {"rows": lambda rand, n=11: (rows(rand, n), {"ignore_index": 4})},
        ("log_p",),
        F.nll_loss,
    )
    for which, ignored in ((one, -100), (own, 4)):
        for variant in made(which, "rows"):
            if variant.change in IGNORED:
                inputs, _ = draw(which, variant, Rand(0, torch.float64, variant.numbers))
                step = 1 + IGNORED.index(variant.change)
                assert (inputs["target"][::step] == ignored).all()
                assert inputs["log_p"].isfinite().all()


def test_what_has_nothing_to_ignore_is_not_tried_so():
    plain = Op(
        lambda x: x * x,
        (lambda x, grad_out: 2 * x * grad_out,),
        {"rows": lambda rand, n=11: (rand(n),)},
        ("x",),
    )
    assert not {variant.change for variant in made(plain, "rows")} & set(IGNORED)
