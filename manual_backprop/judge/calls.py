"""The calls of PyTorch's kernels that a run made, so that they can be made for other numbers.

A run under a dispatch mode costs several times what its kernels cost: autograd builds a graph and
walks it, and every call passes through Python twice. Here the same calls are made in the same
order, and nothing else. What a recording cannot know is what a function decides by its numbers, or
computes outside of PyTorch: so whoever makes one compares it with a further run before it is relied
on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Make = Callable[[Any, list[Any], dict[str, Any], Any], Any]


@dataclass(frozen=True)
class _Call:
    """One call of a kernel.

    Attributes:
        args, kwargs: as they were; what they hold of tensors is of the recorded run.
        tensors, named: where tensors stand among them, each with its number.
        lists: the same for lists of tensors: their place, and the numbers; None is no tensor.
        results: the numbers of what it returned.
        note: for whoever makes it.
    """

    func: Any
    args: list[Any]
    kwargs: dict[str, Any]
    tensors: list[tuple[int, int]]
    named: list[tuple[str, int]]
    lists: list[tuple[int, list[int | None]]]
    results: list[int | None]
    note: Any


class Calls:
    """The calls of one run.

    Args:
        inputs: what the function of the run is given.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._calls: list[_Call] = []
        self._numbers: dict[object, int] = {}
        self._values: list[Tensor | None] = []  # kept, for memory given twice would be one tensor
        self._inputs = [self._add(tensor) for tensor in inputs]
        self._outputs: list[int] = []

    def record(
        self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any, note: Any
    ) -> None:
        """A call that was made, what it returned, and what its maker wants to be told again."""
        if func is aten.detach.default:
            return  # the same memory, so the same tensor
        tensors = [(i, self._number(arg)) for i, arg in enumerate(args) if isinstance(arg, Tensor)]
        named = [
            (name, self._number(arg)) for name, arg in kwargs.items() if isinstance(arg, Tensor)
        ]
        lists = [
            (i, [self._number(one) if isinstance(one, Tensor) else None for one in arg])
            for i, arg in enumerate(args)
            if isinstance(arg, list | tuple) and any(isinstance(one, Tensor) for one in arg)
        ]
        results = [self._add(one) if isinstance(one, Tensor) else None for one in each(result)]
        self._calls.append(_Call(func, list(args), kwargs, tensors, named, lists, results, note))

    def end(self, outputs: Sequence[Tensor]) -> None:
        """The run is over and returned these: from here on only constants are kept."""
        self._outputs = [self._number(tensor) for tensor in outputs]
        for number in (*self._inputs, *(n for call in self._calls for n in call.results)):
            if number is not None:
                self._values[number] = None
        for call in self._calls:
            for place, _ in (*call.tensors, *call.lists):
                call.args[place] = None

    def play(self, inputs: Sequence[Tensor], make: Make) -> tuple[Tensor, ...]:
        """What the run returns for other inputs of the same shapes.

        Args:
            inputs: as those that were recorded.
            make: makes one call of a kernel: (func, args, kwargs, note) -> its result.

        Raises:
            Exception: whatever `make` raises.
        """
        values: list[Any] = list(self._values)
        for number, tensor in zip(self._inputs, inputs, strict=True):
            values[number] = tensor
        with torch.no_grad():
            for call in self._calls:
                args, kwargs = call.args.copy(), call.kwargs
                for place, number in call.tensors:
                    args[place] = values[number]
                for place, numbers in call.lists:
                    args[place] = [None if n is None else values[n] for n in numbers]
                if call.named:
                    kwargs = kwargs | {name: values[number] for name, number in call.named}
                result = make(call.func, args, kwargs, call.note)
                if isinstance(result, Tensor):
                    values[call.results[0]] = result  # type: ignore[index]
                else:
                    for n, one in zip(call.results, each(result), strict=True):
                        if n is not None:
                            values[n] = one
        return tuple(values[number] for number in self._outputs)

    def _number(self, tensor: Tensor) -> int:
        """Of a tensor by its memory, since autograd hands out the same memory as other objects."""
        number = self._numbers.get(_memory(tensor))
        return self._add(tensor) if number is None else number

    def _add(self, tensor: Tensor) -> int:
        number = self._numbers[_memory(tensor)] = len(self._values)
        self._values.append(tensor)
        return number


def _memory(tensor: Tensor) -> object:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def each(result: Any) -> Iterable[Any]:
    """What a kernel returned, one by one."""
    return result if isinstance(result, tuple | list) else (result,)
