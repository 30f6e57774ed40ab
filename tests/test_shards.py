"""One run of the suite over several machines: every test in one shard, or handed out by xdist."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
pytest_plugins = ("pytester",)

SOME = """
import pytest


@pytest.mark.parametrize("case", range(20))
def test_one(case):
    pass


def test_other():
    pass
"""


@pytest.fixture
def project(pytester):
    """Tests of equal names in two files, beside the house's own conftest.py."""
    pytester.makeconftest((ROOT / "conftest.py").read_text("utf-8"))
    pytester.makepyfile(test_here=SOME, test_there=SOME)
    return pytester


class Collected:
    def pytest_collection_finish(self, session):
        self.names = [item.nodeid for item in session.items]


def collected(project, *words):
    seen = Collected()
    assert project.inline_run("--collect-only", *words, plugins=[seen]).ret == 0
    return seen.names


@pytest.mark.parametrize("count", [1, 3, 7])
def test_every_test_is_in_one_shard_whatever_the_order_of_each_machine(project, count):
    numbers = range(1, count + 1)
    seeded = [("--shard", f"{n}/{count}", "--randomly-seed", str(n)) for n in numbers]
    shards = [collected(project, *words) for words in seeded]

    everything = collected(project, "-p", "no:randomly")
    assert len(everything) == 42
    assert Counter(name for shard in shards for name in shard) == Counter(everything)
    assert all(shards)


def test_a_test_stays_in_its_shard_whatever_else_is_collected(project):
    both = collected(project, "--shard", "2/3", "-p", "no:randomly")
    alone = collected(project, "--shard", "2/3", "-p", "no:randomly", "test_there.py", "-k", "one")
    assert alone == [name for name in both if name.startswith("test_there.py::test_one")]
    assert 0 < len(alone) < len(both)


@pytest.mark.parametrize("asked", ["4/3", "0/3", "1/0", "3", "2 of 3", "-1/3", ""])
def test_a_shard_that_there_is_not_is_refused_with_a_sentence(project, asked):
    done = project.runpytest_inprocess(f"--shard={asked}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(f"ERROR: --shard: no {asked!r}; *are 1/3, 2/3 and 3/3")


WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_a_matrix_names_every_shard_and_its_job_runs_the_one_it_is_given(workflow):
    for job in yaml.safe_load(workflow.read_text("utf-8"))["jobs"].values():
        shards = job.get("strategy", {}).get("matrix", {}).get("shard", [])
        assert shards == [f"{number}/{len(shards)}" for number in range(1, len(shards) + 1)]
        if shards:
            assert job["env"]["SHARD"] == "${{ matrix.shard }}"
            commands = [step["run"] for step in job["steps"] if "run" in step]
            assert commands
            assert all('--shard "$SHARD"' in command for command in commands)


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.process
def test_two_processes_run_one_shard_of_the_suite_between_them_and_no_other_test():
    shard = "--shard", "2/3", "tests/test_op.py"
    listed = run("--collect-only", "-q", "--randomly-seed", "1", *shard)
    names = re.findall(r"^tests/.*::.*$", listed.stdout, re.MULTILINE)
    done = run("-v", "-n", "2", "--randomly-seed", "2", *shard)
    ran = re.findall(r"PASSED (.*?) *$", done.stdout, re.MULTILINE)
    assert done.returncode == listed.returncode == 0, listed.stdout + done.stdout
    assert sorted(ran) == sorted(names)
    assert "shard: 2/3" in done.stdout


@pytest.fixture
def machines(tmp_path):
    """Two other machines on this one: each has a checkout, and tells of the tests it runs."""
    told = (
        "\n\ndef pytest_runtest_logreport(report):\n"
        "    from pathlib import Path\n\n"
        '    if report.when == "call":\n'
        '        with Path(__file__).with_name("ran.txt").open("a") as file:\n'
        "            print(report.nodeid, file=file)\n"
    )
    checkouts = [tmp_path / name for name in ("one", "two")]
    for checkout in checkouts:
        for part in ("manual_backprop", "tests", "data"):
            shutil.copytree(
                ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        for file in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / file, checkout)
        with (checkout / "conftest.py").open("a", encoding="utf-8") as conftest:
            conftest.write(told)
    return checkouts


@pytest.fixture
def socket_server(machines):
    """The address at which the second machine waits for a worker's code."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "execnet.script.socketserver", "127.0.0.1:0"],
        cwd=machines[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    (port,) = re.findall(r"'127\.0\.0\.1', (\d+)", server.stdout.readline())
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.communicate()


@pytest.mark.process
def test_several_machines_share_one_run_each_in_its_own_checkout(machines, socket_server):
    one, two = machines
    done = run(
        *("--dist", "load", "--tx", "popen"),
        *("--tx", f"popen//python={sys.executable}//chdir={one}"),
        *("--tx", f"socket={socket_server}//chdir={two}"),
        *("--device", "cpu", "--dtype", "float32", "-v", "--pyargs", "tests.test_op"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.findall(r"^\[(gw\d)\].* PASSED (.*?) *$", done.stdout, re.MULTILINE)
    by_worker = {worker: sorted(n for w, n in ran if w == worker) for worker, _ in ran}
    assert set(by_worker) == {"gw0", "gw1", "gw2"}
    for worker, checkout in (("gw1", one), ("gw2", two)):
        assert sorted((checkout / "ran.txt").read_text("utf-8").splitlines()) == by_worker[worker]
