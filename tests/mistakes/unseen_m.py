"""Homework on reconstruction, polynomials, layer norm and scaled layers."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def reconstruction(x, w):
    """The squared error of x w wᵀ, the mean over rows."""
    return ((x @ w @ w.T - x) ** 2).sum() / len(x)


def back_reconstruction(x, w, grad_out):
    e = 2 * grad_out * (x @ w @ w.T - x) / len(x)
    return e @ w @ w.T - e, x.T @ e @ w + e.T @ x @ w


PCA = Op(
    forward=reconstruction,
    backwards=(back_reconstruction,),
    samples={"rows": lambda rand, n=11, d=7, k=3: (rand(n, d), rand(d, k))},
    wrt=("x", "w"),
)


@mistake(PCA, "missing-branch", "missing-term", of="T8")
def back_pca_decoder_only(x, w, grad_out):
    e = 2 * grad_out * (x @ w @ w.T - x) / len(x)
    return e @ w @ w.T - e, e.T @ x @ w


@mistake(PCA, "missing-branch", "missing-term", of="T8")
def back_pca_target_constant(x, w, grad_out):
    e = 2 * grad_out * (x @ w @ w.T - x) / len(x)
    return e @ w @ w.T, x.T @ e @ w + e.T @ x @ w


@mistake(PCA, "factor", of="T1")
def back_pca_two_forgotten(x, w, grad_out):
    e = grad_out * (x @ w @ w.T - x) / len(x)
    return e @ w @ w.T - e, x.T @ e @ w + e.T @ x @ w


@alternative(PCA)
def back_pca_by_symmetric_product(x, w, grad_out):
    miss = w @ w.T - torch.eye(len(w), dtype=w.dtype, device=w.device)
    scale = 2 * grad_out / len(x)
    s = (x @ miss).T @ x
    return scale * (x @ miss @ miss), scale * ((s + s.T) @ w)


def cubic_fit(c, x, y):
    return ((x[:, None] ** torch.arange(len(c), device=c.device) @ c - y) ** 2).mean()


def back_cubic_fit(c, x, y, grad_out):
    j = torch.arange(len(c), device=c.device)
    e = 2 * grad_out * (x[:, None] ** j @ c - y) / len(x)
    slope = x[:, None] ** (j[1:] - 1) @ (j[1:] * c[1:])
    return (x[:, None] ** j).T @ e, e * slope


POLY = Op(
    forward=cubic_fit,
    backwards=(back_cubic_fit,),
    samples={"points": lambda rand, n=11, k=5: (rand(k), rand(n), rand(n))},
    wrt=("c", "x"),
)


@mistake(POLY, "missing-factor", of="T4")
def back_cubic_exponent_forgotten(c, x, y, grad_out):
    j = torch.arange(len(c), device=c.device)
    e = 2 * grad_out * (x[:, None] ** j @ c - y) / len(x)
    slope = x[:, None] ** (j[1:] - 1) @ c[1:]
    return (x[:, None] ** j).T @ e, e * slope


@mistake(POLY, "broadcast-loss", of="T16")
def back_cubic_column_against_row(c, x, y, grad_out):
    j = torch.arange(len(c), device=c.device)
    e = 2 * grad_out * (x[:, None] ** j @ c[:, None] - y).mean(1) / len(x)
    slope = x[:, None] ** (j[1:] - 1) @ (j[1:] * c[1:])
    return (x[:, None] ** j).T @ e, e * slope


@mistake(POLY, "flipped", of="T21")
def back_cubic_highest_first(c, x, y, grad_out):
    j = torch.arange(len(c), device=c.device)
    e = 2 * grad_out * (x[:, None] ** j @ c - y) / len(x)
    slope = x[:, None] ** (j[1:] - 1) @ (j[1:] * c[1:])
    return (x[:, None] ** j.flip(0)).T @ e, e * slope


@alternative(POLY)
def back_cubic_by_horner(c, x, y, grad_out):
    value, slope = torch.zeros_like(x), torch.zeros_like(x)
    for coefficient in c.flip(0):
        value, slope = value * x + coefficient, slope * x + value
    e = (value - y) * grad_out * (2 / len(x))
    return torch.linalg.vander(x, N=len(c)).T @ e, e * slope


def norm_block(x, gamma, beta, w, *, eps=1e-5):
    """Layer norm, tanh, a linear layer."""
    return torch.tanh(gamma * _normal(x, eps)[0] + beta) @ w


def _normal(x, eps):
    centred = x - x.mean(1, keepdim=True)
    std = ((centred**2).mean(1, keepdim=True) + eps) ** 0.5
    return centred / std, std


def _parts(x, gamma, beta, w, grad_out, eps):
    normal, std = _normal(x, eps)
    a = torch.tanh(gamma * normal + beta)
    return normal, std, a, (grad_out @ w.T) * (1 - a**2)


def back_norm_block(x, gamma, beta, w, grad_out, *, eps=1e-5):
    normal, std, a, d = _parts(x, gamma, beta, w, grad_out, eps)
    g = d * gamma
    dx = g - g.mean(1, keepdim=True) - normal * (g * normal).mean(1, keepdim=True)
    return dx / std, (d * normal).sum(0), d.sum(0), a.T @ grad_out


NORM = Op(
    forward=norm_block,
    backwards=(back_norm_block,),
    samples={
        "rows": lambda rand, n=11, d=7, k=3: (rand(n, d), rand(d), rand(d), rand(d, k)),
    },
    wrt=("x", "gamma", "beta", "w"),
)


@mistake(NORM, "wrong-axis", of="T9")
def back_norm_means_over_rows(x, gamma, beta, w, grad_out, *, eps=1e-5):
    normal, std, a, d = _parts(x, gamma, beta, w, grad_out, eps)
    g = d * gamma
    dx = (g - g.mean(0) - normal * (g * normal).mean(0)) / std
    return dx, (d * normal).sum(0), d.sum(0), a.T @ grad_out


@mistake(NORM, "missing-term", "missing-branch", of="T9")
def back_norm_variance_constant(x, gamma, beta, w, grad_out, *, eps=1e-5):
    normal, std, a, d = _parts(x, gamma, beta, w, grad_out, eps)
    g = d * gamma
    dx = (g - g.mean(1, keepdim=True)) / std
    return dx, (d * normal).sum(0), d.sum(0), a.T @ grad_out


@mistake(NORM, "convention", of="T9")
def back_norm_sample_variance(x, gamma, beta, w, grad_out, *, eps=1e-5):
    normal, std, a, d = _parts(x, gamma, beta, w, grad_out, eps)
    g, k = d * gamma, x.shape[1] - 1
    dx = (g - g.mean(1, keepdim=True) - normal * (g * normal).sum(1, keepdim=True) / k) / std
    return dx, (d * normal).sum(0), d.sum(0), a.T @ grad_out


@mistake(NORM, "missing-factor", of="T9")
def back_norm_not_over_deviation(x, gamma, beta, w, grad_out, *, eps=1e-5):
    normal, _, a, d = _parts(x, gamma, beta, w, grad_out, eps)
    g = d * gamma
    dx = g - g.mean(1, keepdim=True) - normal * (g * normal).mean(1, keepdim=True)
    return dx, (d * normal).sum(0), d.sum(0), a.T @ grad_out


@mistake(NORM, "swapped", of="T21")
def back_norm_gain_and_shift(x, gamma, beta, w, grad_out, *, eps=1e-5):
    dx, dgamma, dbeta, dw = back_norm_block(x, gamma, beta, w, grad_out, eps=eps)
    return dx, dbeta, dgamma, dw


def scaled_layer(x, w, s, b):
    """A linear layer, each row scaled by its own s (n, 1), then a bias."""
    return (x @ w) * s + b


def back_scaled_layer(x, w, s, grad_out):
    d = grad_out * s
    return d @ w.T, x.T @ d, (grad_out * (x @ w)).sum(1, keepdim=True), grad_out.sum(0)


SCALED = Op(
    forward=scaled_layer,
    backwards=(back_scaled_layer,),
    samples={
        "rows": lambda rand, n=7, i=5, o=11: (rand(n, i), rand(i, o), rand(n, 1), rand(o)),
    },
    wrt=("x", "w", "s", "b"),
)


@mistake(SCALED, "not-reduced", of="T2")
def back_scaled_scale_per_entry(x, w, s, grad_out):
    d = grad_out * s
    return d @ w.T, x.T @ d, grad_out * (x @ w), grad_out.sum(0)


@mistake(SCALED, "extra-factor", of="T2")
def back_scaled_bias_scaled_too(x, w, s, grad_out):
    d = grad_out * s
    return d @ w.T, x.T @ d, (grad_out * (x @ w)).sum(1, keepdim=True), d.sum(0)


@mistake(SCALED, "ignores-grad-out", "missing-factor", of="T10")
def back_scaled_scale_without_upstream(x, w, s, grad_out):
    d = grad_out * s
    return d @ w.T, x.T @ d, (x @ w).sum(1, keepdim=True), grad_out.sum(0)


@mistake(SCALED, "shape", of="T2")
def back_scaled_bias_summed_over_columns(x, w, s, grad_out):
    d = grad_out * s
    return d @ w.T, x.T @ d, (grad_out * (x @ w)).sum(1, keepdim=True), grad_out.sum(1)


@mistake(SCALED, "shape", of="T23")
def back_scaled_scale_as_vector(x, w, s, grad_out):
    d = grad_out * s
    return d @ w.T, x.T @ d, (grad_out * (x @ w)).sum(1), grad_out.sum(0)
