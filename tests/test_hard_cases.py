"""Operators of other authors, right and wrong in ways that the house's own never are."""

import pytest
import torch
import torch.nn.functional as F

from manual_backprop.judge.verify import verify
from manual_backprop.op import Op
from tests.squares import back_square, square

F64 = [torch.float64]


def make(forward=square, backward=back_square, sample=None, oracle=None, wrt=("x",)):
    sample = sample or (lambda rand, n=11, i=7: (rand(n, i),))
    return Op(forward, (backward,), {"rows": sample}, wrt, oracle)


def passes(op):
    verdict = verify(op)
    assert verdict.ok, str(verdict)
    return {note.code for note in verdict.notes}


def softmax(x):
    return x.softmax(-1)


def back_softmax(out, grad_out):
    return out * (grad_out - (out * grad_out).sum(-1, keepdim=True))


def test_results_near_underflow_and_overflow_are_not_called_nonlinear():
    passes(make(softmax, back_softmax, lambda rand, n=11, k=7: (30 * rand(n, k),), softmax))
    for scale in (1e28, 1e-34):
        verdict = verify(_scaled(scale), dtypes=[torch.float32])
        assert verdict.ok, str(verdict)


def _scaled(scale):
    def scaled(x):
        return x * scale

    def back_scaled(grad_out):
        return grad_out * scale

    return make(scaled, back_scaled)


def test_masks_and_class_indices_are_arguments():
    def masked(x, keep):
        return x.masked_fill(~keep, -torch.inf).softmax(-1)

    def back_masked(out, grad_out):
        return back_softmax(out, grad_out)

    def keep(rand, n=11, k=7):
        return rand(n, k), (rand(n, k) > -1) | (torch.arange(k) == 0)

    passes(make(masked, back_masked, keep))

    def nll(logits, target):
        return F.cross_entropy(logits, target)

    def back_nll(logits, target, grad_out=1.0):
        p = logits.softmax(-1) - F.one_hot(target, logits.shape[-1])
        return (p * (grad_out / max(len(target), 1))).to(logits.dtype)

    def back_nll_sum(logits, target, grad_out=1.0):
        return back_nll(logits, target, grad_out) * max(len(target), 1)

    def sample(rand, n=11, k=7):
        return rand(n, k), rand.integers(k, n)

    op = make(nll, back_nll, sample, None, ("logits",))
    assert verify(op, dtypes=F64).ok, str(verify(op, dtypes=F64))
    assert not verify(op, back_nll_sum, dtypes=F64).ok


def test_where_pytorch_refuses_what_the_judge_made_nobody_is_accused():
    def norm(x):
        return F.batch_norm(x, None, None, training=True)

    def back_norm(x, grad_out):
        mean, var = x.mean(0), x.var(0, unbiased=False)
        rstd = (var + 1e-5).rsqrt()
        z = (x - mean) * rstd
        return rstd * (grad_out - grad_out.mean(0) - z * (grad_out * z).mean(0))

    verdict = verify(make(norm, back_norm, oracle=norm), dtypes=F64)

    assert verdict.ok, str(verdict)
    assert any("n = 1" in note.sample for note in verdict.notes if note.code == "not-exercised")


def test_an_output_whose_size_depends_on_the_numbers():
    def positive(x):
        return x[x > 0]

    def back_positive(x, grad_out):
        grad_x = torch.zeros_like(x)
        grad_x[x > 0] = grad_out
        return grad_x

    verdict = verify(make(positive, back_positive, oracle=lambda x: x[x > 0]), dtypes=F64)
    assert verdict.ok, str(verdict)


def test_a_forward_that_fails_on_what_the_judge_made_is_itself_accused():
    def fussy(x):
        if x.abs().max() > 100:
            raise ValueError("out of range")
        return x.exp()

    def back_fussy(out, grad_out):
        return out * grad_out

    (finding,) = verify(make(fussy, back_fussy, oracle=torch.exp), dtypes=F64).findings
    assert (finding.backward, finding.code) == ("fussy", "raises")
    assert "out of range" in finding.message


def test_a_forward_that_writes_to_its_input_is_named():
    def sine(x):
        return x.sin_()

    (finding,) = verify(make(sine, lambda x, grad_out: x, oracle=torch.sin), dtypes=F64).findings
    assert (finding.backward, finding.code) == ("sine", "mutates")


def test_an_overflow_in_one_entry_excuses_no_other():
    def exp_off(x):
        return 1.5 * x.exp()

    def sample(rand, n=11):
        return (torch.cat([rand(n)[:-1], rand(1) * 0 + 20]) if n else rand(n),)

    op = make(exp_off, lambda x, grad_out: x.exp() * grad_out, sample, torch.exp)
    assert {f.code for f in verify(op, dtypes=[torch.float16]).findings} == {"forward"}
    right = make(torch_exp, lambda x, grad_out: x.exp() * grad_out, sample, torch.exp)
    assert verify(right, dtypes=[torch.float16], parts=["forward", "promises"]).ok


def torch_exp(x):
    return x.exp()


def test_float16_is_no_excuse_for_nan_without_overflow():
    def nan_when_long(x, grad_out):
        if len(x) == 1 or len(x) > 1000:
            return torch.full_like(x, torch.nan)
        return 2 * x * grad_out

    def one_inf(x, grad_out):
        grad = 2 * x * grad_out
        if x.dtype is torch.float16 and len(x) in (1, 31, 5):
            grad = grad * -7
            grad.view(-1)[0] = torch.inf
        return grad

    for wrong in (nan_when_long, one_inf):
        verdict = verify(make(oracle=torch.square), wrong, dtypes=[torch.float16])
        assert {finding.code for finding in verdict.findings} == {"nan"}


def mul(x, w):
    return x * w


def back_mul(x, w, grad_out, needs):
    return (w * grad_out if needs[0] else None), (x * grad_out if needs[1] else None)


def test_needs_without_a_default_is_given():
    passes(make(mul, back_mul, lambda rand, n=11: (rand(n), rand(n)), torch.mul, ("x", "w")))


def needs_prefix(x, w, grad_out, needs=(True, True)):
    return back_mul(x, w, grad_out, needs)[: sum(needs)]


def needs_zero(x, w, grad_out, needs=(True, True)):
    full = back_mul(x, w, grad_out, (True, True))
    return full if all(needs) else tuple(0.0 if need else None for need in needs)


def needs_writes(x, w, grad_out, needs=(True, True)):
    if needs == (False, True):
        w.add_(1)
    return back_mul(x, w, grad_out, needs)


def needs_all_the_work(x, w, grad_out, needs=(True, True)):
    if not any(needs):
        return None, None
    full = back_mul(x, w, grad_out, (True, True))
    return tuple(grad if need else None for grad, need in zip(full, needs, strict=True))


@pytest.mark.parametrize("wrong", [needs_prefix, needs_zero, needs_writes, needs_all_the_work])
def test_needs_is_held_to_its_word(wrong):
    op = make(mul, back_mul, lambda rand, n=11: (rand(n), rand(n)), torch.mul, ("x", "w"))
    assert not verify(op, wrong, dtypes=F64, parts=["promises"]).ok


def test_the_default_of_grad_out_is_one():
    def total(x):
        return (x * x).sum()

    def back_total(x, grad_out=1.0):
        return 2 * x * grad_out

    def back_total_twice(x, grad_out=2.0):
        return 2 * x * grad_out

    op = make(total, back_total)
    passes(op)
    assert verify(op, back_total_twice, dtypes=F64).findings[0].code == "factor"


def test_a_backward_that_writes_late_is_found():
    def back(x, grad_out):
        if not grad_out.any():
            x.add_(1)
        return 2 * x * grad_out

    assert verify(make(oracle=torch.square), back, dtypes=F64).findings[0].code == "mutates"


def test_a_sample_that_stretches_too_far_is_tried_as_far_as_it_goes():
    notes = passes(make(sample=lambda rand, n=5: (rand(n, n),), oracle=torch.square))
    assert "not-exercised" in notes


def take(w, index):
    return w[index]


def back_take(w, index, grad_out):
    return torch.zeros_like(w).index_add_(0, index, grad_out)


def back_take_last_lost(w, index, grad_out):
    grad_w = back_take(w, index, grad_out)
    grad_w[-1] -= 1e-3 * grad_w[-1]
    return grad_w


@pytest.mark.parametrize("n", [11, 1031, 20011])
def test_equal_rows_added_one_by_one_drift_and_are_right(n):
    def rows(rand, n=11, k=5, d=3):
        return rand(k, d), rand.integers(k, n)

    op = make(take, back_take, rows, lambda w, index: F.embedding(index, w), ("w",))
    chosen = {"sizes": {"n": n}, "dtypes": [torch.float32], "parts": ["forward", "values"]}
    assert verify(op, **chosen).ok, str(verify(op, **chosen))
    assert not verify(op, back_take_last_lost, **chosen).ok


def deep(x, w1, w2, w3, target):
    return F.cross_entropy((((x @ w1).relu() @ w2).relu() @ w3).relu(), target)


def back_deep(x, w1, w2, w3, target, grad_out=1.0):
    h1 = (x @ w1).relu()
    h2 = (h1 @ w2).relu()
    logits = (h2 @ w3).relu()
    p = logits.softmax(-1) - F.one_hot(target, logits.shape[-1]).to(x.dtype)
    grad3 = p * (grad_out / max(len(x), 1)) * (logits > 0)
    grad2 = grad3 @ w3.T * (h2 > 0)
    grad1 = grad2 @ w2.T * (h1 > 0)
    return grad1 @ w1.T, x.T @ grad1, h1.T @ grad2, h2.T @ grad3


def back_deep_one_wrong(x, w1, w2, w3, target, grad_out=1.0):
    """Of the unit that is farthest from being active, one gradient is as large as the largest."""
    grads = back_deep(x, w1, w2, w3, target, grad_out)
    farthest = ((x @ w1).relu() @ w2).amax(0).argmin()
    grads[2][0, farthest] = grads[2].abs().max()
    return grads


def test_of_a_thousand_units_some_lie_on_a_kink_and_either_side_is_right():
    def layers(rand, n=3, i=3, h=3, j=1031, k=3):
        return rand(n, i), rand(i, h), rand(h, j), rand(j, k), rand.integers(k, n)

    op = Op(deep, (back_deep,), {"relu": layers}, ("x", "w1", "w2", "w3"), deep)
    # At seed 3 a unit that the truth leaves inactive is active in bfloat16.
    chosen = {"seeds": [2, 3], "dtypes": [torch.bfloat16], "layouts": ["contiguous"]}
    assert verify(op, **chosen, parts=["values"]).ok, str(verify(op, **chosen, parts=["values"]))
    assert not verify(op, back_deep_one_wrong, **chosen, parts=["values"]).ok
