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

from manual_backprop.op import Op
from manual_backprop.ops.log_softmax import back_log_softmax, log_softmax
from manual_backprop.ops.nll import Reduction, back_nll, back_reduce_kept, nll, reduce_kept
from manual_backprop.ops.softmax import back_softmax, softmax

Logits = Float[Tensor, "n k"]
Target = Int[Tensor, " n"]
Loss = Float[Tensor, ""]


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
    k = logits.shape[-1]
    seen = target[:, None] == torch.arange(k, device=target.device)
    q = (1 - label_smoothing) * seen.to(logits.dtype) + label_smoothing / max(k, 1)
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
    backwards=(back_cross_entropy, back_cross_entropy_steps),
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
