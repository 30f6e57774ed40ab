"""Records as JSON, in the form that `bench.schema.json` beside this file describes."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from manual_backprop.bench.machine import Machine
from manual_backprop.bench.run import Entry, Record
from manual_backprop.commands import read_schema
from manual_backprop.report.environment import environment
from manual_backprop.report.files import now

SCHEMA = "manual-backprop/bench"
DIGITS = 5  # of the seconds of a round; no clock is steadier
VERSION = 1  # raised when a field goes away or changes its meaning; new fields do not raise it


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return read_schema("manual_backprop.bench", "bench.schema.json")


def report(
    records: Sequence[Record], machine: Machine, device: str, *, quick: bool, command: str = ""
) -> dict[str, Any]:
    """One record per case, and what the numbers depend on.

    Args:
        records: one per case.
        machine: its limits.
        device: that all ran on.
        quick: whether sizes were smaller and nothing was compiled.
        command: as it was typed.

    Raises:
        RuntimeError: the device is not there.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "ok": all(record.ok for record in records),
        "command": command,
        "made": now(),
        "quick": quick,
        "environment": environment((device,)),
        "machine": asdict(machine),
        "cases": [
            {
                "case": record.case.name,
                "group": record.case.group,
                "sizes": dict(record.sizes),
                "shapes": record.case.described(record.sizes),
                "device": device,
                **asdict(record.case.work(**record.sizes)),
                "ok": record.ok,
                "outcome": record.outcome,
                **({"against": record.best.name} if record.best else {}),
                **({"remark": record.case.remark} if record.case.remark else {}),
                "opponents": [_fields(entry) for entry in record.entries],
            }
            for record in records
        ],
    }


def _fields(entry: Entry) -> dict[str, Any]:
    """Without what is not known."""
    fields: dict[str, Any] = {"opponent": entry.name}
    if entry.closeness is not None:
        near = entry.closeness
        fields["right"] = near.right
        for name, number in (("error", near.error), ("allowed", near.allowed)):
            fields[name] = number if math.isfinite(number) else str(number)
    if entry.missing:
        fields["missing"] = entry.missing
    if entry.seconds is not None and entry.memory is not None:
        fields |= {
            "seconds": entry.seconds,
            "share_of_limit": entry.share,
            **asdict(entry.memory),
            "calls": entry.calls,
            "rounds": entry.rounds,
            "samples": [float(f"{seconds:.{DIGITS}g}") for seconds in entry.samples],
        }
    if entry.ratio is not None:
        fields["ratio"] = asdict(entry.ratio)
    return fields
