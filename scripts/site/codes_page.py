"""The catalogue of mistakes: every code of the judge, with the smallest backward that has it."""

from collections.abc import Iterator, Mapping
from typing import Any

from manual_backprop.judge.codes import CODES
from manual_backprop.judge.examples import EXAMPLES, WITHOUT
from scripts.site import mesh
from scripts.site.findings import says
from scripts.site.operator_page import markdown_text

INTRODUCTION = """# The catalogue of mistakes

What the judge finds has a code: stable, so that programs can read it, and one for each kind of
mistake.
A code is given only where it explains the wrong numbers to rounding, at several sizes; what is
wrong in no known way is `unknown`.
What is said of backwards on [several processes](ranks.md) is said by `verify --mesh 2`.

Below a code stands the smallest backward that has it, and what the judge said of it when this page
was made; a few have none, and say why.
`manual-backprop explain CODE` shows the same in the terminal, but for examples that take several
processes.

:::{div} codes

| code | what is wrong |
| :-- | :-- |"""


def page(verdicts: Mapping[str, Any]) -> str:
    """All codes, in the order in which the judge would tell them."""
    lines = [INTRODUCTION]
    lines += [
        f"| [{name}](#{name}) | {markdown_text(code.meaning)} |" for name, code in CODES.items()
    ]
    lines += ["", ":::", ""]
    for name in CODES:
        lines += _code(name, verdicts)
    lines += mesh.shared()
    return "\n".join(lines) + "\n"


def _code(name: str, verdicts: Mapping[str, Any]) -> Iterator[str]:
    code = CODES[name]
    yield from (f"## {name}", "", markdown_text(code.meaning), "")
    yield from (f"*Where to look:* {markdown_text(code.advice)}", "")
    if name in mesh.EXAMPLES:
        yield from _on_a_mesh(name, verdicts["mesh"][name])
        return
    if name not in EXAMPLES:
        yield from (f"No example: {WITHOUT[name]}", "")
        return
    example = EXAMPLES[name]
    yield from (
        ":::{div} mistake",
        "",
        f"Wrong, for [{example.operator}](operators/{example.operator}.md):",
    )
    yield from ("", "```python", example.wrong.rstrip(), "```", "")
    yield from (f"> {markdown_text(says(verdicts[f'code-{name}']))}", "", ":::", "")
    yield from ("Right, it ends in:", "", "```python", example.mended, "```", "")


def _on_a_mesh(name: str, finding: Mapping[str, Any]) -> Iterator[str]:
    forward, wrong, right = mesh.example(name)
    yield from (":::{div} mistake", "", f"Wrong, for {forward}, on two processes:", "")
    yield from ("```python", wrong.rstrip(), "```", "")
    yield from (f"> {markdown_text(says(finding))}", "", ":::", "")
    yield from ("Right:", "", "```python", right.rstrip(), "```", "")
    yield from (f"[{mesh.TITLE}](#{mesh.ANCHOR}) stands at the end.", "")
