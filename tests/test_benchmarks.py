"""The benchmarks time what is right, write down what they promise, and stay out of a plain run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from manual_backprop import rounding_budget
from tests.benchmarks.measure import Work, peak_extra_bytes, timed

ROOT = Path(__file__).parents[1]


def test_a_timed_run_writes_numbers_and_pictures(tmp_path):
    file, pictures = tmp_path / "report.json", tmp_path / "pictures/time"
    written = f"--benchmark-json={file}", f"--benchmark-histogram={pictures}"
    quick = "--benchmark-max-time=0.01", "--benchmark-min-rounds=1", "-k", "small"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/benchmarks", "--benchmark-only", *written, *quick],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads(file.read_text("utf-8"))["benchmarks"]
    assert {case["group"].split()[0] for case in cases} == {"lin", "two_layer"}
    for case in cases:
        info = case["extra_info"]
        assert info["flops"] > 0
        assert info["least_bytes"] > 0
        assert info["peak_extra_bytes"] > 0
        assert 0 <= info["error"] <= info["allowed"]
    groups = {case["group"] for case in cases}
    assert len(list(pictures.parent.glob("time-*.svg"))) == len(groups)
    for group in groups:
        assert group in done.stdout
    assert "x autograd" in done.stdout


def test_a_plain_run_calls_each_once_and_times_nothing(pytestconfig):
    assert pytestconfig.getoption("benchmark_disable")


def test_what_is_wrong_is_not_timed():
    class Benchmark:
        enabled = True

        def __call__(self, _call):
            raise RuntimeError("timed")

    x = torch.ones(5)
    truth = rounding_budget(lambda x: 2 * x, (x,), torch.float32)
    rest = {"group": "", "how": "", "device": "cpu", "truth": truth, "work": Work(5, 40)}
    with pytest.raises(AssertionError, match="a gradient is wrong, so it is not timed"):
        timed(Benchmark(), lambda: 3 * x, **rest)


def test_peak_memory_is_exact():
    """The broadcast form holds o + 1 = 51 and n + 1 = 1001 times what the product holds."""
    n, i, o = 1000, 784, 50
    x, w, grad_out = torch.ones(n, i), torch.ones(i, o), torch.ones(n, o)

    assert peak_extra_bytes(lambda: grad_out @ w.T, "cpu") == 4 * n * i
    assert peak_extra_bytes(lambda: (grad_out[:, None, :] * w).sum(-1), "cpu") == 4 * n * i * (
        o + 1
    )
    assert peak_extra_bytes(lambda: x.T @ grad_out, "cpu") == 4 * i * o
    assert peak_extra_bytes(
        lambda: (x[:, :, None] * grad_out[:, None, :]).sum(0), "cpu"
    ) == 4 * i * o * (n + 1)
