"""A backward that keeps something from call to call is found, and no other is called one."""

import random
from itertools import count

import numpy as np
import pytest
import torch

from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from manual_backprop.ops.lin import OP as LIN
from manual_backprop.ops.lin import back_lin
from tests.squares import op

F64 = [torch.float64]


def judged(operator, backward=None, **chosen):
    return verify(operator, backward, dtypes=F64, parts=["promises"], **chosen)


def scaled(x, *, by):
    return x * by


def back_scaled(grad_out, *, by):
    return grad_out * by


def drawn_options(rand, n=1031):
    return (rand(n),), {"by": rand(n)}


def keeps_by_identity():
    kept = {}

    def back_kept(x, grad_out, *, by):
        return kept.setdefault(id(x), (x, by))[1] * grad_out

    return back_kept


SCALED = Op(scaled, (back_scaled,), {"rows": drawn_options}, ("x",), None)


def test_options_that_are_long_tensors_are_drawn_with_the_numbers():
    assert judged(SCALED).ok, str(judged(SCALED))


def test_what_is_kept_of_the_options_is_found():
    (finding,) = judged(SCALED, keeps_by_identity()).findings
    assert finding.code == "stateful"
    assert "other numbers written into the same tensors" in finding.message


@pytest.mark.parametrize("seeds", [(0,), (0, 0), (0, 1)])
def test_other_numbers_are_other_numbers_whatever_the_seeds(seeds):
    seen = {}

    def back_lin_kept(x, w, grad_out):
        return back_lin(x, seen.setdefault(id(w), (w, w.clone()))[1], grad_out)

    (finding,) = judged(LIN, back_lin_kept, samples=["rows"], seeds=seeds).findings
    assert finding.code == "stateful"


def test_a_sample_whose_shapes_change_is_said_not_to_be_tried():
    def sample(rand, n=11):
        return (rand(n + int(rand.integers(100))),)

    verdict = judged(op(samples={"rows": sample}))
    assert verdict.ok, str(verdict)
    assert [note.code for note in verdict.notes] == ["not-exercised"]


def total(x):
    return x.sum(0)


def back_total_any_order(x, grad_out):
    order = torch.randperm(101).to(x)
    shares = grad_out / order.sum() * order[:, None]  # the same whole, rounded in another order
    return shares.sum(0).expand_as(x).clone()


def test_a_sum_in_no_fixed_order_is_noted_and_not_called_stateful():
    operator = Op(total, (back_total_any_order,), {"rows": rows}, ("x",), torch_sum)
    verdict = verify(operator, seeds=(0,), parts=["values", "promises"], dtypes=[torch.float32])
    assert verdict.ok, str(verdict)
    (note,) = [note for note in verdict.notes if note.code != "device"]
    assert note.code == "not-repeatable"
    assert "use_deterministic_algorithms" in note.message


def test_the_house_promises_the_last_bit():
    def back_lin_any_order(x, w, grad_out):
        order = torch.randperm(len(x))
        grad_x, _, grad_b = back_lin(x, w, grad_out)
        return grad_x, x[order].T @ grad_out[order], grad_b

    (finding,) = judged(LIN, back_lin_any_order, samples=["rows"], sizes={"n": 257}).findings
    assert (finding.gradient, finding.code) == ("grad_w", "not-repeatable")


def test_noise_beyond_rounding_is_stateful():
    calls = count()

    def back_noisy(x, grad_out):
        return (2 + 1e-6 * next(calls)) * x * grad_out

    operator = op(backwards=(back_noisy,))
    (finding,) = judged(operator).findings
    assert finding.code == "stateful"


def rows(rand, n=11, i=7):
    return (rand(n, i),)


def torch_sum(x):
    return torch.sum(x, 0)


def test_pytorchs_sums_have_one_order_while_judging_and_only_then():
    seen = set()

    def back_seen(x, grad_out):
        seen.add(torch.get_deterministic_debug_mode())
        return 2 * x * grad_out

    before = torch.get_deterministic_debug_mode()
    judged(op(backwards=(back_seen,)))
    assert seen == {1}
    assert torch.get_deterministic_debug_mode() == before


def mean(x):
    return x.mean()


def test_memory_that_is_handed_out_twice_is_told_as_it_is():
    kept = {}

    def back_mean_kept(x, grad_out):
        share = float(grad_out) / max(x.numel(), 1)
        return kept.setdefault((x.shape, share), torch.full_like(x, share))

    operator = Op(mean, (back_mean_kept,), {"rows": rows}, ("x",), torch_mean)
    (finding,) = judged(operator).findings
    assert finding.code == "stateful"
    assert "two calls returned the same memory" in finding.message
    assert "overwritten" not in finding.message


def torch_mean(x):
    return torch.mean(x)


NUMBERS = {
    "torch": torch.rand,
    "dropout": lambda n: torch.nn.functional.dropout(torch.ones(n)),
    "numpy": lambda n: torch.from_numpy(np.random.rand(n)),
    "random": lambda n: torch.tensor([random.random() for _ in range(n)]),
}


def back_drawing(draw):
    def back_square_drawn(x, grad_out):
        return 2 * x * grad_out * draw(x.shape[-1]).to(x)

    return back_square_drawn


@pytest.mark.parametrize("parts", [["values"], ["promises"]])
@pytest.mark.parametrize("draw", NUMBERS.values(), ids=NUMBERS)
def test_random_numbers_are_drawn_and_not_kept(draw, parts, seed):
    for seeded in (torch.manual_seed, np.random.seed, random.seed):
        seeded(seed)
    (finding,) = verify(
        op(backwards=(back_drawing(draw),)), dtypes=F64, parts=parts, seeds=(0,),
        layouts=("contiguous",),
    ).findings  # fmt: skip
    assert finding.code == "not-repeatable"
    assert "draws random numbers" in finding.message


def test_what_is_kept_is_stateful_though_numbers_are_drawn_too():
    calls = count(1)

    def back_square_drawn(x, grad_out):
        return 2 * x * grad_out * (next(calls) + torch.rand(()))

    (finding,) = judged(op(backwards=(back_square_drawn,))).findings
    assert finding.code == "stateful"


def test_numbers_that_are_drawn_from_one_seed_are_the_same_at_every_call():
    def back_square_seeded(x, grad_out):
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
        return 2 * x * grad_out * noise

    codes = {finding.code for finding in verify(op(), back_square_seeded, dtypes=F64).findings}
    assert codes
    assert not codes & {"not-repeatable", "stateful"}
