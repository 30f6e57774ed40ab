"""A verdict as JSON, in the form that `verify.schema.json` beside this file describes."""

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from manual_backprop.commands import read_schema
from manual_backprop.judge.verdict import Finding, Verdict
from manual_backprop.report.environment import environment

SCHEMA = "manual-backprop/verify"
VERSION = 1  # raised when a field goes away or changes its meaning; new fields do not raise it


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return read_schema("manual_backprop.report", "verify.schema.json")


def report(
    verdicts: Sequence[Verdict],
    devices: tuple[str, ...],
    dtypes: Sequence[str],
    seed: int,
    ranks: int | None = None,
) -> dict[str, Any]:
    """One record per backward, and what the numbers depend on; of a mesh, how many ranks it has.

    Raises:
        RuntimeError: one of the devices is not there.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "ok": all(verdict.ok for verdict in verdicts),
        "seed": seed,
        "environment": environment(devices),
        **({"mesh": {"ranks": ranks}} if ranks else {}),
        "backwards": [
            {
                "operator": verdict.operator,
                "backward": name,
                "ok": not verdict.of(name),
                "saves": list(saves),
                **({"sharded": list(verdict.axes[name])} if name in verdict.axes else {}),
                "cases": verdict.cases(name),
                "dtypes": {
                    dtype: {"error": tally.error, "allowed": tally.allowed, "cases": tally.cases}
                    for dtype in dtypes
                    if (tally := verdict.tallies.get((name, dtype)))
                },
                "findings": [finding_fields(finding) for finding in verdict.of(name)],
                "notes": [
                    finding_fields(note)
                    for note in verdict.notes
                    if note.backward in (name, verdict.operator)
                ],
            }
            for verdict in verdicts
            for name, saves in verdict.saves.items()
        ],
    }


def write(file: Path, fields: dict[str, Any]) -> None:
    """Write a report whole or not at all; `-` is standard output.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    text = json.dumps(fields, indent=2, allow_nan=False) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    write_text(file, text)


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    with NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as partial:
        partial.write(text)
    Path(partial.name).chmod(0o644)
    os.replace(partial.name, file)


def finding_fields(finding: Finding) -> dict[str, Any]:
    """Without fields that say nothing; JSON has no infinity, so those numbers are strings."""
    fields = {name: value for name, value in vars(finding).items() if value not in (None, "")}
    if finding.cause is not None:
        fields["cause"] = {name: value for name, value in vars(finding.cause).items() if value}
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }
