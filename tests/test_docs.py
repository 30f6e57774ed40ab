"""What the README and the pages of docs/ show is what happens: every block is run."""

import contextlib
import io
import re

import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from scripts.speed.pages import MARK
from tests.blocks import COMMAND, ELSEWHERE, LADDER, MESH, RUN, blocks, blocks_of, file_named
from tests.blocks import has_something_behind_it as backed
from tests.shown import assert_shown
from tests.test_face import PAGES, ROOT

MEASURED = re.compile(
    r"\d[\d.,]*\s?(?:%|(?:[mµn]?s|[kMG]?B|GFLOP/s|[GM]B/s|times|seconds|minutes|hours)\b)"
)
NOT_MEASURED = {
    "95 %": "what an interval is made to hold",
    "20 µs": "of another's network, with its source",
    "50 times": "what an option is given as an example",
}


def pages(found):
    return pytest.mark.parametrize("page", found, ids=[str(p.relative_to(ROOT)) for p in found])


def with_blocks(language, among=RUN):
    return pages([p for p in among if any(b.language == language for b in blocks_of(p))])


@pages(PAGES)
def test_every_block_has_a_test_behind_it(page, pytestconfig):
    bare = [b for b in blocks_of(page) if not backed(page, b, vars(pytestconfig.option))]
    if bare:
        shown = "\n".join(f"```{b.language}\n{b.text}```" for b in bare)
        pytest.fail(
            f"{page.relative_to(ROOT)} shows what no test runs or compares:\n{shown}\n"
            "python is run, text is what the python before it prints, console begins with "
            f"{COMMAND!r}, py stands below a sentence that names its `file.py`, and sh has "
            "commands that exist"
        )


@pytest.mark.parametrize(
    "text",
    [
        "```\nanything\n```",
        "    indented\n",
        "~~~text\nanything\n~~~",
        "- in a list\n\n  ```text\n  anything\n  ```",
        "```sh\nfrobnicate\n```",
        "```sh\nuv run manual-backprop verfy\n```",
        "```sh\npip install uv && frobnicate # it\n```",
        "```bash\nuv run pytest\n```",
        "```console\n$ ls\nmine.py\n```",
        "A file:\n\n```py\nx = 1\n```",
        "```python\nx = 1\n```\n\n```py\nx\n```\n\n```text\n1\n```",
    ],
)
def test_a_block_with_nothing_behind_it_is_noticed(text, pytestconfig):
    *_, last = blocks(text)
    assert not backed(RUN[0], last, vars(pytestconfig.option))


def test_what_is_run_elsewhere_is():
    for (page, language), file in ELSEWHERE.items():
        assert any(block.language == language for block in blocks_of(page))
        assert str(page.relative_to(ROOT)) in (ROOT / file).read_text("utf-8")


@with_blocks("python")
def test_the_code_of_a_page_runs_and_prints_what_stands_below_it(page):
    names, said = {}, ""
    for block in blocks_of(page):
        if block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, page.name, "exec"), names)
            said = out.getvalue()
        elif block.language == "text":
            assert said == block.text
            said = ""
        if block.language != "python":
            assert said == "", f"{page.name} does not show that it prints {said!r}"
    assert said == "", f"{page.name} does not show that it prints {said!r}"


def write(folder, block):
    """A file's text, or its last function, into the file that the sentence names."""
    file, text = folder / file_named(block), block.text
    kept = file.read_text("utf-8") if file.exists() else ""
    if text.startswith("def ") and (call := re.search(rf"^{text.split('(')[0]}\(", kept, re.M)):
        text = kept[: call.start()] + text
    file.write_text(text, "utf-8")


@pytest.mark.process
@with_blocks("console", [*RUN, MESH])
def test_the_commands_of_a_page_print_what_stands_below_them(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV", "uv")  # as `uv run` does
    ran = 0
    for block in blocks_of(page):
        if block.language == "py":
            write(tmp_path, block)
        elif block.language == "console":
            command, *shown = block.text.splitlines()
            words = command.removeprefix(COMMAND).split()
            printed = CliRunner().invoke(main, words).stdout.splitlines()
            if shown[0] == "...":  # and then the end of it
                shown = shown[1:]
                printed = printed[-len(shown) :]
            trained = words[:1] == ["train"]
            assert_shown("\n".join(shown), "\n".join(printed), trained=trained)
            ran += 1
    assert ran


@pages([*RUN, MESH, LADDER])
def test_no_measured_number_is_typed(page):
    text = MARK.sub("", page.read_text("utf-8"))
    text = re.sub(r"^```.*?^```|`[^`\n]*`|\$+[^$]+\$+", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!\[[^]]*\]", "", text)  # tests/test_pictures.py and tests/test_readme.py
    if page.name == "tried.md":
        assert "are typed: they were measured once" in text
        return
    assert [said for said in MEASURED.findall(text) if said not in NOT_MEASURED] == []


def test_every_command_named_is_one():
    for page in PAGES:
        for name in re.findall(r"manual-backprop (\w+)", page.read_text("utf-8")):
            assert name in main.commands
