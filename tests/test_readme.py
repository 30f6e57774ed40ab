"""What the README shows is what there is."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from manual_backprop import verify_function
from manual_backprop.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_operator_shown_whole_is_the_file():
    assert (ROOT / "manual_backprop/ops/relu.py").read_text("utf-8") in blocks("python")


def test_the_six_lines_print_what_stands_below_them():
    _, function, judging, *_ = blocks("python")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(function + judging, "README.md", "exec"), {})
    assert said.getvalue() == blocks("text")[2]
    assert len([line for line in judging.splitlines() if line]) == 6


def test_the_function_of_autograd_shown_is_right():
    _, function, judging, swish, test = blocks("python")
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(function + judging + swish + test, "README.md", "exec"), names)
    names["test_swish"](lambda *given, **named: verify_function(*given, **named).raise_if_wrong())


@pytest.mark.parametrize("block", [1, 3])
def test_the_table_shown_has_the_rows_that_the_command_prints(block):
    shown = blocks("text")[block].splitlines()
    command = shown[0].removeprefix("$ uv run manual-backprop ").split()
    printed = CliRunner().invoke(main, command).output.splitlines()

    def words(lines):
        return [re.sub(r"[-+0-9.e,]+", "0", line).split() for line in lines if line.strip()]

    assert words(shown[2:]) == words(printed[1:])


def test_the_two_commands_stand_at_the_top():
    first = blocks("sh")[0].splitlines()
    assert first[0].startswith("pip install uv && uv run manual-backprop verify")
    assert first[1].startswith("uv run pytest")
