"""The rules of the house that a reviewer should not have to repeat."""

import inspect
import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import manual_backprop
from manual_backprop.judge.draw import ARTICLE, Variant, axes
from manual_backprop.judge.point import point
from manual_backprop.judge.promises import Calls
from manual_backprop.judge.trial import Trial
from manual_backprop.op import BadOp, Op
from manual_backprop.registry import load, read_first
from scripts.make_stub import STUB, stub
from tests.every import every_op

ROOT = Path(__file__).parents[1]


def file_of(op):
    return Path(inspect.getfile(inspect.unwrap(op.forward))).relative_to(ROOT).as_posix()


@every_op
def test_no_two_backwards_compute_by_the_same_calls(op):
    for sample in op.samples:
        if sample == ARTICLE:
            continue
        here = point(op, Variant(sample), torch.float64, 0)
        calls = {}
        for backward in op.backwards:
            trial = Trial(inspect.unwrap(backward), here, "cpu", "contiguous")
            trial.watch = seen = Calls()
            trial.call()
            calls[backward.__name__] = seen.names
        for one, other in combinations(calls, 2):
            assert calls[one] != calls[other], (
                f"{file_of(op)}: {one} and {other} compute by the same calls on sample {sample!r} "
                f"({', '.join(calls[one])}): leave one of them out"
            )


def is_prime_of_at_least_3(size):
    return size >= 3 and all(size % divisor for divisor in range(2, size))


@every_op
def test_axis_sizes_are_distinct_primes_so_that_no_two_shapes_agree_by_chance(op):
    for name in op.samples:
        sizes, sample = axes(op, name), f"{file_of(op)}: sample {name!r}"
        assert sizes or name == ARTICLE, (
            f"{sample} has no axis: give it at least one, as in lambda rand, n=11: ..."
        )
        for axis, size in sizes.items():
            assert is_prime_of_at_least_3(size), (
                f"{sample} has axis {axis} = {size}: give every axis another prime of at least 3"
            )
        for one, other in combinations(sizes, 2):
            assert sizes[one] != sizes[other], (
                f"{sample} has axes {one} and {other} = {sizes[one]}: "
                "give every axis another prime of at least 3"
            )


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (lambda rand: (rand(11),), "has no axis: give it at least one"),
        (lambda rand, n=11, i=4: (rand(n, i),), "has axis i = 4: give every axis another prime"),
        (lambda rand, n=7, i=7: (rand(n, i),), "has axes n and i = 7: give every axis another"),
    ],
    ids=["none", "four", "equal"],
)
def test_wrong_axis_sizes_are_told_with_file_and_sample(sample, said):
    def same(x):
        return x

    def back_same(grad_out):
        return grad_out

    wrong = Op(forward=same, backwards=(back_same,), samples={"odd": sample}, wrt=("x",))
    with pytest.raises(AssertionError, match=f"tests/test_house.py: sample 'odd' {said}"):
        test_axis_sizes_are_distinct_primes_so_that_no_two_shapes_agree_by_chance(wrong)


@every_op
def test_every_file_derives_what_it_computes(op):
    text = inspect.getmodule(inspect.unwrap(op.forward)).__doc__ or ""
    assert text.startswith(f"{op.name}: "), (
        f'{file_of(op)}: the docstring begins with {text[:20]!r}: begin it with "{op.name}: "'
    )
    assert "\nDerivation\n" in text, (
        f"{file_of(op)}: the docstring has no derivation: give it one of four lines under a line "
        '"Derivation", as in manual_backprop/ops/relu.py'
    )
    read_first(op)
    assert "\nSource: " in text, (
        f"{file_of(op)}: the docstring does not say where the formula is from: end it with a line "
        '"Source: AUTHORS, TITLE (YEAR), SECTION"'
    )
    for function in (op.forward, *op.backwards):
        assert function.__doc__, (
            f"{file_of(op)}: {function.__name__} has no docstring: write its formula there"
        )


@every_op
def test_every_backward_is_named_after_its_operator(op):
    for backward in op.backwards:
        name, fused = backward.__name__, f"{op.name}_and_grad"
        assert name.startswith(f"back_{op.name}") or name.rstrip("_") == fused, (
            f"{file_of(op)}: {name} is a backward of {op.name}: call it back_{op.name}_<how>, or "
            f"{fused} where it returns the forward's result as well"
        )


LONGEST = 300  # lines


def test_no_file_is_longer_than_can_be_read_at_once():
    folders = ("manual_backprop", "tests", "scripts", "data", "examples")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    for file in (ROOT / "conftest.py", *sorted(files)):
        lines = len(file.read_text("utf-8").splitlines())
        assert lines <= LONGEST, (
            f"{file.relative_to(ROOT).as_posix()} has {lines} lines: split it where its reader "
            f"would, so that no part has more than {LONGEST}"
        )


def test_shapes_are_checked_while_testing():
    with pytest.raises(TypeCheckError):
        manual_backprop.lin(torch.ones(11, 7), torch.ones(5, 7), torch.ones(5))


def test_the_stub_is_fresh():
    if STUB.read_text("utf-8") != stub():
        pytest.fail(
            "manual_backprop/__init__.pyi does not list the public functions that there are: "
            "run `uv run python -m scripts.make_stub`"
        )


def test_every_public_name_can_be_imported():
    for name in dir(manual_backprop):
        assert getattr(manual_backprop, name) is not None
    with pytest.raises(AttributeError, match="back_lim"):
        _ = manual_backprop.back_lim


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_importing_the_package_or_its_cli_imports_neither_torch_nor_an_operator():
    code = (
        "import sys, manual_backprop, manual_backprop.cli\n"
        "print([m for m in sys.modules if m == 'torch' or m.startswith('manual_backprop.ops')])"
    )
    assert run(code).stdout.strip() == "[]"


@pytest.mark.process
def test_verifies_where_torchvision_cannot_be_imported():
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from manual_backprop import OPS, verify\n"
        "print(verify(OPS['relu'], seeds=(0,)).ok)"
    )
    done = run(code)
    assert done.stdout.strip() == "True", done.stderr


NEW = '''
"""double: twice every entry.

Derivation
    dy = 2 dx
"""

import torch

from manual_backprop.op import Op


def double(x: torch.Tensor) -> torch.Tensor:
    """y = 2 x."""
    return 2 * x


def back_double(grad_out: torch.Tensor) -> torch.Tensor:
    """x̄ = 2 ȳ."""
    return 2 * grad_out


OP = Op(
    forward=double,
    backwards=(back_double,),
    samples={"row": lambda rand, n=11: (rand(n),)},
    wrt=("x",),
    oracle=lambda x: x + x,
)
'''


@pytest.fixture
def copy(tmp_path):
    for name in ("manual_backprop", "tests", "scripts", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "conftest.py", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.process
def test_one_new_file_is_a_new_operator_with_its_tests_and_its_row(copy):
    (copy / "manual_backprop/ops/double.py").write_text(NEW, encoding="utf-8")
    python = [sys.executable, "-m"]
    quiet = {"cwd": copy, "capture_output": True, "text": True, "check": False}
    quiet["env"] = {**os.environ, "PYTHONPATH": str(copy)}

    tests = subprocess.run(
        [*python, "pytest", "-q", "-k", "back_double and float32 and not spoiling"], **quiet
    )
    verified = subprocess.run([*python, "manual_backprop", "verify", "double"], **quiet)

    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert " passed" in tests.stdout
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "back_double" in verified.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "fresh_ops/double.py has no operator; end it with OP = Op("),
        (
            NEW.replace("def double", "def twice").replace("=double", "=twice"),
            "name the file twice",
        ),
        (NEW.replace('wrt=("x",)', 'wrt=("y",)'), "fresh_ops/double.py: double: wrt"),
    ],
    ids=["empty", "name", "field"],
)
def test_a_wrong_file_stops_the_import_with_what_to_mend(text, words, tmp_path, monkeypatch):
    (tmp_path / "fresh_ops").mkdir()
    (tmp_path / "fresh_ops/double.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("fresh_ops", "fresh_ops.double"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(BadOp) as caught:
        load("fresh_ops", "double")

    assert words in str(caught.value)


@pytest.mark.process
def test_the_command_line_passes_that_sentence_on(copy):
    (copy / "manual_backprop/ops/double.py").write_text("", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "manual_backprop", "verify"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: manual_backprop/ops/double.py has no operator")
