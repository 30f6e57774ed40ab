"""A verdict as JSON, in the form that `verify.schema.json` beside this file describes."""

import math
from collections.abc import Sequence
from typing import Any

from manual_backprop.commands import read_schema
from manual_backprop.judge.evidence import Picture
from manual_backprop.judge.verdict import Finding, Tally, Verdict
from manual_backprop.report.environment import environment
from manual_backprop.report.files import now

SCHEMA = "manual-backprop/verify"
VERSION = 1  # raised when a field goes away or changes its meaning; new fields do not raise it


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return read_schema("manual_backprop.report", "verify.schema.json")


def report(
    verdicts: Sequence[Verdict],
    devices: tuple[str, ...],
    dtypes: Sequence[str],
    seeds: Sequence[int],
    command: str = "",
    ranks: int | None = None,
) -> dict[str, Any]:
    """One record per backward, and what the numbers depend on.

    Args:
        verdicts: one per operator.
        devices: that they were judged on.
        dtypes: likewise.
        seeds: that every sample was drawn with.
        command: as it was typed.
        ranks: of the mesh that they were judged on.

    Raises:
        RuntimeError: one of the devices is not there.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "ok": all(verdict.ok for verdict in verdicts),
        "command": command,
        "made": now(),
        "seed": seeds[0],
        "seeds": list(seeds),
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
                    dtype: {
                        "error": tally.error,
                        "allowed": tally.allowed,
                        "cases": tally.cases,
                        "devices": {
                            device: _tally_fields(cell)
                            for device in devices
                            if (cell := verdict.cells.get((name, dtype, device)))
                        },
                    }
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


def _tally_fields(tally: Tally) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "error": tally.error,
        "allowed": tally.allowed,
        "cases": tally.cases,
    }
    if tally.closest is not None:
        near = tally.closest
        fields["closest"] = _for_json({**vars(near), "picture": _picture_fields(near.picture)})
    return fields


def finding_fields(finding: Finding) -> dict[str, Any]:
    """Without fields that say nothing; JSON has no infinity, so those numbers are strings."""
    fields = {name: value for name, value in vars(finding).items() if value not in (None, "")}
    if finding.cause is not None:
        fields["cause"] = {name: value for name, value in vars(finding.cause).items() if value}
    if finding.picture is not None:
        fields["picture"] = _picture_fields(finding.picture)
    return _for_json(fields)


def _picture_fields(picture: Picture) -> dict[str, Any]:
    return {name: list(value) for name, value in vars(picture).items()}


def _for_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }
