"""linear_regression: a line through points, by its mean squared error.

    L = 1/n Σ_i (w x_i + b - target_i)²    x and target (n), w and b numbers

Derivation
    dL = 2/n Σ_i r_i (x_i dw + w dx_i + db)            with r = w x + b - target, a small change
    dE = L̄ dL                                          is felt by what comes behind;
       = ⟨L̄ 2/n Σ r x, dw⟩ + ⟨L̄ 2/n w r, dx⟩ + ...     collect what stands with each,
    w̄ = L̄ 2/n Σ_i r_i x_i    b̄ = L̄ 2/n Σ_i r_i    x̄ = L̄ 2/n w r     and read off the gradients.

Gradient descent with step lr on (w, b) multiplies its distance from the best line by I - lr H in
every step, H = 2 [[mean x², mean x], [mean x, 1]]: not nearly, but exactly.

Read first: lin, mse
Source: Bishop, Pattern Recognition and Machine Learning (2006), 3.1
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, " n"]
Number = Float[Tensor, ""]


def linear_regression(x: X, w: Number, b: Number, target: X) -> Number:
    """L = mean((w x + b - target)²), (n) and (n) to one number."""
    return (w * x + b - target).pow(2).mean()


def back_linear_regression(
    x: X, w: Number, b: Number, target: X, grad_out: Number | float = 1.0
) -> tuple[X, Number, Number]:
    """w̄ = L̄ 2/n Σ r x, b̄ = L̄ 2/n Σ r, x̄ = L̄ 2/n w r."""
    scale = grad_out * (2 / max(x.numel(), 1))  # without points there is nothing to scale
    grad_r = scale * (w * x + b - target)
    return w * grad_r, grad_r @ x, grad_r.sum()


OP = Op(
    forward=linear_regression,
    backwards=(back_linear_regression,),
    samples={"points": lambda rand, n=11: (rand(n), rand(), rand(), rand(n))},
    wrt=("x", "w", "b"),
    oracle=lambda x, w, b, target: F.mse_loss(w * x + b, target),
)
