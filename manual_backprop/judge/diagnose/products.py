"""Where sums of products flow back, all products that could stand in them, and what is wrong there.

Where a value is used twice, w5 h and w6 h, its gradient is w5 δ5 + w6 δ6; where it is a factor of a
matrix product, it is Σ_k δ_k w_kᵀ. Each δ could stand with each w.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.edges import Place, naming
from manual_backprop.judge.diagnose.tape import Edge, Tape

Key = tuple[int, int]  # which gradient, and which factor
MOST = 25  # products at one fork
# Of K gradients and K factors, which pairs are multiplied; the right ones are the diagonal.
PATTERNS: tuple[tuple[str, str, Callable[[Tensor], Tensor]], ...] = (
    ("overwritten", "only the first of the {} products is there: written over, where they are "
     "added up", lambda one: one[:1].T @ one[:1]),
    ("overwritten", "only the last of the {} products is there: written over, where they are "
     "added up", lambda one: one[-1:].T @ one[-1:]),
    ("missing-term", "the first of the {} products is left out",
     lambda one: one - one[:1].T @ one[:1]),
    ("missing-term", "the last of the {} products is left out",
     lambda one: one - one[-1:].T @ one[-1:]),
    ("flipped", "the {} gradients meet their factors in reverse order", lambda one: one.flip(0)),
    ("wrong-argument", "the {} gradients meet the factors one place further",
     lambda one: one.roll(1, 1)),
    ("wrong-argument", "the {} gradients meet the factors one place before",
     lambda one: one.roll(-1, 1)),
    ("wrong-argument", "two sums of {} are multiplied, where the products are summed",
     torch.ones_like),
    ("wrong-argument", "the first of the {} gradients meets every factor",
     lambda one: torch.ones_like(one[:1]).T @ one[:1]),
    ("wrong-argument", "the first of the {} factors meets every gradient",
     lambda one: one[:1].T @ torch.ones_like(one[:1])),
)  # fmt: skip


class Said(NamedTuple):
    """What is wrong with a sum: code, sentence, and what was added to it on any tape."""

    code: str
    what: str
    added: Callable[[Tape], Tensor]


@dataclass(frozen=True)
class Uses:
    """The sum that flows to a value which is multiplied, entry by entry, by several factors.

    Attributes:
        source: the step of that value.
        right: the steps of those products, each with the step of its factor.
        factors: those factors, and others beside them.
    """

    source: int
    right: tuple[Key, ...]
    factors: tuple[int, ...]

    @property
    def step(self) -> int:
        """The step that it flows through."""
        return self.right[0][0]

    def products(self, tape: Tape) -> dict[Key, Tensor]:
        """Every gradient times every factor, of the shape of the value."""
        return {
            (step, factor): tape.adjoints[step] * tape.steps[factor].value
            for step, _ in self.right
            for factor in self.factors
        }

    def said(self, tapes: list[Tape], extra: dict[Key, float]) -> Said | None:
        """What it is that these products, each so many times too often, are in the sum."""
        tape = tapes[0]
        partner = {step: naming(tape, factor) for step, factor in self.right}
        name = {
            (step, factor): f"{naming(tape, factor)} times what arrives at the product with "
            + partner[step]
            for step, factor in extra
        }
        lost = " and ".join(name[key] for key in self.right if extra.get(key) == -1)
        more = " and ".join(
            name[key] for key, n in extra.items() if n > 0 or key not in self.right
        )  # fmt: skip
        code, what = "wrong-argument", f"it is {more}, instead of {lost}"
        if any(abs(n) != 1 for n in extra.values()):
            several = ", ".join(f"{n:+g} times {name[key]}" for key, n in extra.items())
            what = f"in the gradient of {naming(tape, self.source)}: {several}"
        elif not more:
            code, what = "missing-branch", f"{lost} is left out"
        elif not lost:
            code, what = "extra-term", f"{more} is added"
        return Said(code, what, partial(self._added, extra=extra))

    def _added(self, tape: Tape, extra: dict[Key, float]) -> Tensor:
        products = self.products(tape)
        return torch.stack([n * products[key] for key, n in extra.items()]).sum(0)


@dataclass(frozen=True)
class Inner:
    """The sum over the inner index that flows to a factor of a matrix product.

    Attributes:
        source: the step of that factor.
        edge: the way to it.
    """

    source: int
    edge: Edge

    @property
    def step(self) -> int:
        """The step that it flows through."""
        return self.edge.step

    def products(self, tape: Tape) -> dict[Key, Tensor]:
        """Slice k of one side times slice m of the other; where that is too many, k = m only."""
        left, right = self._sides(tape)
        size = range(left.shape[-1])
        return {
            (k, m): left[..., k : k + 1] @ right[..., m : m + 1, :]
            for k in size for m in size if k == m or len(size) ** 2 <= MOST
        }  # fmt: skip

    def _sides(self, tape: Tape) -> tuple[Tensor, Tensor]:
        """Whose product flows back: the gradient and the other factor, or the other way round."""
        place = Place(tape, self.edge)
        other = place.inputs[1 - self.edge.slot].mT
        return (place.grad, other) if self.edge.slot == 0 else (other, place.grad)

    def said(self, tapes: list[Tape], extra: dict[Key, float]) -> Said | None:
        """What it is that these products, each so many times too often, are in the sum."""
        sizes = [self._sides(tape)[0].shape[-1] for tape in tapes]
        source = naming(tapes[0], self.source)
        for code, what, pattern in PATTERNS:
            if any(_pairs(pattern, size) == extra for size in sizes):
                said = f"in the gradient of {source}, {what.format(sizes[0])}"
                return Said(code, said, partial(self._added, pattern=pattern))
        if len({*sizes}) > 1 or len(extra) > sizes[0]:
            return None
        several = ", ".join(
            f"{n:+g} times product {k} of {sizes[0]}" if k == m else
            f"{n:+g} times slice {k} of one side and slice {m} of the other"
            for (k, m), n in extra.items()
        )  # fmt: skip
        matrix = torch.eye(sizes[0], dtype=torch.float64)
        for key, n in extra.items():
            matrix[key] += n
        what = f"in the gradient of {source}: {several}"
        return Said("wrong-argument", what, partial(self._added, pattern=lambda _: matrix))

    def _added(self, tape: Tape, pattern: Callable[[Tensor], Tensor]) -> Tensor:
        left, right = self._sides(tape)
        one = torch.eye(left.shape[-1], dtype=left.dtype)
        return left @ (pattern(one) - one) @ right


Fork = Uses | Inner


def _pairs(pattern: Callable[[Tensor], Tensor], size: int) -> dict[Key, float]:
    """Which products are there too often, and how many times."""
    one = torch.eye(size, dtype=torch.float64)
    off = (pattern(one) - one).tolist()
    return {(k, m): n for k, row in enumerate(off) for m, n in enumerate(row) if n}


def forks(tape: Tape) -> Iterator[Fork]:
    """Where sums of products flow back, in which there could be other products."""
    uses: dict[int, list[Edge]] = {}
    for edge in tape.sent:
        size = tape.adjoints[edge.step].shape
        if tape.steps[edge.step].name in ("mm", "bmm"):
            if size[-1 if edge.slot == 0 else -2] > 1:
                yield Inner(tape.source(edge), edge)
        elif _by_entries(tape, edge.step):
            uses.setdefault(tape.source(edge), []).append(edge)
    for source, edges in uses.items():
        if len(edges) < 2:
            continue
        steps = [edge.step for edge in edges]
        right = [(e.step, tape.steps[e.step].sources[1 - e.slot]) for e in edges]
        beside = {
            factor
            for step in tape.adjoints
            if _by_entries(tape, step) and step not in steps
            if any(torch.equal(tape.adjoints[step], tape.adjoints[s]) for s in steps)
            for factor in tape.steps[step].sources
            if factor != source
        }
        factors = dict.fromkeys([factor for _, factor in right] + sorted(beside))
        if len(edges) * len(factors) <= MOST:
            yield Uses(source, tuple(right), tuple(factors))


def _by_entries(tape: Tape, step: int) -> bool:
    shapes = {value.shape for value in tape.inputs(step)}
    two = len(tape.steps[step].sources) == 2
    return tape.steps[step].name == "mul" and two and shapes == {tape.steps[step].value.shape}
