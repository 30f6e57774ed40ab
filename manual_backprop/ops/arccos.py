"""arccos: the angle in [0, π] that has every entry for its cosine.

    y = arccos x                       x and y of one shape, any

Derivation
    dy = -dx / √(1 - x²)               since cos y = x gives -sin y dy = dx, a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨-ȳ / √(1 - x²), dx⟩          move the slope across,
    x̄ = -ȳ / √(1 - x²)                 and read off the gradient.

Domain: -1 ≤ x ≤ 1; beyond it all is nan, and at ±1 the slope is infinite. The gradient is that of
arcsin with the sign turned, for the two angles add up to π/2. Near ±1 digits cancel in 1 - x² and
not in (1 - x)(1 + x), as there.

Read first: cos, arcsin
Source: NIST Digital Library of Mathematical Functions, 4.24
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def arccos(x: X) -> X:
    """y = arccos x, of any shape."""
    return x.arccos()


def back_arccos(x: X, grad_out: X) -> X:
    """x̄ = -ȳ / √(1 - x²), with 1 - x² in two factors."""
    return -grad_out / ((1 - x) * (1 + x)).sqrt()


def back_arccos_from_out(out: X, grad_out: X) -> X:
    """√(1 - x²) = sin y: right to the last digits near x = 1, where y is small; near -1 as y is."""
    return -grad_out / out.sin()


OP = Op(
    forward=arccos,
    backwards=(back_arccos, back_arccos_from_out),
    samples={"rows": lambda rand, n=11, i=3: (0.9 * rand(n, i).sin(),)},
    wrt=("x",),
    oracle=torch.arccos,
)
