"""The codes of findings: each has a page, and the judge says of its example what the page says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.judge.codes import CODES
from manual_backprop.judge.examples import EXAMPLES, WITHOUT
from manual_backprop.registry import OPS
from manual_backprop.report.as_code import judged

ROOT = Path(__file__).parents[1]
HOME = ROOT / "manual_backprop"

every_code = pytest.mark.parametrize("code", CODES)
every_example = pytest.mark.parametrize("code", EXAMPLES)


@pytest.fixture
def command():
    return lambda *words: CliRunner().invoke(main, words)


@every_example
def test_the_judge_says_the_code_of_its_example(code):
    example = EXAMPLES[code]
    verdict = judged(example.wrong, example.operator)
    assert [finding.code for finding in verdict.findings][:1] == [code], str(verdict)


@every_example
def test_the_example_is_right_once_it_is_mended(code):
    example = EXAMPLES[code]
    verdict = judged(example.right, example.operator)
    assert verdict.ok, str(verdict)


def test_every_code_has_an_example_or_a_reason_why_not():
    assert EXAMPLES.keys() | WITHOUT.keys() == CODES.keys()
    assert not EXAMPLES.keys() & WITHOUT.keys()


def words_of(file):
    """Every string in the file but docstrings and texts of several words."""
    tree = ast.parse(file.read_text("utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value
    }


def said_codes(file):
    """What findings and causes are called in the file, where that stands in the call."""
    at = {"finding": 0, "_finding": 1, "Finding": 2, "Cause": 0, "fault": 0, "Fault": 0}
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        name = getattr(getattr(node, "func", None), "attr", None) or getattr(
            getattr(node, "func", None), "id", None
        )
        if isinstance(node, ast.Call) and name in at:
            given = node.args[at[name] :][:1]
            yield from (a.value for a in given if isinstance(a, ast.Constant))


SAYING = [
    file
    for folder in ("judge", "check")
    for file in sorted((HOME / folder).rglob("*.py"))
    if file.name not in ("codes.py", "examples.py")
]


def test_every_code_that_is_said_is_known():
    said = {code for file in SAYING for code in said_codes(file)}
    assert len(said) > len(CODES) / 2
    assert said - {"scale"} <= CODES.keys()  # a fault of that name gets its code from its number


def test_every_code_is_said_somewhere():
    written = set().union(*map(words_of, SAYING))
    assert CODES.keys() <= written


def test_no_code_is_the_name_of_an_operator_or_a_backward():
    assert not CODES.keys() & OPS.keys()
    assert not any(code.startswith("back_") for code in CODES)


@every_code
def test_its_page_fits_and_says_all_that_is_known(code, command):
    done = command("explain", code)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    said = " ".join(done.stdout.split())
    assert CODES[code].meaning in said
    assert CODES[code].advice in said
    if code in WITHOUT:
        assert WITHOUT[code] in said
        return
    example = EXAMPLES[code]
    assert " ".join(example.wrong.split()) in said
    assert " ".join(example.mended.split()) in said
    assert f"[{code}; " in said


def test_a_page_without_a_verdict_asks_no_judge(command):
    done = command("explain", "mean-for-sum", "--no-verdict")
    assert done.exit_code == 0
    assert "grad_out.mean(0)" in done.stdout
    assert "\njudge" not in done.stdout


def test_a_code_is_known_in_any_case_and_a_misspelt_one_is_answered_with_the_nearest(command):
    assert command("explain", "Missing-Factor", "--no-verdict").exit_code == 0
    done = command("explain", "mean-for-sun")
    assert done.exit_code == 2
    assert "did you mean mean-for-sum" in done.stderr


def test_the_list_has_every_code_and_what_it_means(command):
    done = command("list", "--codes")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    begins = [line.split(" ")[0] for line in done.stdout.splitlines()]
    assert [word for word in begins if word in CODES] == list(CODES)
    said = " ".join(done.stdout.split())
    assert all(code.meaning in said for code in CODES.values())


def test_the_list_of_codes_imports_no_torch():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from manual_backprop.cli import main\n"
        "main(['list', '--codes'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_codes_that_the_page_on_functions_names_exist():
    page = (ROOT / "docs/functions.md").read_text("utf-8")
    table = page.partition("| a backward that | code |\n")[2].partition("\n\n")[0]
    named = [row.rsplit("|", 2)[1].split("`")[1] for row in table.splitlines()[1:]]
    assert len(named) >= 8
    assert set(named) <= CODES.keys()
