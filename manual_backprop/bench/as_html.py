"""Records as a page: a block per case, a bar for each ratio; made of the fields of the JSON."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import log10
from typing import Any

from manual_backprop.bench.show import AGAINST, SUMMED, WIDEST, engineering, times
from manual_backprop.report.templates import Fields, page

WIDTH = 340  # of a bar's picture, in its own units
MARGIN = 12  # for half a label
TICKS = (0.25, 0.5, 1, 2, 4, 8, 16)


def bench_page(report: Fields) -> str:
    """The page of `bench --html`.

    Args:
        report: as `as_json.report` returns it.
    """
    cases = [_case(case) for case in report["cases"]]
    axis = _Axis([entry["ratio"] for case in cases for entry in case["timed"] if entry["ratio"]])
    outcomes = Counter(case["outcome"] for case in cases)
    return page(
        "bench.jinja",
        groups=[(name, list(some)) for name, some in groupby(cases, key=lambda c: c["group"])],
        axis=axis,
        headline=_headline(outcomes),
        wrong=[
            f"{case['case']} {entry['opponent']}"
            for case in cases
            for entry in case["timed"]
            if not entry["right"]
        ],
        kinds=[
            (kind, told)
            for kind, told in SUMMED.items()
            if any(kind in case["kinds"].split() for case in cases)
        ],
        unsettled=any(case["unsettled"] for case in cases),
        engineering=engineering,
        times=times,
        **{
            name: report[name]
            for name in ("ok", "command", "made", "quick", "environment", "machine")
        },
    )


def _headline(outcomes: Counter[str]) -> str:
    """As in "7 cases: 5 won, 2 at parity"."""
    count = outcomes.total()
    said = ", ".join(f"{outcomes[word]} {told}" for word, told in SUMMED.items() if outcomes[word])
    return f"{count} case{'s' * (count != 1)}: {said}"


def _case(case: Fields) -> dict[str, Any]:
    known = dict.fromkeys(
        ("seconds", "ratio", "missing", "share_of_limit", "peak_extra_bytes", "error", "allowed")
    )
    entries: list[dict[str, Any]] = [
        {**known, "right": True, **entry} for entry in case["opponents"]
    ]
    against = case.get("against", "")
    ratio = next((e["ratio"] for e in entries if against and e["opponent"] == against), None)
    settled = ratio is None or ratio["high"] <= WIDEST * ratio["low"]
    unsettled = case["outcome"] == "parity" and not settled
    wrong = any(not entry["right"] for entry in entries)
    kinds = dict.fromkeys([case["outcome"], *(["wrong"] if wrong else [])])
    names = [case["case"], case["group"], *(entry["opponent"] for entry in entries)]
    return {
        "remark": "",
        **case,
        "unsettled": unsettled,
        "verdict": _verdict(case["outcome"], against, unsettled=unsettled),
        "timed": entries,
        "words": " ".join(names).lower(),
        "kinds": " ".join(kinds),
    }


def _verdict(outcome: str, against: str, *, unsettled: bool) -> str:
    if outcome not in AGAINST:
        return {"alone": "no opponent"}.get(outcome, outcome)
    return f"parity? with {against}" if unsettled else f"{AGAINST[outcome]} {against}"


class _Axis:
    """Ratios on a logarithmic axis that all cases share, as far as it reaches."""

    width = WIDTH

    def __init__(self, ratios: Sequence[Fields]) -> None:
        ends = [ratio[end] for ratio in ratios for end in ("low", "high")]
        self.low, self.high = max(TICKS[0], min(0.5, *ends, 1)), min(TICKS[-1], max(2, *ends, 1))
        ticks = [tick for tick in TICKS if self.low <= tick <= self.high]
        self.ticks = [(self.at(tick), f"{tick:g}") for tick in ticks]
        self.one = self.at(1)

    def at(self, ratio: float) -> float:
        """Where a ratio stands, or the end beyond which it lies, within WIDTH."""
        ratio = min(max(ratio, self.low), self.high)
        share = log10(ratio / self.low) / log10(self.high / self.low)
        return round(MARGIN + (WIDTH - 2 * MARGIN) * share, 1)

    def ends(self, ratio: Fields) -> dict[tuple[float, int], None]:
        """Where the ends of an interval stand, and to which side of the axis they are: -1, 0, 1."""
        ends = (ratio["low"], ratio["high"])
        return dict.fromkeys((self.at(end), (end > self.high) - (end < self.low)) for end in ends)
