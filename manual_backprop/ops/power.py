"""power: every entry to one fixed exponent.

    y = xᵃ                             x and y of one shape, any; a a number

Derivation
    dy = a xᵃ⁻¹ dx                     since (x + dx)ᵃ = xᵃ + a xᵃ⁻¹ dx + ..., a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨a xᵃ⁻¹ ȳ, dx⟩                move the slope across,
    x̄ = a xᵃ⁻¹ ȳ                       and read off the gradient.

Domain: all x for a = 0, 1, 2, ...; x ≠ 0 for a = -1, -2, ...; x > 0 otherwise, and both results are
nan below. At x = 0 the slope is infinite for a < 1, but for a = 0: x⁰ is constant, and its slope is
0 there too, not 0 · ∞. The form a · y / x would save a power, but is 0 / 0 at x = 0.

Read first: shifted_square
Source: NIST Digital Library of Mathematical Functions, 4.7
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def power(x: X, *, a: float = 3.0) -> X:
    """y = xᵃ, of any shape."""
    return x.pow(a)


def back_power(x: X, grad_out: X, *, a: float = 3.0) -> X:
    """x̄ = a xᵃ⁻¹ ȳ."""
    if a == 0:
        return torch.zeros_like(x)
    return grad_out * (a * x.pow(a - 1))


def back_power_(x: X, grad_out: X, *, a: float = 3.0) -> X:
    """In place: ȳ is scaled by the power and by a."""
    if a == 0:
        return grad_out.zero_()
    return grad_out.mul_(x.pow(a - 1)).mul_(a)


OP = Op(
    forward=power,
    backwards=(back_power, back_power_),
    samples={
        "cube": lambda rand, n=11, i=3: (rand(n, i),),
        "root": lambda rand, n=11, i=3: ((rand(n, i).abs(),), {"a": 0.5}),
        "reciprocal": lambda rand, n=11: ((rand(n).abs() + 0.5,), {"a": -1.0}),
    },
    wrt=("x",),
    oracle=lambda x, *, a=3.0: torch.pow(x, a),
)
