"""log_base: the logarithm of every entry to a fixed base.

    y = log_a x = ln x / ln a          x and y of one shape, any; a > 0 a number, not 1

Derivation
    dy = dx / (x ln a)                 since d ln x = dx / x, a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨ȳ / (x ln a), dx⟩            move the slope across,
    x̄ = ȳ / (x ln a)                   and read off the gradient.

Domain: x > 0; at 0, y is infinite and so is the slope. Two roundings, of ln x and of the quotient,
show where y is whole: log_10 1000 comes out as 2.9999999999999996 in float64, and torch.log10 gives
3. ȳ / ln a comes first in the gradient, since x ln a could lose digits or overflow where x is at an
end of its dtype.

Read first: log
Source: NIST Digital Library of Mathematical Functions, 4.2
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def log_base(x: X, *, a: float = 10.0) -> X:
    """y = ln x / ln a, of any shape."""
    return x.log() / math.log(a)


def back_log_base(x: X, grad_out: X, *, a: float = 10.0) -> X:
    """x̄ = ȳ / (x ln a)."""
    return grad_out / math.log(a) / x


OP = Op(
    forward=log_base,
    backwards=(back_log_base,),
    samples={
        "decimal": lambda rand, n=11, i=3: (rand(n, i).abs(),),
        "binary": lambda rand, n=11: ((rand(n).abs(),), {"a": 2.0}),
    },
    wrt=("x",),
    oracle=lambda x, *, a=10.0: {2.0: torch.log2, 10.0: torch.log10}[a](x),
)
