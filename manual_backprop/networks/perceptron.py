"""perceptron: sigmoid units side by side, by their mean squared error.

    L = mean((o - target)²),  o = sigmoid(x wᵀ)
    x (n, i), w (k, i), o and target (n, k)

Derivation
    dL = 2/(n k) ⟨o - target, do⟩                      a small change of the outputs
    do = o (1 - o) dz,  dz = dx wᵀ + x dwᵀ             of the sigmoid, and of what goes into it,
    z̄ = L̄ 2/(n k) (o - target) o (1 - o)               collected at z,
    x̄ = z̄ w      w̄ = z̄ᵀ x                              and read off the gradients.

For one row x every row of w̄ is a multiple of x: the gradient is an outer product, of rank 1.

Source: Rumelhart, Hinton, Williams, Learning representations by back-propagating errors (1986)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid

X = Float[Tensor, "n i"]
W = Float[Tensor, "k i"]
Target = Float[Tensor, "n k"]
Loss = Float[Tensor, ""]


def perceptron(x: X, w: W, target: Target) -> Loss:
    """L = mean((sigmoid(x wᵀ) - target)²), (n, i), (k, i) and (n, k) to one number."""
    return (sigmoid(x @ w.T) - target).pow(2).mean()


def back_perceptron(x: X, w: W, target: Target, grad_out: Loss | float = 1.0) -> tuple[X, W]:
    """Through the mean and the square, through the sigmoid, through the product."""
    o = sigmoid(x @ w.T)
    grad_o = grad_out * (2 / max(target.numel(), 1)) * (o - target)
    grad_z = back_sigmoid(o, grad_o)
    return grad_z @ w, grad_z.T @ x


OP = Op(
    forward=perceptron,
    backwards=(back_perceptron,),
    samples={
        "rows": lambda rand, n=11, i=7, k=5: (rand(n, i), rand(k, i), rand(n, k)),
        "one output": lambda rand, n=11, i=7: (rand(n, i), rand(1, i), rand(n, 1)),
    },
    wrt=("x", "w"),
    oracle=lambda x, w, target: F.mse_loss(torch.sigmoid(F.linear(x, w)), target),
)
