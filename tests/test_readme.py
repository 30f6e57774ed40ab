"""What the README shows is what there is."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from manual_backprop import rounding_budget, verify_function
from manual_backprop.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_gradients_taken_first_are_those_of_autograd():
    names = {}
    exec(compile(blocks("python")[0], "README.md", "exec"), names)

    def by_autograd(*inputs):
        leaves = [one.detach().requires_grad_() for one in inputs]
        return torch.autograd.grad(names["lin"](*leaves).sum(), leaves)

    budgets = rounding_budget(by_autograd, [names[n] for n in ("x", "w", "b")], torch.float32)
    for name, budget in zip(("x", "w", "b"), budgets, strict=True):
        assert names[f"grad_{name}"].shape == names[name].shape
        assert budget.ratio(names[f"grad_{name}"]) <= 1


def commands_of_the_articles():
    section = README.partition("\n## The articles\n")[2].partition("\n## ")[0]
    return re.findall(r"\*\*([A-E])\*\*.*`uv run pytest -k (\S+)`", section)


def test_each_article_has_a_line_and_its_command_finds_tests():
    commands = commands_of_the_articles()
    assert [article for article, _ in commands] == list("ABCDE")
    cases = " ".join(file.read_text("utf-8") for file in ROOT.glob("tests/articles/test_*.py"))
    for article, words in commands:
        assert words.startswith(article)
        assert f'@case("{words}' in cases


def test_the_operator_shown_whole_is_the_file():
    assert (ROOT / "manual_backprop/ops/relu.py").read_text("utf-8") in blocks("python")


def test_the_six_lines_print_what_stands_below_them():
    _, _, function, judging, *_ = blocks("python")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(function + judging, "README.md", "exec"), {})
    assert said.getvalue() == blocks("text")[2]
    assert len([line for line in judging.splitlines() if line]) == 6


def test_the_function_of_autograd_shown_is_right():
    _, _, function, judging, swish, test, *_ = blocks("python")
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(function + judging + swish + test, "README.md", "exec"), names)
    names["test_swish"](lambda *given, **named: verify_function(*given, **named).raise_if_wrong())


@pytest.mark.parametrize("block", [1, 3])
def test_the_table_shown_has_the_rows_that_the_command_prints(block):
    shown = blocks("text")[block].splitlines()
    command = shown[0].removeprefix("$ uv run manual-backprop ").split()
    printed = CliRunner().invoke(main, command).stdout.splitlines()

    def words(lines):
        return [re.sub(r"[-+0-9.e,]+", "0", line).split() for line in lines if line.strip()]

    assert words(shown[2:]) == words(printed[1:])


def test_the_page_of_a_learners_file_is_what_check_prints(learner, monkeypatch):
    (code,) = blocks("py")
    _, *shown = blocks("console")[0].splitlines()
    monkeypatch.chdir(learner.folder)
    printed = learner.page(learner.check(code), Path("mine.py"))
    assert [line.split(":")[0] for line in shown] == [line.split(":")[0] for line in printed]


def test_the_two_commands_stand_at_the_top():
    first = blocks("sh")[0].splitlines()
    assert first[0].startswith("pip install uv && uv run manual-backprop verify")
    assert first[1].startswith("uv run pytest")
