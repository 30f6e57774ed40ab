"""Homework on networks: two layers by hand, batch norm as in makemore, residual blocks."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def tanh_regressor(x, w1, b1, w2, b2, y):
    a = torch.tanh(x @ w1 + b1)
    return ((a @ w2 + b2 - y) ** 2).mean()


def back_tanh_regressor(x, w1, b1, w2, b2, y, grad_out):
    a = torch.tanh(x @ w1 + b1)
    e = a @ w2 + b2 - y
    d2 = grad_out * 2 * e / e.numel()
    d1 = (d2 @ w2.T) * (1 - a**2)
    return x.T @ d1, d1.sum(0), a.T @ d2, d2.sum(0)


TANH = Op(
    forward=tanh_regressor,
    backwards=(back_tanh_regressor,),
    samples={
        "rows": lambda rand, n=11, i=5, h=7, o=3: (
            *(rand(n, i), rand(i, h), rand(h), rand(h, o), rand(o), rand(n, o)),
        )
    },
    wrt=("w1", "b1", "w2", "b2"),
)


@mistake(TANH, "wrong-argument", of="T4")
def back_tanh_of_tanh(x, w1, b1, w2, b2, y, grad_out):
    a = torch.tanh(x @ w1 + b1)
    d2 = grad_out * 2 * (a @ w2 + b2 - y) / y.numel()
    d1 = (d2 @ w2.T) * (1 - torch.tanh(a) ** 2)
    return x.T @ d1, d1.sum(0), a.T @ d2, d2.sum(0)


@mistake(TANH, "sum-for-mean", of="T1")
def back_tanh_mean_over_rows_only(x, w1, b1, w2, b2, y, grad_out):
    a = torch.tanh(x @ w1 + b1)
    d2 = grad_out * 2 * (a @ w2 + b2 - y) / len(x)
    d1 = (d2 @ w2.T) * (1 - a * a)
    return x.T @ d1, d1.sum(0), a.T @ d2, d2.sum(0)


@mistake(TANH, "stale-weights", "not-linear", of="T15")
def back_tanh_after_step(x, w1, b1, w2, b2, y, grad_out):
    a = torch.tanh(x @ w1 + b1)
    d2 = grad_out * 2 * (a @ w2 + b2 - y) / y.numel()
    grad_w2 = a.T @ d2
    w2 = w2 - 0.5 * grad_w2
    d1 = (d2 @ w2.T) * (1 - a * a)
    return x.T @ d1, d1.sum(0), grad_w2, d2.sum(0)


@mistake(TANH, "mean-for-sum", of="T2")
def back_tanh_hidden_bias_averaged(x, w1, b1, w2, b2, y, grad_out):
    a = torch.tanh(x @ w1 + b1)
    d2 = grad_out * 2 * (a @ w2 + b2 - y) / y.numel()
    d1 = (d2 @ w2.T) * (1 - a * a)
    return x.T @ d1, d1.mean(0), a.T @ d2, d2.sum(0)


@mistake(TANH, "ignores-grad-out", "missing-factor", of="T10")
def back_tanh_output_bias_without_upstream(x, w1, b1, w2, b2, y, grad_out):
    a = torch.tanh(x @ w1 + b1)
    e = 2 * (a @ w2 + b2 - y) / y.numel()
    d1 = grad_out * (e @ w2.T) * (1 - a * a)
    return x.T @ d1, d1.sum(0), grad_out * (a.T @ e), e.sum(0)


@mistake(TANH, "wrong-argument", of="T21")
def back_tanh_outer_weights_from_preactivation(x, w1, b1, w2, b2, y, grad_out):
    z = x @ w1 + b1
    a = torch.tanh(z)
    d2 = grad_out * 2 * (a @ w2 + b2 - y) / y.numel()
    d1 = (d2 @ w2.T) * (1 - a * a)
    return x.T @ d1, d1.sum(0), z.T @ d2, d2.sum(0)


@alternative(TANH)
def back_tanh_by_vectors(x, w1, b1, w2, b2, y, grad_out):
    grads = [torch.zeros_like(p) for p in (w1, b1, w2, b2)]
    for row, target in zip(x, y, strict=True):
        z = row @ w1 + b1
        d2 = (torch.tanh(z) @ w2 + b2 - target) * (2 * grad_out / y.numel())
        d1 = (w2 @ d2) / torch.cosh(z) ** 2
        for grad, add in zip(
            grads, (torch.outer(row, d1), d1, torch.outer(torch.tanh(z), d2), d2), strict=True
        ):
            grad += add
    return tuple(grads)


def ninja(x, w1, gamma, beta, w2, b2, y):
    return -_ninja(x, w1, gamma, beta, w2, b2)[-1][torch.arange(len(x)), y].log().mean()


def _ninja(x, w1, gamma, beta, w2, b2):
    z = x @ w1
    diff = z - z.mean(0)
    inv = ((diff**2).sum(0) / (len(x) - 1) + 1e-5) ** -0.5
    h = torch.tanh(gamma * diff * inv + beta)
    logits = h @ w2 + b2
    counts = (logits - logits.max(1, keepdim=True).values).exp()
    return diff, inv, h, counts / counts.sum(1, keepdim=True)


def _dlogits(probs, y, grad_out):
    dlogits = probs.clone()
    dlogits[torch.arange(len(y)), y] -= 1
    return dlogits * grad_out / len(y)


def _bn_back(dpre, diff, inv, gamma):
    ddiff = dpre * gamma * inv
    dvar = (-0.5 * inv**3 * diff * dpre * gamma).sum(0)
    ddiff = ddiff + 2 * diff * dvar / (len(diff) - 1)
    return ddiff - ddiff.mean(0)


def back_ninja(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = _dlogits(probs, y, grad_out)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dz = _bn_back(dpre, diff, inv, gamma)
    return x.T @ dz, (dpre * diff * inv).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


NINJA = Op(
    forward=ninja,
    backwards=(back_ninja,),
    samples={
        "rows": lambda rand, n=11, i=5, h=7, k=3: (
            *(rand(n, i), rand(i, h), rand(h), rand(h), rand(h, k), rand(k)),
            rand.integers(k, n),
        )
    },
    wrt=("w1", "gamma", "beta", "w2", "b2"),
)


@mistake(NINJA, "convention", of="T9")
def back_ninja_biased_variance(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = _dlogits(probs, y, grad_out)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    raw = diff * inv
    dz = gamma * inv * (dpre - dpre.mean(0) - raw * (dpre * raw).mean(0))
    return x.T @ dz, (dpre * raw).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@mistake(NINJA, "missing-branch", "missing-term", of="T9")
def back_ninja_variance_taken_as_constant(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = _dlogits(probs, y, grad_out)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dz = gamma * inv * (dpre - dpre.mean(0))
    return x.T @ dz, (dpre * diff * inv).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@mistake(NINJA, "missing-branch", "missing-term", of="T9")
def back_ninja_mean_forgotten(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = _dlogits(probs, y, grad_out)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dvar = (-0.5 * inv**3 * diff * dpre * gamma).sum(0)
    dz = dpre * gamma * inv + 2 * diff * dvar / (len(x) - 1)
    return x.T @ dz, (dpre * diff * inv).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@mistake(NINJA, "missing-branch", "missing-term", of="T3")
def back_ninja_counts_sum_forgotten(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dprobs = torch.zeros_like(probs)
    dprobs[torch.arange(len(y)), y] = -grad_out / len(y) / probs[torch.arange(len(y)), y]
    dlogits = probs * dprobs  # counts * counts_sum_inv * dprobs
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dz = _bn_back(dpre, diff, inv, gamma)
    return x.T @ dz, (dpre * diff * inv).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@mistake(NINJA, "overwritten", of="T8")
def back_ninja_target_set_to_minus_one(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = probs.clone()
    dlogits[torch.arange(len(y)), y] = -1
    dlogits *= grad_out / len(y)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dz = _bn_back(dpre, diff, inv, gamma)
    return x.T @ dz, (dpre * diff * inv).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@mistake(NINJA, "wrong-argument", of="T9")
def back_ninja_gain_from_centred(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = _dlogits(probs, y, grad_out)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dz = _bn_back(dpre, diff, inv, gamma)
    return x.T @ dz, (dpre * diff).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@mistake(NINJA, "missing-factor", of="T9")
def back_ninja_gain_forgotten(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    dlogits = _dlogits(probs, y, grad_out)
    dpre = (dlogits @ w2.T) * (1 - h**2)
    dz = _bn_back(dpre, diff, inv, torch.ones_like(gamma))
    return x.T @ dz, (dpre * diff * inv).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


@alternative(NINJA)
def back_ninja_every_line(x, w1, gamma, beta, w2, b2, y, grad_out):
    diff, inv, h, probs = _ninja(x, w1, gamma, beta, w2, b2)
    n, rows = len(x), torch.arange(len(x))
    counts = (h @ w2 + b2).exp()
    dprobs = torch.zeros_like(probs)
    dprobs[rows, y] = -grad_out / n / probs[rows, y]
    dsum_inv = (counts * dprobs).sum(1, keepdim=True)
    total = counts.sum(1, keepdim=True)
    dlogits = (dprobs / total - dsum_inv / total**2) * counts
    dpre = (dlogits @ w2.T) * (1 - h**2)
    raw = diff * inv
    correction = n / (n - 1) * raw * (dpre * raw).sum(0)
    dz = gamma * inv / n * (n * dpre - dpre.sum(0) - correction)
    return x.T @ dz, (dpre * raw).sum(0), dpre.sum(0), h.T @ dlogits, dlogits.sum(0)


def sigmoid_classifier(x, w1, b1, w2, b2, y):
    p = torch.sigmoid(torch.sigmoid(x @ w1 + b1) @ w2 + b2)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def back_sigmoid_classifier(x, w1, b1, w2, b2, y, grad_out):
    h = torch.sigmoid(x @ w1 + b1)
    e = grad_out * (torch.sigmoid(h @ w2 + b2) - y) / len(x)
    d1 = torch.outer(e, w2) * h * (1 - h)
    return x.T @ d1, d1.sum(0), h.T @ e, e.sum()


BCE = Op(
    forward=sigmoid_classifier,
    backwards=(back_sigmoid_classifier,),
    samples={
        "rows": lambda rand, n=13, i=5, h=7: (
            *(rand(n, i), rand(i, h), rand(h), rand(h), rand()),
            rand.integers(2, n),
        )
    },
    wrt=("w1", "b1", "w2", "b2"),
)


@mistake(BCE, "extra-factor", of="T5")
def back_bce_sigmoid_once_more(x, w1, b1, w2, b2, y, grad_out):
    h = torch.sigmoid(x @ w1 + b1)
    p = torch.sigmoid(h @ w2 + b2)
    e = grad_out * (p - y) / len(x) * p * (1 - p)
    d1 = torch.outer(e, w2) * h * (1 - h)
    return x.T @ d1, d1.sum(0), h.T @ e, e.sum()


@mistake(BCE, "missing-factor", "wrong-variable", of="T5")
def back_bce_stops_at_probability(x, w1, b1, w2, b2, y, grad_out):
    h = torch.sigmoid(x @ w1 + b1)
    p = torch.sigmoid(h @ w2 + b2)
    e = -grad_out * (y / p - (1 - y) / (1 - p)) / len(x)
    d1 = torch.outer(e, w2) * h * (1 - h)
    return x.T @ d1, d1.sum(0), h.T @ e, e.sum()


@mistake(BCE, "wrong-argument", of="T4")
def back_bce_hidden_of_preactivation(x, w1, b1, w2, b2, y, grad_out):
    z = x @ w1 + b1
    h = torch.sigmoid(z)
    e = grad_out * (torch.sigmoid(h @ w2 + b2) - y) / len(x)
    d1 = torch.outer(e, w2) * z * (1 - z)
    return x.T @ d1, d1.sum(0), h.T @ e, e.sum()


@mistake(BCE, "broadcast-loss", of="T16")
def back_bce_column_against_row(x, w1, b1, w2, b2, y, grad_out):
    h = torch.sigmoid(x @ w1 + b1)
    p = torch.sigmoid(h @ w2[:, None] + b2)
    e = grad_out * (p - y).mean(1) / len(x)
    d1 = torch.outer(e, w2) * h * (1 - h)
    return x.T @ d1, d1.sum(0), h.T @ e, e.sum()


@mistake(BCE, "convention", of="T19")
def back_bce_labels_plus_minus_one(x, w1, b1, w2, b2, y, grad_out):
    h = torch.sigmoid(x @ w1 + b1)
    e = grad_out * (torch.sigmoid(h @ w2 + b2) - (2 * y - 1)) / len(x)
    d1 = torch.outer(e, w2) * h * (1 - h)
    return x.T @ d1, d1.sum(0), h.T @ e, e.sum()
