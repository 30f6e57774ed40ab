"""A backward step by step: one mistake is one wrong line, whatever it does to what comes after."""

import pytest

from manual_backprop import verify
from manual_backprop.judge.codes import CODES
from manual_backprop.op import Op

LOSS = """
import torch

def loss(x, w, target):
    logits = x @ w
    counts = logits.exp()
    total = counts.sum(1, keepdim=True)
    probs = counts / total
    picked = probs[torch.arange(len(target)), target]
    return -picked.log().mean()

def back_loss(x, w, target, grad_out, steps):
    counts = (x @ w).exp()
    total = counts.sum(1, keepdim=True)
    probs = counts / total
    rows, n = torch.arange(len(target)), max(len(target), 1)
    grad_picked = steps("picked", -grad_out / probs[rows, target] / n)
    grad_probs = torch.zeros_like(probs)
    grad_probs[rows, target] = grad_picked
    grad_probs = steps("probs", grad_probs)
    grad_total = steps("total", -(grad_probs * counts).sum(1, keepdim=True) / total**2)
    grad_counts = steps("counts", grad_probs / total + grad_total)
    grad_logits = steps("logits", grad_counts * counts)
    return grad_logits @ w.T, x.T @ grad_logits

samples = {"rows": lambda rand, n=11, i=7, k=5: (rand(n, i), rand(i, k), rand.integers(k, n))}
"""
STEPS = ["picked", "probs", "total", "counts", "logits"]


def rights(found):
    return {step["name"].removeprefix("grad of "): step["right"] for step in found["steps"]}


def test_right_steps_are_right_in_the_order_of_the_calls(learner):
    found = learner.only(LOSS)
    assert found["ok"]
    assert list(rights(found)) == STEPS
    assert all(rights(found).values())


@pytest.mark.parametrize(
    ("right", "wrong", "step"),
    [
        ("/ probs[rows, target] / n", "/ probs[rows, target]", "picked"),
        ("-(grad_probs * counts)", "(grad_probs * counts)", "total"),
        ("grad_probs / total + grad_total", "grad_probs / total", "counts"),
        ("grad_counts * counts", "grad_counts * counts**2", "logits"),
    ],
)
def test_one_mistake_is_one_wrong_step(right, wrong, step, learner):
    answer = learner.check(LOSS.replace(right, wrong))
    (found,) = answer["functions"]
    assert not found["ok"]
    assert [name for name, is_right in rights(found).items() if not is_right] == [step]
    assert all(gradient["right"] for gradient in found["gradients"])
    said = learner.page(answer)
    assert sum(" wrong  " in line for line in said) == 1
    assert any(line.startswith("step") and step in line for line in said)


def test_a_step_of_a_wrong_shape_is_told_and_the_rest_judged(learner):
    text = LOSS.replace('steps("total", -(', 'steps("total", 0 * grad_probs - (')
    found = learner.only(text)
    assert [name for name, is_right in rights(found).items() if not is_right] == ["total"]
    assert "(11, 5)" in next(step["said"] for step in found["steps"] if not step["right"])


def test_a_step_that_is_wrong_and_not_used_is_wrong_all_the_same(learner):
    text = LOSS.replace("grad_probs = steps(", "_ = 2 * grad_probs; steps(")
    text = text.replace('steps("probs", grad_probs)', 'steps("probs", _)')
    answer = learner.check(text)
    (found,) = answer["functions"]
    assert not found["ok"]
    assert not found["findings"]
    assert any("probs" in line for line in learner.page(answer) if line.startswith("step"))


def test_an_unknown_step_is_told_the_nearest(learner):
    said = learner.refused(LOSS.replace('steps("logits"', 'steps("logit"'))
    assert "'logit'" in said
    assert "'logits'" in said
    assert all(name in said for name in STEPS)


def test_steps_of_an_operator_of_the_house_are_its_forwards_locals(learner):
    text = (
        "def back_softmax(out, grad_out, x, steps):\n"
        "    e = (x - x.amax(-1, keepdim=True)).exp()\n"
        "    total = e.sum(-1, keepdim=True)\n"
        "    grad_e = grad_out / total - (grad_out * e).sum(-1, keepdim=True) / total**2\n"
        "    return steps('e', {}grad_e) * out * total\n"
    )
    assert rights(learner.only(text.format(""))) == {"e": True}
    assert rights(learner.only(text.format("2 * "))) == {"e": False}


def test_steps_of_a_forward_of_ones_own_in_an_operators_name_are_its_own(learner):
    forward = (
        "def softmax(x):\n    counts = x.exp()\n    return counts / counts.sum(-1, keepdim=True)\n"
    )
    backward = (
        "def back_softmax(x, grad_out, steps):\n"
        "    counts = x.exp()\n"
        "    total = counts.sum(-1, keepdim=True)\n"
        "    inner = (grad_out * counts).sum(-1, keepdim=True)\n"
        "    return steps('counts', grad_out / total - inner / total**2) * counts\n"
    )
    assert rights(learner.only(forward + backward)) == {"counts": True}
    assert "softmax" in learner.refused(forward.replace("x.exp()", "x.exp2()") + backward)


def test_an_entry_of_a_list_is_a_step(learner):
    text = (
        "def f(x):\n    hs = [x]\n    for _ in range(2):\n        hs.append(hs[-1].sin())\n"
        "    return hs[-1] * 2\n"
        "def back_f(x, grad_out, steps):\n"
        "    grad = steps('hs[2]', 2 * grad_out)\n"
        "    grad = steps('hs[1]', grad * x.sin().cos())\n"
        "    return grad * x.cos()\n"
        "samples = {'row': lambda rand, n=11: (rand(n),)}\n"
    )
    found = learner.only(text)
    assert found["ok"]
    assert list(rights(found)) == ["hs[2]", "hs[1]"]


def test_verify_passes_steps_that_hand_back_what_they_get():
    def twice(x):
        return 2 * x

    def back_twice(grad_out, steps):
        return steps("anything", 2 * grad_out)

    rows = {"rows": lambda rand, n=11: (rand(n),)}
    assert verify(Op(twice, (back_twice,), rows, ("x",)), seeds=(0,)).ok


def test_every_code_says_what_is_wrong_and_where_to_look():
    assert all(code.meaning and code.advice for code in CODES.values())
