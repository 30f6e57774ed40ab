"""arcsin: the angle in [-π/2, π/2] that has every entry for its sine.

    y = arcsin x                       x and y of one shape, any

Derivation
    dy = dx / √(1 - x²)                since sin y = x gives cos y dy = dx, a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨ȳ / √(1 - x²), dx⟩           move the slope across,
    x̄ = ȳ / √(1 - x²)                  and read off the gradient.

Domain: -1 ≤ x ≤ 1; beyond it all is nan, and at ±1 the slope is infinite. Near ±1 digits cancel in
1 - x², because x² is rounded first; in (1 - x)(1 + x) the small factor is exact, and the slope is
right to the last digits where PyTorch's, which squares, is not. On [-π/2, π/2] the cosine is never
negative, so here the output tells the slope; at x = ±1 it is then huge and not infinite, since π/2
is rounded.

Read first: sin, sqrt
Source: NIST Digital Library of Mathematical Functions, 4.24; on 1 - x²: Goldberg, What every
    computer scientist should know about floating-point arithmetic (1991)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def arcsin(x: X) -> X:
    """y = arcsin x, of any shape."""
    return x.arcsin()


def back_arcsin(x: X, grad_out: X) -> X:
    """x̄ = ȳ / √(1 - x²), with 1 - x² in two factors."""
    return grad_out / ((1 - x) * (1 + x)).sqrt()


def back_arcsin_from_out(out: X, grad_out: X) -> X:
    """√(1 - x²) = cos y: from the output, as good as y is."""
    return grad_out / out.cos()


OP = Op(
    forward=arcsin,
    backwards=(back_arcsin, back_arcsin_from_out),
    samples={"rows": lambda rand, n=11, i=3: (0.9 * rand(n, i).sin(),)},
    wrt=("x",),
    oracle=torch.arcsin,
)
