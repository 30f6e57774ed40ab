"""A function in autograd's graph: called, and its backward reached by hand and by the engine.

The node that PyTorch puts behind the outputs of an autograd.Function is the very ctx of its
forward, and `node.apply(*grad_outs)` is its backward, called as it was written. The engine, on its
way, turns an undefined grad_out into zeros (unless told not to), sums what was not reduced, and
casts; so it hides what the direct call shows, and shows what that hides.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef
from torch.autograd.function import Function
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.draw import each
from manual_backprop.judge.exercised import traced
from manual_backprop.op import BadOp

UNDEFINED: Callable[..., Any] = torch._C._functions.UndefinedGrad()


@dataclass(frozen=True)
class Subject:
    """A function under judgement.

    Attributes:
        call: takes the arguments by position.
        name: for people.
        forward, backward: the functions that its author wrote, whose lines an error names.
        function: the autograd.Function that it is, if it is one.
        operator: whether it is an operator of torch.library.
        names: of the arguments, as an operator's schema has them.
    """

    call: Callable[..., Any]
    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    function: type[Function] | None = None
    operator: bool = False
    names: tuple[str, ...] = ()

    @property
    def has_node(self) -> bool:
        """Whether a node of its own stands behind its outputs."""
        return self.function is not None or self.operator


def subject(function: Any) -> Subject:
    """What was handed in: an autograd.Function, its `apply`, an operator, or a plain function.

    Raises:
        BadOp: it is none of these.
    """
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, Function) and function == owner.apply:
        function = owner
    if isinstance(function, type) and issubclass(function, Function):
        backward = function.backward if function.vjp is Function.vjp else function.vjp
        return Subject(function.apply, function.__name__, function.forward, backward, function)
    if isinstance(function, type) or not callable(function):
        raise BadOp(
            f"verify_function: {function!r} is no function; give an autograd.Function, an operator "
            "of torch.library, or a function of tensors"
        )
    if isinstance(function, torch._ops.OpOverloadPacket):
        function = getattr(function, function.overloads()[0])
    written: Any = function
    operator: Any = function
    if isinstance(function, CustomOpDef):
        written, operator = function._init_fn, function._opoverload
    if isinstance(operator, torch._ops.OpOverload):
        names = tuple(argument.name for argument in operator._schema.arguments)
        name = operator._schema.name
        backward = getattr(function, "_backward_fn", None) or written
        return Subject(function, name, written, backward, operator=True, names=names)
    name = getattr(function, "__name__", type(function).__name__)
    return Subject(function, name, function, function)


class Call:
    """One forward in the graph.

    Args:
        of: the function.
        arguments: all of its arguments by name, in order; tensors, tuples of tensors, constants.
        needs: names of those that require a gradient.
        written: names of those that the forward writes into; it gets copies of these.

    Attributes:
        outputs: what came out; entries may be no tensors.
        differentiable: the places of those outputs that require a gradient.

    Raises:
        Exception: whatever the function raises.
    """

    def __init__(
        self,
        of: Subject,
        arguments: Mapping[str, Any],
        needs: Collection[str],
        written: Collection[str] = (),
    ) -> None:
        self.of = of
        with torch.enable_grad():
            self.leaves = {name: each(arguments[name], _leaf) for name in needs}
            given = {**arguments, **self.leaves}
            given |= {name: each(given[name], torch.clone) for name in written}
            options = given.pop("**", {})
            self.given = given
            result = of.call(*given.values(), **options)
        self.outputs = result if isinstance(result, (tuple, list)) else (result,)
        self.differentiable = tuple(
            place
            for place, out in enumerate(self.outputs)
            if isinstance(out, Tensor) and out.requires_grad
        )

    @property
    def node(self) -> Any:
        """The ctx, where the function is one of autograd's or of torch.library's; else None."""
        if not self.of.has_node:
            return None
        nodes = [self.outputs[place].grad_fn for place in self.differentiable]
        for node in nodes:
            made_by = getattr(node, "_forward_cls", None)
            if made_by and (self.of.operator or made_by is self.of.function):
                return node
        return None

    def by_engine(
        self, grad_outs: Mapping[int, Tensor | None], *, retain_graph: bool = False
    ) -> dict[str, Any]:
        """The gradients of all that needs one, by name; zeros where none comes.

        Args:
            grad_outs: for places of differentiable outputs a tensor of that output's shape, or None
                for an undefined one.
            retain_graph: keep the graph for another backward.

        Raises:
            RuntimeError: the engine refuses, or the backward raises.
        """
        with torch.enable_grad():
            outs = [
                self.outputs[place] if grad is not None else UNDEFINED(self.outputs[place])
                for place, grad in grad_outs.items()
            ]
        grads = [
            torch.ones_like(out) if grad is None else grad
            for out, grad in zip(outs, grad_outs.values(), strict=True)
        ]
        with traced():
            found = torch.autograd.grad(
                outs,
                tree_leaves(tuple(self.leaves.values())),
                grads,
                retain_graph=retain_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        left = iter([_dense(grad) for grad in found])
        return {name: each(leaf, lambda _: next(left)) for name, leaf in self.leaves.items()}

    def handed_over(self) -> tuple[Any, ...]:
        """What the engine hands to the backward where no output has a grad_out: None, or zeros.

        Raises:
            RuntimeError: the engine refuses, or the backward raises.
        """
        node, seen = self.node, []
        made_by = node._forward_cls

        def backward(ctx: Any, *grad_outs: Any) -> Any:
            seen.append(grad_outs)
            return (None,) * len(ctx.needs_input_grad)

        node._forward_cls = SimpleNamespace(backward=backward, vjp=Function.vjp)
        try:
            self.by_engine(dict.fromkeys(self.differentiable), retain_graph=True)
        finally:
            node._forward_cls = made_by
        return seen[0] if seen else (None,) * len(self.outputs)

    def directly(self, grad_outs: Sequence[Any]) -> dict[str, Any]:
        """What the backward returns for what needs a gradient, by name; dense.

        Args:
            grad_outs: one for each output, as `handed_over` has them or a tensor.

        Raises:
            Exception: whatever the backward raises.
        """
        return self.named(self.returned(grad_outs))

    def returned(self, grad_outs: Sequence[Any]) -> tuple[Any, ...]:
        """What the backward returns, as it returns it, as a tuple.

        Raises:
            Exception: whatever the backward raises.
        """
        with traced():
            result = self.node.apply(*grad_outs)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    def places(self) -> int:
        """How many gradients the backward has to return: one for each argument."""
        return sum(self._width(value) for value in self.given.values())

    def _width(self, value: Any) -> int:
        tensors = isinstance(value, (tuple, list)) and self.of.operator
        return len(value) if tensors and all(isinstance(v, Tensor) for v in value) else 1

    def named(self, returned: tuple[Any, ...]) -> dict[str, Any]:
        """Of what the backward returned, what needs a gradient, by name."""
        left = iter((*map(_dense, returned), *(None,) * self.places()))
        grads = {name: tuple(next(left) for _ in range(self._width(value)))
                 for name, value in self.given.items()}  # fmt: skip
        return {
            name: grads[name] if isinstance(self.given[name], tuple) else grads[name][0]
            for name in self.leaves
        }


def _leaf(tensor: Tensor) -> Tensor:
    """The same memory as a leaf of the graph; a change of the one counts as one of the other."""
    return tensor.detach().requires_grad_()


def _dense(grad: Any) -> Any:
    """A sparse gradient, as the engine takes it too, laid out."""
    if not isinstance(grad, Tensor) or grad.layout is torch.strided:
        return grad
    if grad.device.type == "meta":  # where PyTorch cannot lay it out
        return torch.empty(grad.shape, dtype=grad.dtype, device="meta")
    return grad.to_dense()


def is_complex(values: Iterable[Any]) -> bool:
    """Whether a complex tensor is among them."""
    return any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in tree_leaves(list(values)))
