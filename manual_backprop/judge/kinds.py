"""What a kernel of PyTorch does, as far as rounding is concerned: sums, kinks, steps inside."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table

from manual_backprop.judge.kernels import STEPS, WHOLE

aten = torch.ops.aten

# For a sum of products: the places of its two factors and how many terms it has.
CONTRACTIONS: dict[Any, Callable[[Sequence[Any]], tuple[int, int, int]]] = {
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
REDUCTIONS = {
    getattr(packet, overload)
    for packet in (aten.sum, aten.mean, aten.logsumexp, aten.var, aten.linalg_vector_norm)
    for overload in packet.overloads()
    if "out" not in overload
}
SCATTERS = {
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
KINKS: dict[Any, tuple[int, tuple[int | float, ...]]] = {
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


def decomposes(func: Any, args: Sequence[Any]) -> bool:
    """Whether a kernel's own steps are known; on empty tensors some of them divide by 0.

    What meets a kink is one step: its comparison, met again inside, would be settled once more, and
    otherwise.
    """
    return (
        func not in KINKS
        and func not in WHOLE
        and (torch.Tag.pointwise not in func.tags or func in _FUSED)
        and not func.is_view
        and func not in REDUCTIONS
        and func not in CONTRACTIONS
        and func in STEPS
        and all(arg.numel() for arg in args if isinstance(arg, Tensor))
    )


def equal_terms(func: Any, args: Sequence[Any]) -> int:
    """How many equal terms a sum may have: all that it sums over is constant along some axes."""
    if func in CONTRACTIONS:
        summed = [args[place] for place in CONTRACTIONS[func](args)[:2]]
    else:  # into the first, from the last; where there is but one, that is summed
        summed = [arg for arg in args if is_float(arg)][-1:]
    lengths = []
    for tensor in summed:
        repeated = (
            size
            for axis, size in enumerate(tensor.shape)
            if size > 1 and bool((tensor == tensor.narrow(axis, 0, 1)).all())
        )
        lengths.append(math.prod(repeated))
    return min(lengths, default=1)


def is_float(value: Any) -> bool:
    """Whether it is a tensor of floating numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def meets_kink(func: Any, args: Sequence[Any]) -> bool:
    """Whether the kernel's slope jumps somewhere."""
    if func is aten.threshold_backward.default and args[2] == 0:
        return False  # relu's: it reads the mask off relu's result, whose kink was met before
    return func in KINKS and is_float(args[KINKS[func][0]])


def meeting(func: Any, args: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The argument that meets kinks and, of one shape with it, the nearest kink."""
    place, kinks = KINKS[func]
    x: Tensor = args[place]
    nearest = None
    for kink in kinks:
        value = args[kink] if isinstance(kink, int) else kink
        wide, at = torch.broadcast_tensors(x, torch.as_tensor(value, dtype=x.dtype))
        closer = nearest is None or (wide - at).abs() < (wide - nearest).abs()
        nearest = at if nearest is None else torch.where(torch.as_tensor(closer), at, nearest)
    assert nearest is not None
    return x.expand(nearest.shape), nearest


def replaced(args: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    """The arguments with another one in its place."""
    return (*args[:place], value, *args[place + 1 :])
