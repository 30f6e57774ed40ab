"""linear_cross_entropy: the last layer of a language model and its loss, without all the logits.

    L = cross_entropy(x wᵀ, t)         x (n, i), w (k, i), t (n) class indices

Derivation
    z = x wᵀ; read from the end: z̄ = back_cross_entropy(z, t), and through the linear map
    x̄ = z̄ w      w̄ = z̄ᵀ x             each the operator's own backward. Row i of z̄ needs row i of
    z alone, so a few rows of logits at a time are enough, x̄ = (z̄_1 w; z̄_2 w; ...), and w̄ is the
    sum Σ_c z̄_cᵀ x_c, which is added up while the rows go by.

The logits of n = 1024 tokens and k = 32,000 words are 131 MB, and autograd holds three times that
at once. With few rows at a time they stay in the cache; with too few, w̄ is read and written more
often than that saves.

Source: Hsu and others, Liger Kernel: Efficient Triton Kernels for LLM Training (2024), 3.2
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from manual_backprop.blocks import rows_at_once
from manual_backprop.onednn import linear, multiplies
from manual_backprop.op import Op
from manual_backprop.ops.cross_entropy import (
    back_cross_entropy,
    cross_entropy,
    losses_and_grad_,
)
from manual_backprop.ops.nll import Reduction, back_reduce_kept, reduce_kept

X = Float[Tensor, "n i"]
W = Float[Tensor, "k i"]
Target = Int[Tensor, " n"]
Loss = Float[Tensor, ""]


def linear_cross_entropy(
    x: X,
    w: W,
    target: Target,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Loss:
    """L = cross_entropy(x wᵀ, t), (n, i), (k, i) and (n) to one number."""
    return cross_entropy(
        x @ w.T,
        target,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def back_linear_cross_entropy(
    x: X,
    w: W,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[X, W]:
    """x̄ = z̄ w, w̄ = z̄ᵀ x, with all of z̄ (n, k) at once."""
    grad_z = back_cross_entropy(
        x @ w.T,
        target,
        grad_out,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    return grad_z @ w, grad_z.T @ x


def linear_cross_entropy_and_grad(
    x: X,
    w: W,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Loss, tuple[X, W]]:
    """L, x̄ and w̄, a few rows of z at a time, which become their z̄ where they lie."""
    rows = back_reduce_kept(
        target, grad_out, dtype=x.dtype, reduction=reduction, ignore_index=ignore_index
    )
    some_class = target.masked_fill(target == ignore_index, 0)
    at_once = rows_at_once(len(w), blocks=4)
    product = linear if multiplies(x, w) else F.linear
    grad_x, grad_w, losses = x.new_empty(x.shape), w.new_empty(w.shape), torch.empty_like(rows)
    for begin in range(0, max(1, len(x)), at_once):
        here = slice(begin, begin + at_once)
        z = product(x[here], w)
        losses[here] = losses_and_grad_(
            z, some_class[here], rows[here], label_smoothing=label_smoothing
        )
        grad_x[here] = product(z, w.T)
        grad_w.addmm_(z.T, x[here], beta=int(begin > 0))  # 0: what is there is not read
        del z  # else it is held while the next is made
    loss = reduce_kept(losses, target, reduction=reduction, ignore_index=ignore_index)
    return loss, (grad_x, grad_w)


OP = Op(
    forward=linear_cross_entropy,
    backwards=(back_linear_cross_entropy, linear_cross_entropy_and_grad),
    samples={
        "mean": lambda rand, n=11, i=5, k=7: (rand(n, i), rand(k, i), rand.integers(k, n)),
        "sum": lambda rand, n=11, i=5, k=7: (
            (rand(n, i), rand(k, i), rand.integers(k, n)),
            {"reduction": "sum", "ignore_index": 3},
        ),
        "smoothed": lambda rand, n=11, i=5, k=7: (
            (rand(n, i), rand(k, i), rand.integers(k, n)),
            {"label_smoothing": 0.1, "ignore_index": 3},
        ),
    },
    wrt=("x", "w"),
    oracle=lambda x, w, target, **options: F.cross_entropy(F.linear(x, w), target, **options),
)
