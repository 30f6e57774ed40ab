"""What the repository says of itself: versions, links, and the commands that it tells people."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from torch.distributed.run import get_args_parser

import manual_backprop
from manual_backprop.cli import main

ROOT = Path(__file__).parents[1]
FOLDERS = [f for f in ROOT.iterdir() if f.name == ".github" or not f.name.startswith(".")]
PAGES = [*ROOT.glob("*.md"), *(page for f in FOLDERS if f.is_dir() for page in f.rglob("*.md"))]
# What is made when the site is built.
MADE = [
    ROOT / line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if "/docs/" in line
]
PAGES = [page for page in PAGES if not any(map(page.is_relative_to, MADE))]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
UV_OPTIONS = {
    "--isolated": 0,
    "--only-group": 1,
    "--python": 1,
    "--resolution": 1,
}  # and how many words follow each
SHORT = {"-k", "-m", "-n", "-q", "-x"}


def steps(workflow):
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def commands():
    """Whatever follows `uv run` in a page, in the script for CI and in the workflows."""
    texts = [file.read_text("utf-8") for file in (*PAGES, *ROOT.glob(".ci/run"))]
    texts += [step["run"] for flow in WORKFLOWS for step in steps(flow) if "run" in step]
    found = {c.strip() for t in texts for c in re.findall(r"\buv run +([^`\n&|#]+)", t)}
    return sorted(found)


def click_takes(command, words):
    """Whether the words parse; help is asked for last, so that nothing is run."""
    return CliRunner().invoke(command, [*words, "--help"]).exit_code == 0


def takes(line, options):
    """Whether such a command exists; `options` are the names that pytest knows."""
    words = shlex.split(line)
    while words[0] in UV_OPTIONS:
        words = words[1 + UV_OPTIONS[words[0]] :]
    program, *rest = words
    if program == "manual-backprop":
        return click_takes(main, rest)
    if program == "torchrun":
        asked = get_args_parser().parse_args(rest)
        ours = asked.module and asked.training_script == "manual_backprop"
        return ours and click_takes(main, asked.training_script_args)
    if program == "pytest":
        asked = [word.partition("=")[0] for word in rest if word.startswith("-")]
        return all(
            word in SHORT or word.removeprefix("--").replace("-", "_") in options for word in asked
        ) and all((ROOT / word).exists() for word in rest if word.startswith("tests/"))
    if program == "python" and rest[:1] == ["-m"]:
        if find_spec(rest[1]) is None:
            return False
        command = getattr(import_module(rest[1]), "main", None)
        parses = isinstance(command, click.Command)
        return click_takes(command, rest[2:]) if parses else not rest[2:]
    if program == "python":
        return rest in ([], ["FILE"]) or (ROOT / rest[0]).exists()  # FILE is the reader's own
    if program == "sphinx-build":
        source = next(word for word in rest if not word.startswith("-"))
        return (ROOT / source / "conf.py").exists()
    if program in {"ruff", "mypy"}:
        tool = shutil.which(program, path=Path(sys.executable).parent)
        done = subprocess.run([tool, *rest, "--help"], capture_output=True, check=False)
        return done.returncode == 0
    return False


@pytest.mark.parametrize("line", commands())
def test_every_command_that_people_are_told_exists(line, pytestconfig):
    if not takes(line, vars(pytestconfig.option)):
        pytest.fail(
            f"uv run {line}: no such program, command, option or file; "
            "mend the text, or teach tests/test_face.py a new program"
        )


@pytest.mark.parametrize(
    "line",
    [
        "manual-backprop verfy",
        "manual-backprop verify --frobnicate",
        "python -m scripts.nowhere",
        "python -m scripts.alarms --frobnicate",
        "python -m scripts.make_stub --frobnicate",
        "pytest --devise cpu",
        "pytest tests/nowhere",
        "ruff chek",
        "ruff format --chek",
        "--frobnicate pytest",
        "frobnicate",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line, pytestconfig):
    assert not takes(line, vars(pytestconfig.option))


def test_the_version_is_the_same_wherever_it_stands():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    assert manual_backprop.__version__ == version
    assert CliRunner().invoke(main, ["--version"]).output == f"manual-backprop {version}\n"
    headings = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] in {version, "Unreleased"}


@pytest.mark.parametrize("file", sorted(ROOT.glob(".github/**/*.y*ml")), ids=lambda f: f.name)
def test_every_file_for_the_forge_is_yaml(file):
    assert isinstance(yaml.safe_load(file.read_text("utf-8")), dict)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_ci_runs_what_a_contributor_can_run_within_a_time_and_with_pinned_actions(workflow):
    text = workflow.read_text("utf-8")
    assert all("timeout-minutes" in job for job in yaml.safe_load(text)["jobs"].values())
    assert all(step["run"].startswith("uv run ") for step in steps(workflow) if "run" in step)
    used = re.findall(r"uses: *(.*)", text)
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in used)
