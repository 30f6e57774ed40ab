"""The two tensors whose shapes did not go together, and what may have been meant of them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from manual_backprop.judge.verdict import first_line

PRODUCTS = ("mul", "multiply", "__mul__", "__rmul__")


class _Failed(TorchFunctionMode):
    """Keeps what the call of torch was given that raised."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.operands: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        try:
            return func(*args, **kwargs or {})
        except Exception:
            self.name = getattr(func, "__name__", "")
            self.operands = [value for value in args if isinstance(value, Tensor)]
            raise


def meant(call: Callable[[], Any], error: Exception, names: Mapping[int, str]) -> str:
    """How the sentence about an error of shapes goes on; empty where nothing is to be said.

    Args:
        call: raised `error`, and is called once more.
        error: what it raised.
        names: of the tensors that it was given, by id.
    """
    if "must match the size of tensor b" not in first_line(error):
        return ""
    failed = _Failed()
    with suppress(Exception), torch.no_grad(), failed:
        call()
    if len(failed.operands) != 2:
        return ""
    a, b = failed.operands
    for one, other in ((a, b), (b, a)):
        if not one.is_floating_point() and one.shape == other.shape[:-1]:
            name = names.get(id(one), "one of the two")
            return f"; {name} has one integer for each row, a class: is its one-hot row meant?"
    shared = set(a.shape) & set(b.shape)
    if failed.name in PRODUCTS and a.dim() == b.dim() == 2 and shared:
        return "; is a matrix product, @, meant in place of *?"
    return ""
