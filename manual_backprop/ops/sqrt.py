"""sqrt: the square root of every entry.

    y = √x                             x and y of one shape, any

Derivation
    dy = dx / 2y                       since y² = x gives 2y dy = dx, a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨ȳ / 2y, dx⟩                  move the slope across,
    x̄ = ȳ / 2y                         and read off the gradient.

Domain: x ≥ 0; below it all is nan. At 0 the slope is infinite, and 0 · ∞ = nan where ȳ = 0: what
takes a root of a sum of squares, as a norm does, needs care there. Nothing cancels: y has all its
digits, and so has 1 / 2y.

Read first: power
Source: NIST Digital Library of Mathematical Functions, 4.7
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def sqrt(x: X) -> X:
    """y = √x, of any shape."""
    return x.sqrt()


def back_sqrt(out: X, grad_out: X) -> X:
    """x̄ = ȳ / 2y."""
    return grad_out / (2 * out)


def back_sqrt_from_x(x: X, grad_out: X) -> X:
    """Power rule with a = 1/2: the input is enough, and the output may be forgotten."""
    return 0.5 * grad_out * x.rsqrt()


OP = Op(
    forward=sqrt,
    backwards=(back_sqrt, back_sqrt_from_x),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i).abs(),)},
    wrt=("x",),
    oracle=torch.sqrt,
)
