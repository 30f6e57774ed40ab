"""The operator's page and the list of operators: complete, in order, read from the files."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.op import BadOp
from manual_backprop.registry import OPS, learning_order, read_first
from manual_backprop.report import as_page
from tests.every import every_op

ROOT = Path(__file__).parents[1]


@pytest.fixture
def command():
    return lambda *words: CliRunner().invoke(main, words)


@every_op
def test_a_page_shows_the_whole_file(op, command):
    done = command("explain", op.name, "--no-verdict")

    assert done.exit_code == 0, done.output
    page = done.output.splitlines()
    assert page.index(as_page.legend(op).splitlines()[0]) > page.index("Derivation") + 1
    end = "E" if "\n    L = " in as_page.docstring(op) else "L"  # a loss is no end of its own
    assert f"x̄ is ∂{end}/∂x" in done.output
    for line in as_page.docstring(op).splitlines():
        assert line in done.output or line.startswith("Read first: ")
    for name in read_first(op):
        assert re.search(rf"^Read first: .*\b{name}\b", done.output, re.MULTILINE)
    for function in (op.forward, *op.backwards):
        assert inspect.getsource(inspect.unwrap(function)).strip() in done.output
    saved = done.output.split("What the forward has to save for each backward")[1]
    for backward in op.backwards:
        row = saved.partition(f"{backward.__name__} ")[2].split("\nback_")[0]
        for name in op.saves(backward) or ("nothing",):
            assert re.search(rf"\b{name}\b", row), f"{backward.__name__} saves {name}"


def test_a_page_shows_where_the_names_in_its_code_are_from():
    borrowed = as_page.code(OPS["two_layer"]).split("\n\n")[0]
    assert "from manual_backprop.ops.lin import back_lin, back_lin_broadcast, lin" in borrowed
    assert "manual_backprop.op " not in borrowed
    assert as_page.code(OPS["relu"]).startswith("X = ")


def test_a_page_ends_in_the_verdict(command):
    done = command("explain", "tanh")
    assert done.exit_code == 0
    assert "all 3 backwards" in done.output
    assert "float16" in done.output


def test_a_backward_leads_to_its_operator(command):
    page = command("explain", "back_lin_einsum", "--no-verdict")
    assert page.output == command("explain", "lin", "--no-verdict").output


def test_an_unknown_name_is_answered_with_the_nearest(command):
    done = command("explain", "softmx")
    assert done.exit_code == 2
    assert "did you mean softmax" in done.stderr


def test_the_list_has_every_operator_after_what_to_read_first(command):
    done = command("list")
    assert done.exit_code == 0
    order = [op.name for op in learning_order()]
    assert sorted(order) == sorted(OPS)
    rows = [line.split()[0] for line in done.output.splitlines() if re.match(r" \S", line)]
    assert [word for word in rows if word in OPS] == order
    for name in order:
        assert all(order.index(first) < order.index(name) for first in read_first(OPS[name]))
    assert set(read_first(OPS["two_layer"])) >= {"lin", "relu", "mse"}


def test_the_list_tells_networks_from_operators_and_what_they_are_made_of():
    for op in OPS.values():
        network = "networks" in op.forward.__module__
        assert as_page.formula(op).startswith("network: ") is network
    assert as_page.formula(OPS["relu"]) == "y = max(x, 0)"
    said = "network: three linear layers with relu between them, and cross-entropy"
    assert as_page.formula(OPS["classifier"]) == said


@pytest.mark.parametrize(
    ("first", "said"),
    [("relo", "\"Read first:\" names 'relo'"), ("two_layer", "runs in a circle: ")],
)
def test_a_wrong_line_of_what_to_read_first_is_named(first, said, monkeypatch, command):
    module = inspect.getmodule(inspect.unwrap(OPS["relu"].forward))
    monkeypatch.setattr(module, "__doc__", f"{module.__doc__}\nRead first: {first}\n")
    with pytest.raises(BadOp, match=said):
        learning_order()
    assert command("list").exit_code == 2


def test_an_annotated_op_is_shown_as_well(monkeypatch, command):
    text = inspect.getsource(inspect.getmodule(inspect.unwrap(OPS["relu"].forward)))
    monkeypatch.setattr(inspect, "getsource", lambda _: text.replace("OP = Op(", "OP: Op = Op("))
    assert as_page.code(OPS["relu"]).endswith("return grad_out")


@pytest.mark.process
def test_pages_can_be_written_where_the_encoding_lacks_letters():
    done = subprocess.run(
        [sys.executable, "-m", "manual_backprop", "explain", "lin", "--no-verdict"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    assert done.returncode == 0, done.stderr
    assert "x̄ = ȳ wᵀ" in done.stdout.decode("utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_exit_2_and_a_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "manual_backprop", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 2
    assert done.stderr == "Error: cannot write to standard output: No space left on device\n"
