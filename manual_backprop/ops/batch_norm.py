"""batch_norm: every column to mean 0 and variance 1 over the batch, then scaled and shifted.

    y = γ x̂ + β                        x and y (n, k), γ and β (k)
    x̂ = (x - μ) / σ                    μ = 1/n Σ x,  σ = √(1/n Σ (x - μ)² + ε), over the n rows

Derivation
    dx̂ = (dx - dμ - x̂ dσ) / σ              of a column, with dμ = 1/n Σ dx and dσ = 1/n Σ x̂ dx,
    dL = Σ ȳ (γ dx̂ + x̂ dγ + dβ)            is felt by the loss;
       = Σ γ/σ (ȳ - 1/n Σ ȳ - x̂ 1/n Σ ȳ x̂) dx + (Σ ȳ x̂) dγ + (Σ ȳ) dβ     collect each,
    x̄ = γ/σ (ȳ - 1/n Σ ȳ - x̂ 1/n Σ ȳ x̂)      γ̄ = Σ ȳ x̂      β̄ = Σ ȳ      and read them off.

Every x moves μ and σ, and those move every row: to drop either path is the usual mistake, and with
a ȳ of ones, where x̄ is 0, it does not show. This is training: μ and σ are the batch's own. The
variance is that of n and not n - 1, which PyTorch takes for its running variance and a well-known
exercise (of makemore) throughout. A single row has x̂ = 0 and x̄ = 0; PyTorch's layer refuses it.
σ is had from the norm of x - μ, for squares overflow in float16 above 255.

Read first: lin, mse, softmax
Source: Ioffe, Szegedy, Batch normalization: accelerating deep network training by reducing internal
    covariate shift (2015), 3
"""

import torch
from jaxtyping import Float
from torch import Tensor

from manual_backprop.op import Op

X = Float[Tensor, "n k"]
Gamma = Float[Tensor, " k"]
Beta = Float[Tensor, " k"]
Sigma = Float[Tensor, " k"]


def batch_norm(x: X, gamma: Gamma, beta: Beta, *, eps: float = 1e-5) -> X:
    """y = γ (x - μ) / σ + β, (n, k) to (n, k)."""
    normal, _ = _normalised(x, eps)
    return gamma * normal + beta


def _normalised(x: X, eps: float) -> tuple[X, Sigma]:
    """x̂ and σ."""
    centred = x - x.mean(0)
    spread = torch.linalg.vector_norm(centred, dim=0) / max(len(x), 1) ** 0.5
    sigma = torch.hypot(spread, torch.full_like(spread, eps**0.5))
    return centred / sigma, sigma


def back_batch_norm(x: X, gamma: Gamma, grad_out: X, *, eps: float = 1e-5) -> tuple[X, Gamma, Beta]:
    """x̄ = γ/σ (ȳ - mean ȳ - x̂ mean ȳ x̂), γ̄ = Σ ȳ x̂, β̄ = Σ ȳ."""
    normal, sigma = _normalised(x, eps)
    weighted = grad_out * normal
    grad_x = gamma / sigma * (grad_out - grad_out.mean(0) - normal * weighted.mean(0))
    return grad_x, weighted.sum(0), grad_out.sum(0)


def back_batch_norm_steps(
    x: X, gamma: Gamma, grad_out: X, *, eps: float = 1e-5
) -> tuple[X, Gamma, Beta]:
    """Shift, scale, divide, root, variance, centre, each undone in turn; x̄ from three paths."""
    n = max(len(x), 1)
    normal, sigma = _normalised(x, eps)
    centred = normal * sigma
    grad_beta = grad_out.sum(0)  # y = γ x̂ + β
    grad_gamma = (grad_out * normal).sum(0)
    grad_normal = grad_out * gamma
    grad_centred = grad_normal / sigma  # x̂ = centred / σ
    grad_sigma = -(grad_centred * normal).sum(0)
    grad_var = grad_sigma / (2 * sigma)  # σ = √(v + ε)
    grad_centred = grad_centred + 2 * centred * grad_var / n  # v = 1/n Σ centred²
    grad_mean = -grad_centred.sum(0)  # centred = x - μ
    grad_x = grad_centred + grad_mean / n  # μ = 1/n Σ x
    return grad_x, grad_gamma, grad_beta


OP = Op(
    forward=batch_norm,
    backwards=(back_batch_norm, back_batch_norm_steps),
    samples={
        "rows": lambda rand, n=11, k=7: (rand(n, k), rand(k), rand(k)),
        "large eps": lambda rand, n=5, k=3: ((rand(n, k), rand(k), rand(k)), {"eps": 0.5}),
    },
    wrt=("x", "gamma", "beta"),
    oracle=lambda x, gamma, beta, *, eps=1e-5: (
        torch.batch_norm(x, gamma, beta, None, None, True, 0.0, eps, False)
        if len(gamma)
        else x * gamma + beta  # without columns PyTorch raises
    ),
)
