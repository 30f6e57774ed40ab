"""Every number and every mistake of the source articles has a case in tests/articles."""

import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from manual_backprop.data import article_numbers
from tests import articles
from tests.articles.case import CASES, Row, case
from tests.printed import assert_printed

ROOT = Path(__file__).parents[1]

for module in pkgutil.iter_modules(articles.__path__, "tests.articles."):
    import_module(module.name)  # which names its cases


def cases_of(row):
    return {name: numbers for name, numbers in CASES.items() if name.startswith(f"{row}-")}


def test_every_row_has_a_case_and_every_case_a_row():
    rows = article_numbers()
    assert [row for row in rows if not cases_of(row)] == []
    assert [name for name in CASES if name.partition("-")[0] not in rows] == []
    assert [name for name in CASES if not re.fullmatch(r"[A-E]\d+(-[a-z0-9.]+)+", name)] == []


def test_every_number_is_compared_by_a_case_and_no_case_names_another():
    for row in article_numbers():
        compared = {number for numbers in cases_of(row).values() for number in numbers}
        assert compared == set(Row(row).numbers()), row


def test_every_mistake_is_a_case():
    mistakes = {
        f"{name}-{mistake}"
        for name, row in article_numbers().items()
        for mistake in row.get("traps", {})
    }
    assert mistakes - set(CASES) == set()
    assert "B3-derivative-is-4" in mistakes


def test_every_row_says_where_in_the_code_it_is():
    for name, row in article_numbers().items():
        assert row["code"], name
        for code in row["code"]:
            assert code.startswith("manual_backprop."), f"{name}: {code}"
            pkgutil.resolve_name(code)


@pytest.fixture
def two_numbers(monkeypatch):
    """A case that names two numbers and compares those that it is asked for."""
    monkeypatch.setattr("tests.articles.case.CASES", {})

    @case("E6-test", "loss", "gradients")
    def compare(row, names):
        for name in names:
            assert_printed(row, name, row.number(name))

    return compare


def test_a_case_has_to_compare_what_it_names_and_nothing_else(two_numbers):
    two_numbers("E6", names=("loss", "gradients"))
    for names in (("loss",), ("gradients",), ("loss", "gradients", "sum_of_targets")):
        with pytest.raises(
            AssertionError, match="name each in @case and hand it to assert_printed"
        ):
            two_numbers("E6", names=names)


def test_a_name_stands_for_one_test():
    with pytest.raises(ValueError, match="there is a case E6-loss already"):
        case("E6-loss", "loss")


@pytest.mark.process
def test_a_case_can_be_asked_for_by_its_name():
    asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/articles/test_b.py"]
    done = subprocess.run(
        [*asked, "-k", "B3-derivative-is-4"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.findall(r"\[(.*)\]$", done.stdout, re.MULTILINE) == ["B3-derivative-is-4"]
