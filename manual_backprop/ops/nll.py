"""nll: the negative log-likelihood of the classes that were seen.

    L = -Σ_i a_i y_{i, t_i}            y (n, k) log-probabilities, t (n) class indices
    a_i = 1/m, the mean over the m rows with t_i ≠ ignore_index, or 1, the sum; 0 for other rows

Derivation
    dL = -Σ_i a_i dy_{i, t_i}                          a small change of the log-probabilities
    dE = L̄ dL                                          is felt by what comes behind;
       = Σ_ij (-L̄ a_i [j = t_i]) dy_ij                 write the choice of an entry as a mask,
    ȳ_ij = -L̄ a_i [j = t_i]                            and read off the gradient.

An ignored row counts neither in the sum nor in m: dividing by n is the usual mistake. The mean over
no row at all is nan, as in PyTorch, and its gradient is 0. A class that there is not is refused by
the forward; the backwards take the target to be the one that it accepted.

Read first: log_softmax, mse
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 5.5
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from manual_backprop.op import Op

LogP = Float[Tensor, "n k"]
Target = Int[Tensor, " n"]
Rows = Float[Tensor, " n"]
Seen = Bool[Tensor, "n k"]
Loss = Float[Tensor, ""]
Reduction = Literal["mean", "sum"]


def nll(
    log_p: LogP, target: Target, *, reduction: Reduction = "mean", ignore_index: int = -100
) -> Loss:
    """L = -Σ a_i y_{i, t_i}, (n, k) and (n) to one number."""
    some_class = target.masked_fill(target == ignore_index, 0)
    losses = -log_p.gather(-1, some_class[:, None]).squeeze(-1)
    return reduce_kept(losses, target, reduction=reduction, ignore_index=ignore_index)


def reduce_kept(
    losses: Rows, target: Target, *, reduction: Reduction = "mean", ignore_index: int = -100
) -> Loss:
    """The mean or the sum of those rows' losses whose target is not to be ignored.

    Raises:
        ValueError: `reduction` is neither "mean" nor "sum".
    """
    _check(reduction)
    kept = target != ignore_index
    losses = losses.where(kept, 0.0)
    if reduction == "sum":
        return losses.sum()
    return losses.mean() / kept.mean(dtype=losses.dtype)  # of all, by the share that is kept


def back_reduce_kept(
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    dtype: torch.dtype,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> Rows:
    """L̄ a_i, what each row's loss counts; all 0 where all are ignored.

    Raises:
        ValueError: `reduction` is neither "mean" nor "sum".
    """
    _check(reduction)
    kept = (target != ignore_index).to(dtype)
    if reduction == "sum":
        return kept * grad_out
    return kept * grad_out / kept.sum().clamp_min(1)  # without rows there is nothing to share


def seen_classes(scores: LogP, target: Target) -> Seen:
    """[j = t_i], True at the class of each row; of the scores (n, k) only the shape is read."""
    k = scores.shape[-1]
    classes = target.new_ones(k).cumsum(0) - 1  # arange, and a DTensor where the target is one
    return target[:, None] == classes


def _check(reduction: str) -> None:
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is {reduction!r}; there are 'mean' and 'sum'")


def back_nll(
    log_p: LogP,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> LogP:
    """ȳ_ij = -L̄ a_i [j = t_i], the mask written out: of log_p only shape and type are needed."""
    rows = back_reduce_kept(
        target, grad_out, dtype=log_p.dtype, reduction=reduction, ignore_index=ignore_index
    )
    return seen_classes(log_p, target) * -rows[:, None]


def back_nll_scatter(
    log_p: LogP,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> LogP:
    """One entry of each row is written into zeros, and no mask is made."""
    rows = back_reduce_kept(
        target, grad_out, dtype=log_p.dtype, reduction=reduction, ignore_index=ignore_index
    )
    some_class = target.masked_fill(target == ignore_index, 0)
    zeros = log_p.new_zeros(log_p.shape)
    return zeros.scatter_(-1, some_class[:, None], -rows[:, None])


OP = Op(
    forward=nll,
    backwards=(back_nll, back_nll_scatter),
    samples={
        "mean": lambda rand, n=11, k=7: (rand(n, k), rand.integers(k, n)),
        "sum": lambda rand, n=11, k=7: (
            (rand(n, k), rand.integers(k, n)),
            {"reduction": "sum", "ignore_index": 3},
        ),
    },
    wrt=("log_p",),
    oracle=F.nll_loss,
)
