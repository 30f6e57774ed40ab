"""Reports as pages: one file each, made of the same fields as their JSON; imports no torch.

What comes from files under check is text, and the templates escape all of it. The pages' policy
allows no other style and script than their own, known by their hashes, and no address at all.
"""

import re
import shlex
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain, count, groupby
from typing import Any

from manual_backprop.commands import DTYPES
from manual_backprop.judge.codes import CODES
from manual_backprop.judge.levels import LEVELS
from manual_backprop.report.templates import Fields, page, share

CLOSE = 0.3  # error over allowance, from which a cell is called close


def verify_page(report: Fields) -> str:
    """The page of `verify --html`.

    Args:
        report: as `as_json.report` returns it.
    """
    records = report["backwards"]
    columns = _columns(report)
    ids = _Ids()
    ranks = report.get("mesh", {}).get("ranks")
    options = ["--mesh", str(ranks)] if ranks else []
    options += ["--seed", str(report["seed"])] if report["seed"] else []
    rows = [_row(record, columns, options, ids) for record in records]
    operators = [(name, list(some)) for name, some in groupby(rows, key=lambda r: r["operator"])]
    notes = {
        (n["backward"], n["code"], n["message"]): n for record in records for n in record["notes"]
    }
    tallies = [tally for record in records for tally in record["dtypes"].values()]
    return page(
        "verify.jinja",
        headline=_headline(records),
        cases=sum(record["cases"] for record in records),
        columns=columns,
        devices=list(dict.fromkeys(device for _, device in columns)),
        operators=operators,
        wrong=[group for row in rows for group in _groups(row)],
        notes=[_whole(note) for note in notes.values()],
        ranks=ranks,
        hopeless=any(tally["allowed"] > 1 for tally in tallies),
        **{name: report[name] for name in ("ok", "command", "made", "seeds", "environment")},
    )


def _headline(records: Sequence[Fields]) -> str:
    wrong = [record["backward"] for record in records if not record["ok"]]
    total = len(records)
    if not wrong:
        operators = len({record["operator"] for record in records})
        of = f"{operators} operators" if operators > 1 else records[0]["operator"]
        return f"All {total} backwards of {of} are right" if total > 1 else "The backward is right"
    if total == 1:
        return f"The backward is wrong: {wrong[0]}"
    named = ", ".join(wrong[:4]) + (", …" if len(wrong) > 4 else "")
    return f"{len(wrong)} of {total} backwards {'are' if len(wrong) > 1 else 'is'} wrong: {named}"


def _columns(report: Fields) -> list[tuple[str, str]]:
    """Dtype and device of every cell of a row, in the order of the table."""
    seen: dict[tuple[str, str], None] = {}
    devices = list(report["environment"]["devices"])
    for record in report["backwards"]:
        for dtype, tally in record["dtypes"].items():
            seen |= {(dtype, device): None for device in tally["devices"]}
        for finding in record["findings"]:
            if finding.get("dtype") and finding.get("device"):
                seen[finding["dtype"], finding["device"]] = None
    order = {dtype: place for place, dtype in enumerate(DTYPES)}
    places = {device: place for place, device in enumerate(devices)}
    return sorted(
        seen, key=lambda each: (places.get(each[1], len(places)), order.get(each[0], len(order)))
    )


class _Ids:
    """Names for fragments of the page's address, each once."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def of(self, *words: str) -> str:
        plain = "_".join(re.sub(r"\W+", "-", word, flags=re.ASCII) for word in words)
        names = chain([plain], (f"{plain}-{number}" for number in count(2)))
        free = next(name for name in names if not {name, f"c-{name}"} & self.given)
        self.given |= {free, f"c-{free}"}  # the cell's own
        return free


def _row(
    record: Fields, columns: Sequence[tuple[str, str]], options: Sequence[str], ids: _Ids
) -> dict[str, Any]:
    cells = [_cell(record, dtype, device, options, ids) for dtype, device in columns]
    if len({device for _, device in columns}) > 1:
        _keep_one_picture(cells)
    found = [*record["findings"], *record["notes"]]
    kinds = [
        *([] if record["ok"] else ["wrong"]),
        *(["notes"] if record["notes"] else []),
        *(["close"] if any(cell["ratio"] > CLOSE for cell in cells) else []),
    ]
    words = [record["backward"], record["operator"], *record["saves"], *(f["code"] for f in found)]
    return {
        **{name: record[name] for name in ("operator", "backward", "ok", "saves", "cases")},
        "sharded": record.get("sharded"),
        "cells": cells,
        "findings": record["findings"],
        "notes": len(record["notes"]),
        "kinds": " ".join(kinds),
        "words": " ".join(dict.fromkeys(words)).lower(),
    }


def _cell(
    record: Fields, dtype: str, device: str, options: Sequence[str], ids: _Ids
) -> dict[str, Any]:
    """One backward in one dtype on one device: what is shown, and what that rests on."""
    tally: Fields = record["dtypes"].get(dtype, {}).get("devices", {}).get(device, {})
    findings = _distinct(_of_cell(record["findings"], dtype, device))
    ratio = tally["error"] / tally["allowed"] if tally.get("allowed") else 0.0
    state = "wrong" if findings else "right" if tally else "none"
    again = [record["backward"], "--dtype", dtype, "--device", device, *options]
    return {
        "id": ids.of(record["backward"], dtype, device),
        "pictured": None,
        "dtype": dtype,
        "device": device,
        "state": state,
        "style": "sw" if findings else f"s{bisect_left(LEVELS, ratio)}",
        "ratio": ratio,
        "share": f"wrong, {findings[0]['code']}" if findings else share(ratio),
        "code": findings[0]["code"] if findings else "",
        "cases": tally.get("cases", 0),
        "error": tally.get("error", 0.0),
        "allowed": tally.get("allowed", 0.0),
        "closest": tally.get("closest"),
        "findings": findings,
        "notes": [_whole(note) for note in _of_cell(record["notes"], dtype, device)],
        "again": shlex.join(["manual-backprop", "verify", *again]),
    }


def _keep_one_picture(cells: Sequence[dict[str, Any]]) -> None:
    """Of the right cells of a row, the one that comes closest; the others point at it.

    So the page of several devices stays small enough to attach.
    """
    right = [cell for cell in cells if cell["state"] == "right" and cell["closest"]]
    if right:
        closest = max(right, key=lambda cell: cell["ratio"])
        for cell in right:
            cell["pictured"] = closest


def _of_cell(findings: Iterable[Fields], dtype: str, device: str) -> list[Fields]:
    """Those that were seen there, or everywhere."""
    return [
        finding
        for finding in findings
        if finding.get("dtype", dtype) == dtype and finding.get("device", device) == device
    ]


def _distinct(findings: Iterable[Fields]) -> list[dict[str, Any]]:
    """One of each gradient and code, with how many more there are."""
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in findings:
        key = finding.get("gradient", ""), finding["code"]
        if key in kept:
            kept[key]["more"] += 1
        else:
            kept[key] = {**_whole(finding), "more": 0}
    return list(kept.values())


def _whole(finding: Fields) -> dict[str, Any]:
    """With every field that a template may ask for."""
    cause = finding.get("cause")
    numbers = dict.fromkeys(("got", "expected", "error", "allowed", "picture"))
    return {
        **numbers,
        "gradient": "",
        **finding,
        "cause": {"evidence": "", "where": "", "also": (), **cause} if cause else None,
    }


def _groups(row: Fields) -> list[dict[str, Any]]:
    """What is wrong with one backward, each kind once, and the cells that have it."""
    return [
        {
            **finding,
            "meaning": CODES[finding["code"]].meaning,
            "advice": CODES[finding["code"]].advice,
            "cells": [
                cell
                for cell in row["cells"]
                if any(_alike(finding, seen) for seen in cell["findings"])
            ],
        }
        for finding in _distinct(row["findings"])
    ]


def _alike(one: Fields, other: Fields) -> bool:
    return all(one.get(name, "") == other.get(name, "") for name in ("gradient", "code"))
