"""log_softmax: the logarithms of a row's probabilities.

    y_i = x_i - ln Σ_j e^{x_j}         along the last axis; x and y (*n, k)

Derivation
    dy_i = dx_i - Σ_j p_j dx_j                         with p = e^y, a small change of the input
    dL = Σ_i ȳ_i dy_i                                  is felt by the loss;
       = Σ_i ȳ_i dx_i - (Σ_i ȳ_i) Σ_j p_j dx_j         collect what stands with each dx_j,
    x̄_j = ȳ_j - p_j Σ_i ȳ_i                            and read off the gradient.

The softmax first and its logarithm second is -∞ where p underflows; here the largest x is taken off
first, and no y is further from 0 than x reaches.

Read first: softmax
Source: Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions (2021)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op
from manual_backprop.ops.softmax import softmax

X = Float[Tensor, "*n k"]


def log_softmax(x: X) -> X:
    """y = x - max x - ln Σ e^{x - max x} along the last axis, of any shape (*n, k)."""
    if x.shape[-1] == 0:
        return x.clone()  # an empty row has no largest entry
    shifted = x - x.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def back_log_softmax(out: X, grad_out: X) -> X:
    """x̄ = ȳ - p Σ ȳ, with p = e^y."""
    return grad_out - out.exp() * grad_out.sum(-1, keepdim=True)


def back_log_softmax_from_x(x: X, grad_out: X) -> X:
    """The same with p from x itself: e^y has |y| times the rounding of y."""
    return grad_out - softmax(x) * grad_out.sum(-1, keepdim=True)


def back_log_softmax_(out: X, grad_out: X) -> X:
    """In place: p times the row's sum is taken off ȳ."""
    return grad_out.addcmul_(out.exp(), grad_out.sum(-1, keepdim=True), value=-1)


OP = Op(
    forward=log_softmax,
    backwards=(back_log_softmax, back_log_softmax_from_x, back_log_softmax_),
    samples={
        "rows": lambda rand, n=11, k=7: (rand(n, k),),
        "batched": lambda rand, m=3, n=11, k=7: (rand(m, n, k),),
    },
    wrt=("x",),
    oracle=lambda x: torch.log_softmax(x, -1),
)
