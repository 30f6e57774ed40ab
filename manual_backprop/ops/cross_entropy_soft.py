"""cross_entropy_soft: cross-entropy with a number for every class as its target.

    L = -1/n Σ_ij y_ij ln p_ij         p = softmax(x), x (n, k) logits, y (n, k) targets

Derivation
    d ln p_ij = dx_ij - Σ_l p_il dx_il                 a small change of the logits
    dE = -L̄/n Σ_ij (y_ij d ln p_ij + ln p_ij dy_ij)    is felt behind the loss, as one of y is;
       = L̄/n Σ_ij ((Σ_l y_il) p_ij - y_ij) dx_ij - L̄/n Σ_ij ln p_ij dy_ij      collect each,
    x̄_ij = L̄/n ((Σ_l y_il) p_ij - y_ij)      ȳ_ij = -L̄/n ln p_ij      and read them off.

The textbook's softmax - y is this for rows of y that sum to 1. PyTorch does not ask for that, nor
for y ≥ 0; with a negative target the loss is unbounded below. The mean is over the n rows, not over
all entries.

Read first: cross_entropy
Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception architecture (2016), 7,
    for rows that sum to 1
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.log_softmax import back_log_softmax, log_softmax
from manual_backprop.ops.softmax import softmax

Logits = Float[Tensor, "n k"]
Target = Float[Tensor, "n k"]
Loss = Float[Tensor, ""]


def cross_entropy_soft(logits: Logits, target: Target) -> Loss:
    """L = -mean over rows of Σ y ln p, (n, k) and (n, k) to one number."""
    return -(target * log_softmax(logits)).sum(-1).mean()


def back_cross_entropy_soft(
    logits: Logits, target: Target, grad_out: Loss | float = 1.0
) -> tuple[Logits, Target]:
    """x̄ = L̄/n ((Σ y) p - y), ȳ = -L̄/n ln p."""
    scale = grad_out / max(len(logits), 1)  # without rows there is nothing to scale
    total = target.sum(-1, keepdim=True)
    return scale * (total * softmax(logits) - target), -scale * log_softmax(logits)


def back_cross_entropy_soft_steps(
    logits: Logits, target: Target, grad_out: Loss | float = 1.0
) -> tuple[Logits, Target]:
    """Mean, product and log_softmax undone in turn; log_softmax's own backward has the sum of y."""
    log_p = log_softmax(logits)
    grad_product = -grad_out / max(len(logits), 1)
    return back_log_softmax(log_p, grad_product * target), grad_product * log_p


OP = Op(
    forward=cross_entropy_soft,
    backwards=(back_cross_entropy_soft, back_cross_entropy_soft_steps),
    samples={
        "any numbers": lambda rand, n=11, k=7: (rand(n, k), rand(n, k)),
        "probabilities": lambda rand, n=11, k=7: (rand(n, k), softmax(rand(n, k))),
    },
    wrt=("logits", "target"),
    oracle=F.cross_entropy,
)
