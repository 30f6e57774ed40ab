"""add_constant: the same number added to every entry.

    y = x + c                          x and y of one shape, any; c a number

Derivation
    dy = dx                            a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss
       = ⟨ȳ, dx⟩                       unchanged,
    x̄ = ȳ                              and read off the gradient.

Nothing of the forward is needed: a pass that records x + c keeps nothing. y is no single number, so
there is no gradient of y; what a backward pass computes is ȳ times the Jacobian, here the identity.

PyTorch hands on ȳ itself, and then two gradients are one memory: to change one, by clipping say,
changes the other. Here the gradient is a copy; who does not need ȳ any more can take that instead.

Source: Baydin, Pearlmutter, Radul, Siskind, Automatic differentiation in machine learning: a survey
    (2018), 3.2
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def add_constant(x: X, *, c: float = 5.0) -> X:
    """y = x + c, of any shape."""
    return x + c


def back_add_constant(grad_out: X) -> X:
    """x̄ = ȳ, in memory of its own."""
    return grad_out.clone()


OP = Op(
    forward=add_constant,
    backwards=(back_add_constant,),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i),)},
    wrt=("x",),
    oracle=lambda x, *, c=5.0: torch.add(x, c),
)
