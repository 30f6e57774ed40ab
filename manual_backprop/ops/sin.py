"""sin: the sine of every entry, in radians.

    y = sin x                          x and y of one shape, any

Derivation
    dy = cos x dx                      since sin(x + dx) = sin x + cos x dx + ..., a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨cos x ȳ, dx⟩                 move the slope across,
    x̄ = cos x ȳ                        and read off the gradient.

Domain: all x. The output is not enough: cos x = ±√(1 - y²), and y does not tell the sign. The slope
is 0 at the tops, where x = π/2 + k π; no number is exactly there, so it is small and not 0. The
larger x, the coarser the steps between numbers: a float16 near 512 moves by 0.5 radians at a time.

Source: NIST Digital Library of Mathematical Functions, 4.20
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def sin(x: X) -> X:
    """y = sin x, of any shape."""
    return x.sin()


def back_sin(x: X, grad_out: X) -> X:
    """x̄ = cos x ȳ."""
    return grad_out * x.cos()


def back_sin_(x: X, grad_out: X) -> X:
    """In place: ȳ is scaled by the slope."""
    return grad_out.mul_(x.cos())


OP = Op(
    forward=sin,
    backwards=(back_sin, back_sin_),
    samples={"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    wrt=("x",),
    oracle=torch.sin,
)
