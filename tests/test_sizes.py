"""Promises and values hold at any size, in any dtype and layout; hypothesis draws them."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import dtypes
from manual_backprop.judge.draw import LAYOUTS, Rand, Variant, axes, draw
from manual_backprop.judge.verify import verify
from manual_backprop.op import BadOp, Op
from manual_backprop.registry import OPS
from tests.every import every_small_backward

QUICK = {"dtypes": [torch.float64], "seeds": [0]}
EXAMPLES = 4  # of sizes from 0 to 9; and every axis is 0 and 1 in any case


def least(op, sample, axis):
    """0, or 1 where nothing can be drawn at 0: no class has an index below 0."""
    try:
        draw(op, Variant(sample, sizes=((axis, 0),)), Rand(0, torch.float64))
    except ValueError:
        return 1
    return 0


def holds_at_drawn_sizes(op, backward, sample, device, seed, names, examples):
    """Judge at sizes that hypothesis draws; of what fails it shows the smallest."""

    own = axes(op, sample)
    smallest = {axis: least(op, sample, axis) for axis in own}
    edges = [{**own, axis: size} for axis in own for size in (smallest[axis], 1)]
    edges += [smallest, dict.fromkeys(own, 1)]

    @hypothesis.seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, print_blob=False)
    @given(
        st.fixed_dictionaries({axis: st.integers(smallest[axis], 9) for axis in own}),
        st.sampled_from(names),
        st.sampled_from(LAYOUTS),
    )
    def holds(sizes, dtype, layout):
        verify(
            op,
            backward,
            samples=[sample],
            sizes=sizes,
            dtypes=[getattr(torch, dtype)],
            devices=[device],
            seeds=(seed, seed + 1),
            layouts=[layout],
            parts=["forward", "values", "promises"],
        ).raise_if_wrong()

    for place, sizes in enumerate(edges):  # drawn by chance alone, some would be missed
        dtype, layout = names[place % len(names)], LAYOUTS[place % len(LAYOUTS)]
        holds = hypothesis.example(sizes, dtype, layout)(holds)
    holds()


@every_small_backward
def test_is_right_and_keeps_its_promises_at_any_size(
    op, backward, sample, device, seed, pytestconfig
):
    holds_at_drawn_sizes(op, backward, sample, device, seed, dtypes(pytestconfig), EXAMPLES)


@pytest.mark.slow
@every_small_backward
def test_the_long_form(op, backward, sample, device, seed, pytestconfig):
    holds_at_drawn_sizes(op, backward, sample, device, seed + 1, dtypes(pytestconfig), 300)


@pytest.mark.parametrize("axis", ["n", "i", "o"])
def test_a_backward_that_is_wrong_at_size_1_of_one_axis_is_found_and_named(axis, seed):
    def back_lin_wrong(x, w, grad_out):
        one = {"n": x.shape[0], "i": x.shape[1], "o": w.shape[1]}[axis] == 1
        grad_x, grad_w, grad_b = OPS["lin"].backwards[0](x, w, grad_out)
        return grad_x, grad_w * (2 if one else 1), grad_b

    with pytest.raises(AssertionError) as caught:
        holds_at_drawn_sizes(OPS["lin"], back_lin_wrong, "rows", "cpu", seed, ["float64"], EXAMPLES)
    assert f"{axis} = 1" in str(caught.value)


def test_the_same_seed_draws_the_same_sizes():
    def drawn(seed):
        seen = []

        def back_relu_seen(x, grad_out):
            seen.append(tuple(x.shape))
            return (x > 0) * grad_out

        holds_at_drawn_sizes(OPS["relu"], back_relu_seen, "rows", "cpu", seed, ["float64"], 10)
        return seen

    assert drawn(3) == drawn(3) != drawn(4)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"q": 3}, "no axis 'q'; there are n, i, o"),
        ({"i": -1}, "the axis 'i' cannot be -1 long"),
        ({"i": 2.0}, "the axis 'i' cannot be 2.0 long"),
        ({"i": True}, "the axis 'i' cannot be True long"),
        (3, "sizes is 3, not a mapping of axes to sizes"),
        ([("n", 2)], "not a mapping of axes to sizes"),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_a_sentence(sizes, said):
    with pytest.raises(ValueError, match=said):
        verify(OPS["lin"], samples=["rows"], sizes=sizes)


def test_a_size_may_be_any_whole_number():
    verdict = verify(OPS["lin"], samples=["rows"], sizes={"n": np.int64(3)}, **QUICK)
    assert verdict.ok
    assert verdict.cases("back_lin")


def test_a_size_that_pytorch_refuses_accuses_nobody():
    def back_largest(x, out, grad_out):
        first = x == out[:, None]
        return first * (grad_out / first.sum(1))[:, None]

    op = Op(largest, (back_largest,), {"rows": rows}, ("x",), lambda x: torch.amax(x, 1))
    assert verify(op, **QUICK).ok, str(verify(op, **QUICK))
    verdict = verify(op, sizes={"k": 0}, **QUICK)
    assert verdict.ok
    assert not verdict.cases("back_largest")
    (note,) = verdict.notes
    assert (note.code, note.sample) == ("not-exercised", "rows (k = 0)")
    assert "amax()" in note.message


def largest(x):
    return x.amax(1)


def rows(rand, n=11, k=7):
    return (rand(n, k),)


def test_a_forward_that_fails_at_a_size_that_pytorch_takes_is_accused():
    def halved(x):
        assert len(x) != 2
        return x / 2

    op = Op(halved, (lambda grad_out: grad_out / 2,), {"rows": rows}, ("x",), lambda x: x / 2)
    (finding,) = verify(op, sizes={"n": 2}, **QUICK).findings
    assert finding.code == "raises"


def test_a_sample_that_cannot_be_drawn_at_a_size_is_said_to_be():
    said = r"'mean \(k = 0\)' cannot be drawn at these sizes.*no index lies from 0 to -1"
    with pytest.raises(BadOp, match=said):
        verify(OPS["cross_entropy"], samples=["mean"], sizes={"k": 0}, **QUICK)


def test_a_mistake_is_named_at_any_size():
    def back_lin_absolute(x, w, grad_out):
        return OPS["lin"].backwards[0](x, w, grad_out.abs())

    for sizes in ({}, {"n": 4}):
        (finding,) = verify(
            OPS["lin"], back_lin_absolute, samples=["rows"], sizes=sizes, **QUICK
        ).findings
        assert finding.code == "not-linear"


def test_of_one_row_an_unreduced_bias_gradient_is_told_to_sum():
    def back_lin_unreduced(x, w, grad_out):
        grad_x, grad_w, _ = OPS["lin"].backwards[0](x, w, grad_out)
        return grad_x, grad_w, grad_out.clone()

    (finding,) = verify(
        OPS["lin"], back_lin_unreduced, samples=["rows"], sizes={"n": 1}, **QUICK
    ).findings
    assert finding.message.endswith("axis 0 of 1 is too many; sum over it, or squeeze")
