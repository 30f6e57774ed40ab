"""What is measured: parts of the documentation, each a list of cases with a pace."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from manual_backprop.bench import as_json
from manual_backprop.bench.case import Case
from manual_backprop.bench.cases import CASES
from manual_backprop.bench.command import PRODUCT, QUICK_PRODUCT, timed
from manual_backprop.bench.machine import Machine, measured
from manual_backprop.bench.race import QUICK, WHOLE, Pace
from scripts.speed import ladder, scaling

STEADY = Pace(turn=0.02, seconds=6.0, least=9, most=61)
CURVE = Pace(turn=0.01, seconds=1.2, least=5, most=31)  # a point among many
ONCE = Pace(turn=0.0, seconds=0.0, least=1, most=1)  # where memory is what is asked for


@dataclass(frozen=True)
class Part:
    """Cases that are measured together.

    Attributes:
        cases: quick -> the cases.
        pace: of a whole run.
        every: whether each number of threads is asked for, or the largest alone.
    """

    cases: Callable[[bool], list[Case]]
    pace: Pace
    every: bool = True


PARTS = {
    "bench": Part(lambda _: list(CASES.values()), WHOLE),
    "ladder": Part(
        lambda quick: [ladder.case(n) for n in (ladder.QUICK_BATCHES if quick else ladder.BATCHES)],
        STEADY,
    ),
    "batch": Part(lambda quick: scaling.step_by_batch(quick=quick), CURVE),
    "scaling": Part(
        lambda quick: [
            *scaling.step_by_width(quick=quick),
            *scaling.softmax_by_classes(quick=quick),
            *scaling.cross_entropy_by_classes(quick=quick),
        ],
        CURVE,
        every=False,
    ),
    "wall": Part(lambda quick: scaling.wall(quick=quick), ONCE, every=False),
}


def measure(
    part: str,
    threads: int,
    *,
    quick: bool = False,
    small: bool = False,
    pace: Pace | None = None,
    machine: Machine | None = None,
) -> dict[str, Any]:
    """Time one part, and return it in the form of `manual-backprop bench --json`.

    Args:
        part: a name of PARTS.
        threads: of one operation.
        quick: smaller sizes and fewer rounds, and nothing is compiled.
        small: the sizes of the tests, with `quick`.
        pace: in place of the part's.
        machine: in place of this one, which would be measured first.

    Raises:
        RuntimeError: an opponent is wrong, or a hand-written one could not be timed.
    """
    torch.set_num_threads(threads)
    machine = machine or measured("cpu", QUICK_PRODUCT if quick else PRODUCT)
    cases = PARTS[part].cases(quick)
    if small:
        cases = [replace(case, quick=case.small) for case in cases]
    own = pace or (QUICK if quick else PARTS[part].pace)
    records = timed(cases, machine, "cpu", [], quick=quick, pace=own)
    wrong = [record.case.name for record in records if not record.ok]
    if wrong:
        raise RuntimeError(f"wrong, or not to be timed: {', '.join(wrong)}")
    report = as_json.report(records, machine, "cpu", quick=quick)
    return {**report, "memory_bytes": scaling.memory_bytes()}
