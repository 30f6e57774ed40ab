"""himmelblau: a landscape with four minima, of two coordinates.

    f = u² + v²   with  u = x² + y - 11,  v = x + y² - 7
    x, y and f of one shape, any

Derivation
    df = 2u (2x dx + dy) + 2v (dx + 2y dy)             a small change of the coordinates
    dL = ⟨f̄, df⟩                                       is felt by the loss;
       = ⟨f̄ (4x u + 2v), dx⟩ + ⟨f̄ (2u + 4y v), dy⟩     collect what stands with dx and with dy,
    x̄ = f̄ (4x u + 2v)      ȳ = f̄ (2u + 4y v)           and read off the gradients.

Here ȳ is the gradient of the coordinate y; that of the output is f̄. f = 0 at (3, 2) and, rounded,
at (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126); descent ends in the valley
in which it starts. Near them u and v are small differences of numbers around 10, and the gradient
has only the digits that those leave. f̄ comes first in each product: multiplied last, it comes too
late for a slope that has overflowed, as in float16 from x = 26 on.

Read first: shifted_square, power
Source: Himmelblau, Applied Nonlinear Programming (1972)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]
Y = Float[Tensor, "*s"]
F = Float[Tensor, "*s"]


def himmelblau(x: X, y: Y) -> F:
    """f = (x² + y - 11)² + (x + y² - 7)², of any shape."""
    return (x * x + y - 11).pow(2) + (x + y * y - 7).pow(2)


def back_himmelblau(x: X, y: Y, grad_out: F) -> tuple[X, Y]:
    """x̄ = 2x ū + v̄, ȳ = ū + 2y v̄ with ū = 2u f̄, v̄ = 2v f̄."""
    grad_u = 2 * grad_out * (x * x + y - 11)
    grad_v = 2 * grad_out * (x + y * y - 7)
    return 2 * x * grad_u + grad_v, grad_u + 2 * y * grad_v


OP = Op(
    forward=himmelblau,
    backwards=(back_himmelblau,),
    samples={"points": lambda rand, n=11: (rand(n), rand(n))},
    wrt=("x", "y"),
    oracle=lambda x, y: (
        torch.square(torch.square(x) + y - 11) + torch.square(x + torch.square(y) - 7)
    ),
)
