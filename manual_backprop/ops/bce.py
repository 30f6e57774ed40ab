"""bce: the binary cross-entropy of probabilities.

    L = -1/n Σ_i (t_i ln p_i + (1 - t_i) ln(1 - p_i))   p, t in [0, 1], of one shape

Derivation
    dL = -1/n Σ_i (t_i / p_i - (1 - t_i) / (1 - p_i)) dp_i     a small change of the probabilities
    dE = L̄ dL                                                  is felt by what comes behind;
       = L̄/n Σ_i (p_i - t_i) / (p_i (1 - p_i)) dp_i            over one denominator,
    p̄ = L̄/n (p - t) / (p (1 - p))                              and read off the gradient.

At p = 0 and p = 1 a logarithm is -∞ and a denominator 0. PyTorch, and so this operator, takes no
logarithm below -100 and no denominator below 1e-12: a certain and wrong p has the loss 100 and the
gradient ±1e12 / n; a certain and right one has 0 for both, where t / p would be 0 / 0.
From logits, bce_with_logits needs no such limits. p outside [0, 1] is not refused here.

Read first: sigmoid, mse
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.2.2.2
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

P = Float[Tensor, "*s"]
Target = Float[Tensor, "*s"]
Loss = Float[Tensor, ""]

LEAST_LOG = -100.0
LEAST_SLOPE = 9.999999960041972e-13  # PyTorch's 1e-12, which its kernel keeps in float32


def bce(p: P, target: Target) -> Loss:
    """L = -mean (t ln p + (1 - t) ln(1 - p)), of any shape to one number."""
    log_p = p.log().clamp_min(LEAST_LOG)
    log_not_p = torch.log1p(-p).clamp_min(LEAST_LOG)
    return -(target * log_p + (1 - target) * log_not_p).mean()


def back_bce(p: P, target: Target, grad_out: Loss | float = 1.0) -> P:
    """p̄ = L̄/n (p - t) / (p (1 - p))."""
    diff = grad_out / max(p.numel(), 1) * (p - target)  # without entries there is nothing to scale
    slope = p * (1 - p)
    return torch.where(slope > LEAST_SLOPE, diff / slope, diff * (1 / LEAST_SLOPE))


OP = Op(
    forward=bce,
    backwards=(back_bce,),
    samples={
        "vector": lambda rand, n=11: (rand(n).sigmoid(), rand(n).sigmoid()),
        "certain targets": lambda rand, n=11, k=7: (
            rand(n, k).sigmoid(),
            rand(n, k).sign().clamp_min(0),
        ),
    },
    wrt=("p",),
    oracle=F.binary_cross_entropy,
)
