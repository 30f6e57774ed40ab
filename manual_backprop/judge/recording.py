"""The calls of PyTorch's kernels that a run made, so that they can be made for other numbers.

A run under a dispatch mode costs several times what its kernels cost: autograd builds a graph and
walks it, and every call passes through Python twice. Here the same calls are made in the same
order, and nothing else. That is the same run as long as the function decides nothing by its
numbers: where a call returns another shape than it did, or another number to Python, or draws
random numbers, or writes into what is not the run's own, the recording does not stand for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Make = Callable[[Any, list[Any], dict[str, Any], Any], Any]
Numbers = list[tuple[Any, int]]
Lists = list[tuple[Any, list[int | None]]]


class OtherPath(Exception):  # noqa: N818 -- not an error of anybody's
    """With these numbers the function goes another way than the one recorded."""


@dataclass(frozen=True)
class _Given:
    """Where tensors stand among arguments, and inside lists among them, each by its number."""

    tensors: Numbers
    lists: Lists

    def fill(self, arguments: Any, values: Sequence[Any]) -> None:
        for place, number in self.tensors:
            arguments[place] = values[number]
        for place, numbers in self.lists:
            arguments[place] = [None if n is None else values[n] for n in numbers]


@dataclass(frozen=True)
class _Call:
    """One call of a kernel: what it was given, what it returned, and a note for its maker.

    Attributes:
        results: the number and shape of each tensor, and whatever else was returned.
    """

    func: Any
    args: list[Any]
    kwargs: dict[str, Any]
    placed: _Given
    named: _Given
    results: list[tuple[int, torch.Size] | Any]
    note: Any


class Recording:
    """The calls of one run.

    Args:
        inputs: what the function of the run is given.

    Attributes:
        faithful: False where the calls alone are not the run.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self.faithful = True
        self._calls: list[_Call] = []
        self._numbers: dict[object, int] = {}
        self._values: list[Tensor | None] = []  # kept, for memory given twice would be one tensor
        self._inputs = [self._add(tensor) for tensor in inputs]
        self._own = set(self._inputs)
        self._outputs: list[int] = []

    def given(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[_Given, _Given]:
        """What a call is given, before it is made and may change it."""
        placed, named = self._find(enumerate(args)), self._find(kwargs.items())
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.faithful = False
        if func._schema.is_mutable:
            written = [n for given in (placed, named) for _, n in given.tensors]
            self.faithful &= set(written) <= self._own
        return placed, named

    def record(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        given: tuple[_Given, _Given],
        result: Any,
        note: Any,
    ) -> None:
        """A call that was made, what it returned, and what its maker wants to be told again."""
        if func is aten.detach.default:
            return  # the same memory, so the same tensor
        results: list[Any] = []
        for one in each(result):
            if isinstance(one, Tensor):
                number = self._add(one)
                self._own.add(number)
                results.append((number, one.shape))
            else:
                results.append(one)
        self._calls.append(_Call(func, list(args), dict(kwargs), *given, results, note))

    def end(self, outputs: Sequence[Tensor]) -> None:
        """The run is over and returned these; of its tensors only constants are kept."""
        self._outputs = [self._number(tensor) for tensor in outputs]
        self.faithful &= self._own.issuperset(self._outputs)
        for number in self._own:
            self._values[number] = None
        empty = [None] * len(self._values)
        for call in self._calls:
            call.placed.fill(call.args, empty)
            call.named.fill(call.kwargs, empty)

    def play(self, inputs: Sequence[Tensor], make: Make) -> tuple[Tensor, ...]:
        """What the run returns for other inputs of the same shapes.

        Args:
            inputs: as those that were recorded.
            make: makes one call of a kernel: (func, args, kwargs, note) -> its result.

        Raises:
            OtherPath: the run would not make these calls.
            Exception: whatever `make` raises.
        """
        values: list[Any] = list(self._values)
        for number, tensor in zip(self._inputs, inputs, strict=True):
            values[number] = tensor
        with torch.no_grad():
            for call in self._calls:
                args, kwargs = call.args.copy(), call.kwargs.copy()
                call.placed.fill(args, values)
                call.named.fill(kwargs, values)
                result = make(call.func, args, kwargs, call.note)
                for before, one in zip(call.results, each(result), strict=True):
                    if not isinstance(one, Tensor):
                        if one != before:
                            raise OtherPath
                        continue
                    number, shape = before
                    if one.shape != shape:
                        raise OtherPath
                    values[number] = one
        return tuple(values[number] for number in self._outputs)

    def _find(self, arguments: Iterable[tuple[Any, Any]]) -> _Given:
        found = _Given([], [])
        for place, one in arguments:
            if isinstance(one, Tensor):
                found.tensors.append((place, self._number(one)))
            elif isinstance(one, list | tuple) and any(isinstance(t, Tensor) for t in one):
                numbers = [self._number(t) if isinstance(t, Tensor) else None for t in one]
                found.lists.append((place, numbers))
        return found

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
