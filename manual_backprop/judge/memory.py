"""The memory behind tensors: what lies in it, and which tensors share it."""

import torch
from torch import Tensor


def memory(tensor: Tensor) -> bytes | int:
    """All of the memory behind a tensor of any shape, gaps included, in a form that compares."""
    if tensor.device.type == "meta" or not tensor.numel():
        return 0
    raw = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
    return raw.cpu().numpy().tobytes()


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors, each of any shape, have a byte in common.

    Tensors that interleave, as the parts of `torch.cat(...).chunk(3, -1)` do, have none.
    """
    if not a.numel() or not b.numel() or a.device != b.device or a.device.type == "meta":
        return False
    (start_a, end_a), (start_b, end_b) = _reach(a), _reach(b)
    if end_a <= start_b or end_b <= start_a:
        return False
    start = min(start_a, start_b)
    taken = torch.zeros(max(end_a, end_b) - start, dtype=torch.uint8)
    _bytes(a, taken, start_a - start).fill_(1)
    return bool(_bytes(b, taken, start_b - start).any())


def _reach(tensor: Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first byte and of the first one behind it."""
    start = tensor.data_ptr()
    last = sum((n - 1) * int(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (last + 1) * tensor.element_size()


def _bytes(tensor: Tensor, taken: Tensor, start: int) -> Tensor:
    """The places in `taken`, one number for each byte, at which the tensor's bytes lie."""
    size = tensor.element_size()
    steps = [int(step) * size for step in tensor.stride()]
    axes = [(n if step else 1, step) for n, step in zip(tensor.shape, steps, strict=True)]
    return taken.as_strided([*(n for n, _ in axes), size], [*(s for _, s in axes), 1], start)
