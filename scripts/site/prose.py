"""Sentences of a docstring as Markdown: formulas in them as TeX, names of code as code.

A word is of a formula where it can be nothing else: it holds a sign of mathematics, or is a letter
that is no English word. Numbers, brackets and functions beside such a word belong to it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from scripts.site.signs import FUNCTIONS, GREEK, NAMES, OPERATORS, decomposed
from scripts.site.tex import tex

LETTER = re.compile(r"-?(?:[A-Z]|[a-z]\d?|\d+)(?:_(?:[a-zA-Z]{1,2}|\d))?")
CODE = re.compile(
    r"`(?P<marked>[^`]*)`"
    r"|\b(?P<call>[a-z]\w{2,})\([^()]*\)"
    r"|\b(?!d[a-z]_)(?P<name>[a-z]\w*\.\w+(?:\.\w+)*|[a-z]{2,}\d?(?:_[a-z]{2,})+_?)"
)
ENGLISH = {"a", "A", "I"}
MARKS = "⁰¹²³⁻⁺ᵀᵃˣʸᵏ\u0304\u0302"

SIGNS = {*"=+·/≤≥≠≈<>^√Σ⟨⟩‖|∂±∞∈←×", *MARKS, *GREEK}


@dataclass(frozen=True)
class Piece:
    """A part of a sentence: of kind "text", "math" or "code"."""

    kind: str
    text: str


def pieces(sentence: str) -> list[Piece]:
    """The sentence, taken apart: each formula as it is written, in one piece."""
    parts: list[Piece] = []
    end = 0
    for match in CODE.finditer(sentence):
        if match["call"] in FUNCTIONS or re.search(r"[=≠]\s*$", sentence[: match.start()]):
            continue
        parts += [*_formulas(sentence[end : match.start()])]
        parts.append(Piece("code", match["marked"] or match[0]))
        end = match.end()
    return _merged([*parts, *_formulas(sentence[end:])])


def markdown(sentence: str) -> str:
    """The sentence as Markdown, its formulas between dollars.

    Raises:
        Unreadable: a formula in it cannot be read.
    """
    return "".join(_written(piece) for piece in pieces(sentence))


def _written(piece: Piece) -> str:
    if piece.kind == "math":
        return f"${tex(piece.text)}$"
    if piece.kind == "code":
        return f"`{piece.text}`"
    return re.sub(r"([\\*_`\[\]<>$#|])", r"\\\1", piece.text)


def _formulas(text: str) -> list[Piece]:
    words = re.split(r"(\s+)", text)
    kinds = _kinds(words)
    parts: list[Piece] = []
    at = 0
    while at < len(words):
        end = at
        while end < len(words) and kinds[end] != "text":
            end += 1
            if _ends("".join(words[at:end])):
                break
        run = "".join(words[at:end])
        parts += _formula(run) if "math" in kinds[at:end] else [Piece("text", run)]
        if end < len(words) and kinds[end] == "text":
            parts.append(Piece("text", words[end]))
            end += 1
        at = max(end, at + 1)
    return parts


def _ends(run: str) -> bool:
    """Whether a sentence, or a part of one, ends there."""
    return run.endswith((".", ";", ":")) and not run.endswith("...") and _depth(run) <= 0


def _kinds(words: list[str]) -> list[str]:
    """What each word is: of a formula, English, or either, as a number and a space are."""
    kinds = [_kind(word) for word in words]
    for at, word in enumerate(words):
        before = words[at - 2] if at > 1 else ""
        after = words[at + 2] if at + 2 < len(words) else ""
        if _inner(word) in ENGLISH:  # a letter beside a sign, and English elsewhere
            signs = {*OPERATORS, "/"}
            lettered = {before, after} & signs or _inner(before) in FUNCTIONS or after == "a"
            lettered = lettered or (kinds[at - 2] == "math" and after[:1] == "(" != before[-1:])
            listed = word == "a," and kinds[at + 2 : at + 3] == ["math"]
            kinds[at] = "math" if lettered or listed else "text"
        elif before == "article":
            kinds[at] = "text"
    return kinds


def _kind(word: str) -> str:
    inner = decomposed(_inner(word))
    if '"' in word:
        return "text"
    if not inner:
        return "either"
    if inner in ENGLISH or inner.endswith("'s"):
        return "text"
    if inner in OPERATORS or inner == "/":
        return "math"
    bare = re.sub(f"_\\{{[^}}]*\\}}|_(?:[a-zA-Z]{{1,2}}|\\d)\\b|[{MARKS}]", "", inner)
    names = re.findall(r"[^\W\d_]+(?:_[a-z]{2,})*", bare)
    small = [name for name in names if name[0] == "d" and (len(name) == 2 or name[1:] in NAMES)]
    for name in names:
        known = len(name) == 1 or name in {*FUNCTIONS, *NAMES, *small} or "_" in name
        if not known or name in ("do", "sum"):
            return "text"
    taken = any(re.match(rf"{name}[(_]", inner) for name in FUNCTIONS)
    if taken or small or SIGNS & set(inner) or LETTER.fullmatch(inner):
        return "either" if re.fullmatch(r"\d+", inner) else "math"
    return "either"


def _inner(word: str) -> str:
    return word.strip('(),.;:"')


def _formula(run: str) -> list[Piece]:
    """A run of words as a formula, without the punctuation and brackets around it."""
    if (at := _unmatched(run)) is not None:
        return [*_formula(run[:at]), Piece("text", run[at]), *_formula(run[at + 1 :])]
    match = re.fullmatch(r"(\s*(?:\d+[,.;:]\s+)?)(.*?)([,;:\s]*)", run, re.DOTALL)
    begin, body, end = match.groups() if match else ("", run, "")
    if body.endswith(".") and not body.endswith("..."):
        body, end = body[:-1], "." + end
    lettered = body in ENGLISH or any(_kind(word) == "math" for word in body.split())
    kind = "math" if lettered else "text"
    listed = [p for one in _listed(body) for p in (Piece(kind, one), Piece("text", ", "))][:-1]
    return [Piece("text", begin), *listed, Piece("text", end)]


def _listed(formulas: str) -> Iterator[str]:
    """Formulas with a comma between them, each by itself: a line may end behind any of them."""
    begin = 0
    for comma in re.finditer(", ", formulas):
        before = formulas[begin : comma.start()]
        if all(before.count(one) == before.count(other) for one, other in ("()", "[]", "{}", "⟨⟩")):
            yield before
            begin = comma.end()
    yield formulas[begin:]


def _unmatched(text: str) -> int | None:
    """Where the first bracket stands that has no partner."""
    begun: list[int] = []
    for at, c in enumerate(text):
        if c in "([":
            begun.append(at)
        elif c in ")]":
            if not begun:
                return at
            begun.pop()
    return begun[0] if begun else None


def _depth(text: str) -> int:
    """How many brackets are open at its end; negative where one closes what was not opened."""
    return sum((c in "([") - (c in ")]") for c in text)


def _merged(parts: list[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for part in parts:
        if not part.text:
            continue
        if merged and part.kind == "text" == merged[-1].kind:
            merged[-1] = Piece("text", merged[-1].text + part.text)
        else:
            merged.append(part)
    return merged
