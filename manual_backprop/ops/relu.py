"""relu: the positive part of every entry.

    y = max(x, 0)                      x and y of one shape, any

Derivation
    dy = [x > 0] dx                    a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨[x > 0] ȳ, dx⟩               move the mask across,
    x̄ = [x > 0] ȳ                      and read off the gradient.

Kink: at x = 0 the slopes are 0 and 1. PyTorch's relu takes 0, and so does this one; a forward
written as maximum(x, 0) has one half there, and clamp_min(0) had 1 before PyTorch 2.14.

Source: Glorot, Bordes, Bengio, Deep sparse rectifier neural networks (2011); on the kink: Bertoin,
    Bolte, Gerchinovitz, Pauwels, Numerical influence of ReLU'(0) on backpropagation (2021)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]
aten = torch.ops.aten


def relu(x: X) -> X:
    """y = max(x, 0), of any shape."""
    return x.clamp_min(0)


def back_relu(x: X, grad_out: X) -> X:
    """x̄ = [x > 0] ȳ."""
    return (x > 0) * grad_out


def back_relu_from_out(out: X, grad_out: X) -> X:
    """y > 0 just where x > 0, so the output tells the mask and the input may be forgotten."""
    return torch.where(out > 0, grad_out, 0.0)


def back_relu_(x: X, grad_out: X) -> X:
    """In place, by PyTorch's own kernel: ȳ is read once and struck out where x ≤ 0."""
    aten.threshold_backward.grad_input(grad_out, x, 0, grad_input=grad_out)
    return grad_out


OP = Op(
    forward=relu,
    backwards=(back_relu, back_relu_from_out, back_relu_),
    samples={
        "vector": lambda rand, n=11: (rand(n),),
        "rows": lambda rand, n=11, i=7: (rand(n, i),),
        "batched": lambda rand, m=3, n=11, i=7: (rand(m, n, i),),
    },
    wrt=("x",),
    oracle=F.relu,
)
