"""The command line: what it prints, what it writes, and how it ends."""

import io
import json
import subprocess
import sys

import jsonschema
import pytest
import torch
from click.testing import CliRunner
from rich.progress import TimeElapsedColumn

from manual_backprop.cli import main
from manual_backprop.commands import DTYPES
from manual_backprop.judge.verdict import Finding, Tally, Verdict
from manual_backprop.judge.verify import DTYPES as JUDGED_DTYPES
from manual_backprop.op import Op
from manual_backprop.registry import OPS
from manual_backprop.report.as_json import schema
from manual_backprop.report.as_table import progress_bar, show
from manual_backprop.report.console import Report


@pytest.fixture
def command():
    return lambda *words: CliRunner().invoke(main, words)


@pytest.fixture
def one_wrong(monkeypatch):
    def square(x):
        return x * x

    def back_square(x, grad_out):
        return 2 * x * grad_out

    def back_square_off(x, grad_out):
        return 2.1 * x * grad_out

    op = Op(
        forward=square,
        backwards=(back_square, back_square_off),
        samples={"row": lambda rand, n=11: (rand(n),)},
        wrt=("x",),
        oracle=torch.square,
    )
    monkeypatch.setitem(OPS, "square", op)


def test_all_right_is_exit_0_and_the_json_says_the_same(command, tmp_path):
    file = tmp_path / "out.json"
    done = command("verify", "relu", "mse", "--dtype", "float64,float16", "--json", str(file))

    assert done.exit_code == 0, done.output
    report = json.loads(file.read_text("utf-8"))
    jsonschema.validate(report, schema())
    assert report["ok"]
    names = [record["backward"] for record in report["backwards"]]
    assert names == [back.__name__ for name in ("relu", "mse") for back in OPS[name].backwards]
    for record in report["backwards"]:
        assert record["backward"] in done.output
        assert record["ok"]
        assert record["cases"] == sum(part["cases"] for part in record["dtypes"].values()) > 0
        assert set(record["dtypes"]) == {"float64", "float16"}
        for part in record["dtypes"].values():
            assert 0 <= part["error"] <= part["allowed"]


def test_a_wrong_gradient_is_exit_1_and_only_its_row_is_wrong(command, one_wrong, tmp_path):
    file = tmp_path / "out.json"
    done = command("verify", "square", "--dtype", "float32", "--json", str(file))

    assert done.exit_code == 1
    assert "1 of 2 backwards is wrong: back_square_off" in done.output
    report = json.loads(file.read_text("utf-8"))
    jsonschema.validate(report, schema())
    assert {record["backward"]: record["ok"] for record in report["backwards"]} == {
        "back_square": True,
        "back_square_off": False,
    }
    (finding,) = report["backwards"][1]["findings"]
    assert finding["gradient"] == "grad_x"
    assert finding["error"] > finding["allowed"]


def judged(done):
    return [record["backward"] for record in json.loads(done.stdout)["backwards"]]


def test_names_are_of_operators_or_backwards_in_any_case(command):
    only = ("--dtype", "float64", "--json", "-")
    assert judged(command("verify", "back_lin_einsum", *only)) == ["back_lin_einsum"]
    assert judged(command("verify", "Back_ReLU_", "MSE", "back_relu", *only)) == [
        "back_relu",
        "back_relu_",
        "back_mse",
        "back_mse_steps",
        "mse_and_grad_",
    ]


def test_an_option_may_be_given_several_times(command):
    twice = ("--dtype", "float64", "--dtype", "float16,float64", "--device", "cpu")
    done = command("verify", "back_relu", *twice, "--device", "cpu", "--json", "-")
    report = json.loads(done.stdout)
    assert list(report["backwards"][0]["dtypes"]) == ["float64", "float16"]
    assert list(report["environment"]["devices"]) == ["cpu"]


@pytest.mark.parametrize("words", [(), ("--json", "-")])
@pytest.mark.process
def test_a_pipe_that_is_closed_early_ends_quietly_with_the_right_status(words):
    command = [sys.executable, "-m", "manual_backprop", "verify", "back_relu", "--dtype", "float64"]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0
    assert words or said == "judging relu ...\n"
    assert "rror:" not in said


@pytest.mark.parametrize(
    ("count", "wrong", "said"),
    [
        (1, 0, "the backward is right in 3 cases"),
        (1, 1, "the backward is wrong: back_0"),
        (2, 0, "all 2 backwards of square are right in 6 cases"),
        (2, 1, "1 of 2 backwards is wrong: back_0"),
        (3, 2, "2 of 3 backwards are wrong: back_0, back_1"),
    ],
)
def test_one_is_not_several(count, wrong, said):
    names = [f"back_{i}" for i in range(count)]
    verdict = Verdict("square", dict.fromkeys(names, ("x",)))
    verdict.cells.update({(name, "float64", "cpu"): Tally(3, 0.0, 1.0) for name in names})
    verdict.findings.extend(
        Finding(name, "grad_x", "sign", "is negative") for name in names[:wrong]
    )
    assert shown(verdict).splitlines()[-1] == said


def shown(verdict, **terminal):
    file = io.StringIO()
    show(Report(file=file, width=80, **terminal), [verdict], ["float64"])
    return file.getvalue()


def test_a_long_note_is_one_line_for_grep_and_broken_between_words_in_a_terminal():
    words = " ".join(f"word{i}" for i in range(40))
    verdict = Verdict("square", {"back_square": ("x",)})
    verdict.notes.append(Finding("square", "", "unstable", words))

    assert f"note  square: {words} [unstable]\n" in shown(verdict)
    lines = shown(verdict, force_terminal=True, color_system=None).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("note  square: word0 "))
    assert all(len(line) < 80 for line in lines[first:])
    assert lines[first + 1].startswith(" " * 8 + "word")


def test_json_can_go_to_standard_output(command):
    done = command("verify", "relu", "--dtype", "float64", "--json", "-")
    assert done.exit_code == 0
    jsonschema.validate(json.loads(done.stdout), schema())
    assert "back_relu" in done.stderr


def test_another_seed_draws_other_numbers_and_the_same_seed_the_same(command):
    def errors(seed):
        done = command("verify", "sigmoid", "--dtype", "float64", "--json", "-", "--seed", seed)
        return [record["dtypes"] for record in json.loads(done.stdout)["backwards"]]

    assert errors("3") == errors("3")
    assert errors("3") != errors("4")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "softmx"], "no operator 'softmx'; did you mean softmax"),
        (["verify", "back_softmx"], "no backward 'back_softmx'; did you mean back_softmax"),
        (["verify", "zzz"], "no operator 'zzz'; manual-backprop list names them"),
        (["explain", "Zz.Z"], "no operator 'Zz.Z'; manual-backprop list names them"),
        (["verify", "--dtype", "float8"], "no 'float8'; there are float64,"),
        (["verify", "--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["verify", "--device", "toaster"], "device 'toaster' is not there"),
        (["verify", "--seed", "-1"], "-1 is not in the range"),
        (["verify", "--json", "/no/such/folder/out.json"], "no folder /no/such/folder"),
        (["verfy"], "No such command"),
        (["verify", "--frobnicate"], "No such option"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_a_sentence(command, words, said):
    done = command(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_where_no_progress_is_drawn_one_line_of_stderr_says_what_is_judged(command):
    only = ("--dtype", "float64", "--json", "-")
    assert command("verify", "relu", "mse", *only).stderr.count("judging 2 operators ...\n") == 1
    done = command("explain", "relu")
    assert done.stderr == "judging relu ...\n"
    assert "judging" not in done.stdout


def test_a_name_is_never_broken_and_at_80_columns_all_is_still_seen():
    long = "back_" + "a" * 26
    verdict = Verdict(
        "square", {long: ("x", "target", "ignore_index", "weights"), "back_square": ("x",)}
    )
    for dtype in DTYPES:
        verdict.cells[long, dtype, "cpu"] = Tally(9999, 1.0, 1.5)
    file = io.StringIO()
    show(Report(file=file, width=80), [verdict], DTYPES)
    lines = file.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    (row,) = (line for line in lines if long in line)
    assert row.split() == [long, *["1.0e+00"] * 4, "39,996", "ok"]
    assert any(line.startswith(" saves x, target, ignore_index, ") for line in lines)


def test_where_rounding_leaves_no_digit_a_sentence_says_what_that_means():
    verdict = Verdict("square", {"back_square": ("x",)})
    said = "Above 1: at that entry rounding leaves no right digit in this dtype, so only larger"
    for allowed in (1.0, 1.5):
        verdict.cells["back_square", "float64", "cpu"] = Tally(3, 0.5, allowed)
        assert (said in " ".join(shown(verdict).split())) is (allowed > 1)


def test_in_a_pipe_there_are_no_colours_and_no_progress(command):
    done = command("verify", "relu", "--dtype", "float64")
    assert "\x1b" not in done.output
    assert "\r" not in done.output
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[1:])


@pytest.mark.parametrize(
    ("terminal", "drawn"), [({}, False), ({"TERM": "dumb"}, False), ({"TERM": "xterm"}, True)]
)
def test_progress_is_drawn_only_where_it_can_be_wiped_away(terminal, drawn):
    file = io.StringIO()
    console = Report(file=file, force_terminal=bool(terminal), _environ=terminal)
    with progress_bar(console, TimeElapsedColumn()) as bar:
        bar.advance(bar.add_task("lin", total=1))
    assert ("lin" in file.getvalue()) is drawn
    assert bool(file.getvalue()) is drawn


def test_the_dtypes_that_may_be_asked_for_are_those_of_the_judge():
    assert [f"torch.{name}" for name in DTYPES] == [str(dtype) for dtype in JUDGED_DTYPES]


def test_help_names_the_commands_and_the_exit_status(command):
    assert "verify" in command("--help").output
    assert "Exit status" in command("verify", "-h").output
