"""Formulas of docstrings as TeX: what each sign becomes, that nothing is lost, what is refused."""

import re

import pytest
from docutils import nodes

from manual_backprop.registry import OPS
from manual_backprop.report.as_page import docstring
from scripts.site.nodes import derivation_block
from scripts.site.page_text import page_text, sides
from scripts.site.prose import markdown, pieces
from scripts.site.tex import Unreadable, tex
from tests.every import every_op


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y = x w + b", "y = x w + b"),
        ("x̄ = ȳ wᵀ", r"\bar{x} = \bar{y} w^{\top}"),
        ("dL = ⟨ȳ, dy⟩", r"\mathrm{d}L = \langle \bar{y} , \mathrm{d}y \rangle"),
        ("p_i = e^{x_i} / Σ_j e^{x_j}", r"p_{i} = \frac{e^{x_{i}}}{\sum_{j} e^{x_{j}}}"),
        ("b̄ = 1ᵀ ȳ + 1 b", r"\bar{b} = \mathbf{1}^{\top} \bar{y} + \mathbf{1} b"),
        ("s = 1/n Σ x + 1", r"s = \tfrac{1}{n} \sum x + 1"),
        ("dy = dx / 2y", r"\mathrm{d}y = \frac{\mathrm{d}x}{2y}"),
        ("L̄/n (p - t) / (p (1 - p))", r"\frac{\tfrac{\bar{L}}{n} ( p - t )}{p ( 1 - p )}"),
        ("Σ_i (p_i + 1) / ln b dp_i", r"\sum_{i} \frac{p_{i} + 1}{\ln b}\,\mathrm{d}p_{i}"),
        ("x̄_ij = a_i (p_ij - q_ij)", r"\bar{x}_{ij} = a_{i} ( p_{ij} - q_{ij} )"),
        ("d ln p_ij = dx_ij", r"\mathrm{d}\ln p_{ij} = \mathrm{d}x_{ij}"),
        ("pred̄", r"\overline{\mathrm{pred}}"),
        ("ȳ2 = w̄1ᵀ", r"\bar{y}_{2} = \bar{w}_{1}^{\top}"),
        ("a xᵃ⁻¹", "a x^{a-1}"),
        ("e^-|x|", r"e^{-\lvert x \rvert}"),
        ("f'(z)", r"f^{\prime} ( z )"),
        ("cos² x", r"\cos^{2} x"),
        ("log₂ p", r"\log_{2} p"),
        ("√(1 - x²)", r"\sqrt{1 - x^{2}}"),
        ("x (*n, i)", r"x\,( {*} n , i )"),
        ("k = 32,000", "k = 32{,}000"),
    ],
)
def test_a_formula_becomes(formula, expected):
    assert tex(formula) == expected


@pytest.mark.parametrize("formula", ["(x", "x)", "y = x § w", "/ n", "y = nonsense x", "x_", "y^"])
def test_what_cannot_be_read_is_refused_with_the_formula(formula):
    with pytest.raises(Unreadable) as refused:
        tex(formula)
    assert formula in str(refused.value)


@every_op
def test_every_line_of_every_docstring_is_read(op):
    page = page_text(docstring(op), op.name)
    assert page.what
    assert page.source
    assert page.formula
    assert page.derivation
    for row in (*page.formula, *page.derivation):
        for formula in row.formulas:
            left, right = sides(formula)
            assert tex(left) or not left
            assert tex(right)
        markdown(row.remark)
    for remark in page.remarks:
        markdown(remark)


@every_op
def test_nothing_of_a_docstring_is_lost(op):
    page = page_text(docstring(op), op.name)
    rows = [" ".join((*row.formulas, row.remark)) for row in (*page.formula, *page.derivation)]
    shown = " ".join((page.what, *rows, *page.remarks, page.source)).split()
    written = docstring(op).removeprefix(f"{op.name}: ").replace("Derivation\n", "")
    lines = [line for line in written.splitlines() if not line.startswith("Read first: ")]
    assert shown == " ".join(lines).replace("Source: ", "").split()


@every_op
def test_a_sentence_is_what_its_pieces_are(op):
    for remark in page_text(docstring(op), op.name).remarks:
        assert "".join(piece.text for piece in pieces(remark)) == remark.replace("`", "")


@every_op
def test_a_derivation_is_set_as_it_is_written_left_and_right_of_the_sign(op):
    page = page_text(docstring(op), op.name)
    cells = [
        cell
        for cell in derivation_block(page).findall(nodes.container)
        if {"left", "right"} & {*cell["classes"]}
    ]
    set_as = "".join(
        re.sub(r"^\\displaystyle | \\vphantom.*$", "", math.astext())
        for cell in cells
        for math in cell.findall(nodes.math)
    )
    written = "".join(tex(formula) for row in page.derivation for formula in row.formulas)
    assert set_as.replace(" ", "") == written.replace(" ", "")


def test_a_sentence_begins_with_a_capital_and_a_formula_as_it_is_written():
    words, formula = (
        derivation_block(page_text(docstring(OPS[name]), name))
        for name in ("classifier", "linear_cross_entropy")
    )
    assert words.astext().startswith("Read the forward")
    assert next(iter(formula.findall(nodes.math))).astext() == tex("z = x wᵀ")


def test_the_last_line_of_a_derivation_is_the_gradient():
    page = page_text(docstring(OPS["lin"]), "lin")
    assert page.derivation[-1].formulas == ("x̄ = ȳ wᵀ", "w̄ = xᵀ ȳ", "b̄ = 1ᵀ ȳ")


@pytest.mark.parametrize(
    ("sentence", "formulas"),
    [
        ("x and y of one shape, any; a a number", ["x", "y", "a"]),
        ("Domain: all x. y and its slope overflow", ["x", "y"]),
        ("a forward written as maximum(x, 0) has one half there", []),
        ("cancel in 1 - x² and not in (1 - x)(1 + x), as there", ["1 - x²", "(1 - x)(1 + x)"]),
        ("its p is 0 (745 in float64, 104 in float32)", ["p"]),
        ("because article E has both: 1/2 Σ in E1", ["1/2 Σ"]),
        ("with a ȳ of ones, where x̄ is 0", ["ȳ", "x̄"]),
        ("x̄ = L̄ a (p - q).", ["x̄ = L̄ a (p - q)"]),
        ("x̄ = ȳ wᵀ, b̄ = 1ᵀ ȳ; the rest", ["x̄ = ȳ wᵀ", "b̄ = 1ᵀ ȳ"]),
        ("x (*n, i), w (i, o)", ["x (*n, i)", "w (i, o)"]),
    ],
)
def test_formulas_are_told_from_words(sentence, formulas):
    assert [piece.text for piece in pieces(sentence) if piece.kind == "math"] == formulas


def test_a_line_that_begins_as_a_formula_and_is_none_stops_the_build():
    with pytest.raises(Unreadable, match="is not known there"):
        page_text("f: it.\n\n    y = x § w\n\nSource: none", "f")
