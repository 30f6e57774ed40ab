"""Matrix products by oneDNN in place of MKL, for float32 on a CPU.

PyTorch multiplies float32 matrices with MKL, which on processors of other makers than its own does
not use AVX-512; oneDNN, which PyTorch brings too, does, and is up to twice as fast there.
"""

import torch
from torch import Tensor


def multiplies(*tensors: Tensor) -> bool:
    """Whether oneDNN multiplies these here; else that is left to PyTorch."""
    return torch.backends.mkldnn.is_available() and all(
        t.dtype is torch.float32 and t.device.type == "cpu" and t.numel() for t in tensors
    )


def linear(x: Tensor, w: Tensor, b: Tensor | None = None, *, then: str = "none") -> Tensor:
    """x (n, i) wᵀ + b (o), with w (o, i), and then "relu" or "none": (n, o).

    It is what torch.compile calls for weights that are frozen.
    """
    return torch.ops.mkldnn._linear_pointwise(x, w, b, then, [], "")  # type: ignore[no-any-return]
