"""shifted_square: the square of every entry plus a number.

    y = (x + c)²                       x and y of one shape, any; c a number

Derivation
    dy = 2 (x + c) dx                  since d(s²) = s ds + ds s, a small change of the input
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨2 (x + c) ȳ, dx⟩             move the slope across,
    x̄ = 2 (x + c) ȳ                    and read off the gradient.

At x = 1 and c = 1 the slope is 4. Who finds 2 has differentiated x² and put 1 into that, or has
forgotten a factor of the square. Where x is close to -c digits cancel in x + c; those lost were
lost when x was rounded, for the difference itself is exact.

Read first: add_constant
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5.2
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]


def shifted_square(x: X, *, c: float = 1.0) -> X:
    """y = (x + c)², of any shape."""
    return (x + c).pow(2)


def back_shifted_square(x: X, grad_out: X, *, c: float = 1.0) -> X:
    """x̄ = 2 (x + c) ȳ."""
    return 2 * grad_out * (x + c)


def back_shifted_square_steps(x: X, grad_out: X, *, c: float = 1.0) -> X:
    """The chain rule: the square is s · s, each factor in turn; the sum hands on what arrives."""
    s = x + c
    return grad_out * s + s * grad_out


OP = Op(
    forward=shifted_square,
    backwards=(back_shifted_square, back_shifted_square_steps),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i),)},
    wrt=("x",),
    oracle=lambda x, *, c=1.0: torch.square(torch.add(x, c)),
)
