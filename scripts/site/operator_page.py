"""An operator's page: all of it from its file, the judge, PyTorch and the benchmark's numbers."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from manual_backprop.data import article_numbers
from manual_backprop.judge.draw import axes
from manual_backprop.op import Op
from manual_backprop.registry import is_network, read_first
from manual_backprop.report.as_page import END, code, docstring, end_letter, formula, what
from scripts.site import live
from scripts.site.benchmarks import benchmark
from scripts.site.by_hand import by_hand
from scripts.site.docstrings import docstring_markdown
from scripts.site.findings import says
from scripts.site.page_text import page_text
from scripts.site.prose import markdown
from scripts.site.worked import worked


def page(op: Op, verdicts: Mapping[str, Any], order: Sequence[Op]) -> str:
    """The page as Markdown."""
    judged = verdicts[f"operator-{op.name}"]
    parts = [
        *_head(op, order),
        *_derivation(op),
        *_live(op),
        *by_hand(worked(op)),
        *_code(op),
        *_verdict(judged["backwards"]),
        *benchmark(op),
        *_mistakes(judged["wrong"]),
        *_functions(op),
    ]
    return "\n".join(parts) + "\n"


def index(order: Sequence[Op]) -> str:
    """The list of all operators, in the order in which one learns them."""
    lines = ["# Operators", ""]
    lines += [
        "One file each, with the derivation above the code; every page here is read from it.",
        "They stand in the order in which one learns them.",
        "",
    ]
    for title, some in (
        ("Operators", [op for op in order if not is_network(op)]),
        ("Networks", [op for op in order if is_network(op)]),
    ):
        if title == "Networks":
            lines += ["## Networks", "", "Composed of operators: nothing new is derived.", ""]
        derived = title == "Operators"
        heads = ("operator", "formula", "what it does") if derived else ("network", "what it does")
        lines += [":::{div} operator-table", "", _line(heads), _line([":--"] * len(heads))]
        for op in some:
            shown = [f"${_first_formula(op)}$"] if derived else []
            name = f"[{op.name}]({op.name}.md)"
            lines.append(_line([name, *shown, _capital(markdown(what(op)))]))
        lines += ["", ":::", ""]
    lines += ["```{toctree}", ":hidden:", "", *(op.name for op in order), "```", ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _first_formula(op: Op) -> str:
    from scripts.site.tex import tex

    return tex(formula(op)).replace("|", r"\vert ")


def _head(op: Op, order: Sequence[Op]) -> Iterator[str]:
    text = page_text(docstring(op), op.name)
    yield from (f"# {op.name}", "", f"{_capital(markdown(text.what))}", "")
    yield from ("```{formula} " + op.name, "```", "")
    known = [f"[{name}]({name}.md)" for name in read_first(op)]
    leads = [f"[{one.name}]({one.name}.md)" for one in order if op.name in read_first(one)]
    rows = [f"[{row}](../articles.md#{row.lower()})" for row in _article_rows(op)]
    facts = (("Read first", known), ("Leads to", leads), ("In the articles", rows))
    yield ":::{div} facts"
    yield from (f"\n{name}: {', '.join(links)}" for name, links in facts if links)
    yield from (":::", "")


@cache
def _rows_by_module() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row, fields in article_numbers().items():
        for name in fields["code"]:
            rows = found.setdefault(name.rpartition(".")[0], [])
            rows += [row] if row not in rows else []
    return found


def _article_rows(op: Op) -> list[str]:
    return _rows_by_module().get(op.forward.__module__, [])


def _derivation(op: Op) -> Iterator[str]:
    text = page_text(docstring(op), op.name)
    yield from ("## Derivation", "", "```{derivation} " + op.name, "```", "")
    end = end_letter(op)
    yield from (":::{div} legend", f"$\\bar{{x}}$ is $\\partial {end}/\\partial x$, with ${end}$")
    yield f"{markdown(END[end])}, and so with every letter; `grad_out` is that of what the forward"
    yield r"returns; $\langle a, b \rangle$ is the sum of the products entry by entry."
    yield from ("[More on notation](../notation.md)", ":::", "")
    for remark in text.remarks:
        yield from (markdown(remark), "")
    yield from (":::{div} source", f"Source: {markdown_text(text.source)}", ":::", "")


def markdown_text(text: str) -> str:
    """Plain text, as Markdown shows it unchanged."""
    return text.replace("*", r"\*").replace("_", r"\_").replace("[", r"\[")


def _live(op: Op) -> Iterator[str]:
    if op.name in live.operators():
        yield from ("## Try it", "", live.INTRODUCTION, "", "```{live} " + op.name, "```", "")


def _code(op: Op) -> Iterator[str]:
    module = op.forward.__module__
    yield from (
        "## Code",
        "",
        f"This is `{module.replace('.', '/')}.py`, below its imports from elsewhere.",
    )
    yield from ("[Below](#functions) stands a link to the whole file.", "")
    yield from ("```python", code(op), "```", "")
    yield from ("What the forward has to save for each backward:", "")
    yield from ("| backward | saves | what it does |", "| :-- | :-- | :-- |")
    for backward in op.backwards:
        says = (inspect.getdoc(backward) or "").partition("\n")[0]
        saves = ", ".join(f"`{name}`" for name in op.saves(backward)) or "nothing"
        yield f"| `{backward.__name__}` | {saves} | {markdown(says)} |"
    yield from ("", "The samples that it is tried on:", "")
    for name in op.samples:
        sizes = ", ".join(f"{axis} = {size}" for axis, size in axes(op, name).items())
        yield f"- *{name}*, {sizes or 'of fixed sizes'}"
    yield ""


def _verdict(backwards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    dtypes = list(dict.fromkeys(dtype for one in backwards for dtype in one["dtypes"]))
    yield from ("## Verdict", "", "What the judge found when this page was made, with one draw of")
    yield "each sample: in each cell the largest error, and under it the error that rounding alone"
    yield "explains at that entry, both relative to the gradient's largest entry."
    yield from ("[How it judges](../judge.md)", "", ":::{div} verdict", "")
    yield "| backward | " + " | ".join(dtypes) + " | cases |"
    yield "| :-- |" + " --: |" * (len(dtypes) + 1)
    for one in backwards:
        cells = [_errors(one["dtypes"].get(dtype)) for dtype in dtypes]
        yield f"| `{one['backward']}` | {' | '.join(cells)} | {one['cases']:,} |"
    yield from ("", ":::", "")


def _errors(tally: Mapping[str, float] | None) -> str:
    return f"{tally['error']:.1e}<br>*{tally['allowed']:.1e}*" if tally else "-"


def _mistakes(wrong: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## Popular mistakes", "", "Each was handed to the judge when this page was made.")
    yield ""
    for one in wrong:
        finding = one["finding"]
        yield from (":::{div} mistake", "", f"{markdown(one['says'])}", "")
        yield from ("```python", one["source"].rstrip(), "```", "")
        yield from (f"[{one['code']}](../mistakes.md#{one['code']})", "")
        yield from (f"> {markdown_text(says(finding))}", "", ":::", "")


def _functions(op: Op) -> Iterator[str]:
    """Every public function of the file, with a link to where it stands."""
    module = import_module(op.forward.__module__)
    yield from ("## Functions", "", "Behind each name, [source] shows it in its whole file.", "")
    for name, function in vars(module).items():
        own = callable(function) and getattr(function, "__module__", "") == module.__name__
        if own and not name.startswith("_") and hasattr(function, "__code__"):
            yield f"````{{py:function}} {name}({', '.join(_parameters(function))})"
            yield from (f":module: {module.__name__}", "", docstring_markdown(function), "````", "")


def _parameters(function: Callable[..., Any]) -> Iterator[str]:
    keyword_only = False
    for name, one in inspect.signature(function).parameters.items():
        if one.kind is one.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        yield name if one.default is one.empty else f"{name}={one.default!r}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
