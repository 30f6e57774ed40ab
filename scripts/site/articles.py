"""The learning path through the five articles: each number as it was printed and as computed here.

What is computed comes from tests/articles, which are run when the page is made.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from manual_backprop.data import article_numbers
from manual_backprop.registry import OPS
from scripts.site.cache import ROOT, computed, digest, of_the_package
from scripts.site.prose import markdown, pieces
from scripts.site.recorder import TO
from scripts.site.tex import Unreadable

TITLES = {
    "A": "Perceptrons and the chain rule",
    "B": "Gradients and backpropagation",
    "C": "Backpropagation by broadcasting",
    "D": "Activations, losses, networks",
    "E": "Backpropagation written twice",
}
WAYS = {
    "A": "One unit, one formula: what a gradient of a weight is made of.",
    "B": "A formula as a graph: each edge has a slope, and a gradient is the product along a path.",
    "C": "The core: whole tensors at once, by broadcasting, by einsum and by matrix products.",
    "D": "Every activation and loss by itself, then networks of them, and descent.",
    "E": "One small network in plain numbers and with tensors; how a wrong gradient is found.",
}
SOURCES = {
    "printed": "in the article",
    "computed": "reference, in float64",
    "exact": "exact",
}


class NotReproduced(Exception):  # noqa: N818 -- read as a sentence
    """A number of the articles came out otherwise."""


def numbers() -> Mapping[str, Mapping[str, Any]]:
    """Row -> name -> what tests/articles computes, as kept or computed now, or why it did not."""
    files = [*of_the_package(), *(ROOT / "tests" / "articles").glob("*.py")]
    files += [ROOT / "data" / "articles.json", ROOT / "tests" / "printed.py"]
    files.append(Path(__file__).with_name("recorder.py"))
    return computed("articles", digest(files), _run)  # type: ignore[no-any-return]


def _run() -> Any:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/articles",
        "-q",
        "-p",
        "scripts.site.recorder",
    ]
    with TemporaryDirectory() as folder:
        to = Path(folder) / "numbers.json"
        environment = {**os.environ, TO: str(to), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotReproduced(done.stdout[-3000:] + done.stderr[-1000:])
        return json.loads(to.read_text("utf-8"))


def page() -> str:
    """The path, article by article."""
    found = numbers()
    lines = [
        "# The articles, number by number",
        "",
        "Five articles for learners stand behind this project, A to E; nobody has to have them.",
        "Every system of theirs is here, every number that they print is computed again, and every "
        "mistake that they make has a test.",
        "Go through the rows in this order; each leads to the operator that it is about.",
        "",
        "*Computed* is what this project's own backwards gave when this page was made, with more "
        "digits than were printed.",
        "Where it stands alone, the number is this project's own: the article has none.",
        "",
    ]
    article = ""
    for name, row in article_numbers().items():
        if name[0] != article:
            article = name[0]
            lines += [f"## {article}: {TITLES[article]}", "", WAYS[article], ""]
        lines += _row(name, row, found.get(name, {}))
    return "\n".join(lines) + "\n"


def _row(name: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "", said(row["system"]), "")
    if "formula" in row:
        yield from (":::{div} law", "", said(row["formula"]), "", ":::", "")
    links = dict.fromkeys(_link(code) for code in row["code"])
    yield from (f"In the code: {', '.join(links)}", "")
    wanted = {**row.get("expected", {}), **row.get("computed", {})}
    if wanted:
        yield from (
            ":::{div} wide",
            "",
            f"| number | {SOURCES[row['source']]} | computed |",
            "| :-- | :-- | :-- |",
        )
        for label, value in wanted.items():
            digits = row.get("digits", {}).get(label, {})
            ours = label in row.get("computed", {})
            printed = shown(value, digits, 0)
            if label not in found:
                raise NotReproduced(f"{name}: no test computes {label}, or says why it does not")
            came = found[label]
            if isinstance(came, str):  # why it was not computed now
                got = f"{printed}, {came}" if ours else came
            elif isinstance(came, list) and isinstance(value, list) and len(came) > len(value):
                printed = _range(value, digits)
                got = f"{_range((min(came), max(came)), digits)}, in {len(came)} draws"
            else:
                got = shown(came, digits, 2)
            yield f"| {label.replace('_', ' ')} | {'' if ours else printed} | {got} |"
        yield from ("", ":::", "")
    if "remark" in row:
        yield from (said(row["remark"]), "")
    for trap, sentence in row.get("traps", {}).items():
        yield from (":::{div} mistake", "", f"**Mistake.** {said(sentence)}", "")
        yield from (f"`uv run pytest -k {name}-{trap}` shows it.", "", ":::", "")


def _range(ends: Sequence[float], digits: Mapping[str, float]) -> str:
    return "from {} to {}".format(*(shown(end, digits, 0) for end in ends))


def _link(code: str) -> str:
    module, _, function = code.rpartition(".")
    home = next((name for name, op in OPS.items() if op.forward.__module__ == module), None)
    return f"[`{function}`](operators/{home}.md)" if home else f"`{code}`"


def shown(value: Any, digits: Mapping[str, float], more: int) -> str:
    """A number, or a list of them, to the digits printed and so many more; each row in a line."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "<br>".join(shown(row, digits, more) for row in value)
    if isinstance(value, list):
        return ", ".join(f'<span class="number">{shown(o, digits, more)}</span>' for o in value)
    value += 0.0  # -0 is 0
    if "decimals" in digits:
        return f"{value:.{int(digits['decimals']) + more}f}"
    if "significant" in digits:
        return f"{value:.{int(digits['significant']) - 1 + more}e}"
    return f"{value:g}"


def said(sentence: str) -> str:
    """A sentence with its formulas; as it stands where it speaks of code between formulas."""
    try:
        parts = pieces(sentence)
        if not any(
            part.kind == "text" and re.search(r"[=*/\[\]]|_\w", part.text) for part in parts
        ) and not any(
            (part.kind, then.kind, then.text[:1]) == ("code", "math", "(")
            for part, then in pairwise(parts)
        ):
            return markdown(sentence)
    except Unreadable:
        pass
    has_words = (
        len(re.findall(r"\b[a-z]{4,}\b(?!\()", sentence)) > len(re.findall(r"[=]", sentence)) * 3
    )
    if has_words:
        return re.sub(r"([\\*_`\[\]<>$|])", r"\\\1", sentence)
    return f"`{sentence}`"
