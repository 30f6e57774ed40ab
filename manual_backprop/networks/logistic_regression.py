"""logistic_regression: the probability of one class of two, by its cross-entropy.

    L = bce_with_logits(x w + b, t)        x (n, i), w (i), b a number, t (n) of 0 and 1

Derivation
    dz = x dw + dx w + db                  a small change of the logits z = x w + b
    dL = ⟨z̄, dz⟩                           is felt by the loss, z̄ being bce_with_logits' gradient;
       = ⟨xᵀ z̄, dw⟩ + ⟨z̄ wᵀ, dx⟩ + ⟨Σ z̄, db⟩     move x and w across,
    w̄ = xᵀ z̄      x̄ = z̄ wᵀ      b̄ = Σ z̄            and read off the gradients.

Accuracy itself cannot be the loss: it is flat wherever no probability crosses 1/2, and jumps where
one does, so its gradient is 0 or does not exist.

Source: Bishop, Pattern Recognition and Machine Learning (2006), 4.3.2
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.bce_with_logits import back_bce_with_logits, bce_with_logits

X = Float[Tensor, "n i"]
W = Float[Tensor, " i"]
Number = Float[Tensor, ""]
Target = Float[Tensor, " n"]


def logistic_regression(x: X, w: W, b: Number, target: Target) -> Number:
    """L = bce_with_logits(x w + b, target), (n, i) and (n) to one number."""
    return bce_with_logits(x @ w + b, target)


def back_logistic_regression(
    x: X, w: W, b: Number, target: Target, grad_out: Number | float = 1.0
) -> tuple[X, W, Number]:
    """w̄ = xᵀ z̄, x̄ = z̄ wᵀ, b̄ = Σ z̄."""
    grad_z = back_bce_with_logits(x @ w + b, target, grad_out)
    return grad_z[:, None] * w, x.T @ grad_z, grad_z.sum()


OP = Op(
    forward=logistic_regression,
    backwards=(back_logistic_regression,),
    samples={
        "rows": lambda rand, n=11, i=7: (rand(n, i), rand(i), rand(), rand(n).sigmoid()),
    },
    wrt=("x", "w", "b"),
    oracle=lambda x, w, b, target: F.binary_cross_entropy_with_logits(x @ w + b, target),
)
