"""What the pages of docs/ show is what happens: every block is run."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.registry import OPS

ROOT = Path(__file__).parents[1]
MADE = {"articles.md", "mistakes.md"}
PAGES = sorted(file for file in (ROOT / "docs").glob("*.md") if file.name not in MADE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page):
    """Each block with its language and the sentence before it."""
    text = page.read_text("utf-8")
    for match in BLOCK.finditer(text):
        said = text[: match.start()].rstrip().rpartition("\n\n")[2]
        yield match[1], match[2], said


def with_blocks(*languages):
    found = [page for page in PAGES if {b[0] for b in blocks(page)} & {*languages}]
    return pytest.mark.parametrize("page", found, ids=[page.stem for page in found])


@with_blocks("python")
def test_the_code_of_a_page_runs_and_prints_what_stands_below_it(page):
    names, said = {}, ""
    for language, text, _ in blocks(page):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, page.name, "exec"), names)
            said = out.getvalue()
        elif language == "text":
            assert said == text
            said = ""
        if language != "python":
            assert said == "", f"{page.name} does not show that it prints {said!r}"


def masked(lines):
    """Without numbers, whose last digits are the machine's own."""
    return [re.sub(r"-?\d[\d.e+-]*", "0", line).split() for line in lines if line.strip()]


def write(folder, text, said):
    """A file's text, or its last function, into the file that the sentence names."""
    (name,) = set(re.findall(r"`([\w/]+\.py)`", said))
    file = folder / name
    kept = file.read_text("utf-8") if file.exists() else ""
    if text.startswith("def ") and (call := re.search(rf"^{text.split('(')[0]}\(", kept, re.M)):
        text = kept[: call.start()] + text
    file.write_text(text, "utf-8")


@pytest.mark.process
@with_blocks("console")
def test_the_commands_of_a_page_print_what_stands_below_them(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = 0
    for language, text, said in blocks(page):
        if language == "py":
            write(tmp_path, text, said)
        elif language == "console":
            command, *shown = text.splitlines()
            words = command.removeprefix("$ uv run manual-backprop ").split()
            printed = CliRunner().invoke(main, words).output.splitlines()
            assert masked(printed) == masked(shown)
            ran += 1
    assert ran


def test_every_command_named_is_one():
    for page in PAGES:
        for name in re.findall(r"manual-backprop (\w+)", page.read_text("utf-8")):
            assert name in main.commands


def test_every_operator_linked_to_is_one():
    for page in PAGES:
        for name in re.findall(r"\(operators/(\w+)\.md\)", page.read_text("utf-8")):
            assert name == "index" or name in OPS
