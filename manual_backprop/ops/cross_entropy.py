"""cross_entropy: log_softmax and nll in one, from logits and class indices to a loss.

    L = -Σ_i a_i Σ_j q_ij ln p_ij      p = softmax(x), x (n, k) logits, t (n) class indices
    q_ij = (1 - s) [j = t_i] + s / k   the target, smoothed by s = label_smoothing
    a_i = 1/m, the mean over the m rows with t_i ≠ ignore_index, or 1, the sum; 0 for other rows

Derivation
    d ln p_ij = dx_ij - Σ_l p_il dx_il                 a small change of the logits
    dE = -L̄ Σ_i a_i Σ_j q_ij d ln p_ij                 is felt by what comes behind the loss;
       = L̄ Σ_ij a_i (p_ij Σ_l q_il - q_ij) dx_ij       collect what stands with each dx_ij,
    x̄_ij = L̄ a_i (p_ij - q_ij)                         and, as each q_i sums to 1, read it off.

The exponential of softmax and the logarithm cancel, so nothing is divided by p. With softmax, the
logarithm and nll as three steps the gradient is nan as soon as one logit lies so far below the
largest that its p is 0 (745 in float64, 104 in float32, 93 in bfloat16, 17.3 in float16):
`back_three_step_cross_entropy` shows it.

Read first: softmax, log_softmax, nll
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.2.2.3; on smoothing: Szegedy,
    Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception architecture (2016), 7
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from manual_backprop.blocks import rows_at_once
from manual_backprop.op import Op
from manual_backprop.ops.log_softmax import back_log_softmax, log_softmax
from manual_backprop.ops.nll import (
    Reduction,
    Rows,
    back_nll,
    back_reduce_kept,
    nll,
    reduce_kept,
    seen_classes,
)
from manual_backprop.ops.softmax import back_softmax, softmax

Logits = Float[Tensor, "n k"]
Target = Int[Tensor, " n"]
Loss = Float[Tensor, ""]
SHORT = 64  # classes, below which finding the largest costs more than an exponential


def cross_entropy(
    logits: Logits,
    target: Target,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Loss:
    """L = -Σ a_i Σ q_ij ln p_ij, (n, k) and (n) to one number."""
    log_p = log_softmax(logits)
    loss = nll(log_p, target, reduction=reduction, ignore_index=ignore_index)
    if not label_smoothing:
        return loss  # 0 · ln p is nan where p is 0
    uniform = reduce_kept(-log_p.mean(-1), target, reduction=reduction, ignore_index=ignore_index)
    return (1 - label_smoothing) * loss + label_smoothing * uniform


def back_cross_entropy(
    logits: Logits,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Logits:
    """x̄ = L̄ a (p - q)."""
    rows = back_reduce_kept(
        target, grad_out, dtype=logits.dtype, reduction=reduction, ignore_index=ignore_index
    )
    seen = seen_classes(logits, target).to(logits.dtype)
    q = (1 - label_smoothing) * seen + label_smoothing / max(logits.shape[-1], 1)
    return rows[:, None] * (softmax(logits) - q)


def back_cross_entropy_steps(
    logits: Logits,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Logits:
    """The forward's two steps, log_softmax and the loss, each undone in turn."""
    log_p = log_softmax(logits)
    rows = back_reduce_kept(
        target, grad_out, dtype=logits.dtype, reduction=reduction, ignore_index=ignore_index
    )
    grad_log_p = back_nll(
        log_p,
        target,
        (1 - label_smoothing) * grad_out,
        reduction=reduction,
        ignore_index=ignore_index,
    )
    grad_uniform = -rows[:, None] * (label_smoothing / max(logits.shape[-1], 1))
    return back_log_softmax(log_p, grad_log_p + grad_uniform)


def cross_entropy_and_grad_(
    logits: Logits,
    target: Target,
    grad_out: Loss | float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Loss, Logits]:
    """L, and x̄ written over the logits, a few rows at a time: they pass through memory once."""
    rows = back_reduce_kept(
        target, grad_out, dtype=logits.dtype, reduction=reduction, ignore_index=ignore_index
    )
    some_class = target.masked_fill(target == ignore_index, 0)
    losses = losses_and_grad_(logits, some_class, rows, label_smoothing=label_smoothing)
    return reduce_kept(losses, target, reduction=reduction, ignore_index=ignore_index), logits


def losses_and_grad_(
    logits: Logits, target: Target, rows: Rows, *, label_smoothing: float = 0.0
) -> Rows:
    """Each row's loss, and rows (p - q) written over the logits.

    With m the largest x of a row, -ln p_t = m - x_t - ln max p, and max p is at least 1/k, so that
    one exponential of each number is enough for loss and gradient. Finding the largest of many
    short rows costs more than that saves: there ln p comes first, and p = e^{ln p}.

    Args:
        logits: overwritten.
        target: classes that there are, also of rows to be ignored.
        rows: what each row counts.
        label_smoothing: s in q.

    Returns:
        -Σ_j q_ij ln p_ij of each row i.
    """
    k = logits.shape[-1]
    at_once = rows_at_once(k)
    losses = torch.empty_like(rows)[:, None]
    columns = losses, target[:, None], rows[:, None]
    blocks = zip(*(tensor.split(at_once) for tensor in (logits, *columns)), strict=True)
    for x, loss, seen, row in blocks:
        if k < SHORT:
            torch.log_softmax(x, -1, out=x)
            torch.neg(x.gather(-1, seen), out=loss)
            if label_smoothing:
                loss.lerp_(-x.mean(-1, keepdim=True), label_smoothing)
            x.exp_()
        else:
            top = x.amax(-1, keepdim=True)
            torch.sub(top, x.gather(-1, seen), out=loss)
            if label_smoothing:
                loss.lerp_(top - x.mean(-1, keepdim=True), label_smoothing)
            torch.softmax(x, -1, out=x)
            loss.sub_(x.amax(-1, keepdim=True).log_())
        x.mul_(row)
        if label_smoothing:
            x.sub_(row * (label_smoothing / k))
        x.scatter_(-1, seen, x.gather(-1, seen) - row * (1 - label_smoothing))
    return losses.squeeze(-1)


def three_step_cross_entropy(logits: Logits, target: Target) -> Loss:
    """L = nll(ln softmax(x), t): the same number, until the p that is asked for is 0."""
    return nll(softmax(logits).log(), target)


def back_three_step_cross_entropy(
    logits: Logits, target: Target, grad_out: Loss | float = 1.0
) -> Logits:
    """Softmax, logarithm and nll undone in turn: right, until any p is 0, and then nan.

    Not among the operator's backwards, for this is how not to do it. The logarithm's gradient is
    divided by p, and 0 / 0 in one entry makes nan of its row, even where the target is the winner.
    """
    p = softmax(logits)
    grad_log_p = back_nll(p.log(), target, grad_out)
    grad_p = grad_log_p / p
    return back_softmax(p, grad_p)


OP = Op(
    forward=cross_entropy,
    backwards=(back_cross_entropy, back_cross_entropy_steps, cross_entropy_and_grad_),
    samples={
        "mean": lambda rand, n=11, k=7: (rand(n, k), rand.integers(k, n)),
        "sum": lambda rand, n=11, k=7: (
            (rand(n, k), rand.integers(k, n)),
            {"reduction": "sum", "ignore_index": 3},
        ),
        "smoothed": lambda rand, n=11, k=7: (
            (rand(n, k), rand.integers(k, n)),
            {"label_smoothing": 0.1, "ignore_index": 3},
        ),
    },
    wrt=("logits",),
    oracle=F.cross_entropy,
)
