"""Judge the judge by mistakes that people make: is each rejected, and called by its name?

    python -m scripts.mistakes
    python -m scripts.mistakes --seeds 3

A mistake that passes, a right backward that is accused, or a cause that is found for random numbers
is a fault of the judge. A mistake without a name ("unknown") is an honest gap.
How many there are of each is written into the page on the judge.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import perf_counter

import click
import torch
from rich.console import Console
from rich.table import Table

from manual_backprop import commands
from manual_backprop.judge.verdict import Finding
from manual_backprop.judge.verify import PARTS, verify
from manual_backprop.op import Op
from scripts.speed.pages import filled_from, written
from tests.mistakes import Backward, Mistake, mistakes, rights
from tests.mistakes.corruptions import corruptions

LAYOUTS = ("contiguous", "strided")
NOT_MADE = tuple(part for part in PARTS if part != "made")
PASSES = "passes"
ROOT = Path(__file__).parents[1]
PAGE = "docs/judge.md"


@cache  # what keeps state between calls is judged once, as by somebody who tries it for once
def first_finding(
    op: Op, backward: Backward, parts: tuple[str, ...] = PARTS, *, causes: bool = True
) -> Finding | None:
    """What the judge says first of a backward in float64; None where it passes."""
    how = {"dtypes": torch.float64, "seeds": (0,), "layouts": LAYOUTS}
    verdict = verify(op, backward, **how, parts=parts, causes=causes)  # type: ignore[arg-type]
    return verdict.findings[0] if verdict.findings else None


@dataclass
class Score:
    """How the mistakes of one family fared; the lists hold a mistake and what was said of it."""

    count: int = 0
    best: int = 0
    passed: list[tuple[Mistake, str]] = field(default_factory=list)
    misnamed: list[tuple[Mistake, str]] = field(default_factory=list)
    unknown: list[tuple[Mistake, str]] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many did not pass."""
        return self.count - len(self.passed)

    @property
    def named(self) -> int:
        """How many were called by one of the codes that are true of them."""
        return self.rejected - len(self.misnamed) - len(self.unknown)

    def add(self, one: Mistake) -> None:
        """Judge a mistake and count it in."""
        found = first_finding(one.op, one.backward)
        code = found.code if found else PASSES
        self.count += 1
        if code in one.expected:
            self.best += code == one.expected[0]
        else:
            others = {PASSES: self.passed, "unknown": self.unknown}
            others.get(code, self.misnamed).append((one, str(found or PASSES)))


def is_unseen(family: str) -> bool:
    """Whether it was written without sight of the diagnosis."""
    return family.startswith("unseen")


def scored(all_mistakes: Iterable[Mistake]) -> dict[str, Score]:
    """Family -> Score, by the families' names."""
    found: dict[str, Score] = {}
    for one in all_mistakes:
        found.setdefault(one.family, Score()).add(one)
    return dict(sorted(found.items()))


def accused() -> tuple[int, list[str]]:
    """How many right backwards were judged, and what was said of those that did not pass."""
    count, said = 0, []
    for one in rights():
        count += 1
        if found := first_finding(one.op, one.backward, NOT_MADE):
            said.append(f"{one.name}: {found}")
    return count, said


@dataclass
class Invented:
    """How the corruptions fared: those that passed, and those for which a cause was invented."""

    count: int = 0
    passed: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)


def invented(seeds: int, every: int = 1) -> Invented:
    """Judge every corruption by the first `seeds` seeds, or one in `every`."""
    score = Invented()
    for seed in range(seeds):
        for one in [*corruptions(seed)][seed % every :: every]:
            score.count += 1
            found = first_finding(one.op, one.backward)
            if found is None:
                score.passed.append(one.name)
            elif found.code not in one.honest:
                score.invented.append(f"{one.name}: {found}")
    return score


def counts() -> dict[str, int]:
    """How many backwards the judge is judged by, and of how many forwards the wrong ones are."""
    wrong = mistakes()
    return {
        "mistakes": len(wrong),
        "forwards": len({one.op for one in wrong}),
        "rights": len(rights()),
    }


def filled(text: str) -> str:
    """The page on the judge with the numbers between its marks written anew.

    Raises:
        commands.Mistake: a mark asks for what is not counted.
    """
    return filled_from(text, counts(), {}, _number)


def _number(of: dict[str, int], name: str) -> str:
    if name not in of:
        raise commands.Mistake(f"{PAGE}: {name!r} is not counted; there are {', '.join(of)}")
    return str(of[name])


def _table(found: dict[str, Score]) -> Table:
    table = Table(title="Mistakes as people make them")
    table.add_column("family")
    columns = ("mistakes", "rejected", "named", "best name", "misnamed", "unknown")
    for column in columns:
        table.add_column(column, justify="right")
    for total, unseen in (("all of these", False), ("all unseen", True)):
        totals = [0] * len(columns)
        for family, one in found.items():
            if is_unseen(family) is unseen:
                counts = (one.count, one.rejected, one.named, one.best, len(one.misnamed),
                          len(one.unknown))  # fmt: skip
                totals = [a + b for a, b in zip(totals, counts, strict=True)]
                table.add_row(family, *map(str, counts))
        table.add_section()
        table.add_row(total, *map(str, totals), style="bold")
        table.add_section()
    return table


@click.command()
@click.option("--seeds", default=1, show_default=True, help="Draws of the corruptions.")
def main(seeds: int) -> None:
    """Judge every mistake, right backward and corruption; write into docs/judge.md how many."""
    torch.set_num_threads(1)
    start = perf_counter()
    found = scored(mistakes())
    count, said = accused()
    spoiled = invented(seeds)
    console = Console(width=None if Console().is_terminal else 100)
    console.print(_table(found))
    for kind in ("passed", "misnamed", "unknown"):
        for score in found.values():
            for one, what in getattr(score, kind):
                console.print(
                    f"{kind}: {one.name}, expected {' or '.join(one.expected)}: {what}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
    for line in (*said, *spoiled.passed, *spoiled.invented):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    kinds = Counter(one.taxonomy for one in mistakes() if one.taxonomy)
    of = counts()
    console.print(f"{of['mistakes']} mistakes of {len(kinds)} kinds in {of['forwards']} forwards")
    console.print(f"{count - len(said)} of {count} right backwards pass")
    console.print(
        f"{spoiled.count - len(spoiled.passed)} of {spoiled.count} corruptions rejected, "
        f"{len(spoiled.invented)} causes invented"
    )
    console.print(f"{perf_counter() - start:.0f} s")
    for file in written(ROOT, (PAGE,), filled, {}, of):
        console.print(f"wrote {file.relative_to(ROOT)}")
    passed = any(score.passed for score in found.values())
    raise SystemExit(passed or bool(said or spoiled.passed or spoiled.invented))


if __name__ == "__main__":
    main()
