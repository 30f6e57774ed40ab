"""Where an axis lies in each tensor, and how the ranks of a mesh share it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import Placement, Replicate, Shard
from torch.utils._pytree import tree_map

from manual_backprop.judge.draw import Rand, Variant, axes, resized
from manual_backprop.judge.point import Unjudgeable, checked_draw
from manual_backprop.judge.verdict import error_at
from manual_backprop.op import Op


@dataclass(frozen=True)
class Cut:
    """One axis of a sample, sharded over the ranks of a mesh with one dimension.

    Attributes:
        axis: its name, a parameter of the sample.
        ranks: how many there are.
        dims: for each argument, and for `out` and `grad_out`, the dimension that is this axis; None
            where there is none, and a tuple of such for a tuple of tensors.
    """

    axis: str
    ranks: int
    dims: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As in "n over 2 ranks"."""
        return f"{self.axis} over {self.ranks} ranks"

    def placement(self, dim: int | None) -> Placement:
        """How a tensor is laid out that has the axis as its dimension `dim`."""
        return Replicate() if dim is None else Shard(dim)

    def part(self, name: str, value: Any, rank: int) -> Any:
        """What a rank holds of a tensor, of any shape, or of a tuple of tensors."""
        dims = self.dims[name]
        if isinstance(value, tuple):
            return tuple(map(lambda t, dim: self._part(t, dim, rank), value, dims))
        return self._part(value, dims, rank)

    def _part(self, tensor: Tensor, dim: int | None, rank: int) -> Tensor:
        return tensor if dim is None else share(tensor, dim, self.ranks, rank)

    def shares(self, point_size: int) -> list[float]:
        """Of an axis so long, the fraction that each rank holds."""
        whole = torch.empty(point_size)
        return [len(share(whole, 0, self.ranks, r)) / point_size for r in range(self.ranks)]


def share(tensor: Tensor, dim: int, ranks: int, rank: int) -> Tensor:
    """A rank's share of a tensor, of any shape, along a dimension: that of `torch.chunk`."""
    size = tensor.shape[dim]
    each = -(-size // ranks)
    begin = min(rank * each, size)
    return tensor.narrow(dim, begin, min(each, size - begin))


def cut(op: Op, sample: str, axis: str, ranks: int) -> Cut | None:
    """Cut a sample along one of its axes: what grows when the axis does is what has it.

    Nothing is read from annotations, so that every operator can be cut. Of a tensor in which the
    axis occurs twice, the first of the two dimensions is sharded. None where no argument has it.

    Raises:
        BadOp: the sample cannot be drawn.
        Unjudgeable: the forward raised.
    """
    size = axes(op, sample)[axis]
    short, long = (_shapes(op, resized(op, sample, {axis: size + more})) for more in (0, 1))
    dims = {name: _dims(value, long[name]) for name, value in short.items()}
    dims["grad_out"] = dims["out"]
    if all(dim is None for name in op.arguments for dim in flat_dims(dims[name])):
        return None
    return Cut(axis, ranks, dims)


def lengths(own: int, ranks: int) -> dict[int, str]:
    """Lengths to try an axis at: uneven shards, even ones, and fewer numbers than ranks.

    >>> lengths(7, 2)
    {7: 'uneven', 4: 'even', 1: 'short'}
    """
    uneven = own if own > ranks and own % ranks else 2 * ranks + 1
    return {uneven: "uneven", 2 * ranks: "even", 1: "short"}


def flat_dims(dims: Any) -> Iterator[int | None]:
    """Those of one argument, which may be a tuple of tensors."""
    yield from dims if isinstance(dims, tuple) else (dims,)


def _shapes(op: Op, variant: Variant) -> dict[str, Any]:
    """The shape of every argument and of `out`, by name."""
    inputs, options = checked_draw(op, variant, Rand(0, torch.float64))
    try:
        with torch.no_grad():
            out = op.forward(*inputs.values(), **options)
    except Exception as error:
        said = f"the forward raised on sample {variant.name!r}: {error_at(error, op.forward)}"
        raise Unjudgeable(said) from error
    return tree_map(lambda tensor: tensor.shape, {**inputs, "out": out})  # type: ignore[no-any-return]


def _dims(short: Any, long: Any) -> Any:
    if isinstance(short, tuple) and not isinstance(short, torch.Size):
        return tuple(map(_dims, short, long))
    grown = (dim for dim, (a, b) in enumerate(zip(short, long, strict=True)) if a != b)
    return next(grown, None)
