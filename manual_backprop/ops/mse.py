"""mse: the mean squared error of a column of predictions.

    L = 1/n Σ_i (pred_i - target_i)²        pred (n, 1), target (n)

Derivation
    dL = 2/n Σ_i (pred_i - target_i) dpred_i           a small change of the predictions
    dE = L̄ dL                                          is felt by what comes behind;
       = ⟨L̄ 2/n (pred - target), dpred⟩                collect what stands with dpred,
    pred̄ = L̄ 2/n (pred - target)                       and read off the gradient.

The squeeze matters: (n, 1) - (n) broadcasts to (n, n), which is another loss. L̄ 2/n is multiplied
out first, because 2 (pred - target) overflows in float16 above 32752.

Read first: relu
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 5.1.4
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.blocks import rows_at_once
from manual_backprop.op import Op

Pred = Float[Tensor, "*n 1"]
Target = Float[Tensor, "*n"]
Loss = Float[Tensor, ""]


def mse(pred: Pred, target: Target) -> Loss:
    """L = mean((pred - target)²), (*n, 1) and (*n) to one number."""
    return (pred.squeeze(-1) - target).pow(2).mean()


def back_mse(pred: Pred, target: Target, grad_out: Loss | float = 1.0) -> Pred:
    """pred̄ = L̄ 2/n (pred - target)."""
    scale = grad_out * (2 / max(target.numel(), 1))  # without rows there is nothing to scale
    return scale * (pred.squeeze(-1) - target).unsqueeze(-1)


def back_mse_steps(pred: Pred, target: Target, grad_out: Loss | float = 1.0) -> Pred:
    """The forward's four steps, mean, square, subtract, squeeze, each undone in turn."""
    diff = pred.squeeze(-1) - target
    grad_square = (target.new_ones(target.shape) * grad_out).div(max(target.numel(), 1))
    grad_diff = grad_square * diff + diff * grad_square  # of diff · diff, by the product rule
    return grad_diff.view_as(pred)


def mse_and_grad_(pred: Pred, target: Target, grad_out: Loss | float = 1.0) -> tuple[Loss, Pred]:
    """L, and pred̄ written over pred, block by block: squared and scaled while in the cache."""
    scale = grad_out * (2 / max(target.numel(), 1))
    wide = torch.promote_types(pred.dtype, torch.float32)  # squares add up to more than 65504
    loss = target.new_zeros((), dtype=wide)
    for diff, seen in _blocks(pred.squeeze(-1), target):
        flat = diff.sub_(seen).flatten().to(wide)
        loss += flat.dot(flat)
        diff.mul_(scale)
    return (loss / target.numel()).to(pred.dtype), pred


def _blocks(diff: Target, target: Target) -> Iterable[tuple[Tensor, Tensor]]:
    """Views of both; the whole where their numbers do not lie one after the other."""
    if not (diff.is_contiguous() and target.is_contiguous()):
        return [(diff, target)]
    rows = rows_at_once(1)
    return zip(diff.view(-1).split(rows), target.view(-1).split(rows), strict=True)


OP = Op(
    forward=mse,
    backwards=(back_mse, back_mse_steps, mse_and_grad_),
    samples={
        "column": lambda rand, n=11: (rand(n, 1), rand(n)),
        "batched": lambda rand, m=3, n=11: (rand(m, n, 1), rand(m, n)),
    },
    wrt=("pred",),
    oracle=lambda pred, target: F.mse_loss(pred.squeeze(-1), target),
)
