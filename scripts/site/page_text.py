"""An operator's docstring, taken apart: formula, derivation, remarks, source."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from scripts.site.tex import Unreadable, tex


@dataclass(frozen=True)
class Row:
    """One line of a formula block.

    Attributes:
        formulas: those that stand side by side.
        remark: what is said beside them; all of it where the line is a sentence.
    """

    formulas: tuple[str, ...] = ()
    remark: str = ""


@dataclass
class PageText:
    """What the docstring of an operator's file says.

    Attributes:
        what: as in "an affine map of the last axis."
        formula, derivation: line by line.
        remarks: paragraphs.
        source: whom it is from.
    """

    what: str
    formula: list[Row] = field(default_factory=list)
    derivation: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    source: str = ""


def page_text(docstring: str, name: str) -> PageText:
    """The docstring of operator `name`, taken apart.

    Raises:
        Unreadable: a line that begins as a formula cannot be read as one.
    """
    first, *paragraphs = docstring.strip().split("\n\n")
    page = PageText(first.removeprefix(f"{name}: "))
    for paragraph in paragraphs:
        flat = " ".join(paragraph.split())
        if paragraph.startswith("Derivation"):
            page.derivation += _joined([_row(line) for line in paragraph.splitlines()[1:]])
        elif paragraph.startswith("    "):
            page.formula += [_row(line) for line in paragraph.splitlines()]
        else:
            for said in re.split(r"\s(?=Source: )", flat):
                _, is_source, source = said.partition("Source: ")
                if is_source and said.startswith("Source: "):
                    page.source = source
                elif not said.startswith("Read first: "):
                    page.remarks.append(said)
                elif " Source" in said:
                    raise Unreadable(f"{name}: what stands behind Read first?")
    return page


def _joined(rows: list[Row]) -> Iterator[Row]:
    """The rows; a sentence that goes on in the next line is one."""
    kept: Row | None = None
    for row in rows:
        if kept is not None and not row.formulas and _goes_on(kept):
            kept = Row(kept.formulas, f"{kept.remark} {row.remark}")
            continue
        if kept is not None:
            yield kept
        kept = row
    if kept is not None:
        yield kept


def _goes_on(row: Row) -> bool:
    """Whether the next line, if it is a sentence, belongs to what is said in this one."""
    return not row.formulas or (bool(row.remark) and row.remark[-1] not in ".,;:")


def _row(line: str) -> Row:
    formulas: list[str] = []
    segments = re.split(r" {2,}", line.strip())
    while segments and _is_formula(segments[0]):
        formulas.append(segments.pop(0))
    return Row(tuple(formulas), "  ".join(segments))


def _is_formula(segment: str) -> bool:
    """Whether it has a relation and no word; what has neither is a sentence.

    Raises:
        Unreadable: it begins as a formula does, with a letter and =, and is none.
    """
    if "=" not in segment and not segment.startswith("x (n"):
        return False
    try:
        tex(segment)
    except Unreadable:
        words = re.findall(r"(?<![\w_])[A-Za-z]{3,}(?![\w_(])", segment)
        if words:
            return False
        raise
    return True


def sides(formula: str) -> tuple[str, str]:
    """What stands before the first = and what from it on; both where it is on its outermost level.

    >>> sides("dL = ⟨ȳ, dy⟩")
    ('dL', '= ⟨ȳ, dy⟩')
    """
    depth = 0
    for at, c in enumerate(formula):
        depth += (c in "([{⟨") - (c in ")]}⟩")
        if c == "=" and depth == 0:
            return formula[:at].strip(), formula[at:].strip()
    return "", formula
