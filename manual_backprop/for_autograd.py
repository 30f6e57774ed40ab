"""Operators of this house where autograd calls them: as an autograd.Function, and in torch.library.

What a backward saves is what it asks for (`op.saves`), and no more.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef

from manual_backprop.judge.draw import Measure, Variant, draw
from manual_backprop.op import BadOp, Op, check_backward, is_fused

Widths = tuple[int | None, ...]  # of each argument: None for a tensor, n for a tuple of n
TYPES = {bool: "bool", int: "int", float: "float", str: "str"}


def as_function(op: Op, backward: Callable[..., Any] | None = None) -> Callable[..., Tensor]:
    """The forward as a function whose gradient is the hand-written one.

    It takes what the forward takes, tuples of tensors and options included, and is an
    `autograd.Function` of the `setup_context` form with a generated vmap rule. So it passes
    `gradcheck`, and `gradgradcheck` where every operation of the backward has a derivative itself;
    `torch.func`'s `grad`, `vjp`, `jacrev` and `vmap` go through it, and
    `torch.compile(fullgraph=True)` sees both formulas and fuses them with what is around.

    What PyTorch (2.11 to 2.15) asks for:

    - `apply` looks into no tuple and takes no keyword: all tensors stand in a row, behind a
      constant that says what they are put together to.
    - A `forward` that takes `ctx` cannot go through `torch.func`; with `setup_context` it can.
    - There is no forward mode: `torch.func.jvp` raises.
    - Under `vmap` and `torch.compile` a formula may ask for shapes, and not for numbers
      (`if x.any():`).

    In-place backwards (`back_relu_`) get a copy of grad_out, for autograd's is not theirs. Most
    have no second derivative, for they write over what it needs: autograd says so.

    Args:
        op: the operator.
        backward: one of its backwards, or another of that form; the first by default.

    Raises:
        BadOp: the backward asks for what the operator does not have.

    >>> lin = as_function(OPS["lin"])
    >>> lin(x, w, b).sum().backward()
    """
    chosen, save, gradients = _rule(op, backward)
    forward = op.forward

    class HandWritten(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(head: Any, *leaves: Tensor) -> Tensor:
            widths, options = head
            out: Tensor = forward(*_grouped(widths, leaves), **dict(options))
            return out

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.head = inputs[0]
            save(ctx, ctx.head[0], inputs[1:], output)

        @staticmethod
        def backward(ctx: Any, grad_out: Tensor) -> Any:
            widths, options = ctx.head
            needs = _grouped(widths, ctx.needs_input_grad[1:])
            return (None, *_flat(gradients(ctx, widths, needs, grad_out, dict(options)))[1])

    named: Any = type(op.name, (HandWritten,), {"__module__": op.forward.__module__})
    name, names = op.name, op.arguments

    def function(*args: Any, **options: Any) -> Tensor:
        while len(args) < len(names) and names[len(args)] in options:
            args = (*args, options.pop(names[len(args)]))
        if len(args) != len(names):
            raise TypeError(f"{name} takes {', '.join(names)}; {len(args)} of them are given")
        widths, leaves = _flat(args)
        out: Tensor = named.apply((widths, tuple(options.items())), *leaves)
        return out

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = f"{op.forward.__doc__ or op.name}\n\nIts gradient is {chosen.__name__}."
    function.__dict__["__signature__"] = signature(op.forward)
    return function


def as_custom_op(name: str, op: Op, backward: Callable[..., Any] | None = None) -> CustomOpDef:
    """The forward as an operator of `torch.library`, with the hand-written backward registered.

    It passes `torch.library.opcheck` and `gradcheck`, and `gradgradcheck` like `as_function`.
    `torch.compile(fullgraph=True)` calls the forward as it is and does not look inside: for a
    kernel of one's own that is what one wants, for formulas of PyTorch's operations `as_function`
    is faster. `torch.vmap` calls it row by row, since a batching rule may not call `vmap` itself;
    `torch.func.grad` does not go through it, for the Function that PyTorch builds behind an
    operator is not of the `setup_context` form.

    What PyTorch (2.11 to 2.15) asks for: an option is a bool, an int, a float or a string; a name
    is registered once in a process; the output shares no memory with an input.

    Args:
        name: as in "my_project::lin".
        op: the operator; its samples tell which arguments are tuples of tensors.
        backward: one of its backwards, or another of that form; the first by default.

    Raises:
        BadOp: the backward asks for what the operator does not have, or torch.library has no such
            option.
        ValueError, RuntimeError: torch.library refuses the name.

    >>> lin = as_custom_op("my_project::lin", OPS["lin"])
    >>> torch.library.opcheck(lin, (x, w, b))
    """
    _, save, gradients = _rule(op, backward)

    @wraps(op.forward)
    def forward(*args: Any, **options: Any) -> Tensor:
        out: Tensor = op.forward(*map(_as_tuple, args), **options)
        return out

    made = torch.library.custom_op(name, forward, mutates_args=(), schema=_schema(op))

    def setup_context(
        ctx: Any, inputs: Any, output: Tensor, keyword_only_inputs: Any = None
    ) -> None:
        ctx.options = keyword_only_inputs or {}
        ctx.widths, leaves = _flat(inputs)
        save(ctx, ctx.widths, leaves, output)

    def registered(ctx: Any, grad_out: Tensor) -> Any:
        needs = ctx.needs_input_grad[: len(ctx.widths)]
        found = gradients(ctx, ctx.widths, needs, grad_out, ctx.options)
        return tuple(list(grad) if isinstance(grad, tuple) else grad for grad in found)

    made.register_autograd(registered, setup_context=setup_context)
    made.register_fake(forward)

    def batched(info: Any, in_dims: Any, *args: Any, **options: Any) -> Any:
        rows = [
            made(*[_row(arg, dim, i) for arg, dim in zip(args, in_dims, strict=True)], **options)
            for i in range(info.batch_size)
        ]
        return torch.stack(rows), 0

    made.register_vmap(batched)
    return made


def _rule(
    op: Op, backward: Callable[..., Any] | None
) -> tuple[Callable[..., Any], Callable[..., None], Callable[..., tuple[Any, ...]]]:
    """The chosen backward, what saves for it, and what calls it with what was saved.

    The latter two hold functions and names only, since torch.compile looks through nothing else.
    """
    if backward is not None:
        check_backward(op, backward)
    chosen = op.backwards[0] if backward is None else backward
    if is_fused(chosen):
        raise BadOp(
            f"{op.name}: {chosen.__name__} computes the forward as well, and autograd calls "
            f"forward and backward apart; give a backward that gets grad_out, as back_{op.name}"
        )
    arguments, wrt, saves = op.arguments, op.wrt, op.saves(chosen)
    asks = tuple(signature(chosen).parameters)
    in_place = chosen.__name__.endswith("_")

    def save(ctx: Any, widths: Widths, leaves: Sequence[Tensor], out: Tensor) -> None:
        known = {**dict(zip(arguments, _grouped(widths, leaves), strict=True)), "out": out}
        ctx.saved_widths, kept = _flat([known[name] for name in saves])
        ctx.save_for_backward(*kept)

    def gradients(
        ctx: Any, widths: Widths, needs: Sequence[Any], grad_out: Tensor, options: Any
    ) -> tuple[Any, ...]:
        needed = dict(zip(arguments, [_any(need) for need in needs], strict=True))
        known = {
            **dict(zip(saves, _grouped(ctx.saved_widths, ctx.saved_tensors), strict=True)),
            **options,
            "grad_out": grad_out.clone() if in_place else grad_out,
            "needs": tuple([needed[name] for name in wrt]),
        }
        found = chosen(**{name: known[name] for name in asks if name in known})
        grads = dict(zip(wrt, found if len(wrt) > 1 else (found,), strict=True))
        return tuple(
            [_filled(grads.get(n), width) for n, width in zip(arguments, widths, strict=True)]
        )

    return chosen, save, gradients


def _filled(grad: Any, width: int | None) -> Any:
    return (None,) * width if grad is None and width is not None else grad


def _row(value: Any, dim: Any, i: int) -> Any:
    """The i-th along a batched axis; without one, all of it."""
    if isinstance(value, (tuple, list)):
        dims = dim if isinstance(dim, (tuple, list)) else [dim] * len(value)
        return [_row(part, along, i) for part, along in zip(value, dims, strict=True)]
    return value if dim is None else value.select(dim, i)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _any(needs: Any) -> bool:
    return any(needs) if isinstance(needs, (tuple, list)) else bool(needs)


def _flat(values: Sequence[Any]) -> tuple[Widths, list[Any]]:
    """How long each tuple is, and all that stands in them, in a row."""
    widths: list[int | None] = []
    leaves: list[Any] = []
    for value in values:
        if isinstance(value, (tuple, list)):
            widths.append(len(value))
            leaves += value
        else:
            widths.append(None)
            leaves.append(value)
    return tuple(widths), leaves


def _grouped(widths: Widths, leaves: Sequence[Any]) -> tuple[Any, ...]:
    """The way back from `_flat`."""
    values: list[Any] = []
    start = 0
    for width in widths:
        stop = start + (1 if width is None else width)
        values.append(leaves[start] if width is None else tuple(leaves[start:stop]))
        start = stop
    return tuple(values)


def _schema(op: Op) -> str:
    """As in "(Tensor x, Tensor[] weights, *, float eps=1e-05) -> Tensor"."""
    sample = next(iter(op.samples))
    inputs, _ = draw(op, Variant(sample), Measure())
    parts = [
        f"Tensor[] {name}" if isinstance(value, tuple) else f"Tensor {name}"
        for name, value in inputs.items()
    ]
    if op.options:
        parts.append("*")
    for name, default in op.options.items():
        if type(default) not in TYPES:
            what = "has no default" if default is Parameter.empty else f"is {default!r}"
            raise BadOp(
                f"{op.name}: the option {name} {what}; torch.library takes a default that is one "
                "of bool, int, float, str"
            )
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        parts.append(f"{TYPES[type(default)]} {name}={shown}")
    return f"({', '.join(parts)}) -> Tensor"
