"""A case of the benchmark that is quickly timed: twice every number."""

from dataclasses import replace

from manual_backprop.bench.case import Case, by_hand
from manual_backprop.bench.machine import Machine
from manual_backprop.bench.measure import Work
from manual_backprop.bench.race import Pace

MACHINE = Machine("a machine", "a library", sgemm=1e11, copy=1e10)
ONCE = Pace(turn=0.0, seconds=0.0, least=2, most=2)


def double(x):
    return 2 * x


def case_of(*opponents, **changes):
    """A case whose truth is 2 x."""
    sizes = {"n": 11}
    case = Case("doubling", "doubling", "x ({n})", sizes, sizes, sizes, lambda rand, n: (rand(n),),
                lambda _: double, lambda n: Work(n, 8 * n), opponents)  # fmt: skip
    return replace(case, **changes)


RIGHT, ALSO = by_hand(double), by_hand(lambda x: x + x, "autograd")
WRONG = by_hand(lambda x: 2.001 * x, "wrong one")
