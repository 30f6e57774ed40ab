"""What a check found, as a page; made of the fields of its JSON, and imports no torch."""

from pathlib import Path
from typing import Any

from manual_backprop.check.page import LABEL, extent, number
from manual_backprop.check.show import tell
from manual_backprop.report.templates import Fields, page


def check_page(report: Fields, *, hints: int, solution: bool, test: bool) -> str:
    """The page of `check --html`.

    Args:
        report: as `command.record` returns it.
        hints: how much to tell, 1 to 4.
        solution: show the house's own backward as well, where there is one.
        test: show the smallest test that fails, or that there is none.
    """
    functions = []
    for record in report["functions"]:
        written = _Written()
        tell(written, record, Path(report["file"]), hints, solution=solution, test=test)
        functions.append({"ok": record["ok"], "name": written.name, "rest": written.rest,
                          "blocks": written.blocks})  # fmt: skip
    names = ("file", "ok", "refused", "skipped", "printed", "command", "made", "environment")
    return page(
        "check.jinja",
        functions=functions,
        headline=_headline(report),
        seeds=sorted({seed for record in report["functions"] for seed in record["seeds"]}),
        **{name: report[name] for name in names},
    )


def _headline(report: Fields) -> str:
    if report["refused"]:
        return f"{Path(report['file']).name} cannot be judged"
    names = [record["function"] for record in report["functions"]]
    wrong = [record["function"] for record in report["functions"] if not record["ok"]]
    if len(names) == 1:
        return f"{names[0]} is {'wrong' if wrong else 'right'}"
    if not wrong:
        return f"All {len(names)} functions are right" if names else "There is nothing to judge"
    return f"{len(wrong)} of {len(names)} functions {'are' if len(wrong) > 1 else 'is'} wrong"


class _Written:
    """What `show.tell` says of one function, kept as blocks for a template.

    Attributes:
        name: of the function.
        rest: where it stands.
        blocks: each a kind and what a template needs of it; rows of words and texts that follow
            each other are one block.
    """

    def __init__(self) -> None:
        self.name, self.rest = "", ""
        self.blocks: list[dict[str, Any]] = []

    def line(self, text: str = "", style: str = "") -> None:
        """A sentence, or in bold a heading."""
        if text:
            self.blocks.append({"kind": "heading" if style == "bold" else "line", "text": text})

    def title(self, name: str, rest: str) -> None:
        """The function."""
        self.name, self.rest = name, rest.strip()

    def say(self, label: str, style: str, text: str, width: int = LABEL) -> None:  # noqa: ARG002
        """A word and a text beside it; nothing without a text."""
        if not text:
            return
        if not width:  # nothing stands at the left of it
            self.line(text)
            return
        if not self.blocks or self.blocks[-1]["kind"] != "says":
            self.blocks.append({"kind": "says", "rows": []})
        self.blocks[-1]["rows"].append((label, text))

    def table(self, reports: list[dict[str, Any]]) -> None:
        """A row per gradient or step."""
        known: dict[str, Any] = {"picture": None, "first": None, "worst": None}
        rows = [
            {**known, **report, "extent": "" if report["right"] else extent(report)}
            for report in reports
        ]
        for row in rows:
            first, worst = row["first"], row["worst"]
            wrong = [("first wrong", first), ("worst", worst)] if first != worst else [("", worst)]
            row["entries"] = [
                {**entry, "which": which or "wrong",
                 "said": [number(entry["got"]), number(entry["expected"])]}
                for which, entry in wrong if entry
            ]  # fmt: skip
        self.blocks.append({"kind": "table", "rows": rows})

    def block(self, text: str) -> None:
        """Lines as they are."""
        self.blocks.append({"kind": "block", "text": text})

    def code(self, source: str) -> None:
        """Python."""
        self.blocks.append({"kind": "code", "text": source})
