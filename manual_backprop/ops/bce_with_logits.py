"""bce_with_logits: sigmoid and binary cross-entropy in one.

    L = 1/n Σ_i (max(x_i, 0) - x_i t_i + ln(1 + e^-|x_i|))     x and t of one shape, any

Derivation
    dL = 1/n Σ_i (s_i - t_i) dx_i      with s = sigmoid(x), since ln(1 + eˣ) has the slope s
    dE = L̄ dL                          is felt by what comes behind;
       = ⟨L̄/n (s - t), dx⟩             collect what stands with dx,
    x̄ = L̄/n (s - t)                    and read off the gradient.

It is -t ln s - (1 - t) ln(1 - s) = ln(1 + eˣ) - x t, and ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|),
where e never overflows. Written through s, the loss is infinite once s rounds to 0 or 1, and the
gradient 0 / 0; here the sigmoid's s (1 - s) and the denominator of bce have cancelled.
Any t is borne, also outside [0, 1].

Read first: bce
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.2.2.2
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.sigmoid import sigmoid

X = Float[Tensor, "*s"]
Target = Float[Tensor, "*s"]
Loss = Float[Tensor, ""]


def bce_with_logits(x: X, target: Target) -> Loss:
    """L = mean (max(x, 0) - x t + ln(1 + e^-|x|)), of any shape to one number."""
    return (x.clamp_min(0) - x * target + torch.log1p(x.abs().neg().exp())).mean()


def back_bce_with_logits(x: X, target: Target, grad_out: Loss | float = 1.0) -> X:
    """x̄ = L̄/n (s - t)."""
    scale = grad_out / max(x.numel(), 1)  # without entries there is nothing to scale
    return scale * (sigmoid(x) - target)


def back_bce_with_logits_terms(x: X, target: Target, grad_out: Loss | float = 1.0) -> X:
    """Term by term: keeps the tail where s rounds to 1; both kinks at 0 have their mean slope."""
    e = x.abs().neg().exp()
    grad_max = (1 + x.sign()) / 2
    grad_log = x.sign() * (-e / (1 + e))
    return grad_out / max(x.numel(), 1) * (grad_max - target + grad_log)


OP = Op(
    forward=bce_with_logits,
    backwards=(back_bce_with_logits, back_bce_with_logits_terms),
    samples={
        "vector": lambda rand, n=11: (rand(n), rand(n).sigmoid()),
        "rows": lambda rand, n=11, k=7: (rand(n, k), rand(n, k)),
    },
    wrt=("x",),
    oracle=F.binary_cross_entropy_with_logits,
)
