"""How far rounding alone may carry a right gradient: one formula for every dtype.

A right implementation computes what the formula says, with every intermediate result rounded. So
the formula is run in float64 several times with every input and every intermediate multiplied by
1 ± v, and what that moves is what rounding may move. For the unit roundoff u of a dtype:

    noise       v = 4 u, and at least 2⁻⁴⁰, far above float64's own rounding
    a sum       of n terms rounds about √n times, each time a partial sum: its terms get v (1 + √n)
    subnormal   numbers round absolutely: no noise is smaller than v times the smallest normal
    spread      D = 4 u / v · max over 8 runs of |G_run - G|
    allowed     at entry i   min(4 D_i + (16 + 2 √a) u |G_i| + max D / 25,
                                 max D + (4 + 2 √a) u max |G|) + 2 s

with s the smallest subnormal and a the longest axis of the inputs: an entry may be the end of a sum
along that axis, added up term by term, each time rounding a partial sum as large as itself. The
first bound knows that entries differ, the second that none may err by more than the worst may.
Rounding drawn 8 times at 4 u covers real rounding at 1 u amply: `python -m scripts.alarms` prints
the largest error seen over what is allowed.

Noise may carry a number across a kink (relu at 0), which would widen the spread to everything the
kink can do. An exact tie stays a tie under noise, since a tie of exact numbers is not rounded. A
near tie is reported as unsettled, so that other inputs can be drawn; where none are, it is put
on either side of the kink in half of the runs, since a right implementation may take either.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten

RUNS = 8
LEAST_NOISE = 2.0**-40
LEAST_FLOOR = 1e-300  # float64's smallest normal is below anything that a sample meets

# The operand whose entries are the terms of a sum, and how many terms that sum has.
_CONTRACTIONS: dict[Any, Callable[[Sequence[Any]], tuple[int, int]]] = {
    aten.mm.default: lambda args: (0, args[0].shape[-1]),
    aten.bmm.default: lambda args: (0, args[0].shape[-1]),
    aten.mv.default: lambda args: (0, args[0].shape[-1]),
    aten.dot.default: lambda args: (0, args[0].shape[-1]),
    aten.addmm.default: lambda args: (1, args[1].shape[-1]),
    aten.baddbmm.default: lambda args: (1, args[1].shape[-1]),
    aten.addmv.default: lambda args: (1, args[1].shape[-1]),
    aten.convolution.default: lambda args: (0, args[1][0].numel()),
}
_REDUCTIONS = {
    getattr(packet, overload)
    for packet in (
        aten.sum,
        aten.mean,
        aten.logsumexp,
        aten.cumsum,
        aten.var,
        aten.linalg_vector_norm,
    )
    for overload in packet.overloads()
    if "out" not in overload
}
# The argument that meets a kink, and where the kink is: another argument's place, or a number.
_KINKS: dict[Any, tuple[int, int | float]] = {
    aten.relu.default: (0, 0.0),
    aten.leaky_relu.default: (0, 0.0),
    aten.leaky_relu_backward.default: (1, 0.0),
    aten.abs.default: (0, 0.0),
    aten.sgn.default: (0, 0.0),
    aten.sign.default: (0, 0.0),
    aten.clamp_min.default: (0, 1),
    aten.clamp_max.default: (0, 1),
    aten.maximum.default: (0, 1),
    aten.minimum.default: (0, 1),
    **{
        getattr(packet, overload): (0, 1)
        for packet in (aten.gt, aten.ge, aten.lt, aten.le, aten.eq)
        for overload in ("Scalar", "Tensor")
    },
}
_SIGNS = torch.empty(2**20, dtype=torch.float64).bernoulli_(
    0.5, generator=torch.Generator().manual_seed(0)
) * 2 - 1  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """What a tensor should be, and how far from it rounding may carry each entry.

    Attributes:
        truth: the value in float64.
        allowed: the same shape; the largest absolute error that rounding explains.
        settled: False where rounding may carry an intermediate across a kink.
    """

    truth: Tensor
    allowed: Tensor
    settled: bool = True

    def ratio(self, got: Tensor) -> float:
        """The largest error over what is allowed there: at most 1 where `got` is right.

        Args:
            got: any dtype and device, the shape of `truth`.
        """
        if got.numel() == 0:
            return 0.0
        error = (got.detach().to("cpu", torch.float64) - self.truth).abs()
        return float(torch.where(error == 0, 0.0, error / self.allowed).nan_to_num(math.inf).max())


def rounding_budget(
    function: Callable[..., Any], inputs: Sequence[Tensor], dtype: torch.dtype
) -> tuple[Budget, ...]:
    """How far rounding to `dtype` may carry each tensor that `function(*inputs)` returns.

    Args:
        function: float64 CPU tensors of the inputs' shapes -> a tensor or a tuple of tensors. It
            may call autograd: the backward pass is then rounded as the forward is.
        inputs: tensors of any dtype; floating ones are rounded to `dtype` first.
        dtype: the floating dtype in which the result was computed that is to be judged.

    Raises:
        TypeError: `dtype` is not a floating dtype.

    >>> x = torch.randn(1000)
    >>> (budget,) = rounding_budget(lambda x: x.exp().sum(), (x,), torch.float32)
    >>> budget.ratio(x.exp().sum()) <= 1
    True
    """
    if not dtype.is_floating_point:
        raise TypeError(f"rounding_budget: {dtype} does not round; give a floating dtype")
    raised = [t.to(dtype).double().cpu() if t.is_floating_point() else t.cpu() for t in inputs]
    return budgets(lambda *tensors: _tuple(function(*tensors)), raised, dtype)


def budgets(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    dtype: torch.dtype,
    *,
    sides: bool = True,
    runs: int = RUNS,
) -> tuple[Budget, ...]:
    """`rounding_budget` for float64 inputs that already hold numbers of `dtype`.

    With `sides`, both sides of an unsettled kink are tried; without, an unsettled budget is only a
    reason to draw other inputs.
    """
    unit = torch.finfo(dtype).eps / 2
    scale = max(4 * unit, LEAST_NOISE)
    kinks = _Kinks()
    with kinks.recorded():
        truth = function(*inputs)
    noisy = []
    settled = True
    for run in range(runs):
        noisy.append(_Noise(run, scale, dtype, kinks).results(function, inputs))
        settled = kinks.settled()
        if not settled and not sides:
            break
    if not settled and sides:
        noisy += [
            _Noise(run, scale, dtype, kinks, side=run).results(function, inputs)
            for run in range(runs)
        ]
    longest = max((size for t in inputs for size in t.shape), default=1)
    return tuple(
        _budget(true, [result[i] for result in noisy], 4 * unit / scale, dtype, longest, settled)
        for i, true in enumerate(truth)
    )


def _budget(
    truth: Tensor,
    noisy: list[Tensor],
    factor: float,
    dtype: torch.dtype,
    longest: int,
    settled: bool,
) -> Budget:
    if truth.numel() == 0:
        return Budget(truth, truth, settled)
    info = torch.finfo(dtype)
    unit = info.eps / 2
    added = 2 * math.sqrt(longest)
    spread = torch.zeros_like(truth)
    for result in noisy:
        torch.maximum(spread, (result - truth).abs(), out=spread)
    spread *= factor
    each = 4 * spread + (16 + added) * unit * truth.abs() + spread.max() / 25
    worst = spread.max() + (4 + added) * unit * truth.abs().max()
    return Budget(truth, each.minimum(worst) + 2 * info.smallest_normal * info.eps, settled)


def _tuple(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


class _Kinks:
    """The margins to every kink that the true run met, and how far noise has moved each."""

    def __init__(self) -> None:
        self.margins: list[Tensor] = []
        self.moved: list[Tensor] = []

    @contextmanager
    def recorded(self) -> Iterator[None]:
        with _Record(self):
            yield

    def settled(self) -> bool:
        return not any(self.near(i).any() for i in range(len(self.margins)))

    def near(self, i: int) -> Tensor:
        """Where noise may carry the i-th kink's argument across."""
        return (self.margins[i] != 0) & (self.margins[i].abs() <= 2 * self.moved[i])


class Watch(TorchDispatchMode):
    """A dispatch mode that never meets torch.compile, and so need not import its compiler (4 s)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Record(Watch):
    def __init__(self, kinks: _Kinks) -> None:
        super().__init__()
        self.kinks = kinks

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func in _KINKS and _is_float(args[_KINKS[func][0]]):
            x, at = _meeting(func, args)
            self.kinks.margins.append(x - at)
            self.kinks.moved.append(torch.zeros_like(x))
        return func(*args, **kwargs or {})


class _Noise(Watch):
    """Multiplies inputs and every result by 1 ± scale; sums get it on their terms, times √n."""

    def __init__(
        self, run: int, scale: float, dtype: torch.dtype, kinks: _Kinks, side: int | None = None
    ) -> None:
        super().__init__()
        # The two runs of a pair draw alike, so that each near tie is on either side in one of them.
        seed = run if side is None else run // 2
        self.random = Random(seed)
        self.scale = scale
        self.floor = torch.finfo(dtype).smallest_normal
        self.kinks = kinks
        self.met = 0
        self.side = side

    def results(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        moved = [self.rounded(t) if t.is_floating_point() else t for t in inputs]
        with self:
            return function(*moved)

    def rounded(self, value: Tensor, times: float = 1.0) -> Tensor:
        """The value moved by ± scale; an exact 0 stays 0."""
        signs = self.signs(value.shape)
        size = value
        if self.floor > LEAST_FLOOR:
            size = value.abs().clamp_min_(self.floor).mul_(value != 0)
        return torch.addcmul(value, size, signs, value=self.scale * times)

    def signs(self, shape: torch.Size) -> Tensor:
        count = math.prod(shape)
        start = self.random.randrange(max(_SIGNS.numel() - count, 1))
        signs = _SIGNS if count <= _SIGNS.numel() else _SIGNS.repeat(count // _SIGNS.numel() + 1)
        return signs[start : start + count].view(shape)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        if func in _KINKS and _is_float(args[_KINKS[func][0]]):
            args = self.settled(func, args)
        if func in _CONTRACTIONS:
            place, terms = _CONTRACTIONS[func](args)
            args = _replaced(args, place, self.rounded(args[place], 1 + math.sqrt(terms)))
        elif func in _REDUCTIONS:
            result = func(*args, **kwargs)
            terms = args[0].numel() // max(result.numel(), 1)
            args = _replaced(args, 0, self.rounded(args[0], 1 + math.sqrt(terms)))
        elif torch.Tag.pointwise not in func.tags and _decomposes(func, args):
            with self:  # a fused kernel rounds inside too
                return decomposition_table[func](*args, **kwargs)
        result = func(*args, **kwargs)
        if func._schema.is_mutable:
            return result
        if isinstance(result, Tensor):
            return self.rounded(result) if result.is_floating_point() else result
        return tree_map_only(Tensor, lambda t: self.rounded(t) if _is_float(t) else t, result)

    def settled(self, func: Any, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with exact ties kept, and near ties put on the side under trial."""
        i, self.met = self.met, self.met + 1
        x, at = _meeting(func, args)
        if i >= len(self.kinks.margins):
            return tuple(args)  # this run took another path than the true one
        margin = self.kinks.margins[i]
        x = torch.where(margin == 0, at, x)
        if self.side is None:
            torch.maximum(self.kinks.moved[i], (x - at - margin).abs(), out=self.kinks.moved[i])
        else:
            half = self.signs(margin.shape) * (-1) ** (self.side % 2)
            x = torch.where(self.kinks.near(i), at + margin.abs() * half, x)
        return _replaced(args, _KINKS[func][0], x)


def _decomposes(func: Any, args: Sequence[Any]) -> bool:
    """Whether a kernel's own steps are known; on empty tensors some of them divide by 0."""
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    return func in decomposition_table and all(t.numel() for t in tensors)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _meeting(func: Any, args: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The argument that meets the kink and the place of the kink, of one shape."""
    place, kink = _KINKS[func]
    at = args[kink] if isinstance(kink, int) else kink
    x, at = torch.broadcast_tensors(args[place], torch.as_tensor(at, dtype=args[place].dtype))
    return x, at


def _replaced(args: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*args[:place], value, *args[place + 1 :])
