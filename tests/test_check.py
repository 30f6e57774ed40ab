"""A learner's own file: what is judged in it, what is said of it, and how the command ends."""

import os

import pytest

from manual_backprop.check.command import status

LIN = "def back_lin(x, w, grad_out):\n    return {}\n"
RIGHT = LIN.format("grad_out @ w.T, x.T @ grad_out, grad_out.sum(0)")
MEAN = LIN.format("grad_out @ w.T, x.T @ grad_out, grad_out.mean(0)")
RELU = "def back_relu(x, grad_out):\n    return {}\n"


def code(found):
    return found["findings"][0]["code"]


def test_a_right_function_is_right_and_its_limits_are_told(learner):
    answer = learner.check(RIGHT)
    (found,) = answer["functions"]
    assert status(answer) == 0
    assert found["ok"]
    assert found["cases"] > 0
    assert [limit["sample"] for limit in found["limits"]] == ["vector", "batched"][
        : len(found["limits"])
    ]
    assert found["limits"]
    assert all(gradient["right"] for gradient in found["gradients"])


def test_with_thorough_what_is_beyond_the_question_counts(learner):
    found = learner.only(RIGHT, thorough=True)
    assert not found["ok"]
    assert not found["limits"]


def test_a_mistake_is_named_once_with_its_gradient_its_cause_and_its_line(learner):
    answer = learner.check("\n\n" + MEAN)
    (found,) = answer["functions"]
    assert status(answer) == 1
    assert found["line"] == 3
    assert [finding["code"] for finding in found["findings"]] == ["mean-for-sum"]
    assert found["findings"][0]["cause"]["gradients"] == ["grad_b"]
    assert [g["right"] for g in found["gradients"]] == [True, True, False]
    said = learner.page(answer)
    assert sum(line.startswith("wrong") for line in said) == 1
    assert any("mine.py:3" in line for line in said)


def test_hints_say_more_and_more_and_never_the_solution(learner):
    answer = learner.check(MEAN)
    pages = [learner.page(answer, hints=hints) for hints in (1, 2, 3, 4)]
    assert "1/n" not in "\n".join(pages[1])
    assert "mean-for-sum" not in "\n".join(pages[0])
    assert "mean-for-sum" in "\n".join(pages[1])
    assert "1/n" in "\n".join(pages[2])
    assert "Derivation" in pages[3]
    assert "Derivation" not in pages[2]
    assert not any("def back_lin" in line for page in pages for line in page)
    shown = learner.page(learner.check(MEAN, solution=True), solution=True)
    assert any("def back_lin" in line for line in shown)


def test_the_page_of_a_pipe_is_80_columns_wide_but_for_its_path(learner):
    said = learner.page(learner.check(LIN.format("grad_out @ w.T, x.T @ grad_out, grad_out")))
    assert max(map(len, said[1:])) <= 80  # the first line holds the path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RELU.format("None"), "not-a-tensor"),
        (RELU.format("grad_out * x / 0 * 0 + x.log() * 0"), "nan"),
        (RELU.format("grad_out.sum()"), "shape"),
        (RELU.format("((x > 0) * grad_out).float()"), "dtype"),
        (RELU.format("grad_out.masked_fill_(x <= 0, 0)"), "mutates"),
        (RELU.format("(x >= 0) * grad_out"), "kink"),
        (RELU.format("input()"), "raises"),
        (RELU.format("exit()"), "crash"),
        ("def back_relu(x, grad_out):\n    raise KeyboardInterrupt\n", "raises"),
        ("class Bad(Exception):\n    __str__ = None\n" + RELU.format("(_ for _ in ()).throw(Bad)"),
         "raises"),
        (LIN.format("grad_out @ w.T, x.T @ grad_out"), "arity"),
        (LIN.format("grad_out @ w.T, x.T @ grad_out, grad_out"), "not-reduced"),
    ],
)  # fmt: skip
def test_each_way_to_be_wrong_has_its_code(text, expected, learner):
    answer = learner.check(text)
    assert code(answer["functions"][0]) == expected
    assert status(answer) == 1
    learner.page(answer)


@pytest.mark.parametrize("name", ["torch", "math", "F"])
def test_a_module_that_is_not_imported_is_named(name, learner):
    found = learner.only(RELU.format(f"{name}.relu(grad_out)"))
    assert (
        f"import {'torch.nn.functional as F' if name == 'F' else name}"
        in (found["findings"][0]["advice"])
    )


def test_a_function_that_is_not_written_yet_is_no_mistake_but_not_right(learner):
    answer = learner.check("def back_lin(x, w, grad_out):\n    raise NotImplementedError\n")
    assert code(answer["functions"][0]) == "unwritten"
    assert status(answer) == 1
    assert any(line.startswith("not yet") for line in learner.page(answer))


def test_options_that_a_function_does_not_take_are_not_asked_of_it(learner):
    text = (
        "import torch\n"
        "def back_cross_entropy(logits, target, grad_out):\n"
        "    p = torch.softmax(logits, 1)\n"
        "    p[torch.arange(len(target)), target] -= 1\n"
        "    return p * grad_out / max(len(target), 1)\n"
    )
    found = learner.only(text)
    assert found["ok"]
    assert {limit["sample"] for limit in found["limits"]} <= {"sum", "smoothed"}
    assert found["limits"]


def test_an_empty_batch_is_a_limit_and_no_mistake(learner):
    text = (
        "def back_mse(pred, target, grad_out):\n"
        "    return 2 / len(target) * grad_out * (pred - target[:, None])\n"
    )
    found = learner.only(text)
    assert found["ok"]
    assert any("n = 0" in limit["sample"] for limit in found["limits"])


def test_of_several_functions_each_has_its_record_and_the_unknown_a_sentence(learner):
    answer = learner.check(MEAN + RELU.format("(x > 0) * grad_out") + "def back_hlp(x):\n    ...\n")
    assert [f["ok"] for f in answer["functions"]] == [False, True]
    assert "back_hlp" in answer["skipped"][0]
    assert [told["running"]["function"] for told in learner.told] == ["back_lin", "back_relu"]
    assert status(answer) == 1


OWN = (
    "def cube(x, y):\n    return x ** 3 * y\n"
    "def back_cube(x, y, grad_out):\n    return 3 * x ** 2 * y * grad_out, x ** 3 * grad_out\n"
    "samples = {'rows': lambda rand, n=11, i=7: (rand(n, i), rand(n, i))}\n"
)


def test_a_forward_of_ones_own_is_judged_as_it_stands(learner):
    found = learner.only(OWN)
    assert found["ok"]
    assert found["operator"] == "cube"
    assert found["wrt"] == ["x", "y"]
    only_x = OWN.replace(", x ** 3 * grad_out", "") + "wrt = 'x'\n"
    assert learner.only(only_x)["ok"]
    wrong = learner.check(OWN + "def oracle(x, y):\n    return x ** 2 * y\n")
    assert code(wrong["functions"][0]) == "forward"
    assert status(wrong) == 1


def test_a_file_with_an_operator_is_judged_as_it_stands(learner):
    text = "from manual_backprop import Op\n" + OWN
    text += "OP = Op(cube, (back_cube,), samples, ('x', 'y'))\n"
    assert learner.only(text)["ok"]
    assert learner.only(text, "back_cube")["ok"]


def test_of_says_what_a_function_is_held_to(learner):
    found = learner.only("def mine(x, grad_out):\n    return (x > 0) * grad_out\n", of="relu")
    assert found["ok"]
    assert found["operator"] == "relu"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def back_lin(x, weight, grad):\n    ...\n", ["'weight'", "'grad'", "'w'", "'grad_out'"]),
        ("def back_relo(x, grad_out):\n    ...\n", ["back_relo", "back_relu"]),
        ("def relu(x):\n    ...\n", ["back_", "relu", "--of"]),
        ("", ["no function"]),
        ("def back_lin(x:\n", ["mine.py:1", "not Python"]),
        ("import torhc\n", ["mine.py:1", "torhc", "torch"]),
        ("from .other import f\n", ["mine.py:1", "without the dot"]),
        ("\nexit(0)\n", ["mine.py:2", "exit()"]),
        ("1 / 0\n", ["mine.py:1", "ZeroDivisionError"]),
        ("raise KeyboardInterrupt\n", ["mine.py:1", "KeyboardInterrupt"]),
        (OWN.replace("(rand(", "exit() or (rand("), ["mine.py:", "exit()"]),
        (OWN + "wrt = 5\n", ["wrt", "5"]),
        (OWN.replace("(rand(", "() and (rand("), ["'rows'", "one value for each of cube(x, y)"]),
        (OWN.replace("(rand(", "None and (rand("), ["'rows'", "one value for each of cube(x, y)"]),
        ("W = torch.ones(3)\n", ["mine.py:1", "import torch"]),
        ("from manual_backprop import Op\nOP = Op(1, (), {}, ())\n", ["mine.py:2", "forward"]),
        (OWN.replace("{'rows'", "{'rows', 'r'} or {'rows'").replace("lambda rand", "lambda r"), []),
        ("samples = 3\ndef f(x):\n    ...\ndef back_f(x):\n    ...\n", ["samples"]),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_with_a_sentence(text, words, learner):
    answer = learner.check(text)
    assert status(answer) == 2
    assert all(word in answer["refused"] for word in words), answer["refused"]
    assert learner.page(answer)[0].startswith("cannot")


@pytest.mark.parametrize("text", ["x = '{}\n", "raise ValueError('{}')\n"])
def test_of_a_very_long_line_the_beginning_is_told(text, learner):
    assert 100 < len(learner.refused(text.format("long " * 10**5))) < 1000


def test_an_unknown_function_is_told_the_nearest(learner):
    assert "back_lin" in learner.refused(RIGHT, "back_lim")


@pytest.mark.parametrize("data", [b"# \xe9\n", b"x = 1\0\n"], ids=["latin-1", "null"])
def test_a_file_that_is_no_text_is_refused(data, learner):
    assert "mine.py" in learner.refused(data)


def test_a_file_imports_its_neighbours_with_and_without_a_package(learner):
    learner.file("def mask(x):\n    return x > 0\n", "neighbour_of_mine.py")
    text = "from {}neighbour_of_mine import mask\n" + RELU.format("mask(x) * grad_out")
    assert learner.only(text.format(""))["ok"]
    learner.file("", "package_of_mine/__init__.py")
    learner.file("def mask(x):\n    return x > 0\n", "package_of_mine/neighbour_of_mine.py")
    assert learner.only(text.format("."), name="package_of_mine/mine.py")["ok"]


def test_a_file_may_be_called_like_a_module(learner):
    assert learner.only(
        "import torch\n" + RELU.format("torch.where(x > 0, grad_out, 0)"), name="torch.py"
    )["ok"]


def test_only_the_first_call_is_heard(learner, capfd):
    text = (
        "import os\ndef back_relu(x, grad_out):\n    os.write(1, b'out '); os.write(2, b'err ')\n"
    )
    assert learner.only(text + "    return (x > 0) * grad_out\n")["ok"]
    os.write(1, b"after")
    heard = capfd.readouterr()
    assert heard.out.split() == ["out", "after"]
    assert heard.err.split() == ["err"]
