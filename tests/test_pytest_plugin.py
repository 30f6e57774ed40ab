"""The fixture `check_backward` in a project that is not this one."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.blocks import blocks_of

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/other_project"
PLUGIN = "-p", "manual_backprop.pytest_plugin"
pytest_plugins = ("pytester",)

MINE = """
import pytest
import torch
from manual_backprop import Op

ROWS = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}


def square(x):
    return x * x


def back_square(x, grad_out):
    return 2 * x * grad_out


def back_wrong(x, grad_out):
    return x * grad_out


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, grad_out):
        x, w = ctx.saved_tensors
        return -grad_out @ w.T, x.T @ grad_out


def test_right_op(check_backward):
    op = Op(square, (back_square,), ROWS, ("x",), torch.square)
    assert check_backward(op, dtypes=torch.float64).ok


def test_right_backward(check_backward):
    verdict = check_backward(
        back_square, forward=square, oracle=torch.square, samples=ROWS, dtypes=torch.float64
    )
    assert verdict.cases("back_square") > 10


def test_wrong_backward(check_backward):
    check_backward(back_wrong, forward=square, samples=ROWS, dtypes=torch.float64)


def test_wrong_function(check_backward):
    check_backward(
        Wrong,
        reference=torch.matmul,
        samples={"rows": lambda rand, n=11, i=7, o=5: (rand(n, i), rand(i, o))},
        dtypes=torch.float64,
    )


def test_nothing_left(check_backward):
    check_backward(back_square, forward=square, samples=ROWS, dtypes=torch.float32)


@pytest.mark.parametrize("given", [{}, {"forward": square}, {"reference": square, "forward": square,
                                   "samples": ROWS}])
def test_what_does_not_fit_together(check_backward, given):
    with pytest.raises(TypeError, match="check_backward: give an Op alone"):
        check_backward(back_square, **given)


def test_threads_are_as_they_were():
    assert torch.get_num_threads() == THREADS


THREADS = torch.get_num_threads()
"""


@pytest.fixture
def outside(pytester, monkeypatch):
    """Another project, where no plugin but those named is loaded."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def copy_example(pytester, change=lambda text: text):
    for file in EXAMPLE.glob("*.py"):
        text = change(file.read_text("utf-8"))
        pytester.path.joinpath(file.name).write_text(text, encoding="utf-8")


@pytest.mark.process
def test_what_is_right_passes_and_what_is_wrong_fails_with_its_cause(outside):
    outside.makepyfile(test_mine=MINE)
    copy_example(outside)
    xdist = "-p", "xdist", "-n", "1"  # one process is enough: what it says has to come through

    done = outside.runpytest_subprocess(*PLUGIN, *xdist, "--backward-dtype", "float64", "-rs")

    done.assert_outcomes(passed=6 + 4, failed=2, skipped=1)
    done.stdout.fnmatch_lines_random(
        [
            "E*WrongGradient: square: 1 finding",
            "E*back_wrong: grad_x: got *factor; rows, float64*",
            "E*grad_x: it is 1/2 times what it should be*",
            "E*Wrong.backward: grad_x: got *sign; rows, float64*",
            "test_mine.py:*WrongGradient",
            "SKIPPED*leave nothing to judge here",
        ]
    )
    done.stdout.no_fnmatch_line("*pytest_plugin.py:*WrongGradient*")


def commands_of_the_example():
    """What examples/other_project/README.md tells one to run, and another seed."""
    (block,) = blocks_of(EXAMPLE / "README.md")
    return [*(line.removeprefix("pytest") for line in block.text.splitlines()), "--backward-seed 3"]


@pytest.mark.slow
def test_the_example_of_another_project_passes_as_its_readme_says(outside):
    copy_example(outside)

    for options in commands_of_the_example():
        done = outside.runpytest_subprocess(*PLUGIN, "-p", "xdist", *options.split())
        done.assert_outcomes(passed=4)


@pytest.mark.slow
def test_the_example_fails_where_its_kernel_is_broken(outside):
    copy_example(outside, lambda text: text.replace("a[1:].flip(0)", "a[:-1].flip(0)"))

    done = outside.runpytest_subprocess(*PLUGIN, "--backward-dtype", "float64", "-k", "recurrence")

    done.assert_outcomes(failed=1, deselected=3)
    done.stdout.fnmatch_lines(["E*my_kernels::recurrence.backward: grad_*"])


def test_a_dtype_that_there_is_not_is_a_usage_error(outside):
    done = outside.runpytest_subprocess(*PLUGIN, "--backward-dtype", "float8")

    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --backward-dtype: no 'float8'; there are float64, *"])


def test_a_run_that_does_not_ask_for_the_fixture_imports_no_torch(outside):
    outside.makepyfile("def test_nothing():\n    import sys\n    assert 'torch' not in sys.modules")

    done = outside.runpytest_subprocess(*PLUGIN)

    done.assert_outcomes(passed=1)


def test_the_fixture_and_its_options_are_documented(outside):
    done = outside.runpytest_subprocess(*PLUGIN, "--fixtures", "--help")
    fixtures = outside.runpytest_subprocess(*PLUGIN, "--fixtures")

    done.stdout.fnmatch_lines(["*--backward-dtype=NAMES", "*--backward-device=NAMES"])
    fixtures.stdout.fnmatch_lines(["check_backward -- *pytest_plugin.py:*"])


def test_the_installed_package_brings_the_plugin_along():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    (plugin,) = points["pytest11"].values()
    done = subprocess.run(
        [sys.executable, "-c", f"import {plugin}; print({plugin}.check_backward.__name__)"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert done.stdout.strip() == "check_backward", done.stderr
