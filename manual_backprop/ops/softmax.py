"""softmax: a row of numbers to a row of probabilities.

    p_i = e^{x_i} / Σ_j e^{x_j}        along the last axis; x and p (*n, k)

Derivation
    dp_i = p_i (dx_i - Σ_j p_j dx_j)                     a small change of the input
    dL = Σ_i p̄_i dp_i                                    is felt by the loss;
       = Σ_i p_i p̄_i dx_i - (Σ_i p_i p̄_i) Σ_j p_j dx_j   collect what stands with each dx_j,
    x̄_j = p_j (p̄_j - Σ_i p_i p̄_i)                        and read off the gradient.

The Jacobian J_ij = ∂p_i/∂x_j = p_i ([i = j] - p_j) is symmetric and its rows sum to 0, since adding
a constant to a row of x changes nothing. Subtracting the largest x first keeps e^x from overflowing
for the same reason.

Read first: lin, sigmoid
Source: Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "*n k"]
J = Float[Tensor, "*n k k"]
aten = torch.ops.aten


def softmax(x: X) -> X:
    """p = e^{x - max x} / Σ e^{x - max x} along the last axis, of any shape (*n, k)."""
    if x.shape[-1] == 0:
        return x.clone()  # an empty row has no largest entry
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


def softmax_jacobian(out: X) -> J:
    """J = diag(p) - p pᵀ for every row, from the softmax's output `out`, (*n, k) to (*n, k, k).

    Row i, column j holds ∂p_i/∂x_j = p_i ([i = j] - p_j).

    >>> softmax_jacobian(torch.tensor([0.5, 0.5]))
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])
    """
    return torch.diag_embed(out) - out[..., :, None] * out[..., None, :]


def back_softmax(out: X, grad_out: X) -> X:
    """x̄ = p (p̄ - ⟨p, p̄⟩): the vector-Jacobian product without the Jacobian."""
    return out * (grad_out - (out * grad_out).sum(-1, keepdim=True))


def back_softmax_jacobian(out: X, grad_out: X) -> X:
    """x̄ = Jᵀ p̄ with all of J written out: n k k numbers at once."""
    return (grad_out[..., None, :] @ softmax_jacobian(out)).squeeze(-2)


def back_softmax_(out: X, grad_out: X) -> X:
    """In place, by PyTorch's own kernel; p̄ p less the row's sum of it times p where it cannot."""
    if grad_out.is_contiguous():  # whatever the strides, the kernel writes as if it were
        aten._softmax_backward_data.out(grad_out, out, -1, out.dtype, grad_input=grad_out)
        return grad_out
    weighted = grad_out.mul_(out)
    return weighted.addcmul_(out, weighted.sum(-1, keepdim=True), value=-1)


OP = Op(
    forward=softmax,
    backwards=(back_softmax, back_softmax_jacobian, back_softmax_),
    samples={
        "rows": lambda rand, n=11, k=7: (rand(n, k),),
        "vector": lambda rand, k=7: (rand(k),),
        "batched": lambda rand, m=3, n=11, k=7: (rand(m, n, k),),
    },
    wrt=("x",),
    oracle=lambda x: torch.softmax(x, -1),
)
