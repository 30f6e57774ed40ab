"""The signs that the docstrings' formulas are written with, and what each is in TeX."""

import re
import unicodedata

BAR, HAT = "\u0304", "\u0302"
FUNCTIONS = {
    **{name: rf"\{name}" for name in ("arccos", "arcsin", "arctan", "cos", "cosh", "exp", "ln")},
    **{name: rf"\{name}" for name in ("log", "max", "min", "sin", "sinh", "tan", "tanh")},
    **{name: rf"\operatorname{{{name}}}" for name in ("mean", "var", "relu", "sigmoid", "softmax")},
    **{name: rf"\operatorname{{{name}}}" for name in ("mse", "norm", "logit", "sum", "diag")},
}
NAMES = {"lr", "nan", "pred", "std", "target"}
GREEK = {
    "α": r"\alpha",
    "β": r"\beta",
    "γ": r"\gamma",
    "δ": r"\delta",
    "ε": r"\varepsilon",
    "θ": r"\theta",
    "μ": r"\mu",
    "π": r"\pi",
    "σ": r"\sigma",
    "τ": r"\tau",
}
OPERATORS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "+": "+",
    "-": "-",
    ",": ",",
    ";": ";",
    ":": r"\colon",
    "≤": r"\le",
    "≥": r"\ge",
    "≠": r"\ne",
    "≈": r"\approx",
    "±": r"\pm",
    "·": r"\cdot",
    "×": r"\times",
    "←": r"\leftarrow",
    "∈": r"\in",
    "*": r"{*}",
    "→": r"\to",
}
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᵃˣʸᵏ", "0123456789-+Taxyk", strict=True))
PAIRS = {"(": ")", "[": "]", "⟨": "⟩", "‖": "‖", "|": "|", "{": "}"}
OPEN = {"(": "(", "[": "[", "⟨": r"\langle", "‖": r"\lVert", "|": r"\lvert", "{": r"\{"}
CLOSE = {"(": ")", "[": "]", "⟨": r"\rangle", "‖": r"\rVert", "|": r"\rvert", "{": r"\}"}
TOKEN = re.compile(
    r"(?P<number>\d[\d,]*\d{3}\b|\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"|(?P<dots>\.\.\.)"
    rf"|(?P<script>[{''.join(SUPERSCRIPTS)}]+|'+)"
    r"|(?P<name>(?!d[a-z]_)[a-z]{2,}(?:_[a-z]{2,})+)"
    rf"|(?P<word>(?:(?![Σ{''.join(SUPERSCRIPTS)}])[^\W\d_][{BAR}{HAT}]?)+)"
    r"|(?P<sign>\S)"
)


def decomposed(text: str) -> str:
    """With every bar and hat as a sign of its own, and log_2 for log₂; ≠ stays one."""
    text = text.replace("₂", "_2")
    return "".join(c if c == "≠" else unicodedata.normalize("NFD", c) for c in text)


def bare(word: str) -> str:
    """A word without bars and hats."""
    return word.replace(BAR, "").replace(HAT, "")


def known(word: str) -> bool:
    """Whether it is a variable: one letter, or a name."""
    plain = bare(word)
    one = len(plain) == 1 and (plain.isascii() or plain in GREEK)
    return one or plain in NAMES


def variable(word: str) -> str:
    """A variable with its bar and hat, as TeX."""
    plain = bare(word)
    text = rf"\mathrm{{{plain}}}" if plain in NAMES else GREEK.get(plain, plain)
    if HAT in word:
        text = rf"\hat{{{text}}}"
    if BAR in word:
        text = rf"\overline{{{text}}}" if plain in NAMES else rf"\bar{{{text}}}"
    return text
