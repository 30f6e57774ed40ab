"""Gradients that are wrong for no reason: numbers that no mistake in a formula explains.

Each is linear in grad_out and the same at every call, so that nothing but its values is wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.draw import Variant
from manual_backprop.judge.point import point
from manual_backprop.judge.trial import Trial
from manual_backprop.op import Op
from tests.mistakes import Backward, ops

FEWEST = 10  # entries of a gradient: of fewer, chance alone may look like a mistake
ODD = 1.37  # no size, no constant of the field


@dataclass(frozen=True)
class Corruption:
    """A right backward, one gradient of which is spoiled.

    Attributes:
        honest: the codes that say no more than is true.
    """

    op: Op
    how: str
    seed: int
    backward: Backward
    honest: tuple[str, ...]

    @property
    def name(self) -> str:
        """As in "linear, one_entry, seed 0"."""
        return f"{self.op.name}, {self.how}, seed {self.seed}"


class Chance:
    """Random numbers that depend on the seed and on shapes alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def normal(self, shape: torch.Size) -> Tensor:
        """Normal numbers of a shape."""
        return torch.randn(shape, generator=self._generator(), dtype=torch.float64)

    def order(self, size: int) -> Tensor:
        """A permutation of `size` things."""
        return torch.randperm(size, generator=self._generator())

    def number(self, grad_out: Tensor) -> Tensor:
        """A number that is linear in grad_out, of any shape."""
        return (grad_out * self.normal(grad_out.shape)).sum()

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def random_numbers(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return chance.normal(grad.shape) * chance.number(grad_out)


def noise(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return grad * (1 + 1e-3 * chance.normal(grad.shape))


def one_entry(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    flat = grad.flatten()  # a copy only where it has to be
    place = chance.order(len(flat))[:1]
    return flat.index_add(0, place, chance.number(grad_out).reshape(1)).reshape(grad.shape)


def rows_rolled(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return grad.roll(1, 0)


def shuffled(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return grad.flatten()[chance.order(grad.numel())].reshape(grad.shape)


def mixed_with_others(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return 0.73 * grad + 0.41 * shuffled(grad, grad_out, chance)


def signs_at_random(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return grad * chance.normal(grad.shape).sign()


def odd_factor(grad: Tensor, grad_out: Tensor, chance: Chance) -> Tensor:
    return ODD * grad


Spoil = Callable[[Tensor, Tensor, Chance], Tensor]
HONEST: dict[Spoil, tuple[str, ...]] = {
    random_numbers: ("unknown",),
    noise: ("unknown",),
    one_entry: ("unknown",),
    rows_rolled: ("unknown",),
    shuffled: ("unknown",),
    mixed_with_others: ("unknown",),
    signs_at_random: ("unknown",),
    odd_factor: ("factor", "unknown"),
}


def corruptions(seed: int = 0) -> Iterator[Corruption]:
    """Each way to spoil a gradient, of each forward that has a gradient of enough entries."""
    for op in ops():
        here = point(op, Variant(next(iter(op.samples))), torch.float64, 0)
        grads = Trial(op.backwards[0], here, "cpu", "contiguous").result()
        eligible = [place for place, grad in enumerate(grads) if grad.numel() >= FEWEST]
        if not eligible:
            continue
        place = eligible[seed % len(eligible)]
        for spoil, honest in HONEST.items():
            spoiled = spoil(grads[place], here.grad_out, Chance(seed))
            if not torch.allclose(spoiled, grads[place]):  # of equal rows, rolled ones are right
                backward = _spoiled(op.backwards[0], spoil, place, Chance(seed))
                yield Corruption(op, spoil.__name__, seed, backward, honest)


def _spoiled(backward: Backward, spoil: Spoil, place: int, chance: Chance) -> Backward:
    @wraps(backward)
    def wrong(**given: Any) -> Any:
        result = backward(**given)
        if isinstance(result, Tensor):
            return spoil(result, given["grad_out"], chance)
        changed = spoil(result[place], given["grad_out"], chance)
        return (*result[:place], changed, *result[place + 1 :])

    return wrong
