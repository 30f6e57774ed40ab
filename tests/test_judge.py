"""The judge is judged: it notices whatever is spoiled, and accuses no right backward."""

import pytest
import torch

from manual_backprop.judge.draw import ARTICLE
from manual_backprop.networks.two_layer import OP as TWO_LAYER
from manual_backprop.networks.two_layer import lin, relu
from manual_backprop.ops.lin import back_lin
from manual_backprop.ops.mse import back_mse
from manual_backprop.ops.relu import OP as RELU
from manual_backprop.registry import OPS
from scripts.alarms import trials
from tests.every import (
    SMALL_BACKWARDS,
    every_op,
    every_small_backward,
    judged,
    long,
    name_of,
)
from tests.spoilings import spoilings
from tests.spoilings.results import entry_off, factor, sign


def is_network(op):
    return op.forward.__module__.startswith("manual_backprop.networks")


def let_pass(op, dtype, tried):
    """How many spoilings may go unnoticed: in few digits a network's rounding hides some."""
    few_digits = dtype in (torch.bfloat16, torch.float16)
    return -(-tried // 10) if is_network(op) and few_digits else 0


def spoiled(op, backward, sample, dtype, device, seeds, *, causes, some=slice(None)):
    """What is found of each spoiling, and the codes that name it rightly."""
    for spoil, codes in [*spoilings(op, backward, sample).items()][some]:
        verdict = judged(
            op,
            spoil(backward, op),
            sample,
            dtype,
            device,
            seeds=seeds,
            kinks="reject",
            parts=("values", "promises", "made"),
            causes=causes,
        )
        yield spoil.__name__, {finding.code for finding in verdict.findings}, codes


DTYPES = torch.float64, torch.bfloat16, torch.float32, torch.float16


@pytest.mark.parametrize("whole", [False, long(True)])
@every_small_backward
def test_every_spoiling_is_noticed(op, backward, sample, dtype, device, seed, whole):
    """In short each dtype tries one spoiling in four, others than the next dtype."""
    some = slice(None) if whole else slice(DTYPES.index(dtype), None, len(DTYPES))
    seeds = (seed, seed + 1) if whole else (seed,)
    tried, missed = 0, []
    for name, found, codes in spoiled(
        op, backward, sample, dtype, device, seeds, causes=False, some=some
    ):
        tried += 1
        if not found or not found <= codes | {"unknown", "kink"}:  # for no cause is looked for
            missed.append((name, found))
    assert len(missed) <= let_pass(op, dtype, tried), missed


QUICK = "lin", "mse", "relu", "softmax"  # tests/test_mistakes.py has mistakes in all of them


def _is_quick(case):
    op, backward, sample = case
    return op.name in QUICK and (backward, sample) == (op.backwards[0], next(iter(op.samples)))


@pytest.mark.parametrize(
    ("op", "backward", "sample"),
    [
        pytest.param(*case, id=name_of(case), marks=() if _is_quick(case) else pytest.mark.slow)
        for case in SMALL_BACKWARDS
    ],
)
def test_every_spoiling_is_named(op, backward, sample, device, seed):
    missed = [
        (name, found)
        for name, found, codes in spoiled(
            op, backward, sample, torch.float64, device, (seed, seed + 1), causes=True
        )
        if not found or not found <= codes
    ]
    assert not missed


@every_small_backward
def test_one_entry_off_is_seen_by_its_value_alone(op, backward, sample, dtype, device, seed):
    missed = []
    for which in range(len(op.wrt)):
        spoil = entry_off(single=not is_network(op))(which)
        verdict = judged(
            op,
            spoil(backward, op),
            sample,
            dtype,
            device,
            seeds=range(seed, seed + 4),
            parts=["values"],
            causes=False,
        )
        if verdict.ok:
            missed.append(spoil.__name__)
    network_in_few_digits = is_network(op) and dtype in (torch.bfloat16, torch.float16)
    assert len(missed) <= (len(op.wrt) // 3 if network_in_few_digits else 0), missed


@pytest.mark.parametrize("op", [op for op in OPS.values() if ARTICLE in op.samples])
def test_at_the_articles_size_wrong_values_are_noticed(op, device, seed):
    for spoil in (sign, factor, *(entry_off(single=False)(which) for which in range(len(op.wrt)))):
        verdict = judged(
            op,
            spoil(op.backwards[0], op),
            ARTICLE,
            torch.float64,
            device,
            seeds=(seed,),
            parts=["values"],
            causes=False,
        )
        assert not verdict.ok, spoil.__name__


def back_relu_ge(x, grad_out):
    return (x >= 0) * grad_out


def back_relu_ge_(x, grad_out):
    return grad_out.masked_fill_(x < 0, 0.0)


def back_two_layer_ge(x, w1, b1, w2, b2, target, grad_out=1.0):
    z = lin(x, w1, b1)
    h = relu(z)
    grad_pred = back_mse(lin(h, w2, b2), target, grad_out)
    grad_h, grad_w2, grad_b2 = back_lin(h, w2, grad_pred)
    grad_x, grad_w1, grad_b1 = back_lin(x, w1, back_relu_ge(z, grad_h))
    return grad_x, grad_w1, grad_b1, grad_w2, grad_b2


@pytest.mark.parametrize(
    ("op", "wrong", "sample"),
    [
        *(
            (RELU, wrong, sample)
            for wrong in (back_relu_ge, back_relu_ge_)
            for sample in RELU.samples
        ),
        (TWO_LAYER, back_two_layer_ge, "rows"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_greater_or_equal_at_the_kink_is_noticed(op, wrong, sample, dtype, device, seed):
    verdict = judged(op, wrong, sample, dtype, device, seeds=(seed, seed + 1), causes=False)
    assert not verdict.ok


@pytest.mark.parametrize("count", [15, long(300)])
@every_op
def test_right_backwards_raise_no_alarm(op, dtype, seed, count):
    """The longest form: python -m scripts.alarms --trials 10000."""
    scores = trials(op.name, str(dtype).removeprefix("torch."), count, 10_000 * (seed + 1))
    for name, score in scores.items():
        assert not score.alarms, f"{name}: {score.example}"
        assert score.worst < 1
