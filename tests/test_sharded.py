"""Backwards on a device mesh: right ones pass on every rank, and what goes wrong across ranks is
found and named. Each set of processes is started once and asked for all that it can tell."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch

from manual_backprop.judge.draw import axes
from manual_backprop.judge.sharded.start import judged
from manual_backprop.registry import OPS
from manual_backprop.report.as_json import schema
from tests import across_ranks as ranks
from tests import mean_over_ranks as means
from tests import ranks_apart as apart
from tests.shown import assert_shown

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/mesh.md").read_text("utf-8")
NAMED = {
    **ranks.AFFINE,
    **means.MEAN,
    **apart.APART,
    ranks.back_column: ("missing-all-reduce", "grad_x"),
    ranks.back_softmax_of_own: ("missing-all-reduce", "grad_x"),
    ranks.back_half: ("factor", "grad_x"),
    ranks.back_without_a_rule: ("raises", ""),
}
ASKED = {"dtypes": (torch.float64,), "seeds": (0,), "axes": None, "causes": True}

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def functions_of_tests_are_found(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def verdicts_on(size, functions, **asked):
    jobs = [(ranks.op_of(function), function) for function in functions]
    verdicts = judged(jobs, size, **{"timeout": 8.0, **ASKED, **asked})
    return dict(zip(functions, verdicts, strict=True))


def codes(verdict):
    return {(finding.code, finding.gradient) for finding in verdict.findings}


def test_what_goes_wrong_across_two_ranks_is_named_and_what_is_right_passes(subtests):
    for function, verdict in verdicts_on(2, NAMED).items():
        with subtests.test(function.__name__):
            due = NAMED[function]
            assert codes(verdict) == ({due} if due else set()), str(verdict)
            assert due or all(verdict.cases(name) == 3 for name in verdict.saves)
            for found in verdict.findings:
                assert bool(found.cause) == (found.code in ACROSS), str(verdict)


ACROSS = {"missing-all-reduce", "doubled-all-reduce", "averaged-all-reduce", "local-mean", "factor"}


def test_a_rank_that_ends_or_hangs_is_the_verdict_and_the_next_one_is_judged(capfd):
    chosen = (
        apart.back_one_rank_ends, ranks.back_left_partial, apart.back_one_rank_hangs,
        apart.back_one_rank_leaves, apart.back_parts_of_other_lengths,
    )  # fmt: skip
    ended, right, hung, left, uneven = verdicts_on(2, chosen, timeout=3.0).values()
    assert codes(ended) == {("crash", "")}
    assert "rank 1 of 2 ended with exit status 3" in str(ended)
    assert right.ok
    assert codes(hung) == {("timeout", "")}
    assert "rank 1 of 2 kept the others waiting for 3 seconds" in str(hung)
    assert codes(left) == {("crash", "")}
    assert "rank 1 of 2 ended by itself, with exit status 0" in str(left)
    assert codes(uneven) == {("crash", "")}
    assert re.search(r"rank . of 2 ended with SIGABRT: .*length", str(uneven))
    assert "rank 0: rows here: 6\n" in capfd.readouterr().err


def test_once_ranks_are_apart_no_other_axis_is_tried():
    samples = {"rows": lambda rand, n=11, o=5: (rand(n, 7), rand(7, o))}
    op = replace(ranks.op_of(apart.back_one_rank_raises), samples=samples)
    (verdict,) = judged([(op, apart.back_one_rank_raises)], 2, timeout=8.0, **ASKED)
    assert [finding.layout for finding in verdict.findings] == ["n over 2 ranks"]
    assert verdict.axes == {"back_one_rank_raises": ("n",)}


def test_what_has_no_axis_to_shard_is_not_right():
    (verdict,) = judged([(ranks.SCALAR, None)], 2, timeout=8.0, **ASKED)
    assert codes(verdict) == {("not-exercised", "")}


def test_an_axis_that_dtensor_refuses_is_not_said_to_be_sharded():
    (verdict,) = judged([(ranks.REFUSED, None)], 2, timeout=8.0, **ASKED)
    assert verdict.ok, str(verdict)
    assert verdict.axes == {"back_columns_without_a_rule": ("n",)}
    assert "DTensor does not support this" in str(verdict.notes[0])


def test_nothing_goes_on_after_a_command_that_is_ended(tmp_path):
    command = [sys.executable, "-m", "manual_backprop", "verify", "--mesh", "2"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        assert until(lambda: list(tmp_path.glob("*/begun-0")))
        process.terminate()
    assert until(lambda: not any(tmp_path.iterdir()))


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def test_the_command_judges_the_five_and_writes_what_the_schema_says(tmp_path):
    names = ["lin", "relu", "softmax", "cross_entropy", "classifier"]
    command = [sys.executable, "-m", "manual_backprop", "verify", *names, "--mesh", "2"]
    wanted = ["--dtype", "bfloat16", "--json", str(tmp_path / "report.json")]
    wanted += ["--html", str(tmp_path / "report.html")]
    done = subprocess.run(
        [*command, *wanted], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mesh of 2 ranks" in done.stdout
    assert "shards n, i, o, m" in done.stdout
    assert "all 5 backwards of 5 operators are right" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    jsonschema.validate(report, schema())
    assert report["mesh"] == {"ranks": 2}
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "on a mesh of 2 ranks" in page
    assert "shards n, i, o, m" in page
    assert [back["backward"] for back in report["backwards"]] == [f"back_{name}" for name in names]
    for back in report["backwards"]:
        assert set(back["sharded"]) == axes_of(OPS[back["operator"]])
        assert back["dtypes"]["bfloat16"]["cases"] == back["cases"]
        assert not back["findings"]
        assert all("DTensor does not support this" in note["message"] for note in back["notes"])


def axes_of(op):
    return {axis for sample in op.samples for axis in axes(op, sample)}


def test_the_page_shows_what_is_printed():
    code, shown = re.findall(r"```(?:python|text)\n(.*?)```", PAGE, re.DOTALL)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "mesh.md", "exec"), {})
    assert_shown(shown, said.getvalue())


ON_EVERY_RANK = """
import sys
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from manual_backprop import verify_sharded
from manual_backprop.registry import OPS
from tests.across_ranks import back_reduced_twice, op_of
from tests.ranks_apart import back_one_rank_raises

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
op = op_of(back_one_rank_raises)
print(verify_sharded(op, mesh=mesh, dtypes=torch.float64, timeout=4))
right = verify_sharded(OPS["cross_entropy"], mesh=mesh, dtypes=torch.float64)
print(right.ok or right)
op = op_of(back_reduced_twice)
print(verify_sharded(op, mesh=mesh))
try:
    verify_sharded(op, mesh=4)
except ValueError as error:
    print(error)
dist.destroy_process_group()
"""


def test_called_on_every_rank_it_gives_each_the_same_verdict(tmp_path):
    command = [sys.executable, "-c", ON_EVERY_RANK]
    found = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    one, other = (process.communicate(timeout=600)[0] for process in found)
    assert one == other
    assert "raised ValueError: not on this rank" in one
    assert "\nTrue\n" in one
    assert "[doubled-all-reduce; rows" in one
    assert "give mesh=2, or the DeviceMesh itself" in one
