"""norm: the length of every row.

    y = ‖r‖ = √(Σ_i r_i²)              along the last axis; r (*n, k), y (*n)

Derivation
    dy = Σ_i r_i dr_i / y              since y² = Σ r_i² gives 2y dy = Σ 2 r_i dr_i, a small change
    dL = ⟨ȳ, dy⟩                       is felt by the loss;
       = ⟨ȳ r / y, dr⟩                 collect what stands with dr,
    r̄ = ȳ r / y                        and read off the gradient.

r / ‖r‖ has length 1: however far r is from 0, the norm pulls with the same strength, where the mean
squared error pulls by 2 r / k. They are related by ‖r‖² = k mse.

Kink: at r = 0 there is a cone's tip, where each slope between -1 and 1 is one. PyTorch's
vector_norm takes 0, and so does this one; the formula as it reads is 0 / 0 there, and autograd of
square, sum and sqrt is nan. Each row is divided by its largest entry first, so that no square
overflows (in float16 from 256 on) or vanishes; a long row adds terms of one sign, and nothing
cancels.

Read first: mse, sqrt
Source: Petersen, Pedersen, The Matrix Cookbook (2012), 2.6.1; on overflow: Blue, A portable Fortran
    program to find the Euclidean norm of a vector (1978)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

R = Float[Tensor, "*n k"]
Largest = Float[Tensor, "*n 1"]
Y = Float[Tensor, "*n"]


def _largest(r: R) -> Largest:
    """The largest |r_i| of each row, and 1 for a row of zeros or without entries."""
    if r.shape[-1] == 0:
        return r.new_ones(*r.shape[:-1], 1)
    largest = r.abs().amax(-1, keepdim=True)
    return largest.masked_fill(largest == 0, 1.0)


def norm(r: R) -> Y:
    """y = √(Σ r²) along the last axis, (*n, k) to (*n)."""
    largest = _largest(r)
    return largest.squeeze(-1) * (r / largest).square().sum(-1).sqrt()


def back_norm(r: R, out: Y, grad_out: Y) -> R:
    """r̄ = ȳ r / y, and 0 for a row of zeros."""
    length = out.masked_fill(out == 0, 1.0)
    return grad_out[..., None] * (r / length[..., None])


def back_norm_from_r(r: R, grad_out: Y) -> R:
    """A direction has no size, so that of r divided by its largest entry is taken."""
    scaled = r / _largest(r)
    squares = scaled.square().sum(-1, keepdim=True).clamp_min(1)  # less only where all are 0
    return grad_out[..., None] * (scaled * squares.rsqrt())


OP = Op(
    forward=norm,
    backwards=(back_norm, back_norm_from_r),
    samples={
        "rows": lambda rand, n=11, k=7: (rand(n, k),),
        "vector": lambda rand, k=7: (rand(k),),
        "row of zeros": lambda rand, n=11, k=7: (rand(n, k) * (torch.arange(n) > 0)[:, None],),
    },
    wrt=("r",),
    oracle=lambda r: torch.linalg.vector_norm(r, dim=-1),
)
