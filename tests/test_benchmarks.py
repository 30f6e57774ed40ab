"""The benchmarks time what is right, write down what they promise, and stay out of a plain run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from manual_backprop.bench.case import Run
from manual_backprop.bench.measure import Truth, Work, peak_extra_bytes
from tests.benchmarks import measure
from tests.benchmarks.measure import ROWS, timed

ROOT = Path(__file__).parents[1]
KEPT = ("lin-backward-small", "mnist-step-1")  # by hand in kept memory


@pytest.mark.process
def test_a_timed_run_writes_numbers_and_pictures(tmp_path):
    file, pictures = tmp_path / "report.json", tmp_path / "pictures/time"
    written = f"--benchmark-json={file}", f"--benchmark-histogram={pictures}"
    quick = "--benchmark-max-time=0.01", "--benchmark-min-rounds=1"
    some = "-k", "backward-small or softmax and hand or step-1 and hand"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "tests/benchmarks",
            "--benchmark-only",
            *written,
            *quick,
            *some,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads(file.read_text("utf-8"))["benchmarks"]
    assert {case["group"].split()[0] for case in cases} == {
        "lin-backward-small",
        "softmax-vjp-10",
        "softmax-vjp-50",
        "softmax-vjp-1000",
        "mnist-step-1",
    }
    for case in cases:
        info = case["extra_info"]
        assert info["flops"] > 0
        assert info["least_bytes"] > 0
        kept = case["name"].endswith("by hand]") and case["group"].split()[0] in KEPT
        assert (info["peak_extra_bytes"] == 0) is kept
        assert 0 <= info["error"] <= info["allowed"]
    groups = {case["group"] for case in cases}
    assert len(list(pictures.parent.glob("time-*.svg"))) == len(groups)
    for group in groups:
        assert group in done.stdout
    assert "x autograd" in done.stdout


class Benchmark:
    """Stands for the fixture."""

    def __init__(self, *, enabled):
        self.enabled = enabled
        self.extra_info = {}
        self.stats = SimpleNamespace(stats=SimpleNamespace(median=1.0))
        self.timed = []

    def __call__(self, call):
        self.timed.append(call)
        return call()


@pytest.fixture
def doubling():
    """What is said of a function that doubles five numbers."""
    truth = Truth(lambda x: 2 * x, (torch.ones(5),))
    return {"group": "", "how": "", "device": "cpu", "truth": truth, "work": Work(5, 40)}


def test_a_plain_run_calls_each_once_and_times_nothing(doubling):
    benchmark, calls, rows = Benchmark(enabled=False), [], len(ROWS)

    def double():
        calls.append(1)
        return 2 * torch.ones(5)

    timed(benchmark, Run(double), **doubling)
    assert len(calls) == 1
    assert not benchmark.extra_info
    assert len(ROWS) == rows


def test_what_is_wrong_is_not_timed(doubling):
    benchmark = Benchmark(enabled=True)
    with pytest.raises(AssertionError, match="is wrong, so it is not timed"):
        timed(benchmark, Run(lambda: 3 * torch.ones(5)), **doubling)
    assert not benchmark.timed


@pytest.mark.parametrize("gpu", ["cuda", "cuda:1"])
def test_the_time_on_a_gpu_includes_the_work(gpu, doubling, monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(measure, "peak_extra_bytes", lambda *_: 0)
    monkeypatch.setattr(measure, "ROWS", [])
    benchmark = Benchmark(enabled=True)
    timed(benchmark, Run(lambda: 2 * torch.ones(5)), **{**doubling, "device": gpu})
    assert waited == [gpu]


def test_a_device_that_cannot_be_waited_for_is_refused(doubling):
    with pytest.raises(ValueError, match="how to wait for meta; give cpu or cuda"):
        timed(Benchmark(enabled=True), Run(lambda: None), **{**doubling, "device": "meta"})


@pytest.mark.process
def test_what_only_timing_writes_is_refused_without_it():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/benchmarks", "--benchmark-compare-fail=min:5%"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "--benchmark-compare-fail needs --benchmark-only" in done.stderr


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
