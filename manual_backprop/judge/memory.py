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
    """Whether two tensors, each of any shape, may have a byte in common."""
    if not a.numel() or not b.numel() or a.device != b.device or a.device.type == "meta":
        return False
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    reach_a, reach_b = _reach(a), _reach(b)
    return reach_a[0] < reach_b[1] and reach_b[0] < reach_a[1]


def _reach(tensor: Tensor) -> tuple[int, int]:
    start = int(tensor.storage_offset()) * tensor.element_size()
    last = sum((n - 1) * int(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (last + 1) * tensor.element_size()
