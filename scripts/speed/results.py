"""The numbers in `docs/speed`, read again: cases and opponents by name."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from manual_backprop.bench.race import Ratio, ratio
from manual_backprop.commands import Mistake

COMMAND = "uv run python -m scripts.speed"
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Timed:
    """One opponent of a case; what was not timed has only its name.

    Attributes:
        fields: as the JSON has them.
    """

    fields: Fields

    @property
    def name(self) -> str:
        """As the case calls it."""
        return str(self.fields["opponent"])

    @property
    def there(self) -> bool:
        """Whether it was timed."""
        return "seconds" in self.fields

    @property
    def seconds(self) -> float:
        """Of one call, the median of all rounds."""
        return float(self.fields["seconds"])

    @property
    def ratio(self) -> Ratio | None:
        """Its time over the first's; None for the first."""
        return Ratio(**self.fields["ratio"]) if "ratio" in self.fields else None

    def times(self, other: "Timed") -> Ratio:
        """How many times as long as the other it takes, round by round."""
        return ratio(self.fields["samples"], other.fields["samples"])


@dataclass(frozen=True)
class Measured:
    """One case with its opponents.

    Attributes:
        fields: as the JSON has them.
        machine: its limits.
    """

    fields: Fields
    machine: Fields

    @property
    def name(self) -> str:
        """Of this case alone."""
        return str(self.fields["case"])

    @property
    def sizes(self) -> Mapping[str, int]:
        """At which it was timed."""
        return self.fields["sizes"]  # type: ignore[no-any-return]

    @cached_property
    def opponents(self) -> dict[str, Timed]:
        """All that are named, the hand-written first."""
        return {entry["opponent"]: Timed(entry) for entry in self.fields["opponents"]}

    @property
    def timed(self) -> list[Timed]:
        """Those of them that were timed."""
        return [one for one in self.opponents.values() if one.there]

    @property
    def rival(self) -> Timed | None:
        """The fastest that is not hand-written."""
        name = self.fields.get("against")
        return None if name is None else self.opponents[name]

    @property
    def outcome(self) -> str:
        """Of the hand-written against its rival, as in `manual-backprop bench`."""
        return str(self.fields["outcome"])

    @property
    def limit(self) -> float:
        """Seconds that the formula's work takes at the least, at the machine's speeds."""
        arithmetic = self.fields["flops"] / self.machine["sgemm"]
        return float(max(arithmetic, self.fields["least_bytes"] / self.machine["copy"]))


@dataclass(frozen=True)
class Report:
    """What one part gave with so many threads.

    Attributes:
        fields: the JSON.
    """

    fields: Fields

    @cached_property
    def cases(self) -> dict[str, Measured]:
        """By name."""
        machine = self.fields["machine"]
        return {case["case"]: Measured(case, machine) for case in self.fields["cases"]}

    def group(self, name: str) -> list[Measured]:
        """The cases of a group, in the order in which its size grows."""
        return [case for case in self.cases.values() if case.fields["group"] == name]


class Results:
    """All numbers of a folder.

    Args:
        folder: with a file PART-THREADS.json for each part and number of threads.

    Raises:
        Mistake: a part is not there.
    """

    def __init__(self, folder: Path, parts: Mapping[str, object]) -> None:
        self.reports: dict[tuple[str, int], Report] = {}
        for part in parts:
            files = sorted(folder.glob(f"{part}-*.json"))
            if not files:
                raise Mistake(f"{folder} has no {part}-*.json; `{COMMAND} {part}` measures it")
            for file in files:
                threads = int(file.stem.rpartition("-")[2])
                self.reports[part, threads] = Report(json.loads(file.read_text("utf-8")))

    def threads(self, part: str) -> list[int]:
        """With how many it was measured, the fewest first."""
        return sorted(threads for name, threads in self.reports if name == part)

    def of(self, part: str) -> Iterator[tuple[int, Report]]:
        """Each number of threads with what was measured."""
        for threads in self.threads(part):
            yield threads, self.reports[part, threads]

    def most(self, part: str) -> Report:
        """With the most threads."""
        return self.reports[part, self.threads(part)[-1]]

    def least(self, part: str) -> Report:
        """With the fewest threads, which is one."""
        return self.reports[part, self.threads(part)[0]]


def in_threads(threads: int) -> str:
    """As in "1 thread"."""
    return f"{threads} thread{'s' * (threads != 1)}"
