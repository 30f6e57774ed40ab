"""sigmoid_mlp: sigmoid layers, as many and as wide as one likes, by half the squared error.

    E = 1/2 Σ (o_K - target)²,  o_k = sigmoid(o_{k-1} w_k),  o_0 = x
    x (n, i), weights K matrices (i, j), (j, k), ..., target (n, the last width)

Derivation
    dE = ⟨o_K - target, do_K⟩                          a small change of the last outputs
    do_k = o_k (1 - o_k) dz_k,  dz_k = do_{k-1} w_k + o_{k-1} dw_k     of every layer's own,
    δ_K = (o_K - target) o_K (1 - o_K)                 so the error at the last layer's z is known,
    δ_k = o_k (1 - o_k) (δ_{k+1} w_{k+1}ᵀ)             and every δ comes from the one behind it;
    w̄_k = o_{k-1}ᵀ δ_k      x̄ = δ_1 w_1ᵀ               read off the gradients, times Ē.

Each δ passes a factor o (1 - o), at most 1/4: in a deep network of sigmoids the first layers hardly
move.

Read first: perceptron
Source: Rumelhart, Hinton, Williams, Learning representations by back-propagating errors (1986)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.lin import back_lin
from manual_backprop.ops.sigmoid import back_sigmoid, sigmoid

X = Float[Tensor, "n i"]
W = Float[Tensor, "_ _"]
Target = Float[Tensor, "n o"]
Loss = Float[Tensor, ""]


def sigmoid_mlp(x: X, weights: tuple[W, ...], target: Target) -> Loss:
    """E = 1/2 Σ (o_K - target)²: (n, i), matrices and (n, o) to one number."""
    return (_outputs(x, weights)[-1] - target).pow(2).sum() / 2


def _outputs(x: Tensor, weights: tuple[Tensor, ...]) -> list[Tensor]:
    """o_0 = x to o_K."""
    outputs = [x]
    for w in weights:
        outputs.append(sigmoid(outputs[-1] @ w))
    return outputs


def back_sigmoid_mlp(
    x: X, weights: tuple[W, ...], target: Target, grad_out: Loss | float = 1.0
) -> tuple[X, tuple[W, ...]]:
    """The recursion δ_k = o_k (1 - o_k) (δ_{k+1} w_{k+1}ᵀ), from the last layer to the first."""
    outputs = _outputs(x, weights)
    felt = grad_out * (outputs[-1] - target)
    grads: list[Tensor] = []
    for k in reversed(range(len(weights))):
        delta = outputs[k + 1] * (1 - outputs[k + 1]) * felt
        grads.insert(0, outputs[k].T @ delta)
        felt = delta @ weights[k].T
    return felt, tuple(grads)


def back_sigmoid_mlp_layers(
    x: X, weights: tuple[W, ...], target: Target, grad_out: Loss | float = 1.0
) -> tuple[X, tuple[W, ...]]:
    """The same by the layers' own backwards: back_sigmoid, then back_lin without its bias."""
    outputs = _outputs(x, weights)
    grad = grad_out * (outputs[-1] - target)
    grads: list[Tensor] = []
    for k in reversed(range(len(weights))):
        grad_z = back_sigmoid(outputs[k + 1], grad)
        grad, grad_w, _ = back_lin(outputs[k], weights[k], grad_z)
        grads.insert(0, grad_w)
    return grad, tuple(grads)


def _by_torch(x: Tensor, weights: tuple[Tensor, ...], target: Tensor) -> Tensor:
    for w in weights:
        x = torch.sigmoid(torch.mm(x, w))
    return F.mse_loss(x, target, reduction="sum") / 2


OP = Op(
    forward=sigmoid_mlp,
    backwards=(back_sigmoid_mlp, back_sigmoid_mlp_layers),
    samples={
        "two layers": lambda rand, n=11, i=7, h=5, o=3: (
            rand(n, i),
            (rand(i, h), rand(h, o)),
            rand(n, o),
        ),
        "three layers": lambda rand, n=3, i=7, h=5, j=11, o=13: (
            rand(n, i),
            (rand(i, h), rand(h, j), rand(j, o)),
            rand(n, o),
        ),
    },
    wrt=("x", "weights"),
    oracle=_by_torch,
)
