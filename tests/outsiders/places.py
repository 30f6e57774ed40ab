"""Outsiders that move entries to other places: padding, slices, windows, lookups."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_backprop.op import Op
from tests.outsiders.bound import decompositions


def _embedding(
    weight: Tensor, indices: Tensor, *, padding_idx: int = -1, by_freq: bool = False
) -> Tensor:
    """The function whose gradient it is: a padding row is constant, a frequent row divided."""
    weight = weight.masked_fill(torch.arange(len(weight)).unsqueeze(1) == padding_idx, 0)
    out = F.embedding(indices, weight)
    return out / indices.bincount(minlength=1)[indices].unsqueeze(1) if by_freq else out


def _back_max_pool2d(
    x: Tensor, grad_out: Tensor, *, kernel: int = 3, stride: int = 2, padding: int = 1
) -> Any:
    _, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    pairs = [[size, size] for size in (kernel, stride, padding, 1)]
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")  # else it hands over to PyTorch's own kernel
    try:
        return decompositions.max_pool2d_with_indices_backward(grad_out, x, *pairs, False, indices)
    finally:
        torch.set_deterministic_debug_mode(mode)


PLACES = {
    "_reflection_pad_backward": Op(
        forward=lambda x, *, padding=(2, 1): F.pad(x, padding, mode="reflect"),
        backwards=(
            lambda x, grad_out, *, padding=(2, 1): decompositions._reflection_pad_backward(
                grad_out, x, padding
            ),
        ),
        samples={
            "line": lambda rand, n=11, w=5: (rand(n, 1, w + 2),),
            "plane": lambda rand, n=7, h=5, w=11: (
                (rand(n, 1, h + 2, w + 2),),
                {"padding": (2, 1, 0, 2)},
            ),
            "space": lambda rand, n=3, d=5: (
                (rand(n, 1, d + 1, 4, 3),),
                {"padding": (1, 2, 2, 1, 1, 0)},
            ),
        },
        wrt=("x",),
        oracle=lambda x, *, padding=(2, 1): F.pad(x, padding, mode="reflect"),
    ),
    "diagonal_backward": Op(
        forward=lambda x: torch.diagonal(x, 1, 0, 2),
        backwards=(
            lambda x, grad_out: decompositions.diagonal_backward(grad_out, x.shape, 1, 0, 2),
        ),
        samples={"cube": lambda rand, n=7, i=5, j=3: (rand(n, i, j + 1),)},
        wrt=("x",),
        oracle=lambda x: torch.diagonal(x, 1, 0, 2),
    ),
    "embedding_dense_backward": Op(
        forward=_embedding,
        backwards=(
            lambda weight, indices, grad_out, *, padding_idx=-1, by_freq=False: (
                decompositions.embedding_dense_backward(
                    grad_out, indices, len(weight), padding_idx, by_freq
                )
            ),
        ),
        samples={
            "rows": lambda rand, n=11, v=5, i=7: (rand(v, i), rand.integers(v, n)),
            "padded": lambda rand, n=11, v=5, i=7: (
                (rand(v + 1, i), rand.integers(v + 1, n)),
                {"padding_idx": 1},
            ),
            "by frequency": lambda rand, n=11, v=5, i=7: (
                (rand(v, i), rand.integers(v, n)),
                {"by_freq": True},
            ),
        },
        wrt=("weight",),
        oracle=_embedding,
    ),
    "max_pool2d_with_indices_backward": Op(
        forward=lambda x, *, kernel=3, stride=2, padding=1: F.max_pool2d(
            x, kernel, stride, padding
        ),
        backwards=(_back_max_pool2d,),
        samples={
            "planes": lambda rand, n=3, c=5, h=11, w=7: (rand(n, c, h + 2, w + 2),),
            "unbatched": lambda rand, c=5, h=11, w=7: (rand(c, h + 2, w + 2),),
        },
        wrt=("x",),
        oracle=lambda x, *, kernel=3, stride=2, padding=1: F.max_pool2d(x, kernel, stride, padding),
    ),
    "select_backward": Op(
        forward=lambda x: x.select(1, 2),
        backwards=(lambda x, grad_out: decompositions.select_backward(grad_out, x.shape, 1, 2),),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i + 2),)},
        wrt=("x",),
        oracle=lambda x: x.select(1, 2),
    ),
    "slice_backward": Op(
        forward=lambda x: x[:, 1:-1:2].clone(),
        backwards=(
            lambda x, grad_out: decompositions.slice_backward(grad_out, x.shape, 1, 1, -1, 2),
        ),
        samples={"rows": lambda rand, n=11, i=7: (rand(n, i + 2),)},
        wrt=("x",),
        oracle=lambda x: x[:, 1:-1:2].clone(),
    ),
    "unfold_backward": Op(
        forward=lambda x, *, size=3, step=2: x.unfold(1, size, step),
        backwards=(
            lambda x, grad_out, *, size=3, step=2: decompositions.unfold_backward(
                grad_out, x.shape, 1, size, step
            ),
        ),
        samples={
            "overlapping": lambda rand, n=11, i=7: (rand(n, i + 2),),
            "apart": lambda rand, n=11, i=7: ((rand(n, i + 2),), {"size": 2, "step": 3}),
        },
        wrt=("x",),
        oracle=lambda x, *, size=3, step=2: x.unfold(1, size, step),
    ),
}
