"""Exercises: what a learner is given, and what becomes of the files that they write."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from manual_backprop.check import child
from manual_backprop.cli import main
from manual_backprop.exercise.write import ORDER, exercise_text, file_name, is_unwritten
from manual_backprop.registry import OPS

every_exercise = pytest.mark.parametrize("name", ORDER)


def solved(text, name):
    """The exercise with the house's own backward in it."""
    op = OPS[name]
    saves = [*op.saves(op.backwards[0]), "grad_out"]
    begin = text[: text.index(f"def back_{name}(")]
    call = ", ".join(f"{each}={each}" for each in saves)
    return (
        f"{begin}import manual_backprop\n\n"
        f"def back_{name}({', '.join(saves)}):\n"
        f"    return manual_backprop.back_{name}({call})\n"
    )


@every_exercise
def test_an_exercise_is_not_written_and_right_once_it_is(name, learner):
    text = exercise_text(name, learner.folder / file_name(name))
    assert is_unwritten(text, name)
    found = learner.only(text)
    assert [finding["code"] for finding in found["findings"]] == ["unwritten"]
    assert found["operator"] == name
    answer = solved(text, name)
    assert not is_unwritten(answer, name)
    assert learner.only(answer)["ok"]


@every_exercise
def test_an_exercise_keeps_the_forward_and_gives_nothing_of_the_solution_away(name):
    text = exercise_text(name, Path("exercises") / file_name(name))
    module = import_module(OPS[name].forward.__module__)
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    backwards = [function for function in functions if function.name.startswith("back_")]
    assert [backward.name for backward in backwards] == [f"back_{name}"]
    assert name in [function.name for function in functions]
    derivation = module.__doc__.partition("Derivation\n")[2].partition("\n\n")[0].splitlines()
    assert derivation[0] in text
    assert derivation[-1] not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The command line, judging in this process."""
    monkeypatch.chdir(tmp_path)

    def judge(requests, _):
        return [{**child.main(request, lambda _: None), "printed": ""} for request in requests]

    monkeypatch.setattr("manual_backprop.exercise.command.judge", judge)
    return lambda *words: CliRunner().invoke(main, ["exercise", *words])


@pytest.fixture
def solve(tmp_path, learner):  # which forgets what it imported
    def put(name, change=lambda text: text):
        file = tmp_path / "exercises" / file_name(name)
        file.write_text(change(solved(file.read_text("utf-8"), name)), "utf-8")

    return put


def test_one_goes_from_one_exercise_to_the_next(command, solve, tmp_path):
    folder = tmp_path / "exercises"
    assert command("next").exit_code == 0
    assert [file.name for file in folder.iterdir()] == [file_name("lin")]

    waiting = command("next")
    assert waiting.exit_code == 1
    assert "01_lin.py" in waiting.output

    solve("lin", lambda text: text.replace("return ", "return 2 * "))
    wrong = command("next")
    assert wrong.exit_code == 1
    assert "wrong" in wrong.output

    solve("lin")
    assert command("next").exit_code == 0
    assert {file.name for file in folder.iterdir()} >= {file_name("lin"), file_name("relu")}


def test_the_list_tells_right_wrong_unwritten_and_not_started(command, solve):
    for name in ("lin", "relu", "mse"):
        assert command("start", name).exit_code == 0
    solve("lin")
    solve("relu", lambda text: text.replace("return ", "return 2 * "))
    done = command("list")
    assert done.exit_code == 0
    states = dict(zip(ORDER, done.output.splitlines(), strict=False))
    for name, state in zip(ORDER, ("right", "wrong", "not written", "not started"), strict=False):
        assert states[name].startswith(state)
    assert all(len(line) <= 80 for line in done.output.splitlines())


def test_after_the_last_there_is_no_next(command, monkeypatch):
    for name in ORDER:
        command("start", name)
    monkeypatch.setattr("manual_backprop.exercise.command.is_unwritten", lambda *_: False)
    monkeypatch.setattr(
        "manual_backprop.exercise.command.judge",
        lambda requests, _: [{"functions": [], "skipped": [], "printed": ""} for _ in requests],
    )
    done = command("next")
    assert done.exit_code == 0
    assert "last" in done.output


def test_what_is_written_is_not_written_over(command, solve, tmp_path):
    command("start", "lin")
    solve("lin")
    file = tmp_path / "exercises" / file_name("lin")
    before = file.read_text("utf-8")
    again = command("start", "lin")
    assert again.exit_code == 2
    assert "--force" in again.output
    assert file.read_text("utf-8") == before
    assert command("start", "lin", "--force").exit_code == 0
    assert is_unwritten(file.read_text("utf-8"), "lin")


def test_an_unknown_exercise_and_a_folder_that_cannot_be_are_told(command, tmp_path):
    assert "lin" in command("start", "lim").output
    assert command("start", "lim").exit_code == 2
    (tmp_path / "taken").write_text("", "utf-8")
    taken = command("start", "lin", "--folder", "taken/deep")
    assert taken.exit_code == 2
    assert "cannot write" in taken.output


def test_a_file_that_cannot_be_read_is_told(command, monkeypatch):
    command("start", "lin")

    def refused(file, *_):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "read_text", refused)
    done = command("list")
    assert done.exit_code == 2
    assert "cannot read exercises" in done.output


def test_the_command_that_is_told_can_be_pasted(command):
    done = command("start", "lin", "--folder", "my own")
    assert "check 'my own/01_lin.py'" in done.output
