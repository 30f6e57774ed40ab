"""A function of any arguments and outputs as operators of the house, which `verify` can judge.

An `Op` has tensors for arguments and one tensor for output. So what is no tensor becomes an option,
several outputs become one row of numbers, and each of them once more a view of its own, behind
which the other outputs have no grad_out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature, signature
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from manual_backprop.judge.draw import each
from manual_backprop.judge.expected import with_expected_gradients
from manual_backprop.judge.graph import Call, Subject
from manual_backprop.op import Op

CONSTANTS = "constants_"  # the option that holds every argument that is no tensor


@dataclass(frozen=True, eq=False)
class Pair:
    """A function, its reference and one sample, and what a first call of it showed.

    Attributes:
        subject: the function.
        reference: of the same arguments, differentiable by autograd.
        sample, draw: its name, and the function that draws the arguments.
        expected: name -> the gradient that is wanted in place of the derivative.
        dtypes, devices: where the function can run.
        names: of all arguments, in order.
        tensors: names of the arguments that are tensors, or tuples of tensors.
        wrt: names of those that get a gradient.
        written: names of those that the forward writes into and returns.
        places: of the differentiable outputs.
        blank: what the backward is handed for each output without a grad_out.
    """

    subject: Subject
    reference: Callable[..., Any]
    sample: str
    draw: Callable[..., Any]
    expected: Mapping[str, Callable[..., Any]]
    dtypes: tuple[torch.dtype, ...]
    devices: tuple[str, ...]
    names: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    wrt: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    blank: tuple[Any, ...] = field(default=())

    def called(self, arguments: Mapping[str, Any], needs: tuple[str, ...]) -> Call:
        """One forward of the function in the graph.

        Raises:
            Exception: whatever it raises.
        """
        return Call(self.subject, arguments, needs, self.written)

    def referred(self, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the reference returns, as a tuple.

        Raises:
            Exception: whatever it raises.
        """
        given = dict(arguments)
        options = given.pop("**", {})
        result = self.reference(*given.values(), **options)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    def values(self, rand: Any, **sizes: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of one draw by position, and options.

        Raises:
            Exception: whatever the sample raises.
        """
        values = self.draw(rand, **sizes)
        options: dict[str, Any] = {}
        if isinstance(values, tuple) and len(values) == 2 and isinstance(values[1], dict):
            values, options = values
        return tuple(values) if isinstance(values, (tuple, list)) else (values,), options

    def drawn(self, rand: Any, **sizes: int) -> dict[str, Any]:
        """The arguments of one draw by name, options under "**".

        Raises:
            Exception: whatever the sample raises.
        """
        values, options = self.values(rand, **sizes)
        named = dict(zip(self.names, map(_as_tuple, values), strict=True))
        return {**named, "**": options} if options else named


def is_tensors(value: Any) -> bool:
    """Whether it is a tensor or a tuple of tensors."""
    leaves = value if isinstance(value, tuple) and value else (value,)
    return all(isinstance(leaf, Tensor) for leaf in leaves)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) and is_tensors(tuple(value)) else value


class View:
    """Some of a function's outputs as one operator.

    Args:
        pair: the function and its sample.
        places: which outputs; several are laid out in one row.
        wrt: names of the arguments that get a gradient from these outputs.
        sample: what to call the sample.
    """

    def __init__(
        self, pair: Pair, places: tuple[int, ...], wrt: tuple[str, ...], sample: str
    ) -> None:
        self.pair = pair
        self.places = places
        of = pair.subject
        self.engine = self._public(self._engine, f"{of.name} (autograd)", of.backward, "grad_out")
        self.direct = self._public(self._direct, f"{of.name}.backward", of.backward, "grad_out")
        self.op = Op(
            forward=self._public(self._forward, of.name, of.forward),
            backwards=(self.direct, self.engine) if pair.subject.has_node else (self.engine,),
            samples={sample: self._sample()},
            wrt=wrt,
            oracle=self._public(self._oracle, _name(pair.reference), pair.reference),
        )
        self.wrt = wrt

    def reference_op(self, wrt: tuple[str, ...]) -> Op:
        """The reference in the function's place, whose slopes its own autograd can be held to."""
        return Op(self.op.oracle or self.op.forward, (self.engine,), self.op.samples, wrt)

    def _public(
        self, method: Callable[..., Any], name: str, written: Callable[..., Any], *more: str
    ) -> Callable[..., Any]:
        """The method as a function of the tensors by name, that leads to what its author wrote."""

        def function(*args: Any, **kwargs: Any) -> Any:
            constants = kwargs.pop(CONSTANTS, None) or {}
            given = dict(zip(self.pair.tensors, args, strict=False)) | kwargs
            further = [given.pop(extra) for extra in more]
            arguments = {
                key: given[key] if key in given else constants[key]
                for key in (*self.pair.names, "**")
                if key in given or key in constants
            }
            return method(arguments, *further)

        positional = [*self.pair.tensors, *more]
        parameters = [Parameter(key, Parameter.POSITIONAL_OR_KEYWORD) for key in positional]
        parameters += [Parameter(CONSTANTS, Parameter.KEYWORD_ONLY, default=None)]
        function.__name__ = function.__qualname__ = name
        function.__module__ = str(getattr(written, "__module__", __name__))
        function.__dict__["__signature__"] = Signature(parameters)
        function.__dict__["__wrapped__"] = written
        return function

    def _sample(self) -> Callable[..., Any]:
        def drawn(rand: Any, **sizes: int) -> Any:
            values = self.pair.drawn(rand, **sizes)
            tensors = tuple(values[name] for name in self.pair.tensors)
            constants = {name: value for name, value in values.items() if name not in tensors_of}
            return tensors, {CONSTANTS: constants}

        tensors_of = self.pair.tensors
        drawn.__dict__["__signature__"] = signature(self.pair.draw)
        drawn.__dict__["__wrapped__"] = self.pair.draw
        return drawn

    def _forward(self, arguments: dict[str, Any]) -> Tensor:
        like = next(t for t in tree_leaves(arguments) if _is_floating(t))
        pair = self.pair
        if like.dtype not in pair.dtypes or like.device.type not in pair.devices:
            return self._oracle(arguments)  # slopes, say, of a kernel that has no float64
        with torch.no_grad():  # its gradients are under judgement, and no witness
            return self.row(pair.called(arguments, ()).outputs, like.dtype).detach()

    def _oracle(self, arguments: dict[str, Any]) -> Tensor:
        like = next(t for t in tree_leaves(arguments) if _is_floating(t))
        if not self.pair.expected:
            return self.row(self.pair.referred(arguments), like.dtype)
        return with_expected_gradients(
            arguments,
            self.pair.expected,
            self.pair.referred,
            lambda outputs: self.row(outputs, like.dtype),
            self.grad_outs,
        )

    def row(self, outputs: Any, dtype: torch.dtype) -> Tensor:
        """The outputs in view as one tensor: the one, or all in a row."""
        chosen = [outputs[place].to(dtype) for place in self.places]
        return row_of(chosen)

    def grad_outs(self, outputs: Any, grad_out: Tensor) -> dict[int, Tensor]:
        """The grad_out of each output in view, as parts of the one of the view."""
        if len(self.places) == 1:
            return {self.places[0]: grad_out.to(outputs[self.places[0]].dtype)}
        parts, start = {}, 0
        for place in self.places:
            shape = outputs[place].shape
            part = grad_out[start : start + prod(shape)].view(shape)
            parts[place] = part.to(outputs[place].dtype)
            start += prod(shape)
        return parts

    def every_grad_out(self, outputs: Any, grad_out: Tensor) -> list[Any]:
        """What the backward is handed: a grad_out for each output in view, and what goes for none.

        That is zeros of the output's shape or, after `set_materialize_grads(False)`, None.
        """
        parts = self.grad_outs(outputs, grad_out)
        return [
            parts.get(place, blank if blank is None else torch.zeros_like(out))
            for place, (out, blank) in enumerate(zip(outputs, self.pair.blank, strict=True))
        ]

    def _engine(self, arguments: dict[str, Any], grad_out: Tensor) -> Any:
        call = self.pair.called(arguments, self.wrt)
        grads = call.by_engine(self.grad_outs(call.outputs, grad_out))
        return _result([each(grads[name], torch.clone) for name in self.wrt])

    def _direct(self, arguments: dict[str, Any], grad_out: Tensor) -> Any:
        call = self.pair.called(arguments, self.wrt)
        return self.returned(call, grad_out)

    def returned(self, call: Call, grad_out: Tensor) -> Any:
        """What a backward of that call returns for wrt, one tensor for each that stands there.

        The engine takes one tensor for two arguments as it is; here they are two.

        Raises:
            Exception: whatever the backward raises.
        """
        grads = call.directly(self.every_grad_out(call.outputs, grad_out))
        seen: set[int] = set()

        def own(grad: Any) -> Any:
            if not isinstance(grad, Tensor):
                return grad
            known = id(grad) in seen
            seen.add(id(grad))
            return grad.clone() if known else grad

        return _result([tree_map(own, grads[name]) for name in self.wrt])


def row_of(outputs: Sequence[Tensor]) -> Tensor:
    """One tensor as it is; several of any shapes as one row of numbers."""
    return outputs[0] if len(outputs) == 1 else torch.cat([out.reshape(-1) for out in outputs])


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _result(grads: list[Any]) -> Any:
    return grads[0] if len(grads) == 1 else tuple(grads)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
