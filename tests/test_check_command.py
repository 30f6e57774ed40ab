"""`manual-backprop check` from the shell: the process that a file runs in, and how it may end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from manual_backprop.check import process
from manual_backprop.check.command import schema, status
from manual_backprop.check.process import judge
from manual_backprop.cli import main

RIGHT = "def back_relu(x, grad_out):\n    return (x > 0) * grad_out\n"
WRONG = "def back_relu(x, grad_out):\n    return 2 * (x > 0) * grad_out\n"
ENDS = {
    "exit": "import os\ndef back_relu(x, grad_out):\n    os._exit(0)\n",
    "crash": "import ctypes\ndef back_relu(x, grad_out):\n    return ctypes.string_at(0)\n",
    "flood": "def back_relu(x, grad_out):\n    while True:\n        print('flood ' * 1000)\n",
    "input": "name = input()\n",
    "right": "print('hello')\n" + RIGHT,
}
BESIDE = {  # what a right function may do to its process
    "closed": "import os, sys\nsys.stdout.close()\nos.close(1)\n" + RIGHT,
    "none": "import sys\nsys.stdout = sys.stderr = None\n" + RIGHT,
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
    + RIGHT,
    "atexit": "import atexit, time\natexit.register(time.sleep, 99)\n" + RIGHT,
    "gone": "import os\nos.remove(__file__)\nos.chdir('/')\n" + RIGHT,
    "lambda": "back_relu = lambda x, grad_out: (x > 0) * grad_out\n",
}


def request(file):
    return {
        "file": str(file), "function": None, "of": None, "thorough": False, "solution": False,
        "test": False,
    }  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Files that end their process one after the other, and what is said of each."""
    folder = tmp_path_factory.mktemp("ends")
    for name, text in ENDS.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    found = judge([request(folder / f"{name}.py") for name in ENDS], 5.0)
    return dict(zip(ENDS, found, strict=True))


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [("exit", "crash", ""), ("crash", "crash", "crash.py:3"), ("flood", "timeout", "flood.py:3")],
)
@pytest.mark.process
def test_a_function_that_ends_its_process_is_a_finding(name, code, line, answers):
    (found,) = answers[name]["functions"]
    assert [finding["code"] for finding in found["findings"]] == [code]
    assert line in found["findings"][0]["message"]
    assert found["function"] == "back_relu"
    assert status(answers[name]) == 1


SOFTMAX = (
    "def back_softmax(out, grad_out):\n"
    "    return out * (grad_out - (grad_out * out).sum(-1, keepdim=True))\n"
)
CROSS_ENTROPY = (
    "import torch\n"
    "def back_cross_entropy(logits, target, grad_out):\n"
    "    p = torch.softmax(logits, 1)\n"
    "    p[torch.arange(len(target)), target] -= 1\n"
    "    return p * grad_out{}\n"
)
FILES = {
    "relu": RIGHT,
    "softmax": SOFTMAX,
    "wrong_softmax": SOFTMAX.replace("sum", "mean"),
    "cross_entropy": CROSS_ENTROPY.format(" / max(len(target), 1)"),
    "wrong_cross_entropy": CROSS_ENTROPY.format(""),
    "sqrt": "def back_sqrt(out, grad_out):\n    return grad_out / (2 * out)\n",
}


@pytest.mark.process
def test_judging_imports_neither_sympy_nor_the_compiler(tmp_path):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "from manual_backprop.check.child import main\n"
        f"for request in {[request(tmp_path / f'{name}.py') for name in FILES]!r}:\n"
        "    (found,) = main(request, lambda now: None)['functions']\n"
        "    late = {'sympy', 'torch._dynamo', 'torch._inductor'} & (set(sys.modules) - before)\n"
        "    print(found['ok'], sorted(late))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{'wrong' not in name} []" for name in FILES]


def test_the_command_itself_imports_no_torch(tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT, "utf-8")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from manual_backprop.cli import main\n"
        f"main(['check', {str(tmp_path / 'mine.py')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8",
        check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "right" in done.stdout


def test_what_a_right_function_does_besides_does_not_accuse_it(tmp_path):
    for name, text in BESIDE.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    found = judge([request(tmp_path / f"{name}.py") for name in BESIDE], 30.0)
    assert {name: status(answer) for name, answer in zip(BESIDE, found, strict=True)} == (
        dict.fromkeys(BESIDE, 0)
    )


@pytest.mark.skipif(os.name == "nt", reason="there are no sessions")
@pytest.mark.process
def test_what_has_left_the_session_is_not_waited_for(tmp_path):
    text = (
        "import os, pathlib, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "    os._exit(0)\n"
    )
    (tmp_path / "mine.py").write_text(text + RIGHT, "utf-8")
    (answer,) = judge([request(tmp_path / "mine.py")], 30.0)
    assert status(answer) == 0
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it is still there


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize(("number", "name"), [(15, "SIGTERM"), (40, "signal 40")])
@pytest.mark.process
def test_a_signal_is_told_by_its_name_or_its_number(number, name, tmp_path):
    text = f"import os\ndef back_relu(x, grad_out):\n    os.kill(os.getpid(), {number})\n"
    (tmp_path / "mine.py").write_text(text, "utf-8")
    (answer,) = judge([request(tmp_path / "mine.py")], 30.0)
    assert name in answer["functions"][0]["findings"][0]["message"]


def test_a_flood_is_cut_short(answers):
    assert 0 < len(answers["flood"]["printed"]) <= process.PRINTED + 4


def test_nobody_answers_input(answers):
    assert "input()" in answers["input"]["refused"]


def test_one_that_ends_its_process_leaves_the_next_alone(answers):
    assert status(answers["right"]) == 0
    assert answers["right"]["printed"] == "hello"


def test_an_endless_import_is_refused(tmp_path):
    (tmp_path / "loop.py").write_text("while True:\n    pass\n", "utf-8")
    (answer,) = judge([request(tmp_path / "loop.py")], 0.5)
    assert status(answer) == 2
    assert "loop.py:" in answer["refused"]


def test_ctrl_c_ends_the_process_and_is_told(tmp_path, monkeypatch):
    children = []

    def stopped(child, *_):
        children.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_waited", stopped)
    (tmp_path / "mine.py").write_text(RIGHT, "utf-8")
    done = CliRunner().invoke(main, ["check", str(tmp_path / "mine.py")])
    assert done.exit_code == 2
    assert "Ctrl-C" in done.output
    assert children[0].returncode is not None


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is no signal there")
@pytest.mark.process
def test_watch_checks_again_at_a_save_until_ctrl_c(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(RIGHT, "utf-8")
    root = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-m", "manual_backprop", "check", str(file), "--watch"],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"},
    ) as watching:
        before = said_until(watching, "watching")
        time.sleep(0.01)  # another time of change
        file.write_text(WRONG, "utf-8")
        after = said_until(watching, "watching")
        watching.send_signal(signal.SIGINT)
        rest = watching.stdout.read()
    assert any(line.startswith("right") for line in before)
    assert any(line.startswith("wrong") for line in after)
    assert "Traceback" not in rest
    assert watching.returncode == 1


def said_until(child, word):
    lines = []
    while line := child.stdout.readline():
        lines.append(line)
        if line.startswith(word):
            return lines
    pytest.fail("".join(lines))


@pytest.fixture
def canned(monkeypatch, tmp_path):
    """The command, with an answer instead of a process."""

    def run(answer, *words):
        monkeypatch.setattr("manual_backprop.check.command.judge", lambda *_: [answer])
        (tmp_path / "mine.py").write_text(RIGHT, "utf-8")
        return CliRunner().invoke(main, ["check", str(tmp_path / "mine.py"), *words])

    return run


def test_json_is_the_record_and_nothing_else(canned, learner):
    answer = learner.check(WRONG)
    done = canned(answer, "--json")
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema())
    assert done.exit_code == 1
    assert not report["ok"]
    assert report["functions"][0]["findings"][0]["code"] == "factor"
    refused = json.loads(canned({"refused": "why", "printed": ""}, "--json").stdout)
    jsonschema.validate(refused, schema())
    assert refused["refused"] == "why"


@pytest.mark.parametrize(
    "words",
    [["no.py"], ["."], ["mine.py", "--of", "rellu"], ["mine.py", "--watch"], ["--nothing"], []],
)
def test_json_is_a_record_where_the_command_is_wrong(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(RIGHT, "utf-8")
    done = CliRunner().invoke(main, ["check", *words, "--json"])
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema())
    assert done.exit_code == 2
    assert report["refused"]
    assert report["file"] == ("" if not words or words[0].startswith("-") else words[0])


@pytest.mark.parametrize(("text", "expected"), [(RIGHT, 0), (WRONG, 1), ("x = 1\n", 2)])
def test_the_exit_status_is_that_of_verify(text, expected, canned, learner):
    assert canned(learner.check(text)).exit_code == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.py"], "no file"),
        (["main.py"], "mine.py"),
        (["."], "folder"),
        (["mine.txt"], ".py"),
        ([f"{'long' * 100}.py"], "cannot be looked at"),
        (["mine.py", "--of", "rellu"], "relu"),
        (["mine.py", "--hints", "5"], "--hints"),
        (["mine.py", "--timeout", "0"], "--timeout"),
        (["mine.py", "--timeout", "nan"], "--timeout"),
        (["mine.py", "--timeout", "inf"], "--timeout"),
    ],
)
def test_a_mistake_in_the_command_is_told(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(RIGHT, "utf-8")
    done = CliRunner().invoke(main, ["check", *words])
    assert done.exit_code == 2
    assert said in done.output.splitlines()[-1]
