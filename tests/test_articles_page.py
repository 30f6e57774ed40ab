"""The site's page of the articles: which numbers stand there, and which do not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.site import articles
from scripts.site.recorder import TO

ROOT = Path(__file__).parents[1]
ROW = {
    "system": "It.",
    "source": "printed",
    "code": [],
    "expected": {"sum": 2.5, "range": [0.01, 0.05]},
    "computed": {"largest": 7},
    "digits": {name: {"decimals": 2} for name in ("sum", "range", "largest")},
}
FOUND = {"sum": 2.50001, "range": [0.02, 0.0512, 0.01], "largest": 7.0003}


def cells(found):
    rows = [line.split("|")[1:-1] for line in articles._row("Z1", ROW, found) if line[:1] == "|"]
    return {name: (printed, computed) for name, printed, computed in _stripped(rows[2:])}


def _stripped(rows):
    return [[cell.strip() for cell in row] for row in rows]


def test_a_number_stands_beside_what_was_printed_with_two_more_digits():
    assert cells(FOUND)["sum"] == ("2.50", "2.5000")


def test_of_many_draws_the_range_is_told_to_the_digits_printed():
    assert cells(FOUND)["range"] == ("from 0.01 to 0.05", "from 0.01 to 0.05, in 3 draws")


def test_a_list_of_two_is_no_range():
    printed, computed = cells({**FOUND, "range": [0.01, 0.05]})["range"]
    assert re.findall(r">([\d.]+)<", printed) == ["0.01", "0.05"]
    assert re.findall(r">([\d.]+)<", computed) == ["0.0100", "0.0500"]


def test_a_number_that_the_article_lacks_does_not_stand_under_it():
    assert cells(FOUND)["largest"] == ("", "7.0003")


def test_where_a_number_was_not_computed_the_cell_says_why():
    why = "by the long tests"
    shown = cells({**FOUND, "sum": why, "largest": why})
    assert shown["sum"] == ("2.50", why)
    assert shown["largest"] == ("", f"7.00, {why}")


@pytest.mark.parametrize("name", FOUND)
def test_a_number_that_no_test_computes_stops_the_build(name):
    with pytest.raises(articles.NotReproduced, match=f"Z1.*{name}"):
        cells({key: value for key, value in FOUND.items() if key != name})


def test_no_number_is_less_than_nothing():
    assert articles.shown([0.0, -0.0], {}, 0).count(">0<") == 2


def test_what_is_computed_is_written_down_and_what_is_not_with_its_reason(tmp_path):
    file = tmp_path / "numbers.json"
    files = ["tests/articles/test_c.py", "tests/articles/test_d_digits.py"]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "scripts.site.recorder"]
    command += ["-p", "no:cacheprovider", "-k", "C2- or D9-accuracy"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, TO: str(file)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(file.read_text("utf-8"))
    assert found["C2"]["relu"] == 0
    assert found["C2"]["maximum"] == 0.5
    (why,) = (
        value for name, value in found["C2"].items() if "clamp" in name and value not in (0, 1)
    )
    assert "2.14" in why
    assert {isinstance(value, str) for value in found["D9"].values()} == {True}
