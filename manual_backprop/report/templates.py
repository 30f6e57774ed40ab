"""The templates of the pages, and how they write numbers; imports no torch."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import chain, groupby, takewhile
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import manual_backprop
from manual_backprop.judge.levels import LEVELS, SAID, WRONG

Fields = Mapping[str, Any]


def page(template: str, **fields: Any) -> str:
    """A template filled in: a whole page.

    Args:
        template: in the folder `html` beside this file.
        fields: all that it names.
    """
    return _templates().get_template(template).render(**fields) + "\n"


def share(ratio: float) -> str:
    """Error over allowance as people read it.

    >>> share(0.1008), share(0.00123), share(0), share(1e-7)
    ('10 %', '0.12 %', 'exact', '< 0.01 %')
    """
    if not ratio:
        return "exact"
    percent = 100 * ratio
    digits = 0 if percent >= 9.95 else 1 if percent >= 0.95 else 2
    return f"{percent:.{digits}f} %" if percent >= 0.01 else "< 0.01 %"


def plain(number: float | str) -> str:
    """A number with all its digits, as JSON has it."""
    return number if isinstance(number, str) else repr(number)


def short(number: float | str) -> str:
    """To two digits, as in 2.3e-07."""
    return number if isinstance(number, str) else f"{number:.1e}"


def _common(pair: Sequence[float | str]) -> str:
    """How both numbers begin."""
    both = zip(*map(plain, pair), strict=False)
    return "".join(one for one, _ in takewhile(lambda each: each[0] == each[1], both))


def _strokes(levels: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """The commonest level of a picture, and for each other the path that strikes its squares.

    Neighbours in a row are struck at once; all wrong levels are one, and called w.
    """
    rows = [["w" if n >= str(WRONG) else "n" if n == "-" else n for n in row] for row in levels]
    ground = Counter(chain.from_iterable(rows)).most_common(1)[0][0]
    paths: dict[str, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        for level, some in groupby(row):
            count = len(list(some))
            if level != ground:
                paths.setdefault(level, []).append(f"M{x} {y}h{count}")
            x += count
    return ground, [(level, "".join(d)) for level, d in sorted(paths.items())]


def _place(picture: Fields) -> tuple[int, int]:
    """Column and row of the square that holds the worst entry."""
    *rows, column = picture["index"] or (0,)
    row = 0
    for size, at in zip(picture["shape"], rows, strict=False):
        row = row * size + at
    return column // picture["block"][1], row // picture["block"][0]


def _index(index: Sequence[int]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _shape(shape: Sequence[int]) -> str:
    return f"shape ({', '.join(map(str, shape))})" if shape else "one number"


def _where(finding: Fields, whole: bool = False) -> str:
    """The call that it was seen in; with `whole` its dtype and device too."""
    names = ("sample", "dtype", "device", "layout") if whole else ("sample", "layout")
    said = [
        f"sample {finding[name]}" if name == "sample" else str(finding[name])
        for name in names
        if finding.get(name)
    ]
    return ", ".join(said)


def _breakable(name: str) -> Markup:
    """A name that may be broken after each underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _prose(sentence: str) -> Markup:
    """A sentence in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(sentence))))


def _date(made: str) -> str:
    """As in "22 November 2026, 09:30 UTC"."""
    when = datetime.fromisoformat(made)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


@cache
def _templates() -> Environment:
    here = files("manual_backprop.report").joinpath("html")
    style, script = (here.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    templates = Environment(
        loader=PackageLoader("manual_backprop.report", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "levels": LEVELS[:WRONG],
        "said": SAID,
        "version": manual_backprop.__version__,
    }
    templates.filters |= {
        "breakable": _breakable,
        "common": _common,
        "date": _date,
        "index": _index,
        "place": _place,
        "plain": plain,
        "prose": _prose,
        "shape": _shape,
        "short": short,
        "strokes": _strokes,
        "where": _where,
    }
    return templates
