"""Formulas as the docstrings write them, as TeX.

    tex("x̄_j = p_j (p̄_j - Σ_i p_i p̄_i)")

A formula is read into a tree, so that nothing of it can be lost, and what cannot be read is an
error: a page never shows half of a formula. `/` with spaces is a fraction of all that stands before
it in its product, behind the last Σ, and of the one factor behind it, or of all of a Σ; `1/n`
without is a small one. A 1 that multiplies is a column of ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from scripts.site.signs import (
    CLOSE,
    FUNCTIONS,
    GREEK,
    NAMES,
    OPEN,
    OPERATORS,
    PAIRS,
    SUPERSCRIPTS,
    TOKEN,
    bare,
    decomposed,
    known,
    variable,
)


class Unreadable(ValueError):  # noqa: N818 -- read as a sentence
    """A formula that is not written as the others are."""


@dataclass
class Node:
    """A piece of a formula: its TeX, and whether it is taller than a line.

    Attributes:
        group: the TeX inside its parentheses, where it is nothing else.
        spaced: whether a thin space belongs around it in a product.
        operator: whether TeX sets that space before it of itself.
        source: the text that it was read from, without spaces.
    """

    tex: str
    source: str
    tall: bool = False
    group: str = ""
    spaced: bool = False
    operator: bool = False


@dataclass
class Token:
    """A word of a formula, and whether a space stands before it."""

    kind: str
    text: str
    spaced: bool


@dataclass
class Reader:
    """Reads one formula from left to right."""

    tokens: list[Token] = field(default_factory=list)
    at: int = 0

    def peek(self, ahead: int = 0) -> Token:
        """The next token; one of kind "end" behind the last."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end", "", True)

    def take(self) -> Token:
        """The next token, which is then behind."""
        token = self.peek()
        self.at += 1
        return token

    def expression(self, end: str = "") -> Node:
        """Products with operators between them, up to a closing bracket or the end."""
        parts: list[Node] = []
        while self.peek().kind != "end" and self.peek().text != end:
            token = self.peek()
            if token.kind == "sign" and token.text in OPERATORS:
                self.take()
                parts.append(Node(OPERATORS[token.text], token.text))
            elif token.kind == "dots":
                self.take()
                parts.append(Node(r"\dots", "..."))
            else:
                parts.append(self.product(end))
        return _joined(parts, " ")

    def product(self, end: str) -> Node:
        """Factors side by side; a spaced slash divides all since the last Σ by the next factor."""
        head: list[Node] = []  # up to the last Σ, which stands before the fraction
        factors: list[Node] = []
        while (token := self.peek()).kind != "end" and token.text != end:
            if token.kind == "dots" or (token.kind == "sign" and token.text in OPERATORS):
                break
            if token.text == "/":
                if not factors:
                    raise Unreadable("nothing stands before a /")
                self.take()
                above = _product(factors)
                below = self.product(end) if self.peek().text == "Σ" else self.factor()
                factors = [_fraction(above, below, small=not token.spaced)]
            else:
                factors.append(self.factor())
                if factors[-1].source.startswith("Σ"):
                    head, factors = head + factors, []
        return _product(head + factors)

    def factor(self) -> Node:
        """One thing, with what stands above and below it, and with a tight `/` and what follows."""
        node = self.scripted()
        token = self.peek()
        if token.text == "/" and not token.spaced and not self.peek(1).spaced:
            self.take()
            below = self.scripted()
            return _fraction(node, below, small=True)
        return node

    def scripted(self) -> Node:
        """An atom with its subscript and superscript, a function with what it is taken of."""
        token = self.take()
        if token.kind == "number":
            node = self.scripts(Node(token.text.replace(",", "{,}"), token.text))
            follows = self.peek()
            if follows.kind == "word" and not follows.spaced:  # 2y is one factor
                letter = self.scripted()
                return Node(node.tex + letter.tex, node.source + letter.source)
            return node
        if token.kind == "name":
            escaped = token.text.replace("_", r"\_")
            return self.taken_of(Node(rf"\mathtt{{{escaped}}}", token.text))
        if token.kind == "word":
            return self.word(token.text)
        if token.text == "Σ":
            return self.scripts(Node(r"\sum", "Σ", tall=True, operator=True))
        if token.text == "√":
            inner = self.scripted()
            return Node(rf"\sqrt{{{inner.group or inner.tex}}}", "√" + inner.source, tall=True)
        if token.text == "∞":
            return Node(r"\infty", "∞")
        if token.text == "∂":
            inner = self.scripted()
            return Node(r"\partial " + inner.tex, "∂" + inner.source)
        if token.text in PAIRS:
            return self.bracket(token.text, spaced=token.spaced)
        raise Unreadable(f"{token.text or 'the end'!r} is not known there")

    def bracket(self, begin: str, *, spaced: bool) -> Node:
        """What stands in brackets, which grow with it; a shape stands apart, as in x (n, i)."""
        inner = self.expression(PAIRS[begin])
        if self.take().text != PAIRS[begin]:
            raise Unreadable(f"{begin} is never closed")
        size = (r"\left", r"\right") if inner.tall else ("", "")
        text = f"{size[0]}{OPEN[begin]} {inner.tex} {size[1]}{CLOSE[begin]}"
        source = begin + inner.source + PAIRS[begin]
        shape = re.fullmatch(r"\(\*?\w(,\w)*\)", source) is not None and spaced
        group = inner.tex if begin == "(" else ""
        return self.scripts(Node(text, source, inner.tall, group, spaced=shape))

    def word(self, text: str) -> Node:
        """A variable, a function with its argument, or a small change d of one."""
        plain = bare(text)
        if plain in FUNCTIONS:
            return self.taken_of(self.scripts(Node(FUNCTIONS[plain], text)))
        if text == "d" and (self.peek().text == "(" or bare(self.peek().text) in FUNCTIONS):
            inner = self.scripted()
            return Node(rf"\mathrm{{d}}{inner.tex}", "d" + inner.source, inner.tall, spaced=True)
        if len(plain) > 1 and plain[0] == "d" and known(text[1:]):
            inner = self.scripts(Node(variable(text[1:]), text[1:]))
            return Node(rf"\mathrm{{d}}{inner.tex}", "d" + inner.source, spaced=True)
        if not known(text):
            raise Unreadable(f"{text!r} is no variable")
        return self.scripts(Node(variable(text), text, spaced=plain in NAMES))

    def taken_of(self, function: Node) -> Node:
        """A function with what it is taken of, if anything: the next factor, as in ln p."""
        argument = self.peek()
        if argument.kind == "end" or argument.text in {*OPERATORS, *PAIRS.values()}:
            return function
        inner = self.scripted()
        source = function.source + inner.source
        return Node(f"{function.tex} {inner.tex}", source, inner.tall, spaced=True, operator=True)

    def scripts(self, node: Node) -> Node:
        """The node with the subscripts and superscripts that stand behind it."""
        below = above = source = ""
        while True:
            token = self.peek()
            if token.spaced or token.kind == "end":
                break
            if token.kind == "number" and re.fullmatch(r"[^\W\d_].*", node.source) and not source:
                below = self.take().text  # y1
                source += below
            elif token.text == "_":
                self.take()
                inner = self.script()
                below += ("," if below else "") + inner.tex
                source += "_" + inner.source
            elif token.text == "^":
                self.take()
                inner = self.script()
                above += inner.tex
                source += "^" + inner.source
            elif token.kind == "script":
                self.take()
                sign = "".join(SUPERSCRIPTS.get(one, one) for one in token.text)
                above += re.sub("'+", lambda m: r"\prime" * len(m[0]), sign.replace("T", r"\top"))
                source += token.text
            else:
                break
        if not source:
            return node
        text = node.tex + (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")
        return Node(text, node.source + source, node.tall, spaced=node.spaced)

    def script(self) -> Node:
        """What stands behind _ or ^: braces, or one run of letters and digits, or a sign first."""
        token = self.take()
        if token.text == "{":
            inner = self.expression("}")
            if self.take().text != "}":
                raise Unreadable("{ is never closed")
            return Node(inner.tex, "{" + inner.source + "}")
        if token.text == "-":
            inner = self.scripted()
            return Node("-" + inner.tex, "-" + inner.source)
        if token.kind in ("word", "number"):
            letters = "".join(GREEK.get(one, one) for one in token.text)
            return Node(letters, token.text)
        raise Unreadable(f"{token.text!r} is no index")


def tex(formula: str) -> str:
    """The formula as TeX.

    Raises:
        Unreadable: with what of it cannot be read.
    """
    return _read(formula).tex


def _read(formula: str) -> Node:
    reader = Reader(list(_tokens(formula)))
    try:
        node = reader.expression()
        if reader.peek().kind != "end":
            raise Unreadable(f"{reader.peek().text!r} closes nothing")
        if node.source != re.sub(r"\s", "", decomposed(formula)):
            raise Unreadable(f"it was read as {node.source!r}")
    except Unreadable as error:
        raise Unreadable(f"{formula.strip()!r}: {error}") from None
    return node


def _tokens(formula: str) -> Iterator[Token]:
    text = decomposed(formula)
    end = 0
    for match in TOKEN.finditer(text):
        yield Token(str(match.lastgroup), match[0], match.start() > end)
        end = match.end()


def _product(factors: list[Node]) -> Node:
    if len(factors) > 1 and re.fullmatch("1ᵀ?", factors[0].source):  # 1 ȳ is no product with 1
        ones = factors[0]
        factors = [replace(ones, tex=rf"\mathbf{{1}}{ones.tex[1:]}"), *factors[1:]]
    text = ""
    for before, node in zip([None, *factors], factors, strict=False):
        thin = before and ((node.spaced and not node.operator) or before.spaced)
        text += (r"\," if thin else " ") + node.tex
    group = factors[0].group if len(factors) == 1 else ""
    source = "".join(node.source for node in factors)
    spaced = bool(factors) and factors[-1].spaced
    return Node(text.strip(), source, any(node.tall for node in factors), group, spaced)


def _fraction(above: Node, below: Node, *, small: bool) -> Node:
    command = r"\tfrac" if small else r"\frac"
    inner = f"{command}{{{above.group or above.tex}}}{{{below.group or below.tex}}}"
    return Node(inner, f"{above.source}/{below.source}", tall=not small)


def _joined(parts: list[Node], between: str) -> Node:
    group = parts[0].group if len(parts) == 1 else ""
    return Node(
        between.join(node.tex for node in parts),
        "".join(node.source for node in parts),
        any(node.tall for node in parts),
        group,
    )
