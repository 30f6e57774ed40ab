"""The pages on a forge, which has no Sphinx: formulas come through, and no link is dead."""

import re

import pytest

from tests.forge import ROOT, dead, spoiled
from tests.test_face import PAGES

in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asks git what it keeps")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_every_formula_comes_through_markdown(page):
    text = page.read_text("utf-8")
    assert spoiled(text) == [], r"write \thinspace for \, and \bar y_{no} for \bar{y}_{no}"
    assert "$$" not in text, "a formula on a line of its own is a block of ```math"
    assert re.findall(r"\{\{.*?\}\}", text) == [], "a forge substitutes nothing"


@in_git
@every_page
def test_every_relative_link_leads_to_what_git_keeps(page):
    assert dead(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        r"Of $x\,w$.",
        r"The set $\{ x \}$.",
        r"A column $a \\ b$.",
        r"Then $\sum_o \bar{y}_{no} \bar{x}_{ni}$.",
        r"Both $(a b)_{pq}$ and $(b a)_{pq}$.",
        "Both $a*b$ and $b*a$.",
        "| a | b |\n| - | - |\n| $|x|$ | x |",
        "It costs 3 $ today.",
        "```text\n$x$\n```\n\n- $x\\,w$",
    ],
)
def test_a_formula_that_markdown_spoils_is_noticed(text):
    assert spoiled(text)


@pytest.mark.parametrize(
    "text",
    [
        r"As $x < 0$, $\langle a, b \rangle$ and $x \thinspace w$, $\bar y_{no} = \sum_i x_{ni}$.",
        "In `$x\\,w$`, and\n\n```console\n$ ls\n```",
        "| a | b |\n| - | - |\n| $x_i$ | `a|b` |",
    ],
)
def test_a_formula_that_comes_through_is_let_alone(text):
    assert spoiled(text) == []


@in_git
@pytest.mark.parametrize(
    ("target", "is_dead"),
    [
        ("notation.md", False),
        ("../manual_backprop/ops", False),
        ("../data/README.md#the-articles-numbers", False),
        ("#notation", False),
        ("https://example.org", False),
        ("../data/README.md#nowhere", True),
        ("operators/lin.md", True),
        ("articles.md", True),
        ("mistakes.md", True),
        ("../exercises/01_lin.py", True),
        ("nowhere.md", True),
    ],
)
def test_a_link_to_what_is_generated_is_dead_even_after_a_build(target, is_dead):
    found = dead(ROOT / "docs" / "notation.md", f"[`here`]({target})")
    assert bool(found) is is_dead
