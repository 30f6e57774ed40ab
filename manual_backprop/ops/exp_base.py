"""exp_base: a fixed base to the power of every entry.

    y = aˣ                             x and y of one shape, any; a > 0 a number

Derivation
    dy = y ln a dx                     since aˣ = e^{x ln a}, a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨y ln a ȳ, dx⟩                move the slope across,
    x̄ = y ln a ȳ                       and read off the gradient.

Domain: a > 0, all x. For a = 1 the slope is 0, for a < 1 negative. Computed as e^{x ln a} a power
loses digits when x is large, because x ln a is rounded before e is raised to it; pow does not.

Read first: exp, log, power
Source: NIST Digital Library of Mathematical Functions, 4.7
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def exp_base(x: X, *, a: float = 2.0) -> X:
    """y = aˣ, of any shape."""
    return torch.pow(a, x)


def back_exp_base(out: X, grad_out: X, *, a: float = 2.0) -> X:
    """x̄ = y ln a ȳ."""
    return out * (math.log(a) * grad_out)


OP = Op(
    forward=exp_base,
    backwards=(back_exp_base,),
    samples={
        "growth": lambda rand, n=11, i=3: (rand(n, i),),
        "decay": lambda rand, n=11: ((rand(n),), {"a": 0.1}),
    },
    wrt=("x",),
    oracle=lambda x, *, a=2.0: torch.pow(a, x),
)
