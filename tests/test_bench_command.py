"""The command line of the benchmark: what it writes, and how it ends."""

import json
import subprocess
import sys

import jsonschema
import pytest
import torch
from click.testing import CliRunner

from manual_backprop.bench import command
from manual_backprop.bench.as_json import schema
from manual_backprop.bench.case import by_hand
from manual_backprop.bench.cases import CASES
from manual_backprop.cli import main
from tests.doubling import ALSO, MACHINE, RIGHT, WRONG, case_of


@pytest.fixture
def invoke(monkeypatch):
    """The command with a machine that need not be measured, and a case of its own."""
    monkeypatch.setattr("manual_backprop.bench.machine.measured", lambda *_: MACHINE)

    def run(*words, **cases):
        for name, case in cases.items():
            monkeypatch.setitem(CASES, name, case)
        return CliRunner().invoke(main, ["bench", *words])

    return run


def test_the_command_writes_a_table_and_json_by_the_schema(invoke, tmp_path):
    file = tmp_path / "bench.json"
    done = invoke("lin-backward-small", "--quick", "--json", str(file))
    assert done.exit_code == 0, done.output
    assert done.stderr == "timing lin-backward-small ...\n"
    fields = json.loads(file.read_text("utf-8"))
    jsonschema.validate(fields, schema())
    assert fields["ok"]
    (case,) = fields["cases"]
    assert case["outcome"] in done.stdout
    assert [o["opponent"] for o in case["opponents"]] == [
        "by hand",
        "by hand, allocating",
        "einsum",
        "broadcast",
        "autograd",
    ]
    assert json.loads(invoke("doubling", "--json", "-", doubling=case_of(RIGHT, ALSO)).stdout)["ok"]


def test_a_wrong_kernel_is_exit_1(invoke):
    done = invoke("doubling", "--quick", doubling=case_of(RIGHT, WRONG))
    assert done.exit_code == 1
    assert "wrong, and not timed: doubling wrong one" in done.stdout


def test_ctrl_c_ends_with_a_sentence_and_what_was_timed(invoke):
    def stop(x):
        raise KeyboardInterrupt

    cases = {"zz": case_of(by_hand(stop), name="zz"), "doubling": case_of(RIGHT, ALSO)}
    done = invoke("doubling", "zz", "--quick", **dict(reversed(cases.items())))
    assert done.exit_code == 1
    assert done.stderr.endswith("Error: stopped in zz; 1 of 2 cases were timed\n")
    assert "doubling" in done.stdout
    done = invoke("zz", "--quick", "--json", "-")
    assert done.stderr.endswith("0 of 1 cases were timed, and no report is written\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mnist-stp"], "no case 'mnist-stp'; did you mean mnist-step"),
        (["zzz"], "no case 'zzz'; --list names them"),
        (["--device", "meta"], "meta"),
        (["--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--threads", "0"], "0 is not in the range"),
        (["--json", "/no/such/folder/out.json"], "no folder /no/such/folder"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_a_sentence(invoke, words, said):
    done = invoke(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_a_group_asks_for_its_cases_and_the_list_names_them(invoke):
    assert [case.name for case in command._chosen(("Softmax-VJP", "softmax-vjp-50"))] == [
        "softmax-vjp-10",
        "softmax-vjp-50",
        "softmax-vjp-1000",
    ]
    done = invoke("--list")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in CASES)


def test_threads_are_those_that_were_asked_for(invoke):
    before = torch.get_num_threads()
    try:
        done = invoke("doubling", "--threads", "3", "--json", "-", doubling=case_of(RIGHT, ALSO))
        assert json.loads(done.stdout)["environment"]["threads"] == 3
    finally:
        torch.set_num_threads(before)


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom manual_backprop.cli import main\n"
        "done = CliRunner().invoke(main, ['bench', '--help'])\n"
        "print(done.exit_code, '--quick' in done.output, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "False"]
