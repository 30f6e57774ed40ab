"""A code's page in the terminal; torch is imported only where the judge is asked."""

from textwrap import indent
from typing import TYPE_CHECKING, Any

from rich.console import Console

from manual_backprop.check.page import Page
from manual_backprop.commands import program
from manual_backprop.judge.codes import CODES
from manual_backprop.judge.examples import EXAMPLES, WITHOUT

if TYPE_CHECKING:
    from manual_backprop.judge.verdict import Verdict


def judged(source: str, operator: str) -> "Verdict":
    """The judge's verdict of a backward, on its operator's first sample in float64.

    Args:
        source: of a function back_<operator> that takes `torch` for granted.
        operator: a name of OPS.
    """
    import torch

    from manual_backprop.judge.verify import verify
    from manual_backprop.registry import OPS

    names: dict[str, Any] = {"torch": torch}
    exec(compile(source, "example.py", "exec"), names)
    op = OPS[operator]
    return verify(
        op,
        names[f"back_{operator}"],
        samples=[next(iter(op.samples))],
        dtypes=torch.float64,
        seeds=(0,),
    )


def show_codes(console: Console) -> None:
    """Every code with what it means."""
    page = Page(console)
    label = max(map(len, CODES)) + 2
    for name, code in CODES.items():
        page.say(name, "bold", code.meaning, label)
    page.line()
    page.line(f"{program()} explain CODE shows an example, and how to mend it.")


def show_code(console: Console, name: str, *, verdict: bool) -> None:
    """What a code means, the smallest example, what the judge says of it, and how to mend it."""
    page, code = Page(console), CODES[name]
    page.title(name, "")
    page.line()
    page.say("means", "bold", code.meaning)
    page.say("try", "bold cyan", code.advice)
    page.line()
    if name not in EXAMPLES:
        page.say("example", "bold", f"None. {WITHOUT[name]}")
        return
    example = EXAMPLES[name]
    page.say("wrong", "bold red", f"for {example.operator}:")
    page.line()
    page.code(indent(example.wrong, "    ").rstrip())
    page.line()
    if verdict:
        _show_finding(page, judged(example.wrong, example.operator))
        page.line()
    page.say("right", "bold green", "ends in:")
    page.line()
    page.code(indent(example.mended, "    "))
    page.line()
    page.line(f"{program()} explain {example.operator} derives it.", "dim")


def _show_finding(page: Page, verdict: "Verdict") -> None:
    finding = verdict.findings[0]
    page.say("judge", "bold", str(finding).partition("\n")[0])
    if cause := finding.cause:
        page.say("cause", "bold", f"{', '.join(cause.gradients)}: {cause.what}")
        page.say("proof", "bold", cause.evidence)
        page.say("forward", "bold", cause.where)
        for other in cause.also:
            page.say("or", "dim", other)
