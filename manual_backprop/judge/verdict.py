"""What the judge says: findings, notes, and how close each backward came."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import unwrap
from pathlib import Path
from traceback import walk_tb
from types import MappingProxyType
from typing import Any

import torch

from manual_backprop.judge.codes import CODES
from manual_backprop.judge.evidence import Closest, Picture

WIDEST = 400  # characters of what an exception says


class WrongGradient(AssertionError):  # noqa: N818 -- read as a sentence in a test report
    """A backward that is wrong; the message is the verdict."""


@dataclass(frozen=True)
class Cause:
    """What is wrong with a backward, proven.

    Attributes:
        code: of CODES.
        gradients: those that it explains, as in ("grad_w",).
        what: a sentence.
        evidence: with the numbers that prove it.
        where: the line of the forward whose derivative it is, as in "ops.py:12: h = x @ w".
        also: other ways to say the same, each a code and a sentence.
    """

    code: str
    gradients: tuple[str, ...]
    what: str
    evidence: str = ""
    where: str = ""
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        proof = f" ({self.evidence})" if self.evidence else ""
        lines = [f"{', '.join(self.gradients)}: {self.what}{proof}"]
        lines += [f"  in the forward: {self.where}"] if self.where else []
        lines.append(f"  {CODES[self.code].advice}")
        lines += [f"  or, which is the same: {other}" for other in self.also]
        return "\n    ".join(lines)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (or, as a note, worth knowing).

    Attributes:
        backward: the function's name; the forward's where the forward is at fault.
        gradient: which of its results, as in "grad_w"; empty where it concerns the whole call.
        code: one of CODES; stable, for programs.
        message: a sentence, for people.
        got, expected, error, allowed: at the worst entry, where numbers were compared.
        sample, dtype, device, layout: where it was seen. Samples that the judge made itself from
            the operator's carry what was changed, as in "rows (k = 4099)".
        cause: what was found to be the mistake, if anything.
        picture: of all entries of the gradient, where numbers were compared.
    """

    backward: str
    gradient: str
    code: str
    message: str
    got: float | None = None
    expected: float | None = None
    error: float | None = None
    allowed: float | None = None
    sample: str = ""
    dtype: str = ""
    device: str = ""
    layout: str = ""
    cause: Cause | None = None
    picture: Picture | None = None

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.sample, self.dtype, self.device, self.layout)))
        what = f"{self.backward}: {self.gradient}" if self.gradient else self.backward
        said = f"{what}: {self.message} [{'; '.join(filter(None, (self.code, where)))}]"
        return f"{said}\n    {self.cause}" if self.cause else said


class Broken(Exception):  # noqa: N818 -- carries a finding out of a call
    """A call broke a promise; nothing further can be judged."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True)
class Tally:
    """How one backward fared in one dtype.

    Attributes:
        cases: calls whose values were held to the truth.
        error, allowed: of the entry that came closest to its allowance, relative to the largest
            entry of its gradient.
        closest: that entry, and where it was seen.
    """

    cases: int = 0
    error: float = 0.0
    allowed: float = 0.0
    closest: Closest | None = None

    @property
    def ratio(self) -> float:
        """Error over allowance, at most 1 where every value is right."""
        return self.error / self.allowed if self.allowed else 0.0

    def plus(
        self, error: float, allowed: float, closest: Callable[[], Closest | None] = lambda: None
    ) -> "Tally":
        """This tally with one more case; `closest` is asked only where that came closer."""
        if self.allowed and not (allowed > 0 and error / allowed > self.ratio):
            return replace(self, cases=self.cases + 1)
        return Tally(self.cases + 1, error, allowed, closest() if allowed else None)

    def joined(self, other: "Tally") -> "Tally":
        """All cases of both."""
        first = self if self.allowed and self.ratio >= other.ratio else other
        return replace(first, cases=self.cases + other.cases)


@dataclass
class Verdict:
    """All that the judge found out about one operator's backwards.

    Attributes:
        operator: its name.
        saves: backward -> what a forward pass has to keep for it.
        findings: what is wrong; empty where all is right.
        notes: what is worth knowing and not wrong.
        cells: (backward, dtype, device) -> how it fared.
        axes: backward -> the axes that were sharded, where it was judged on a mesh.
    """

    operator: str
    saves: Mapping[str, tuple[str, ...]]
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    cells: dict[tuple[str, str, str], Tally] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tallies(self) -> Mapping[tuple[str, str], Tally]:
        """(backward, dtype) -> how it fared, on all devices together."""
        found: dict[tuple[str, str], Tally] = {}
        for (backward, dtype, _), tally in self.cells.items():
            found[backward, dtype] = found.get((backward, dtype), Tally()).joined(tally)
        return MappingProxyType(found)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def of(self, backward: str) -> list[Finding]:
        """The findings that condemn one backward: its own, and the forward's, which all share."""
        return [f for f in self.findings if f.backward == backward or f.backward not in self.saves]

    def cases(self, backward: str) -> int:
        """How many calls of one backward were held to the truth."""
        return sum(tally.cases for (name, *_), tally in self.cells.items() if name == backward)

    def raise_if_wrong(self) -> None:
        """Raise the verdict where something is wrong.

        Raises:
            WrongGradient: with `str(self)`.
        """
        if not self.ok:
            raise WrongGradient(str(self))

    def __str__(self) -> str:
        notes = [f"  note: {note}" for note in self.notes]
        if self.ok:
            cases = sum(tally.cases for tally in self.cells.values())
            return "\n".join([f"{self.operator}: right in {cases} cases", *notes])
        count = len(self.findings)
        lines = [f"{self.operator}: {count} finding{'s' if count > 1 else ''}"]
        told = set()
        for finding in self.findings:
            if (key := (finding.backward, finding.gradient, finding.code)) not in told:
                told.add(key)
                more = sum((f.backward, f.gradient, f.code) == key for f in self.findings) - 1
                lines.append(f"  {finding}" + (f"; {more} more like it" if more else ""))
        return "\n".join([*lines, *notes])


def first_line(error: BaseException) -> str:
    """What an exception says, without what follows; empty where it says nothing."""
    try:
        said = str(error)
    except Exception:  # one whose author made a mistake in it
        return ""
    return cut((said.strip().splitlines() or [""])[0], WIDEST)


def raised(error: BaseException) -> str:
    """The exception's type and what it says, as in "NameError: name 'gard_out' is not defined"."""
    return ": ".join(filter(None, (type(error).__name__, first_line(error))))


def reason(error: BaseException) -> str:
    """Why it does not run, in one line: the cause that a compiler wraps, without its advice."""
    while (inner := getattr(error, "inner_exception", None)) is not None:
        error = inner
    return raised(error)


def cut(line: str, width: int) -> str:
    """The line, or so many of its first characters and dots."""
    return line if len(line) <= width else f"{line[:width]} ..."


def error_at(error: BaseException, function: Callable[..., Any]) -> str:
    """What a function raised, and the innermost line in the function's file that was running.

    As in "NameError: name 'gard_out' is not defined, at my_ops.py:12".
    """
    said = raised(error)
    code = getattr(unwrap(function), "__code__", None)
    lines = [
        line
        for frame, line in walk_tb(error.__traceback__)
        if code and frame.f_code.co_filename == code.co_filename
    ]
    return f"{said}, at {Path(code.co_filename).name}:{lines[-1]}" if code and lines else said


def dtype_name(dtype: torch.dtype) -> str:
    """As in "float32"."""
    return str(dtype).removeprefix("torch.")
