"""Formulas and sentences as nodes of a page."""

from docutils import nodes

from scripts.site.page_text import PageText, Row, sides
from scripts.site.prose import Piece, pieces
from scripts.site.tex import tex


def said(sentence: str) -> list[nodes.Node]:
    """A sentence, its formulas as mathematics."""
    return [_node(piece) for piece in pieces(sentence)]


def _node(piece: Piece) -> nodes.Node:
    if piece.kind == "math":
        return math(piece.text)
    return nodes.literal(piece.text, piece.text) if piece.kind == "code" else nodes.Text(piece.text)


def math(formula: str, *, large: bool = False) -> nodes.math:
    """One formula; large as on a line of its own."""
    text = (r"\displaystyle " if large else "") + tex(formula)
    return nodes.math(text, text)


def _beside(left: str, right: str) -> nodes.math:
    """The left side, as tall as the right one, so that they stand on one line."""
    text = rf"\displaystyle {tex(left)} \vphantom{{{tex(right)}}}"
    return nodes.math(text, text)


def formula_block(page: PageText) -> nodes.container:
    """What the operator computes, large, and what each letter is."""
    block = nodes.container(classes=["formula"])
    for row in page.formula:
        line = nodes.paragraph(classes=["formula-line"])
        remark = pieces(row.remark.replace("  ", " "))
        formulas = [*row.formulas]
        while remark and remark[0].kind == "math" and "=" in remark[0].text:  # what follows is said
            formulas.append(remark.pop(0).text)
            if remark and not (rest := remark[0].text.lstrip(",; ")):
                remark.pop(0)
            elif remark and remark[0].kind == "text":
                remark[0] = Piece("text", rest)
        for formula in formulas:
            line += nodes.inline("", "", math(formula, large=True), classes=["formula-part"])
        if remark:
            line += nodes.inline("", "", *map(_node, remark), classes=["formula-note"])
        block += line
    return block


def derivation_block(page: PageText) -> nodes.container:
    """Line by line: what is derived, what it equals, and why."""
    block = nodes.container(classes=["derivation"])
    for row in page.derivation:
        last = row is page.derivation[-1] or " read " in f" {row.remark}"
        block += _row(row, first=row is page.derivation[0], last=last)
    return block


def _row(row: Row, *, first: bool, last: bool) -> list[nodes.container]:
    kind = "result" if last else "step"
    if not row.formulas:
        parts = pieces(row.remark)
        if first and parts[0].kind == "text":
            parts[0] = Piece("text", parts[0].text[0].upper() + parts[0].text[1:])
        sentence = nodes.paragraph("", "", *map(_node, parts))
        return [nodes.container("", sentence, classes=["derivation-row", "sentence"])]
    chain = any(formula.endswith(",") for formula in row.formulas)
    groups = [row.formulas] if chain else [(formula,) for formula in row.formulas]
    rows = []
    for at, group in enumerate(groups):
        left, right = sides(group[0])
        begin = nodes.paragraph("", "", *([_beside(left, right)] if left else []))
        rest = nodes.paragraph("", "", math(right, large=True))
        for formula in group[1:]:
            rest += [
                nodes.Text(" "),
                nodes.inline("", "", math(formula, large=True), classes=["then"]),
            ]
        why = nodes.paragraph("", "", *(said(row.remark) if at == len(groups) - 1 else []))
        cells = (("left", begin), ("right", rest), ("why", why))
        rows.append(
            nodes.container(
                "",
                *(nodes.container("", cell, classes=[name]) for name, cell in cells),
                classes=["derivation-row", kind],
            )
        )
    return rows
