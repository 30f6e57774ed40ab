"""Rounding played by noise: a function run in float64 with every result moved by a random 1 ± v.

Sums get the noise on their terms, times 1 + √n for n terms: that is how far n roundings of partial
sums wander. Fused kernels are taken apart into the steps that PyTorch itself names for them, since
they round inside too. A number below the smallest normal of the dtype rounds absolutely, so no
noise is smaller than v times that.

Kinks (relu at 0) need care, for noise that carries a number across would widen everything by what
the kink can do. An exact tie is kept a tie, since a tie of exact numbers is not rounded. A near tie
is unsettled: a right implementation may take either side.

The model is Higham's, fl(x) = x (1 + δ) with |δ| ≤ u (Accuracy and Stability of Numerical
Algorithms, 2nd edition, 2002, chapter 2), with δ drawn at random as in Vignes (see `budget.py`).
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from manual_backprop.judge.kernels import STEPS, kernel
from manual_backprop.judge.kinds import (
    CONTRACTIONS,
    KINKS,
    REDUCTIONS,
    SCATTERS,
    decomposes,
    equal_terms,
    is_float,
    meeting,
    meets_kink,
    replaced,
)
from manual_backprop.judge.recording import Recording, each

aten = torch.ops.aten

# float64's smallest normal is below anything that a sample meets, and need not be watched.
LEAST_FLOOR = 1e-300

LARGEST = 1e300  # beyond which noise makes infinity
_Terms = tuple[int, int] | None
_POOL = 2**21
_SIGNS = torch.empty(_POOL).bernoulli_(0.5, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
_SIGNS = _SIGNS.double()


class Watch(TorchDispatchMode):
    """A dispatch mode that never meets torch.compile, and so need not import its compiler (4 s)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Kinks(Watch):
    """Records the true run: the margin to every kink met. Noise adds how far it moved each.

    Args:
        dtype: whose smallest normal is the least size of a number that rounds relatively.
        inputs: of the true run; None where it holds too many numbers to keep all.

    Attributes:
        equal: the longest sum whose terms are all equal.
    """

    def __init__(self, dtype: torch.dtype, inputs: Sequence[Tensor] | None) -> None:
        super().__init__()
        self.floor = torch.finfo(dtype).smallest_normal
        self.values = [t for t in inputs or () if is_float(t)]
        self.kept = inputs is not None and self.floor > LEAST_FLOOR
        self.equal = 1
        self.margins: list[Tensor] = []
        self.moved: list[Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if meets_kink(func, args):
            x, at = meeting(func, args)
            self.margins.append(x - at)
            self.moved.append(torch.zeros_like(x))
        elif func in CONTRACTIONS or func in REDUCTIONS or func in SCATTERS:
            self.equal = max(self.equal, equal_terms(func, args))
        elif decomposes(func, args):  # as the noise does, so that both count the same kinks;
            with self:  # the truth is still the kernel's own
                STEPS[func](*args, **kwargs)
        result = kernel(func)(*args, **kwargs)
        if func._schema.is_mutable:
            self.kept = False  # what was met before may have been written over
        if self.kept and not func.is_view:
            self.values += filter(is_float, each(result))
        return result

    @cached_property
    def relative(self) -> bool:
        """Whether all numbers that were met round relatively, or are 0, as far as that is known.

        Noise may make a number somewhat smaller: hence 4.
        """
        if not self.kept:
            return False
        sizes = torch.cat([value.detach().reshape(-1) for value in self.values]).abs_()
        self.values.clear()
        if not len(sizes):
            return True
        least, most = sizes.masked_fill_(sizes == 0, 1.0).aminmax()
        return 4 * self.floor < float(least) and float(most) < LARGEST

    def settled(self) -> bool:
        """Whether rounding carries nothing across a kink."""
        return not any(self.near(i).any() for i in range(len(self.margins)))

    def near(self, i: int) -> Tensor:
        """Where rounding may carry the i-th kink's argument across: half of what noise moved it.

        A bool of the argument's shape.
        """
        return (self.margins[i] != 0) & (self.margins[i].abs() <= self.moved[i] / 2)


class Noise(Watch):
    """One noisy run.

    Args:
        run: seeds the noise.
        scale: v.
        kinks: of the true run.
        side: puts every near tie on one side of its kink; runs 2 j and 2 j + 1 on opposite ones.
    """

    def __init__(self, run: int, scale: float, kinks: Kinks, side: int | None = None) -> None:
        super().__init__()
        self.again = partial(Noise, run, scale, kinks, side)
        self.random = Random(run if side is None else run // 2)
        self.scale = scale
        self.kinks = kinks
        self.met = 0
        self.side = side
        self.recording: Recording | None = None

    def results(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        *,
        record: bool = False,
    ) -> tuple[Tensor, ...]:
        """What the function of float64 tensors of the inputs' shapes returns in this run.

        With `record`, what it calls is in `recording`.

        Raises:
            Exception: whatever the function raises.
        """
        moved = self._moved(inputs)
        if record:
            self.recording = Recording(moved)
        with self:
            results = function(*moved)
        if self.recording is not None:
            self.recording.end(results)
        return results

    def played(self, recording: Recording, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The same by the calls that another run recorded."""
        return recording.play(self._moved(inputs), self.call)

    def _moved(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [self.rounded(t) if t.is_floating_point() else t.clone() for t in inputs]

    def rounded(self, value: Tensor, times: float = 1.0) -> Tensor:
        """The value, float64 of any shape, moved by ± scale; 0 and infinity stay what they are."""
        signs = self.signs(value.shape)
        floor = self.kinks.floor
        if floor <= LEAST_FLOOR:
            return torch.add(1.0, signs, alpha=self.scale * times).mul_(value)
        size = value.abs()
        if not self.kinks.relative:
            size.clamp_(floor, LARGEST).mul_(value != 0)
        return torch.addcmul(value, size, signs, value=self.scale * times)

    def signs(self, shape: torch.Size) -> Tensor:
        """Random signs of the given shape, float64, a slice of a pool."""
        count, strides = _laid_out(shape)
        if count <= _POOL // 2:
            return _SIGNS.as_strided(shape, strides, self.random.randrange(_POOL // 2))
        start = self.random.randrange(_POOL)
        return _SIGNS.repeat(count // _POOL + 2)[start : start + count].view(shape)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if decomposes(func, args):
            with self:
                steps = STEPS[func](*args, **kwargs)
            if steps is not NotImplemented:  # as some are where sums have a fixed order
                return steps
        terms = _terms(func, args, kwargs)
        if self.recording is None:
            return self.call(func, args, kwargs, terms)
        given = self.recording.given(func, args, kwargs)
        result = self.call(func, args, kwargs, terms)
        self.recording.record(func, args, kwargs, given, result, terms)
        return result

    def call(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], terms: _Terms) -> Any:
        """One call of a kernel whose steps are not known, with noise; `terms` are those it sums."""
        if func.is_view or func is aten.ones_like.default:  # a backward begins with an exact 1
            return func(*args, **kwargs)
        if meets_kink(func, args):
            args = self.settled(func, args)
        if terms is not None:
            place, count = terms
            args = replaced(args, place, self.rounded(args[place], 1 + math.sqrt(count)))
        result = kernel(func)(*args, **kwargs)
        if func._schema.is_mutable:
            return result.copy_(self.rounded(result)) if is_float(result) else result
        if isinstance(result, Tensor):
            return self.rounded(result) if result.is_floating_point() else result
        return tree_map_only(Tensor, lambda t: self.rounded(t) if is_float(t) else t, result)

    def settled(self, func: Any, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with exact ties kept, and near ties put on the side under trial."""
        i, self.met = self.met, self.met + 1
        x, at = meeting(func, args)
        if i >= len(self.kinks.margins) or self.kinks.margins[i].shape != x.shape:
            return tuple(args)  # this run took another path than the true one
        margin = self.kinks.margins[i]
        x = torch.where(margin == 0, at, x)
        if self.side is None:
            moved = (x - at - margin).abs().nan_to_num_(0.0)
            torch.maximum(self.kinks.moved[i], moved, out=self.kinks.moved[i])
        else:
            half = self.signs(margin.shape) * (-1) ** (self.side % 2)
            x = torch.where(self.kinks.near(i), at + margin.abs() * half, x)
        return replaced(args, KINKS[func][0], x)


def _terms(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> _Terms:
    """Which argument holds the terms that a sum rounds, and how many there are for each result."""
    if func in CONTRACTIONS and is_float(args[0]):
        one, other, terms = CONTRACTIONS[func](args)
        return (one if args[one].numel() <= args[other].numel() else other), terms
    if func in REDUCTIONS and is_float(args[0]):
        return 0, args[0].numel() // max(func(*args, **kwargs).numel(), 1)
    return None


@lru_cache(maxsize=1024)
def _laid_out(shape: torch.Size) -> tuple[int, tuple[int, ...]]:
    """How many numbers, and their strides where they lie without a gap."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return math.prod(shape), tuple(reversed(strides)) if len(shape) else ()
