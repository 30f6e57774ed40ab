"""log: the natural logarithm of every entry.

    y = ln x                           x and y of one shape, any

Derivation
    dy = dx / x                        since e^y = x gives e^y dy = dx, a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨ȳ / x, dx⟩                   move the slope across,
    x̄ = ȳ / x                          and read off the gradient.

Domain: x > 0. At 0, y is -∞ and the slope ∞; below, y is nan, though ȳ / x is a number: a backward
alone does not see that its forward has failed. The slope from the output, e⁻ʸ, would lose digits
where y is large, since y has been rounded. Near x = 1, y has as few digits as x - 1 has; log1p is
for that.

Read first: exp
Source: NIST Digital Library of Mathematical Functions, 4.7
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def log(x: X) -> X:
    """y = ln x, of any shape."""
    return x.log()


def back_log(x: X, grad_out: X) -> X:
    """x̄ = ȳ / x."""
    return grad_out / x


def back_log_(x: X, grad_out: X) -> X:
    """In place: ȳ is divided by x."""
    return grad_out.div_(x)


OP = Op(
    forward=log,
    backwards=(back_log, back_log_),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i).abs(),)},
    wrt=("x",),
    oracle=torch.log,
)
