"""lin: an affine map of the last axis.

    y = x w + b                        x (*n, i), w (i, o), b (o), y (*n, o)

Derivation
    dy = dx w + x dw + 1 db                            a small change of the inputs
    dL = ⟨ȳ, dy⟩                                       is felt by the loss;
       = ⟨ȳ wᵀ, dx⟩ + ⟨xᵀ ȳ, dw⟩ + ⟨1ᵀ ȳ, db⟩          move w, x and 1 across,
    x̄ = ȳ wᵀ      w̄ = xᵀ ȳ      b̄ = 1ᵀ ȳ               and read off the gradients.

Every leading axis is a batch: w and b were lent to each row, so their gradients are collected from
every row.

Source: Giles, An extended collection of matrix derivative results for forward and reverse mode
    automatic differentiation (2008), 2.2.2
"""

from typing import overload

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*n i"]
W = Float[Tensor, "i o"]
B = Float[Tensor, " o"]
Y = Float[Tensor, "*n o"]


def lin(x: X, w: W, b: B) -> Y:
    """y = x w + b, (*n, i) to (*n, o)."""
    return x @ w + b


def _rows(t: Float[Tensor, "*n k"]) -> Float[Tensor, "rows k"]:
    """All leading axes as one; a vector is one row."""
    return t if t.dim() == 2 else t.reshape(t.shape[:-1].numel(), t.shape[-1])


@overload
def back_lin(x: X, w: W, grad_out: Y) -> tuple[X, W, B]: ...
@overload
def back_lin(
    x: X, w: W, grad_out: Y, needs: tuple[bool, bool, bool]
) -> tuple[X | None, W | None, B | None]: ...
def back_lin(
    x: X, w: W, grad_out: Y, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[X | None, W | None, B | None]:
    """x̄ = ȳ wᵀ, w̄ = xᵀ ȳ, b̄ = 1ᵀ ȳ; None where `needs` says that nobody asks."""
    need_x, need_w, need_b = needs
    grad_x = grad_w = grad_b = None
    if need_x:
        grad_x = grad_out @ w.T
    if need_w:
        grad_w = _rows(x).T @ _rows(grad_out)
    if need_b:
        grad_b = _rows(grad_out).sum(0)
    return grad_x, grad_w, grad_b


def back_lin_into(
    x: X,
    w: W,
    grad_out: Y,
    needs: tuple[bool, bool, bool] = (True, True, True),
    into: tuple[X | None, W | None, B | None] = (None, None, None),
) -> tuple[X | None, W | None, B | None]:
    """The same, written into the tensors of `into` where there are any: then none is made."""
    need_x, need_w, need_b = needs
    into_x, into_w, into_b = into
    rows = _rows(grad_out)
    left, right = (grad_out, w.t()) if grad_out.dim() > 1 else (w, grad_out)
    return (
        torch.matmul(left, right, out=into_x) if need_x else None,
        torch.mm(_rows(x).t(), rows, out=into_w) if need_w else None,
        torch.sum(rows, 0, out=into_b) if need_b else None,
    )


def back_lin_broadcast(x: X, w: W, grad_out: Y) -> tuple[X, W, B]:
    """Every product laid out along its own axis, then summed: n i o numbers at once."""
    inp, out_g = _rows(x), _rows(grad_out)  # (n, i), (n, o)
    grad_x = (out_g[:, None, :] * w).sum(-1)
    grad_w = (inp[:, :, None] * out_g[:, None, :]).sum(0)
    grad_b = out_g.sum(0)
    return grad_x.reshape(x.shape), grad_w, grad_b


def back_lin_einsum(x: X, w: W, grad_out: Y) -> tuple[X, W, B]:
    """The same three sums, read from their indices."""
    grad_x = torch.einsum("...o,io->...i", grad_out, w)
    grad_w = torch.einsum("...i,...o->io", x, grad_out)
    grad_b = torch.einsum("...,...o->o", x.new_ones(x.shape[:-1]), grad_out)
    return grad_x, grad_w, grad_b


OP = Op(
    forward=lin,
    backwards=(back_lin, back_lin_into, back_lin_broadcast, back_lin_einsum),
    samples={
        "rows": lambda rand, n=11, i=7, o=5: (rand(n, i), rand(i, o), rand(o)),
        "vector": lambda rand, i=7, o=5: (rand(i), rand(i, o), rand(o)),
        "batched": lambda rand, m=3, n=11, i=7, o=5: (rand(m, n, i), rand(i, o), rand(o)),
    },
    wrt=("x", "w", "b"),
    oracle=lambda x, w, b: F.linear(x, w.T, b),
)
