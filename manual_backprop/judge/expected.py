"""A function whose gradient is meant to be another than its derivative.

Rounding has the derivative 0 almost everywhere, and who trains through it passes grad_out on as if
it were not there (straight-through; Bengio, Leonard, Courville, Estimating or propagating gradients
through stochastic neurons, 2013); a gradient reversal is the identity forwards and turns the sign
backwards (Ganin, Lempitsky, Unsupervised domain adaptation by backpropagation, 2015).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

GradOuts = Callable[[Any, Tensor], dict[int, Tensor]]


@dataclass(frozen=True)
class _Pieces:
    """What the backward needs besides tensors."""

    leaves: list[Any]
    spec: Any
    expected: Mapping[str, Callable[..., Any]]
    reference: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    row: Callable[[Any], Tensor]
    grad_outs: GradOuts

    def arguments(self, tensors: Sequence[Tensor]) -> dict[str, Any]:
        left = iter(tensors)
        filled = [next(left) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        return tree_unflatten(filled, self.spec)  # type: ignore[no-any-return]


def with_expected_gradients(
    arguments: Mapping[str, Any],
    expected: Mapping[str, Callable[..., Any]],
    reference: Callable[[Mapping[str, Any]], tuple[Any, ...]],
    row: Callable[[Any], Tensor],
    grad_outs: GradOuts,
) -> Tensor:
    """The reference's outputs in a row, whose gradients are those expected, else its own.

    Args:
        arguments: by name; tensors of any shapes, and constants.
        expected: argument -> function of what it names: arguments, `out`, `grad_out` (tuples where
            there are several outputs), that returns the gradient, of that argument's shape.
        reference: arguments -> its outputs.
        row: outputs -> one tensor.
        grad_outs: of outputs and the grad_out of that tensor, the grad_out of each output in it.

    Raises:
        Exception: whatever one of the functions raises.
    """
    leaves, spec = tree_flatten(dict(arguments))
    tensors = tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))
    pieces = _Pieces(leaves, spec, expected, reference, row, grad_outs)
    out: Tensor = _Expected.apply(pieces, *tensors)
    return out


class _Expected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pieces: _Pieces, *tensors: Tensor) -> Tensor:
        ctx.pieces = pieces
        ctx.save_for_backward(*tensors)
        return pieces.row(pieces.reference(pieces.arguments(tensors)))

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        pieces: _Pieces = ctx.pieces
        leaves = [
            t.detach().requires_grad_() if t.is_floating_point() else t for t in ctx.saved_tensors
        ]
        arguments = pieces.arguments(leaves)
        with torch.enable_grad():
            outputs = pieces.reference(arguments)
            row = pieces.row(outputs)
        grads: dict[int, Any] = {}
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        if row.requires_grad:
            found = torch.autograd.grad(
                row, wanted, grad_out, allow_unused=True, materialize_grads=True
            )
            grads = {id(leaf): grad for leaf, grad in zip(wanted, found, strict=True)}
        parts = pieces.grad_outs(outputs, grad_out)
        of_each = [parts.get(i, torch.zeros_like(out)) for i, out in enumerate(outputs)]
        one = len(outputs) == 1
        known = {
            **arguments,
            "out": outputs[0].detach() if one else tuple(out.detach() for out in outputs),
            "grad_out": of_each[0] if one else tuple(of_each),
        }
        for name, function in pieces.expected.items():
            asked = {key: known[key] for key in signature(function).parameters}
            grads[id(arguments[name])] = function(**asked)
        return (None, *(grads.get(id(leaf)) for leaf in leaves))
