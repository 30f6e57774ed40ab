"""The blocks of code in the pages, and what stands behind each: a test runs it or compares it."""

import re
import shlex
from dataclasses import dataclass

from markdown_it import MarkdownIt

from tests.test_face import PAGES, ROOT, takes

DOCS = ROOT / "docs"
COMMAND = "$ uv run manual-backprop "
README = ROOT / "README.md"
MESH, LADDER = DOCS / "mesh.md", DOCS / "ladder.md"
EXAMPLE = ROOT / "examples/other_project/README.md"
RUN = [*(page for page in PAGES if page.parent == DOCS and page not in (MESH, LADDER)), README]
ELSEWHERE = {
    (MESH, "python"): "tests/test_sharded.py",
    (MESH, "text"): "tests/test_sharded.py",
    (LADDER, "py"): "tests/test_ladder_page.py",
    (EXAMPLE, "sh"): "tests/test_pytest_plugin.py",
}
INSTALLS = ("pip install uv",)


@dataclass(frozen=True)
class Block:
    """A fenced or indented block.

    Attributes:
        language: behind the fence; empty where there is none.
        text: inside.
        said: the paragraph before it.
        before: the language of the block before it in the page, or an empty word.
    """

    language: str
    text: str
    said: str
    before: str


def blocks(text):
    lines, before = text.splitlines(), ""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in ("fence", "code_block"):
            said = "\n".join(lines[: token.map[0]]).rstrip().rpartition("\n\n")[2]
            yield Block(token.info.strip(), token.content, said, before)
            before = token.info.strip()


def blocks_of(page):
    return list(blocks(page.read_text("utf-8")))


def file_named(block):
    """The only file that the sentence before a block names, or None."""
    names = set(re.findall(r"`([\w/]+\.py)`", block.said))
    return names.pop() if len(names) == 1 else None


def commands(line):
    """The commands of a line, without its comment."""
    return [part.strip() for part in line.partition("#")[0].split("&&")]


def exists(command, options):
    """Whether a shell command is one that tests/test_face.py knows to be there."""
    if command in INSTALLS:
        return True
    command = command.removeprefix("uv run ")
    return bool(shlex.split(command)) and takes(command, options)


def has_something_behind_it(page, block, options):
    """Whether a test runs a block, compares it, or knows that its command exists."""
    if (page, block.language) in ELSEWHERE:
        return True
    if block.language.startswith("{") or block.language == "math":
        return page.parent == DOCS  # a directive, of which the site complains where it is wrong
    if block.language == "sh":
        lines = [line for line in block.text.splitlines() if line.strip()]
        return all(exists(command, options) for line in lines for command in commands(line))
    if block.language == "console":
        return page in (*RUN, MESH) and block.text.startswith(COMMAND)
    if block.language == "py":
        return page in RUN and file_named(block) is not None
    if block.language == "text":
        return page in RUN and block.before == "python"
    return page in RUN and block.language == "python"
