"""Losses that one writes by hand, and models that end in one."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op

from . import alternative, mistake


def focal(z, t):
    p = torch.sigmoid(z)
    q = torch.where(t == 1, p, 1 - p)
    return -((1 - q) ** 2 * q.log()).mean()


def _focal(z, t):
    p = torch.sigmoid(z)
    return p, torch.where(t == 1, p, 1 - p), 2 * t - 1


def back_focal(z, t, grad_out):
    p, q, sign = _focal(z, t)
    dq = 2 * (1 - q) * q.log() - (1 - q) ** 2 / q
    return grad_out / len(z) * dq * sign * p * (1 - p)


FOCAL = Op(
    forward=focal,
    backwards=(back_focal,),
    samples={"rows": lambda rand, n=13: (rand(n), rand.integers(2, n))},
    wrt=("z",),
)


@mistake(FOCAL, "missing-term", "missing-branch", of="T5")
def back_focal_weight_held_fixed(z, t, grad_out):
    p, q, sign = _focal(z, t)
    dq = -((1 - q) ** 2) / q
    return grad_out / len(z) * dq * sign * p * (1 - p)


@mistake(FOCAL, "subset", "missing-factor", "sign", of="T19")
def back_focal_negatives_as_positives(z, t, grad_out):
    p, q, _ = _focal(z, t)
    dq = 2 * (1 - q) * q.log() - (1 - q) ** 2 / q
    return grad_out / len(z) * dq * p * (1 - p)


@mistake(FOCAL, "wrong-variable", "missing-factor", of="T5")
def back_focal_to_probabilities(z, t, grad_out):
    _p, q, sign = _focal(z, t)
    dq = 2 * (1 - q) * q.log() - (1 - q) ** 2 / q
    return grad_out / len(z) * dq * sign


@mistake(FOCAL, "sign", of="T7")
def back_focal_weight_grows(z, t, grad_out):
    p, q, sign = _focal(z, t)
    dq = -2 * (1 - q) * q.log() - (1 - q) ** 2 / q
    return grad_out / len(z) * dq * sign * p * (1 - p)


@alternative(FOCAL)
def back_focal_in_the_margin(z, t, grad_out):
    sign = 2 * t - 1
    m = z * sign
    q = torch.sigmoid(m)
    rest = torch.sigmoid(-m)
    return sign * rest**2 * (2 * q * F.logsigmoid(m) - rest) * (grad_out / len(z))


def triplet(a, p, q):
    return torch.relu(_gap(a, p, q)).mean()


def _gap(a, p, q):
    return ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1) + 1


def back_triplet(a, p, q, grad_out):
    k = 2 * grad_out / len(a) * (_gap(a, p, q) > 0)[:, None]
    return k * (q - p), k * (p - a), k * (a - q)


TRIPLET = Op(
    forward=triplet,
    backwards=(back_triplet,),
    samples={
        "rows": lambda rand, n=13, d=5: (rand(n, d) / 3, rand(n, d) / 3, rand(n, d) / 3),
    },
    wrt=("a", "p", "q"),
)


@mistake(TRIPLET, "mask", of="T19")
def back_triplet_mask_without_margin(a, p, q, grad_out):
    k = 2 * grad_out / len(a) * (_gap(a, p, q) > 1)[:, None]
    return k * (q - p), k * (p - a), k * (a - q)


@mistake(TRIPLET, "missing-branch", of="T8")
def back_triplet_anchor_pulled_only(a, p, q, grad_out):
    k = 2 * grad_out / len(a) * (_gap(a, p, q) > 0)[:, None]
    return k * (a - p), k * (p - a), k * (a - q)


@mistake(TRIPLET, "sign", of="T7")
def back_triplet_anchor_pushed_wrongly(a, p, q, grad_out):
    k = 2 * grad_out / len(a) * (_gap(a, p, q) > 0)[:, None]
    return k * ((a - p) + (a - q)), k * (p - a), k * (a - q)


@mistake(TRIPLET, "convention", "factor", of="T1")
def back_triplet_mean_over_active(a, p, q, grad_out):
    active = _gap(a, p, q) > 0
    k = 2 * grad_out / active.sum().clamp(min=1) * active[:, None]
    return k * (q - p), k * (p - a), k * (a - q)


def cosine_loss(u, v):
    return 1 - (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1))


def _cosine(u, v):
    nu, nv = u.norm(dim=1, keepdim=True), v.norm(dim=1, keepdim=True)
    a, b = u / nu, v / nv
    return nu, nv, a, b, (a * b).sum(1, keepdim=True)


def back_cosine_loss(u, v, grad_out):
    nu, nv, a, b, c = _cosine(u, v)
    g = -grad_out[:, None]
    return g * (b - c * a) / nu, g * (a - c * b) / nv


COSINE = Op(
    forward=cosine_loss,
    backwards=(back_cosine_loss,),
    samples={"rows": lambda rand, n=11, d=7: (rand(n, d), rand(n, d))},
    wrt=("u", "v"),
)


@mistake(COSINE, "missing-term", "missing-branch", of="T9")
def back_cosine_norms_held_fixed(u, v, grad_out):
    nu, nv, a, b, _ = _cosine(u, v)
    g = -grad_out[:, None]
    return g * b / nu, g * a / nv


@mistake(COSINE, "wrong-argument", of="T21")
def back_cosine_norms_swapped(u, v, grad_out):
    nu, nv, a, b, c = _cosine(u, v)
    g = -grad_out[:, None]
    return g * (b - c * a) / nv, g * (a - c * b) / nu


@mistake(COSINE, "swapped", of="T21")
def back_cosine_slots_swapped(u, v, grad_out):
    nu, nv, a, b, c = _cosine(u, v)
    g = -grad_out[:, None]
    return g * (a - c * b) / nv, g * (b - c * a) / nu


@mistake(COSINE, "raises", of="T23")
def back_cosine_upstream_taken_for_a_column(u, v, grad_out):
    nu, nv, a, b, c = _cosine(u, v)
    return -grad_out * (b - c * a) / nu, -grad_out * (a - c * b) / nv


def smoothed_cross_entropy(z, y):
    logp = z - z.logsumexp(1, keepdim=True)
    picked = logp.gather(1, y[:, None]).squeeze(1)
    return -(0.9 * picked + 0.1 * logp.mean(1)).mean()


def back_smoothed_cross_entropy(z, y, grad_out):
    n, k = z.shape
    target = F.one_hot(y, k).to(z.dtype) * 0.9 + 0.1 / k
    return grad_out / n * (torch.softmax(z, 1) - target)


SMOOTHED = Op(
    forward=smoothed_cross_entropy,
    backwards=(back_smoothed_cross_entropy,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand.integers(k, n))},
    wrt=("z",),
)


@mistake(SMOOTHED, "missing-term", of="T5")
def back_smoothed_uniform_part_forgotten(z, y, grad_out):
    target = F.one_hot(y, z.shape[1]).to(z.dtype) * 0.9
    return grad_out / len(z) * (torch.softmax(z, 1) - target)


@mistake(SMOOTHED, "convention", of="T5")
def back_smoothed_over_the_other_classes(z, y, grad_out):
    n, k = z.shape
    hot = F.one_hot(y, k).to(z.dtype)
    target = hot * 0.9 + (1 - hot) * 0.1 / (k - 1)
    return grad_out / n * (torch.softmax(z, 1) - target)


@mistake(SMOOTHED, "wrong-axis", of="T3")
def back_smoothed_softmax_over_the_batch(z, y, grad_out):
    n, k = z.shape
    target = F.one_hot(y, k).to(z.dtype) * 0.9 + 0.1 / k
    return grad_out / n * (torch.softmax(z, 0) - target)


@mistake(SMOOTHED, "sum-for-mean", of="T1")
def back_smoothed_not_averaged(z, y, grad_out):
    target = F.one_hot(y, z.shape[1]).to(z.dtype) * 0.9 + 0.1 / z.shape[1]
    return grad_out * (torch.softmax(z, 1) - target)


@alternative(SMOOTHED)
def back_smoothed_by_rows(z, y, grad_out):
    e = (z - z.amax(1, keepdim=True)).exp()
    p = e / e.sum(1, keepdim=True)
    p[torch.arange(len(z)), y] -= 0.9
    return (p - 0.1 / z.shape[1]) * grad_out / len(z)


def gaussian_nll(mu, s, y):
    return (0.5 * (s + (y - mu) ** 2 * (-s).exp())).mean()


def back_gaussian_nll(mu, s, y, grad_out):
    g, r, inv = grad_out / mu.numel(), y - mu, (-s).exp()
    return -g * r * inv, 0.5 * g * (1 - r**2 * inv)


GAUSSIAN = Op(
    forward=gaussian_nll,
    backwards=(back_gaussian_nll,),
    samples={"rows": lambda rand, n=11, d=3: (rand(n, d), rand(n, d), rand(n, d))},
    wrt=("mu", "s"),
)


@mistake(GAUSSIAN, "missing-term", "missing-branch", of="T5")
def back_gaussian_log_term_forgotten(mu, s, y, grad_out):
    g, r, inv = grad_out / mu.numel(), y - mu, (-s).exp()
    return -g * r * inv, -0.5 * g * r**2 * inv


@mistake(GAUSSIAN, "sign", of="T7")
def back_gaussian_precision_grows(mu, s, y, grad_out):
    g, r, inv = grad_out / mu.numel(), y - mu, (-s).exp()
    return -g * r * inv, 0.5 * g * (1 + r**2 * inv)


@mistake(GAUSSIAN, "wrong-variable", "extra-factor", of="T5")
def back_gaussian_to_the_variance(mu, s, y, grad_out):
    g, r, inv = grad_out / mu.numel(), y - mu, (-s).exp()
    return -g * r * inv, 0.5 * g * (inv - r**2 * inv**2)


@mistake(GAUSSIAN, "wrong-argument", of="T4")
def back_gaussian_variance_for_precision(mu, s, y, grad_out):
    g, r, inv = grad_out / mu.numel(), y - mu, s.exp()
    return -g * r * inv, 0.5 * g * (1 - r**2 * inv)
