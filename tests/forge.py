"""The pages as a forge shows them: plain Markdown, links into the repository, formulas in it."""

import html
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
MARKDOWN = MarkdownIt("commonmark").enable("table")
FORMULA = re.compile(r"\$[^$]+\$")


def inlines(text: str) -> Iterator[Token]:
    """Paragraphs, headings and cells of tables; no blocks of code."""
    return (token for token in MARKDOWN.parse(text) if token.type == "inline")


def spoiled(text: str) -> list[str]:
    """The inline formulas of a page that Markdown changes, and whatever else has a dollar."""
    found = []
    for token in inlines(text):
        source = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", token.content, flags=re.DOTALL)
        shown = html.unescape(MARKDOWN.renderer.render(token.children, MARKDOWN.options, {}))
        found += [one for one in FORMULA.findall(source) if one not in shown]
        if "$" in FORMULA.sub("", source):
            found.append(token.content)
    return found


def links(text: str) -> list[str]:
    """What the links and pictures of a page lead to, but for other sites."""
    children = [child for token in inlines(text) for child in token.children or ()]
    targets = [str(child.attrGet("href") or child.attrGet("src") or "") for child in children]
    return [target for target in targets if target and not re.match(r"\w+:", target)]


@cache
def kept() -> frozenset[Path]:
    """Files that git keeps or would keep, for it does not ignore them, and their folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = {ROOT / name for name in done.stdout.split("\0") if name}
    files = {file for file in files if file.exists()}
    return frozenset(files | {folder for file in files for folder in file.parents})


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of a page's headings, as forges make them."""
    tokens = MARKDOWN.parse(page.read_text("utf-8"))
    texts = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return frozenset(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts)


def dead(page: Path, text: str) -> list[str]:
    """The links of a page to what git does not keep, or to a heading that is not there."""
    found = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if file not in kept() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found
