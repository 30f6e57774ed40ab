"""arctan: the angle in (-π/2, π/2) that has every entry for its tangent.

    y = arctan x                       x and y of one shape, any

Derivation
    dy = dx / (1 + x²)                 since tan y = x gives (1 + x²) dy = dx, a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨ȳ / (1 + x²), dx⟩            move the slope across,
    x̄ = ȳ / (1 + x²)                   and read off the gradient.

Domain: all x. The slope is at most 1 and falls like 1 / x²; nothing cancels. Where x² overflows,
beyond 255 in float16, the slope becomes 0 although a number of its size is there; √(1 + x²) as one
step does not overflow. The slope from the output, cos² y, has few digits where x is large, since y
is π/2 to all its digits.

Read first: tan
Source: NIST Digital Library of Mathematical Functions, 4.24
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def arctan(x: X) -> X:
    """y = arctan x, of any shape."""
    return x.arctan()


def back_arctan(x: X, grad_out: X) -> X:
    """x̄ = ȳ / (1 + x²)."""
    return grad_out / (1 + x * x)


def back_arctan_hypot(x: X, grad_out: X) -> X:
    """Divided twice by √(1 + x²), which is as large as x and never overflows before it."""
    side = x.hypot(x.new_ones(()))
    return grad_out / side / side


OP = Op(
    forward=arctan,
    backwards=(back_arctan, back_arctan_hypot),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i),)},
    wrt=("x",),
    oracle=torch.arctan,
)
