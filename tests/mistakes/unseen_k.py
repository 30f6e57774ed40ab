"""Homework on dropout, convolution, twins, variational bounds and policy gradients."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def dropout_net(x, w1, b1, w2, keep, y, *, p=0.4):
    """Half the squared error of each row, (n)."""
    h = torch.relu(x @ w1 + b1) * keep / (1 - p)
    return 0.5 * ((h @ w2 - y) ** 2).sum(1)


def back_dropout_net(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    z = x @ w1 + b1
    h = z.clamp(min=0) * keep / (1 - p)
    d = grad_out[:, None] * (h @ w2 - y)
    dz = (d @ w2.T) * keep / (1 - p) * (z > 0)
    return x.T @ dz, dz.sum(0), h.T @ d


DROPOUT = Op(
    forward=dropout_net,
    backwards=(back_dropout_net,),
    samples={
        "rows": lambda rand, n=11, i=5, h=7, o=3: (
            *(rand(n, i), rand(i, h), rand(h), rand(h, o)),
            *(rand.integers(2, n, h), rand(n, o)),
        )
    },
    wrt=("w1", "b1", "w2"),
)


@mistake(DROPOUT, "factor", "missing-factor", of="T17")
def back_dropout_not_rescaled(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    z = x @ w1 + b1
    h = z.clamp(min=0) * keep / (1 - p)
    d = grad_out[:, None] * (h @ w2 - y)
    dz = (d @ w2.T) * keep * (z > 0)
    return x.T @ dz, dz.sum(0), h.T @ d


@mistake(DROPOUT, "mask", of="T17")
def back_dropout_mask_forgotten(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    z = x @ w1 + b1
    h = z.clamp(min=0) * keep / (1 - p)
    d = grad_out[:, None] * (h @ w2 - y)
    dz = (d @ w2.T) / (1 - p) * (z > 0)
    return x.T @ dz, dz.sum(0), h.T @ d


@mistake(DROPOUT, "not-repeatable", of="T17")
def back_dropout_drawn_anew(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    z = x @ w1 + b1
    h = z.clamp(min=0) * keep / (1 - p)
    d = grad_out[:, None] * (h @ w2 - y)
    dz = torch.nn.functional.dropout((d @ w2.T) * (z > 0), p)
    return x.T @ dz, dz.sum(0), h.T @ d


@mistake(DROPOUT, "wrong-axis", of="T23")
def back_dropout_upstream_averaged(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    z = x @ w1 + b1
    h = z.clamp(min=0) * keep / (1 - p)
    d = grad_out.mean() * (h @ w2 - y)
    dz = (d @ w2.T) * keep / (1 - p) * (z > 0)
    return x.T @ dz, dz.sum(0), h.T @ d


@mistake(DROPOUT, "raises", of="T23")
def back_dropout_upstream_against_columns(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    z = x @ w1 + b1
    h = z.clamp(min=0) * keep / (1 - p)
    d = grad_out * (h @ w2 - y)
    dz = (d @ w2.T) * keep / (1 - p) * (z > 0)
    return x.T @ dz, dz.sum(0), h.T @ d


@alternative(DROPOUT)
def back_dropout_mask_of_what_came_out(x, w1, b1, w2, keep, y, grad_out, *, p=0.4):
    h = torch.relu(x @ w1 + b1) * (keep.to(x.dtype) / (1 - p))
    d = torch.diag(grad_out) @ (h @ w2 - y)
    dz = d @ w2.T * (h > 0) / (1 - p)
    return x.T @ dz, dz.sum(0), h.T @ d


def conv_pool(x, w, b):
    """A filter along each row, ReLU, the larger of every two neighbours."""
    z = x.unfold(1, len(w), 1) @ w + b
    return torch.relu(_pairs(z)).amax(2)


def _pairs(z):
    return z[:, : z.shape[1] // 2 * 2].unflatten(1, (-1, 2))


def _unpooled(z, grad_out):
    pairs = _pairs(z)
    won = torch.nn.functional.one_hot(pairs.argmax(2), 2) * (pairs > 0)
    dz = torch.zeros_like(z)
    dz[:, : z.shape[1] // 2 * 2] = (won * grad_out[:, :, None]).flatten(1)
    return dz


def back_conv_pool(x, w, b, grad_out):
    dz = _unpooled(x.unfold(1, len(w), 1) @ w + b, grad_out)
    grad_x, grad_w, length = torch.zeros_like(x), torch.zeros_like(w), dz.shape[1]
    for j in range(len(w)):
        grad_x[:, j : j + length] += dz * w[j]
        grad_w[j] = (dz * x[:, j : j + length]).sum()
    return grad_x, grad_w, dz.sum()


CONV_POOL = Op(
    forward=conv_pool,
    backwards=(back_conv_pool,),
    samples={"rows": lambda rand, n=7, length=13, k=3: (rand(n, length), rand(k), rand())},
    wrt=("x", "w", "b"),
)


@mistake(CONV_POOL, "flipped", "wrong-argument", of="T18")
def back_conv_kernel_turned_for_input(x, w, b, grad_out):
    dz = _unpooled(x.unfold(1, len(w), 1) @ w + b, grad_out)
    grad_x, grad_w, length = torch.zeros_like(x), torch.zeros_like(w), dz.shape[1]
    for j in range(len(w)):
        grad_x[:, j : j + length] += dz * w[len(w) - 1 - j]
        grad_w[j] = (dz * x[:, j : j + length]).sum()
    return grad_x, grad_w, dz.sum()


@mistake(CONV_POOL, "flipped", of="T18")
def back_conv_kernel_gradient_turned(x, w, b, grad_out):
    grad_x, grad_w, grad_b = back_conv_pool(x, w, b, grad_out)
    return grad_x, grad_w.flip(0), grad_b


@mistake(CONV_POOL, "overwritten", of="T8")
def back_conv_overlaps_assigned(x, w, b, grad_out):
    dz = _unpooled(x.unfold(1, len(w), 1) @ w + b, grad_out)
    grad_x, grad_w, length = torch.zeros_like(x), torch.zeros_like(w), dz.shape[1]
    for j in range(len(w)):
        grad_x[:, j : j + length] = dz * w[j]
        grad_w[j] = (dz * x[:, j : j + length]).sum()
    return grad_x, grad_w, dz.sum()


@mistake(CONV_POOL, "mask", of="T12")
def back_conv_both_of_a_pair_win(x, w, b, grad_out):
    z = x.unfold(1, len(w), 1) @ w + b
    both = torch.zeros_like(z)
    both[:, : z.shape[1] // 2 * 2] = grad_out.repeat_interleave(2, 1)
    dz = both * (z > 0)
    grad_x = sum(torch.nn.functional.pad(dz * w[j], (j, len(w) - 1 - j)) for j in range(len(w)))
    return grad_x, torch.einsum("nl,nlk->k", dz, x.unfold(1, len(w), 1)), dz.sum()


@alternative(CONV_POOL)
def back_conv_by_padding(x, w, b, grad_out):
    windows = x.unfold(1, len(w), 1)
    dz = _unpooled(windows @ w + b, grad_out)
    k = len(w)
    grad_x = torch.nn.functional.pad(dz, (k - 1, k - 1)).unfold(1, k, 1) @ w.flip(0)
    return grad_x, torch.einsum("nl,nlk->k", dz, windows), dz.sum()


def twins(a, b, w, same, *, margin=4.0):
    """The mean of D² where they are the same, (margin - D)₊² where not; D = |a w - b w|."""
    dist = torch.linalg.vector_norm(a @ w - b @ w, dim=1)
    return (same * dist**2 + (1 - same) * (margin - dist).clamp(min=0) ** 2).mean()


def back_twins(a, b, w, same, grad_out, *, margin=4.0):
    diff = a @ w - b @ w
    dist = torch.linalg.vector_norm(diff, dim=1)
    pull = 2 * same - 2 * (1 - same) * (margin - dist).clamp(min=0) / dist
    d = (pull * grad_out / len(a))[:, None] * diff
    return d @ w.T, -d @ w.T, a.T @ d - b.T @ d


TWINS = Op(
    forward=twins,
    backwards=(back_twins,),
    samples={
        "pairs": lambda rand, n=13, i=5, d=7: (
            *(rand(n, i), rand(n, i), rand(i, d) / 2, rand.integers(2, n)),
        )
    },
    wrt=("a", "b", "w"),
)


@mistake(TWINS, "sign", of="T7")
def back_twins_second_added(a, b, w, same, grad_out, *, margin=4.0):
    diff = a @ w - b @ w
    dist = torch.linalg.vector_norm(diff, dim=1)
    pull = 2 * same - 2 * (1 - same) * (margin - dist).clamp(min=0) / dist
    d = (pull * grad_out / len(a))[:, None] * diff
    return d @ w.T, -d @ w.T, a.T @ d + b.T @ d


@mistake(TWINS, "missing-branch", "missing-term", of="T8")
def back_twins_weights_of_first_only(a, b, w, same, grad_out, *, margin=4.0):
    diff = a @ w - b @ w
    dist = torch.linalg.vector_norm(diff, dim=1)
    pull = 2 * same - 2 * (1 - same) * (margin - dist).clamp(min=0) / dist
    d = (pull * grad_out / len(a))[:, None] * diff
    return d @ w.T, -d @ w.T, a.T @ d


@mistake(TWINS, "mask", "subset", of="T19")
def back_twins_pushed_beyond_margin(a, b, w, same, grad_out, *, margin=4.0):
    diff = a @ w - b @ w
    dist = torch.linalg.vector_norm(diff, dim=1)
    pull = 2 * same - 2 * (1 - same) * (margin - dist) / dist
    d = (pull * grad_out / len(a))[:, None] * diff
    return d @ w.T, -d @ w.T, a.T @ d - b.T @ d


@mistake(TWINS, "missing-factor", "subset", of="T5")
def back_twins_not_over_distance(a, b, w, same, grad_out, *, margin=4.0):
    diff = a @ w - b @ w
    dist = torch.linalg.vector_norm(diff, dim=1)
    pull = 2 * same - 2 * (1 - same) * (margin - dist).clamp(min=0)
    d = (pull * grad_out / len(a))[:, None] * diff
    return d @ w.T, -d @ w.T, a.T @ d - b.T @ d


@mistake(TWINS, "aliases", "sign", of="T22")
def back_twins_negated_in_place(a, b, w, same, grad_out, *, margin=4.0):
    diff = a @ w - b @ w
    dist = torch.linalg.vector_norm(diff, dim=1)
    pull = 2 * same - 2 * (1 - same) * (margin - dist).clamp(min=0) / dist
    d = (pull * grad_out / len(a))[:, None] * diff
    grad_a = d @ w.T
    return grad_a, grad_a.neg_(), a.T @ d - b.T @ d


def bound(x, wm, ws, wd, noise):
    """Half the squared error of a draw's reconstruction plus KL to N(0, 1), mean over rows."""
    mu, log_var = x @ wm, x @ ws
    miss = (mu + (log_var / 2).exp() * noise) @ wd - x
    kl = (mu**2 + log_var.exp() - 1 - log_var).sum()
    return ((miss**2).sum() + kl) / (2 * len(x))


def back_bound(x, wm, ws, wd, noise, grad_out):
    g = grad_out / len(x)
    mu, log_var = x @ wm, x @ ws
    std = (log_var / 2).exp()
    z = mu + std * noise
    e = g * (z @ wd - x)
    dz = e @ wd.T
    dlog_var = dz * noise * std / 2 + g * (std**2 - 1) / 2
    return x.T @ (dz + g * mu), x.T @ dlog_var, z.T @ e


BOUND = Op(
    forward=bound,
    backwards=(back_bound,),
    samples={
        "rows": lambda rand, n=11, i=7, z=3: (
            *(rand(n, i), rand(i, z), rand(i, z) / 3, rand(z, i), rand(n, z)),
        )
    },
    wrt=("wm", "ws", "wd"),
)


@mistake(BOUND, "missing-factor", "factor", of="T4")
def back_bound_half_of_log_variance_forgotten(x, wm, ws, wd, noise, grad_out):
    g, mu, std = grad_out / len(x), x @ wm, (x @ ws / 2).exp()
    z = mu + std * noise
    e = g * (z @ wd - x)
    dz = e @ wd.T
    dlog_var = dz * noise * std + g * (std**2 - 1) / 2
    return x.T @ (dz + g * mu), x.T @ dlog_var, z.T @ e


@mistake(BOUND, "missing-term", "missing-branch", of="T14")
def back_bound_without_minus_one(x, wm, ws, wd, noise, grad_out):
    g, mu, std = grad_out / len(x), x @ wm, (x @ ws / 2).exp()
    z = mu + std * noise
    e = g * (z @ wd - x)
    dz = e @ wd.T
    dlog_var = dz * noise * std / 2 + g * std**2 / 2
    return x.T @ (dz + g * mu), x.T @ dlog_var, z.T @ e


@mistake(BOUND, "missing-branch", "missing-term", of="T8")
def back_bound_draw_detached(x, wm, ws, wd, noise, grad_out):
    g, mu, std = grad_out / len(x), x @ wm, (x @ ws / 2).exp()
    z = mu + std * noise
    e = g * (z @ wd - x)
    return x.T @ (e @ wd.T + g * mu), x.T @ (g * (std**2 - 1) / 2), z.T @ e
