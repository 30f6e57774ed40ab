"""cos: the cosine of every entry, in radians.

    y = cos x                          x and y of one shape, any

Derivation
    dy = -sin x dx                     since cos(x + dx) = cos x - sin x dx + ..., a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨-sin x ȳ, dx⟩                move the slope across,
    x̄ = -sin x ȳ                       and read off the gradient.

Domain: all x. Of sin and cos only this one turns the sign: cos falls where sin is positive. The
slope at 0 is exactly 0.

Read first: sin
Source: NIST Digital Library of Mathematical Functions, 4.20
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def cos(x: X) -> X:
    """y = cos x, of any shape."""
    return x.cos()


def back_cos(x: X, grad_out: X) -> X:
    """x̄ = -sin x ȳ."""
    return -grad_out * x.sin()


def back_cos_(x: X, grad_out: X) -> X:
    """In place: ȳ is scaled by the sine and its sign turned."""
    return grad_out.mul_(x.sin()).neg_()


OP = Op(
    forward=cos,
    backwards=(back_cos, back_cos_),
    samples={"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    wrt=("x",),
    oracle=torch.cos,
)
