"""A function's docstring as Markdown."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from scripts.site.prose import markdown


def docstring_markdown(function: Callable[..., Any]) -> str:
    """Its paragraphs, its sections as lists, its examples as code."""
    text = inspect.getdoc(function) or ""
    return "\n\n".join(part for block in text.split("\n\n") for part in _block(block))


def _block(block: str) -> Iterator[str]:
    lines = block.splitlines()
    if block.startswith(">>>"):
        yield f"```python\n{block}\n```"
    elif re.fullmatch(r"(Args|Raises|Returns|Attributes):", lines[0]):
        yield f"**{lines[0]}**"
        yield "\n".join(_items(lines[1:]))
    else:
        yield markdown(" ".join(block.split()))


def _items(lines: list[str]) -> Iterator[str]:
    """One for each entry; what is further to the right goes on."""
    entries: list[str] = []
    for line in lines:
        if line.startswith("     ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line.strip())
    for entry in entries:
        name, colon, rest = entry.partition(": ")
        if colon and re.fullmatch(r"[\w, ]+", name):
            yield f"- `{name}`: {markdown(rest)}"
        else:
            yield f"- {markdown(entry)}"
