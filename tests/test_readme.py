"""What the README says is so; its blocks are run by tests/test_docs.py."""

import re
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image

from manual_backprop import rounding_budget
from manual_backprop.commands import DTYPES
from manual_backprop.judge.draw import LAYOUTS
from manual_backprop.judge.verdict import WrongGradient
from manual_backprop.registry import OPS
from scripts.pictures import FOLDER, REPORT, TERMINAL, text_of
from scripts.speed.pages import MARK
from scripts.speed.parts import PARTS
from tests.blocks import blocks_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen")  # fmt: skip
LONGEST = 450, 800  # words down to the first section after the start, and in all


def code(language):
    return [b.text for b in blocks_of(ROOT / "README.md") if b.language == language]


def prose():
    """Without code, addresses, and what is filled in from docs/speed."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", README, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", MARK.sub("", text))


def facts():
    """Each phrase of the README that has a number in it, made of what it speaks of."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    backwards = sum(len(op.backwards) for op in OPS.values())
    said = "\n".join(text_of((FOLDER / TERMINAL).read_text("utf-8")))
    seen = Image.open(FOLDER / REPORT).text["Description"]
    (times,) = re.findall(r"it is n \(here (\d+)\) times what it should be", said)
    rows = len(re.findall(r"^\S*(?:back|_and_grad)\S*$", seen.partition("✕")[0], re.MULTILINE))
    batches = [case.sizes["n"] for case in PARTS["batch"].cases(False)]
    assert "1 is not subtracted from p at the target of each row" in seen
    (many,) = re.findall(r"more than (\d+) backwards", README)  # an operator more edits no page
    assert int(many) < backwards
    assert {min(batches), max(batches)} == {1, 8192}
    licence = (ROOT / "data/MNIST/LICENSE").read_text("utf-8")
    assert "Attribution-ShareAlike 3.0" in licence
    return [
        f"Python {project['requires-python'].removeprefix('>=')} or newer",
        f"more than {many} backwards",
        f"it is {times} times what it should be in every entry",
        f"after dividing by {times} nothing is left over",
        f"a table of {WORDS[rows]} backwards",
        f"on {WORDS[len(DTYPES)]} dtypes and {WORDS[len(LAYOUTS)]} memory layouts",
        f"{WORDS[lines_of_the_judging()].capitalize()} lines below it in the same file judge it",
        "1 is not subtracted from p at the target of each row",
        "forgot the 1 at the target",
        "at a batch of 1",
        f"times at {max(batches):,}",
        "exits with 0",
        "BSD-3-Clause",
        "CC BY-SA 3.0",
    ]


def lines_of_the_judging():
    return len([line for line in code("python")[1].splitlines() if line])


def test_the_numbers_that_it_tells_are_those_that_there_are():
    assert [fact for fact in facts() if fact not in prose()] == []


def test_no_number_in_it_has_nothing_behind_it():
    rest = prose()
    for fact in facts():
        rest = rest.replace(fact, "")
    assert re.findall(r".*(?<![a-z\d])\d.*", rest) == []  # but in names such as float64


def test_it_is_read_in_a_minute_or_two():
    first, whole = (len(re.findall(r"\w+", re.sub(r"!\[.*?\]", "", text))) for text in (
        prose().partition("\n## Learn\n")[0], prose(),
    ))  # fmt: skip
    assert first <= LONGEST[0]
    assert whole <= LONGEST[1]


def test_the_two_commands_stand_at_the_top():
    first = code("sh")[0].splitlines()
    assert first[0].startswith("pip install uv && uv run manual-backprop verify")
    assert first[1].startswith("uv run pytest")


def test_the_fixture_shown_fails_with_the_verdict_that_is_shown(pytestconfig):
    names = {}
    function, judging, test = code("python")
    exec(compile(function + judging + test, "README.md", "exec"), names)

    def check_backward(back, **given):
        from manual_backprop.pytest_plugin import _judged

        verdict = _judged(back, **given)
        if not verdict.ok:
            raise WrongGradient(str(verdict))

    with pytest.raises(WrongGradient) as failed:
        names["test_square"](check_backward)
    assert f"{failed.value}\n" == code("text")[0]


def test_the_gradients_that_the_site_takes_first_are_those_of_autograd():
    names = {}
    block = next(b for b in blocks_of(ROOT / "docs/index.md") if b.language == "python")
    exec(compile(block.text, "index.md", "exec"), names)

    def by_autograd(*inputs):
        leaves = [one.detach().requires_grad_() for one in inputs]
        return torch.autograd.grad(names["lin"](*leaves).sum(), leaves)

    budgets = rounding_budget(by_autograd, [names[n] for n in ("x", "w", "b")], torch.float32)
    for name, budget in zip(("x", "w", "b"), budgets, strict=True):
        assert names[f"grad_{name}"].shape == names[name].shape
        assert budget.ratio(names[f"grad_{name}"]) <= 1


def test_each_article_has_a_line_and_its_command_finds_tests():
    page = (ROOT / "data/README.md").read_text("utf-8")
    commands = re.findall(r"\*\*([A-E])\*\*.*`uv run pytest -k (\S+)`", page)
    assert [article for article, _ in commands] == list("ABCDE")
    cases = " ".join(file.read_text("utf-8") for file in ROOT.glob("tests/articles/test_*.py"))
    for article, words in commands:
        assert words.startswith(article)
        assert f'@case("{words}' in cases
