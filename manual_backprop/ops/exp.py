"""exp: e to the power of every entry.

    y = eˣ                             x and y of one shape, any

Derivation
    dy = y dx                          since e^{x + dx} = eˣ (1 + dx + ...), a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨y ȳ, dx⟩                     move the slope across,
    x̄ = y ȳ                            and read off the gradient.

The one function that is its own slope, so the output tells all. Domain: all x. y and its slope
overflow together, above x = 709 in float64, 88 in float32 and bfloat16, 11 in float16; that is why
softmax takes the largest x off first. Below x = 0 no digit is lost, but y - 1 cancels near 0:
expm1 is for that.

Source: NIST Digital Library of Mathematical Functions, 4.7
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def exp(x: X) -> X:
    """y = eˣ, of any shape."""
    return x.exp()


def back_exp(out: X, grad_out: X) -> X:
    """x̄ = y ȳ."""
    return out * grad_out


def back_exp_(out: X, grad_out: X) -> X:
    """In place: ȳ is scaled by y."""
    return grad_out.mul_(out)


OP = Op(
    forward=exp,
    backwards=(back_exp, back_exp_),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i),)},
    wrt=("x",),
    oracle=torch.exp,
)
