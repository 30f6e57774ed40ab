"""What a learner is told beside the cause: where to read more, and what Python raised."""

import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.judge.examples import EXAMPLES

LIN = "def back_lin(x, w, grad_out):\n    return {}\n"
MEAN = LIN.format("grad_out @ w.T, x.T @ grad_out, grad_out.mean(0)")


def test_where_to_read_more_is_told_and_is_there(learner):
    answer = learner.check(MEAN.replace("mean(0)", "sum(0)").replace("x.T @", "-x.T @"))
    (line,) = (line for line in learner.page(answer) if "manual-backprop explain" in line)
    command = line.split("`")[1].split()[1:]
    assert command == ["explain", "sign"]
    assert CliRunner().invoke(main, [*command, "--no-verdict"]).exit_code == 0
    assert not any("explain" in line for line in learner.page(answer, hints=1))


def test_no_page_is_named_that_has_the_solution(learner):
    for named in EXAMPLES:
        page = learner.page(learner.check(EXAMPLES[named].wrong))
        (example,) = {EXAMPLES[line.split("explain ")[1].split("`")[0]] for line in page
                      if "explain " in line} or {None}  # fmt: skip
        assert example is None or example.operator != EXAMPLES[named].operator, named


def test_a_network_of_two_layers_is_right_within_its_limits(learner):
    found = learner.only(
        "import torch\n"
        "def back_sigmoid_mlp(x, weights, target, grad_out):\n"
        "    w1, w2 = weights\n"
        "    h = torch.sigmoid(x @ w1)\n"
        "    out = torch.sigmoid(h @ w2)\n"
        "    d2 = (out - target) * out * (1 - out) * grad_out\n"
        "    d1 = d2 @ w2.T * h * (1 - h)\n"
        "    return d1 @ w1.T, (x.T @ d1, h.T @ d2)\n"
    )
    assert found["ok"]
    assert [limit["sample"] for limit in found["limits"]] == ["three layers"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("grad_out @ w", ["transpose"]),
        ("grad_out + w", ["keepdim=True"]),
        ("gradout @ w.T", ["grad_out", "knows x, w, grad_out"]),
    ],
    ids=["product", "broadcast", "name"],
)
def test_what_torch_and_python_raise_has_advice_of_its_own(expression, words, learner):
    found = learner.only(LIN.format(f"{expression}, x.T @ grad_out, grad_out.sum(0)"))
    assert found["findings"][0]["code"] == "raises"
    assert all(word in found["findings"][0]["advice"] for word in words)


@pytest.mark.parametrize("product", ["x * grad_out", "x.T * grad_out", "torch.mul(x, grad_out)"])
def test_a_product_entry_by_entry_that_would_be_one_of_matrices_is_asked_after(product, learner):
    found = learner.only(
        f"import torch\n{LIN.format(f'grad_out @ w.T, {product}, grad_out.sum(0)')}"
    )
    assert "is a matrix product, @, meant" in found["findings"][0]["message"]
    assert "keepdim" not in found["findings"][0]["advice"]


@pytest.mark.parametrize(
    "pairs", ["grad_out + w", "x * grad_out[:5, :3]", "x[:2] * grad_out.sum(0)"],
    ids=["sum", "strangers", "vector"],
)  # fmt: skip
def test_no_matrix_product_is_asked_after_where_none_would_fit(pairs, learner):
    found = learner.only(LIN.format(f"{pairs}, x.T @ grad_out, grad_out.sum(0)"))
    assert "must match the size" in found["findings"][0]["message"]
    assert "@" not in found["findings"][0]["message"]


@pytest.mark.parametrize("difference", ["p - target", "-(target - p)"])
def test_classes_that_are_subtracted_from_probabilities_have_to_be_one_hot(difference, learner):
    found = learner.only(
        "import torch\n"
        "def back_cross_entropy(logits, target, grad_out):\n"
        "    p = torch.softmax(logits, 1)\n"
        f"    return grad_out * ({difference}) / len(target)\n"
    )
    assert "target has one integer for each row" in found["findings"][0]["message"]
    assert "one_hot" in found["findings"][0]["advice"]


@pytest.mark.parametrize("hints", [1, 2, 3, 4])
def test_what_was_raised_is_told_with_every_hint(hints, learner):
    answer = learner.check(LIN.format("grad_out @ w.T, x.T @ grad_out, gradout"))
    assert any("NameError" in line and "mine.py:2" in "".join(learner.page(answer, hints=hints))
               for line in learner.page(answer, hints=hints))  # fmt: skip


def test_of_two_mistakes_the_one_that_says_what_to_do_comes_first(learner):
    found = learner.only("def back_mse(pred, target):\n    return 2 * (pred - target[:, None])\n")
    assert [finding["code"] for finding in found["findings"]] == [
        "ignores-grad-out", "sum-for-mean",
    ]  # fmt: skip
    assert found["gradients"][0]["right"] is False


def test_a_network_is_described_within_the_page(learner):
    text = "def back_sigmoid_mlp(x, weights, target, grad_out):\n    return x * 0, weights\n"
    assert max(map(len, learner.page(learner.check(text))[1:])) <= 80


ABS = """
import torch

def vee(x):
    return {forward}

def back_vee(x, grad_out):
    return {back}

def pinned(rand, n=11):
    x = rand(n)
    x[:1] = 0.0
    return (x,)

samples = {{"pinned": pinned}}
"""
BESIDE = "torch.where(x {} {}, {} * grad_out, {} * grad_out)"


def on_a_kink(learner, forward, back, oracle=""):
    text = ABS.format(forward=forward, back=back)
    found = learner.only(text + (f"oracle = {oracle}\n" if oracle else ""))
    (told,) = [one for one in found["notes"] + found["findings"] if one["code"] == "kink"]
    return found, told


@pytest.mark.parametrize("oracle", ["", "torch.abs"])
@pytest.mark.parametrize("sign", [">", ">="])
def test_of_abs_neither_side_of_the_kink_is_advised(sign, oracle, learner):
    found, told = on_a_kink(learner, "torch.abs(x)", BESIDE.format(sign, 0, 1, -1), oracle=oracle)
    assert found["ok"] is not bool(oracle)
    assert "turn >" not in told["message"]
    assert "torch.sign" in told["message"]
    assert "at [0], where x is 0," in told["message"]
    right = ABS.format(forward="torch.abs(x)", back="torch.sign(x) * grad_out")
    learned = learner.only(right + (f"oracle = {oracle}\n" if oracle else ""))
    assert learned["ok"]
    assert not [note for note in learned["notes"] if note["code"] == "kink"]


def test_a_note_on_a_kink_names_its_sample(learner):
    text = ABS.format(forward="torch.abs(x)", back=BESIDE.format(">", 0, 1, -1))
    (line,) = (line for line in learner.page(learner.check(text)) if "on sample" in line)
    assert line.startswith("note      on sample pinned, grad_x is ")


def test_a_forward_of_numpy_is_told_to_be_written_with_torch(learner):
    found = learner.only(
        "import numpy as np\n"
        "import torch\n"
        "def swish(x):\n    return x * np.tanh(x)\n"
        "def back_swish(x, grad_out):\n"
        "    return grad_out * (x.tanh() + x * (1 - x.tanh() ** 2))\n"
        "samples = {'rows': lambda rand, n=11: (rand(n),)}\n"
    )
    (finding,) = found["findings"]
    assert finding["code"] == "raises"
    assert "torch.tanh for np.tanh" in finding["advice"]
    assert ".detach() would cut" in finding["advice"]


CROSS_ENTROPY = (
    "import torch\n"
    "def back_cross_entropy(logits, target, grad_out):\n"
    "    p = torch.softmax(logits, 1)\n"
    "    p[torch.arange(len(target)), target] -= 1\n"
    "    return p * grad_out / max(len(target), 1)\n"
)


def test_what_lies_beyond_is_told_in_a_sentence(learner):
    answer = learner.check(CROSS_ENTROPY)
    said = " ".join(" ".join(learner.page(answer)).split())
    beyond = [one.partition(" beyond ")[0] for one in said.split("not on sample ")[1:]]
    limits = answer["functions"][0]["limits"]
    assert len(beyond) == len(limits) > 0
    for limit, line in zip(limits, beyond, strict=True):
        told = line.partition(f"{limit['gradient']}")[2].partition(" That was ")[0]
        assert len(told.split()) > 2, line


def test_beyond_the_question_an_error_is_named_with_its_line_and_quoted_where_it_counts(learner):
    rows_only = LIN.format("grad_out @ w.T, x.T @ grad_out, grad_out.sum(0)")
    answer = learner.check(rows_only)
    (limit, *_) = answer["functions"][0]["limits"]
    raised = limit["message"].partition("Error: ")[2].partition(",")[0]
    said = " ".join(" ".join(learner.page(answer)).split())
    assert "raised RuntimeError, at mine.py:2" in said
    assert raised
    assert raised not in said
    asked = " ".join(" ".join(learner.page(learner.check(rows_only, thorough=True))).split())
    assert raised in asked


def test_of_an_absolute_value_without_its_sign_one_cause_is_told_and_at_most_one_more(learner):
    found = learner.only(ABS.format(forward="torch.abs(x)", back="1 * grad_out"))
    finding = found["findings"][0]
    assert finding["cause"]["what"] == "the sign of the input is left out"
    assert finding["code"] == "missing-factor"
    assert len(finding["cause"].get("also", ())) <= 1
    assert "uphill" not in finding["advice"]
