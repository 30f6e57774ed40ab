"""tan: the tangent of every entry, in radians.

    y = tan x = sin x / cos x          x and y of one shape, any

Derivation
    dy = (1 + y²) dx                   since (cos² x + sin² x) / cos² x = 1 + y², a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨(1 + y²) ȳ, dx⟩              move the slope across,
    x̄ = (1 + y²) ȳ                     and read off the gradient.

Domain: all x but π/2 + k π. No number is exactly there, so y and the slope are huge beside it and
not infinite, save in float16 where 1 + y² overflows. The slope is at least 1, and nothing cancels.

Read first: sin, cos
Source: NIST Digital Library of Mathematical Functions, 4.20
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def tan(x: X) -> X:
    """y = tan x, of any shape."""
    return x.tan()


def back_tan(out: X, grad_out: X) -> X:
    """x̄ = (1 + y²) ȳ."""
    return grad_out * (1 + out * out)


def back_tan_from_x(x: X, grad_out: X) -> X:
    """1 + tan² x = 1 / cos² x: the quotient rule, from the input."""
    cosine = x.cos()
    return grad_out / cosine / cosine


OP = Op(
    forward=tan,
    backwards=(back_tan, back_tan_from_x),
    samples={"branch": lambda rand, n=11, i=3: (1.2 * rand(n, i).sin(),)},
    wrt=("x",),
    oracle=torch.tan,
)
