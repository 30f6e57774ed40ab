"""How a check looks in the terminal: words at the left, texts beside them; imports no torch."""

from textwrap import wrap
from typing import Any, Protocol

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

LABEL = 10  # columns of the words at the left
WIDEST = 100  # columns; longer lines are hard to read


class Writer(Protocol):
    """What a check is told to; `Page` says what each of these writes."""

    def line(self, text: str = "", style: str = "") -> None: ...  # noqa: D102
    def title(self, name: str, rest: str) -> None: ...  # noqa: D102
    def say(self, label: str, style: str, text: str, width: int = LABEL) -> None: ...  # noqa: D102
    def table(self, reports: list[dict[str, Any]]) -> None: ...  # noqa: D102
    def block(self, text: str) -> None: ...  # noqa: D102
    def code(self, source: str) -> None: ...  # noqa: D102


class Page:
    """Lines broken between words, as wide as the terminal and 80 columns in a pipe."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = min(console.width, WIDEST) if console.is_terminal else 80

    def line(self, text: str = "", style: str = "") -> None:
        """A line as it is, however long."""
        self.console.print(Text(text, style), soft_wrap=True)

    def title(self, name: str, rest: str) -> None:
        """A name in bold, and what follows it."""
        self.console.print(Text(name, "bold").append(rest, "not bold"), soft_wrap=True)

    def say(self, label: str, style: str, text: str, width: int = LABEL) -> None:
        """A word at the left and a text beside it, `width` columns in; nothing without a text."""
        for number, line in enumerate(
            wrap(text, self.width - width, break_long_words=False, break_on_hyphens=False)
        ):
            begin = Text(f"{'' if number else label:<{width}}", style)
            self.console.print(begin.append(line, "not bold default"), soft_wrap=True)

    def table(self, reports: list[dict[str, Any]]) -> None:
        """A row per gradient or step: right, or how wrong."""
        wide = max(len(report["name"]) for report in reports)
        for report in reports:
            right = report["right"]
            row = Text(f"  {report['name']:<{wide}}  ")
            row.append("right" if right else "wrong", "green" if right else "red")
            if not right:
                row.append(f"  {extent(report)}".rstrip())
            self.console.print(row, soft_wrap=True)
            entries = [report[which] for which in ("first", "worst") if which in report]
            for entry in entries if entries[:1] != entries[1:] else entries[:1]:
                at = str(entry["index"]) if entry["index"] else "it"
                got, expected = (number(entry[key]) for key in ("got", "expected"))
                self.line(f"  {'':<{wide}}         {at} is {got}, should be {expected}")

    def block(self, text: str) -> None:
        """Lines as they are, one below the other."""
        for line in text.splitlines():
            self.line(line)

    def code(self, source: str) -> None:
        """Python, in colour."""
        syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        for line in syntax.highlight(source).split("\n"):
            line.rstrip()
            self.console.print(line, soft_wrap=True)


def extent(report: dict[str, Any]) -> str:
    """How much of a gradient is wrong, as in "all 77 entries, shape (11, 7)"."""
    if "said" in report:
        return str(report["said"])
    shape = f"shape {shape_text(report['shape'])}"
    if report["entries"] == 1:
        return shape if report["shape"] else ""
    some = "all" if report["wrong"] == report["entries"] else f"{report['wrong']} of"
    return f"{some} {report['entries']} entries, {shape}"


def number(value: float | str) -> str:
    """To nine digits."""
    return value if isinstance(value, str) else f"{value:.9g}"


def shape_text(shape: list[Any]) -> str:
    """As in "(11, 7)", of a tuple of tensors one after the other."""
    if shape and isinstance(shape[0], list):
        return " ".join(map(shape_text, shape))
    return f"({', '.join(map(str, shape))})"
