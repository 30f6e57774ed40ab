"""The cases of `manual-backprop bench`, one opponent after the other, at the sizes of its --quick.

What needs a compiler is left to that command, where opponents take turns.
"""

from functools import lru_cache

import pytest

from manual_backprop.bench.cases import CASES
from manual_backprop.bench.measure import Truth
from tests.benchmarks.measure import timed


@lru_cache(maxsize=1)  # opponents of one case come one after the other
def drawn(name, *, small):
    case = CASES[name]
    sizes = case.small if small else case.quick
    inputs = case.inputs(sizes)
    return sizes, inputs, Truth(case.truth(sizes), inputs, case.rows)


@pytest.mark.parametrize(
    ("case", "opponent"),
    [
        pytest.param(case, opponent, id=f"{case.name}-{opponent.name}")
        for case in CASES.values()
        for opponent in case.opponents
        if not opponent.compiled and not opponent.only_on
    ],
)
def test_case(benchmark, device, case, opponent):
    sizes, inputs, truth = drawn(case.name, small=not benchmark.enabled)
    timed(
        benchmark,
        opponent.run([t.to(device) for t in inputs]),
        group=case.name,
        how=opponent.name,
        device=device,
        truth=truth,
        work=case.work(**sizes),
    )
