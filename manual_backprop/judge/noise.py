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
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from manual_backprop.judge.kernels import STEPS, WHOLE, kernel

aten = torch.ops.aten

# float64's smallest normal is below anything that a sample meets, and need not be watched.
LEAST_FLOOR = 1e-300

# For a sum of products: the places of its two factors and how many terms it has.
_CONTRACTIONS: dict[Any, Callable[[Sequence[Any]], tuple[int, int, int]]] = {
    aten.mm.default: lambda args: (0, 1, args[0].shape[-1]),
    aten.bmm.default: lambda args: (0, 1, args[0].shape[-1]),
    aten.mv.default: lambda args: (0, 1, args[0].shape[-1]),
    aten.dot.default: lambda args: (0, 1, args[0].shape[-1]),
    aten.addmm.default: lambda args: (1, 2, args[1].shape[-1]),
    aten.baddbmm.default: lambda args: (1, 2, args[1].shape[-1]),
    aten.addmv.default: lambda args: (1, 2, args[1].shape[-1]),
    aten.cumsum.default: lambda args: (0, 0, args[0].shape[args[1]] if args[0].dim() else 1),
    aten.convolution.default: lambda args: (0, 1, args[1][0].numel()),
    aten.convolution_backward.default: lambda args: (0, 0, args[0][:, 0].numel()),
}
_REDUCTIONS = {
    getattr(packet, overload)
    for packet in (aten.sum, aten.mean, aten.logsumexp, aten.var, aten.linalg_vector_norm)
    for overload in packet.overloads()
    if "out" not in overload
}
_SCATTERS = {
    getattr(packet, overload)
    for packet in (
        *(aten.index_add, aten.index_put, aten.scatter_add, aten.scatter_reduce),
        *(aten._index_put_impl_, aten.index_add_, aten.index_put_, aten.scatter_add_),
        aten.embedding_dense_backward,
    )
    for overload in packet.overloads()
    if "out" not in overload
}
# The place of the argument that meets kinks, and where those are: places too, or numbers.
_KINKS: dict[Any, tuple[int, tuple[int | float, ...]]] = {
    aten.relu.default: (0, (0.0,)),
    aten.leaky_relu.default: (0, (0.0,)),
    aten.leaky_relu_backward.default: (1, (0.0,)),
    aten.threshold.default: (0, (1,)),
    aten.threshold_backward.default: (1, (2,)),
    aten.hardtanh.default: (0, (1, 2)),
    aten.hardtanh_backward.default: (1, (2, 3)),
    aten.abs.default: (0, (0.0,)),
    aten.sgn.default: (0, (0.0,)),
    aten.sign.default: (0, (0.0,)),
    aten.clamp_min.default: (0, (1,)),
    aten.clamp_max.default: (0, (1,)),
    aten.maximum.default: (0, (1,)),
    aten.minimum.default: (0, (1,)),
    **{
        getattr(packet, overload): (0, (1,))
        for packet in (aten.gt, aten.ge, aten.lt, aten.le, aten.eq)
        for overload in ("Scalar", "Tensor")
    },
}
# Pointwise kernels of several steps, such as gelu_backward, are those written out by hand.
_FUSED = {
    func
    for func, steps in decomposition_table.items()
    if getattr(steps, "__module__", "") == "torch._decomp.decompositions"
}
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

    Attributes:
        equal: the longest sum whose terms are all equal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.equal = 1
        self.margins: list[Tensor] = []
        self.moved: list[Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if _meets_kink(func, args):
            x, at = _meeting(func, args)
            self.margins.append(x - at)
            self.moved.append(torch.zeros_like(x))
        elif func in _CONTRACTIONS or func in _REDUCTIONS or func in _SCATTERS:
            self.equal = max(self.equal, _equal_terms(func, args))
        elif _decomposes(func, args):  # as the noise does, so that both count the same kinks;
            with self:  # the truth is still the kernel's own
                STEPS[func](*args, **kwargs)
        return kernel(func)(*args, **kwargs)

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
        dtype: whose smallest normal is the least size of a number that rounds relatively.
        kinks: of the true run.
        side: puts every near tie on one side of its kink; runs 2 j and 2 j + 1 on opposite ones.
    """

    def __init__(
        self, run: int, scale: float, dtype: torch.dtype, kinks: Kinks, side: int | None = None
    ) -> None:
        super().__init__()
        self.random = Random(run if side is None else run // 2)
        self.scale = scale
        self.floor = torch.finfo(dtype).smallest_normal
        self.kinks = kinks
        self.met = 0
        self.side = side

    def results(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """What the function of float64 tensors of the inputs' shapes returns in this run.

        Raises:
            Exception: whatever the function raises.
        """
        moved = [self.rounded(t) if t.is_floating_point() else t.clone() for t in inputs]
        with self:
            return function(*moved)

    def rounded(self, value: Tensor, times: float = 1.0) -> Tensor:
        """The value, float64 of any shape, moved by ± scale; 0 and infinity stay what they are."""
        signs = self.signs(value.shape)
        if self.floor <= LEAST_FLOOR:
            return torch.add(1.0, signs, alpha=self.scale * times).mul_(value)
        size = value.abs().clamp_(self.floor, 1e300).mul_(value != 0)
        return torch.addcmul(value, size, signs, value=self.scale * times)

    def signs(self, shape: torch.Size) -> Tensor:
        """Random signs of the given shape, float64, a slice of a pool."""
        count = math.prod(shape)
        if count <= _POOL // 2:
            start = self.random.randrange(_POOL // 2)
            return _SIGNS[start : start + count].view(shape)
        start = self.random.randrange(_POOL)
        return _SIGNS.repeat(count // _POOL + 2)[start : start + count].view(shape)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func.is_view or func is aten.ones_like.default:  # a backward begins with an exact 1
            return func(*args, **kwargs)
        if _meets_kink(func, args):
            args = self.settled(func, args)
        if func in _CONTRACTIONS and _is_float(args[0]):
            one, other, terms = _CONTRACTIONS[func](args)
            place = one if args[one].numel() <= args[other].numel() else other
            args = _replaced(args, place, self.rounded(args[place], 1 + math.sqrt(terms)))
        elif func in _REDUCTIONS and _is_float(args[0]):
            result = func(*args, **kwargs)
            terms = args[0].numel() // max(result.numel(), 1)
            args = _replaced(args, 0, self.rounded(args[0], 1 + math.sqrt(terms)))
        elif _decomposes(func, args):
            with self:
                steps = STEPS[func](*args, **kwargs)
            if steps is not NotImplemented:  # as some are where sums have a fixed order
                return steps
        result = kernel(func)(*args, **kwargs)
        if func._schema.is_mutable:
            return result.copy_(self.rounded(result)) if _is_float(result) else result
        if isinstance(result, Tensor):
            return self.rounded(result) if result.is_floating_point() else result
        return tree_map_only(Tensor, lambda t: self.rounded(t) if _is_float(t) else t, result)

    def settled(self, func: Any, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with exact ties kept, and near ties put on the side under trial."""
        i, self.met = self.met, self.met + 1
        x, at = _meeting(func, args)
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
        return _replaced(args, _KINKS[func][0], x)


def _decomposes(func: Any, args: Sequence[Any]) -> bool:
    """Whether a kernel's own steps are known; on empty tensors some of them divide by 0.

    What meets a kink is one step: its comparison, met again inside, would be settled once more, and
    otherwise.
    """
    return (
        func not in _KINKS
        and func not in WHOLE
        and (torch.Tag.pointwise not in func.tags or func in _FUSED)
        and not func.is_view
        and func not in _REDUCTIONS
        and func not in _CONTRACTIONS
        and func in STEPS
        and all(arg.numel() for arg in args if isinstance(arg, Tensor))
    )


def _equal_terms(func: Any, args: Sequence[Any]) -> int:
    """How many equal terms a sum may have: all that it sums over is constant along some axes."""
    if func in _CONTRACTIONS:
        summed = [args[place] for place in _CONTRACTIONS[func](args)[:2]]
    else:  # into the first, from the last; where there is but one, that is summed
        summed = [arg for arg in args if _is_float(arg)][-1:]
    lengths = []
    for tensor in summed:
        repeated = (
            size
            for axis, size in enumerate(tensor.shape)
            if size > 1 and bool((tensor == tensor.narrow(axis, 0, 1)).all())
        )
        lengths.append(math.prod(repeated))
    return min(lengths, default=1)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _meets_kink(func: Any, args: Sequence[Any]) -> bool:
    if func is aten.threshold_backward.default and args[2] == 0:
        return False  # relu's: it reads the mask off relu's result, whose kink was met before
    return func in _KINKS and _is_float(args[_KINKS[func][0]])


def _meeting(func: Any, args: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The argument that meets kinks and, of one shape with it, the nearest kink."""
    place, kinks = _KINKS[func]
    x: Tensor = args[place]
    nearest = None
    for kink in kinks:
        value = args[kink] if isinstance(kink, int) else kink
        wide, at = torch.broadcast_tensors(x, torch.as_tensor(value, dtype=x.dtype))
        closer = nearest is None or (wide - at).abs() < (wide - nearest).abs()
        nearest = at if nearest is None else torch.where(torch.as_tensor(closer), at, nearest)
    assert nearest is not None
    return x.expand(nearest.shape), nearest


def _replaced(args: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*args[:place], value, *args[place + 1 :])
