"""sigmoid: squashes every entry into (0, 1).

    s = 1 / (1 + e⁻ˣ)                  x and s of one shape, any

Derivation
    ds = s (1 - s) dx                  since e⁻ˣ / (1 + e⁻ˣ)² = s (1 - s), a small change
    dL = ⟨s̄, ds⟩                       is felt by the loss;
       = ⟨s (1 - s) s̄, dx⟩             move the slope across,
    x̄ = s (1 - s) s̄                    and read off the gradient.

The slope is at most 1/4 and falls like e^-|x|: through many sigmoids a gradient vanishes. Where s
rounds to 1 the form from the output gives 0; the form from the input still has the tail.

Read first: relu
Source: Rumelhart, Hinton, Williams, Learning representations by back-propagating errors (1986)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*s"]
aten = torch.ops.aten


def sigmoid(x: X) -> X:
    """s = 1 / (1 + e⁻ˣ), written with e^-|x|, which never overflows."""
    e = x.abs().neg().exp()
    return torch.where(x >= 0, 1.0, e) / (1 + e)


def back_sigmoid(out: X, grad_out: X) -> X:
    """x̄ = s (1 - s) s̄."""
    return grad_out * out * (1 - out)


def back_sigmoid_from_x(x: X, grad_out: X) -> X:
    """1 - s(x) = s(-x), and nothing cancels: right to the last digits in both tails."""
    return grad_out * (x.sigmoid() * x.neg().sigmoid())


def back_sigmoid_(out: X, grad_out: X) -> X:
    """In place, by PyTorch's own kernel: s̄ is read once and written once."""
    aten.sigmoid_backward.grad_input(grad_out, out, grad_input=grad_out)
    return grad_out


OP = Op(
    forward=sigmoid,
    backwards=(back_sigmoid, back_sigmoid_from_x, back_sigmoid_),
    samples={
        "vector": lambda rand, n=11: (rand(n),),
        "rows": lambda rand, n=11, i=7: (rand(n, i),),
        "batched": lambda rand, m=3, n=11, i=7: (rand(m, n, i),),
    },
    wrt=("x",),
    oracle=torch.sigmoid,
)
