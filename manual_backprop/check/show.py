"""What a check found, for the terminal; imports no torch."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from manual_backprop.check.page import Page, Writer, shape_text
from manual_backprop.commands import program
from manual_backprop.judge.examples import EXAMPLES
from manual_backprop.report.console import Report

NOTES = {
    "witnesses": "the forward is taken for right; with oracle = PyTorch's own function of the same "
    "arguments in the file, it is checked too",
}
NOT_BACK = ("raises", "timeout", "crash")  # what Python itself would say is no hint
NETWORK = "network:"  # how a formula begins that takes several lines
UNLIKE = ("raises", "unknown")  # codes whose example is like no other mistake of that name
VERBS = (
    "is",
    "has",
    "lies",
    "shares",
    "does",
    "draws",
)  # a message goes on where its gradient is named
MORE = {
    1: "what kind of mistake it is",
    2: "the cause and its proof",
    3: "the derivation, to its end",
}


def show(
    answer: dict[str, Any],
    file: Path,
    *,
    hints: int = 3,
    solution: bool = False,
    test: bool = False,
    to_stderr: bool = False,
    console: Console | None = None,
) -> None:
    """Print what a check found.

    Args:
        answer: as `process.judge` returns it.
        file: as the learner named it.
        hints: how much to tell, 1 to 4.
        solution: show the house's own backward as well, where there is one.
        test: show the smallest test that fails, or that there is none.
        to_stderr: write to standard error.
        console: where to, in place of the standard streams.
    """
    page = Page(console or Report(stderr=to_stderr, highlight=False))
    if answer["printed"]:
        page.line(f"{file.name} printed in its first call:" if "functions" in answer else
                  f"{file.name} printed:", "dim")  # fmt: skip
        for line in answer["printed"].splitlines():
            page.line(f"  {line}".rstrip(), "dim")
        page.line()
    if "refused" in answer:
        page.say("cannot", "bold red", answer["refused"])
        return
    for number, record in enumerate(answer["functions"]):
        if number:
            page.line()
        tell(page, record, file, hints, solution=solution, test=test)
    for sentence in answer["skipped"]:
        page.line()
        page.say("skipped", "bold yellow", sentence)


def tell(
    page: Writer,
    record: dict[str, Any],
    file: Path,
    hints: int,
    *,
    solution: bool,
    test: bool,
) -> None:
    """Tell of one function: its verdict, and the cause as far as `hints` allow."""
    where = f"{file}:{record['line']}" if record["line"] else str(file)
    page.title(record["function"], f" in {where}")
    about = record["formula"]
    between = ", a " if about.startswith(NETWORK) else ": " if about else ""
    page.say("", "", f"held to {record['operator']}{between}{about}", 0)
    if record["sample"]:
        page.say("", "", f"tried on {sizes(record['samples'][record['sample']])}", 0)
    page.line()
    if record["steps"]:
        page.line("step by step, each with the right gradient before it:")
        page.table(record["steps"] + record["gradients"])
        page.line()
    elif record["gradients"]:
        page.table(record["gradients"])
        page.line()
    if record["ok"]:
        page.say("right", "bold green", f"in {record['cases']:,} cases")
    elif record["findings"]:
        _finding(page, record, hints)
    else:
        page.say("wrong", "bold red", "a step, although every gradient is right")
        page.say("step", "bold", _first_wrong(record))
    for limit in record["limits"]:
        page.say("beyond", "yellow", f"not {_where(record, limit)}: {_first_words(limit)}")
    if record["limits"]:
        page.say("", "", "That was not asked for; with --thorough it counts.")
    for note in record["notes"] if record["ok"] else ():
        page.say("note", "yellow", NOTES.get(note["code"], _noted(note)))
    if not record["ok"] and hints == 4 and record["derivation"]:
        page.line()
        page.line("Derivation", "bold")
        page.block(record["derivation"])
    if solution and record["solution"]:
        page.line()
        page.line("The backward of the house", "bold")
        page.code(record["solution"])
    elif solution:
        page.say("solution", "dim", "there is none: this is an operator of your own")
    if test and not record["ok"]:
        _test(page, record, file)


def _test(page: Writer, record: dict[str, Any], file: Path) -> None:
    """On a page of its own, so that it can be copied as it stands."""
    if not record["test"]:
        page.say("test", "dim", "there is none: no few and plain numbers show what is wrong"
                 if record["gradients"] else "there is none before it returns gradients of the "
                 "right shapes")  # fmt: skip
        return
    page.line()
    page.line(f"A test that fails until it is right, for a file beside {file.name}", "bold")
    page.line()
    page.code(record["test"])


def _finding(page: Writer, record: dict[str, Any], hints: int) -> None:
    """The most telling finding at length, the others in a line each."""
    finding, *others = record["findings"]
    if finding["code"] == "unwritten":
        page.say("not yet", "bold yellow", f"{record['function']} is not written: "
                 f"{finding['message']}. {finding['advice']}")  # fmt: skip
        return
    cause = finding.get("cause")
    gradient = ", ".join(cause["gradients"]) if cause else finding.get("gradient", "")
    step = _first_wrong(record)
    if hints == 1:
        page.say("wrong", "bold red", step or gradient or "the call")
    else:
        kind = finding["meaning"].partition(":")[0].rstrip(".")
        page.say("wrong", "bold red", f"{finding['code']}: {kind}.")
    if hints >= 2:
        page.say("step", "bold", step)
    if hints >= 3 and cause:
        page.say("cause", "bold", f"{gradient}: {cause['what']}")
        page.say("proof", "bold", cause.get("evidence", ""))
        page.say("forward", "bold", "" if step else cause.get("where", ""))
        for other in cause.get("also", ()):
            page.say("or", "dim", other)
    elif hints >= 3 or finding["code"] in NOT_BACK:
        where = _where(record, finding)
        page.say("found", "bold", f"{where}: {_said(finding)}" if where else _said(finding))
    if hints >= 3:
        page.say("try", "bold cyan", finding["advice"])
        for other in others:
            where = ", ".join(filter(None, (other["code"], _where(record, other))))
            page.say("also", "dim", f"{where}: {_brief(other)}")
    for number, more in enumerate(_more(record, finding["code"], hints)):
        page.say("" if number else "more", "dim", more)


def _more(record: dict[str, Any], code: str, hints: int) -> Iterator[str]:
    """Where more is told: by the next hint, and on the page of a code that is named."""
    if hints < 3 or (hints == 3 and record["derivation"]):
        yield f"the same with --hints {hints + 1} tells {MORE[hints]}"
    example = EXAMPLES.get(code)  # of another operator: this one's would be the solution
    if hints >= 2 and example and example.operator != record["operator"] and code not in UNLIKE:
        yield f"`{program()} explain {code}` shows the smallest example"
    if code == "unknown":
        if record["formula"].startswith(NETWORK) and not record["steps"]:
            yield (
                'with a parameter steps, grad_h = steps("h", grad_h) tells whether the gradient of '
                "the forward's h is right"
            )
        if not record["test"]:
            yield "--test shows it on the smallest numbers"


def _said(finding: dict[str, Any]) -> str:
    gradient = finding.get("gradient")
    message = str(finding["message"])
    between = " " if message.split(" ", 1)[0] in VERBS else ": "
    return f"{gradient}{between}{message}" if gradient else message


def _noted(note: dict[str, Any]) -> str:
    """A note, with the sample of one that a single number brought about."""
    return f"on sample {note['sample']}, {_said(note)}" if note["code"] == "kink" else _said(note)


def _first_wrong(record: dict[str, Any]) -> str:
    """Between which two steps to look; empty where no step is wrong."""
    before = "grad_out"
    for step in record["steps"]:
        if not step["right"]:
            return f"{step['name']} is wrong, and {before} right: look between the two"
        before = step["name"]
    return ""


def _brief(finding: dict[str, Any]) -> str:
    if cause := finding.get("cause"):
        return f"{', '.join(cause['gradients'])}: {cause['what']}"
    return _said(finding).partition(": off by")[0]


def _first_words(finding: dict[str, Any]) -> str:
    """What is so, without what to do about it."""
    if finding["code"] == "raises":  # what PyTorch said, in its many words, is told with --thorough
        return re.sub(r"(raised \w+): .*(, at \S+:\d+)$", r"\1\2", _brief(finding), flags=re.DOTALL)
    if finding.get("cause"):
        return _brief(finding)
    return _said({**finding, "message": finding["message"].partition(": ")[0]})


def _where(record: dict[str, Any], finding: dict[str, Any]) -> str:
    """Where it was seen, as far as that says something."""
    sample = finding.get("sample", "")
    own, _, change = sample.partition(" (")
    said = []
    if sample and sample != record["sample"]:
        inputs = f", {sizes(record['samples'][own])}" if own in record["samples"] else ""
        changed = f" with {change.rstrip(')')}" if change else inputs
        said.append(f"on sample {own}{changed}")
    if finding.get("dtype", "float64") != "float64":
        said.append(f"in {finding['dtype']}")
    if finding.get("layout", "contiguous") != "contiguous":
        said.append(f"with tensors that lie {finding['layout']} in memory")
    return " ".join(said)


def sizes(sample: dict[str, Any]) -> str:
    """As in "x (11, 7), w (7, 5), reduction = sum"."""
    shapes = [f"{name} {shape_text(shape)}" for name, shape in sample["shapes"].items()]
    return ", ".join(shapes + [f"{name} = {value}" for name, value in sample["options"].items()])
