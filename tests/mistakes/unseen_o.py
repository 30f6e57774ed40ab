"""A tied block, a gated step, a quantile loss, triplets and a soft maximum."""

import torch

from manual_backprop.op import Op

from . import alternative, mistake


def tied_block(x, w):  # (n, d), (d, h) -> (n, d)
    return x + torch.tanh(x @ w) @ w.T


def back_tied_block(x, w, grad_out):
    h = torch.tanh(x @ w)  # (n, h)
    gz = grad_out @ w * (1 - h * h)
    return grad_out + gz @ w.T, x.T @ gz + grad_out.T @ h


TIED = Op(
    forward=tied_block,
    backwards=(back_tied_block,),
    samples={"residual": lambda rand, n=7, d=5, h=3: (rand(n, d), rand(d, h))},
    wrt=("x", "w"),
)


@alternative(TIED)
def back_tied_block_summed_in_turn(x, w, grad_out):
    h = torch.tanh(x @ w)
    gw = torch.einsum("nd,nh->dh", grad_out, h)
    gz = torch.einsum("nd,dh,nh->nh", grad_out, w, 1 / torch.cosh(x @ w) ** 2)
    gw += torch.einsum("nd,nh->dh", x, gz)
    return torch.einsum("nh,dh->nd", gz, w) + grad_out, gw


@mistake(TIED, "missing-branch", "missing-term", of="T8")
def back_tied_block_skip_forgotten(x, w, grad_out):
    h = torch.tanh(x @ w)
    gz = grad_out @ w * (1 - h * h)
    return gz @ w.T, x.T @ gz + grad_out.T @ h


@mistake(TIED, "overwritten", "missing-branch", "missing-term", of="T8")
def back_tied_block_decoder_written_over(x, w, grad_out):
    h = torch.tanh(x @ w)
    gw = grad_out.T @ h
    gz = grad_out @ w * (1 - h * h)
    gw = x.T @ gz
    return grad_out + gz @ w.T, gw


@mistake(TIED, "wrong-argument", of="T4")
def back_tied_block_slope_of_the_input(x, w, grad_out):
    z = x @ w
    gz = grad_out @ w * (1 - z * z)
    return grad_out + gz @ w.T, x.T @ gz + grad_out.T @ torch.tanh(z)


@mistake(TIED, "stale-weights", "wrong-argument", of="T15")
def back_tied_block_after_the_step(x, w, grad_out):
    h = torch.tanh(x @ w)
    gz = grad_out @ w * (1 - h * h)
    gw = x.T @ gz + grad_out.T @ h
    return grad_out + gz @ (w - 0.1 * gw).T, gw


def gated_step(h, z, c):  # three of (n, d): the state, the gate and the candidate before tanh
    u = torch.sigmoid(z)
    return u * h + (1 - u) * torch.tanh(c)


def back_gated_step(h, z, c, grad_out):
    u, t = torch.sigmoid(z), torch.tanh(c)
    gu = grad_out * (h - t)
    return grad_out * u, gu * u * (1 - u), grad_out * (1 - u) * (1 - t * t)


GATED = Op(
    forward=gated_step,
    backwards=(back_gated_step,),
    samples={"step": lambda rand, n=5, d=3: (rand(n, d), rand(n, d), rand(n, d))},
    wrt=("h", "z", "c"),
)


@alternative(GATED)
def back_gated_step_from_out(h, z, c, out, grad_out):
    u = 1 / (1 + torch.exp(-z))
    gh = grad_out * u  # since h - out = (1 - u) (h - tanh c)
    return gh, gh * (h - out), (grad_out - gh) / torch.cosh(c).square()


@mistake(GATED, "missing-branch", "missing-term", of="T8")
def back_gated_step_gate_of_the_state_only(h, z, c, grad_out):
    u, t = torch.sigmoid(z), torch.tanh(c)
    return grad_out * u, grad_out * h * u * (1 - u), grad_out * (1 - u) * (1 - t * t)


@mistake(GATED, "sign", of="T7")
def back_gated_step_branches_added(h, z, c, grad_out):
    u, t = torch.sigmoid(z), torch.tanh(c)
    gu = grad_out * h + grad_out * t
    return grad_out * u, gu * u * (1 - u), grad_out * (1 - u) * (1 - t * t)


@mistake(GATED, "convention", of="T19")
def back_gated_step_gate_lets_in(h, z, c, grad_out):
    u, t = torch.sigmoid(z), torch.tanh(c)  # of (1 - u) h + u tanh(c), as some papers have it
    gu = grad_out * (t - h)
    return grad_out * (1 - u), gu * u * (1 - u), grad_out * u * (1 - t * t)


@mistake(GATED, "missing-factor", of="T4")
def back_gated_step_sigmoid_has_no_slope(h, z, c, grad_out):
    u, t = torch.sigmoid(z), torch.tanh(c)
    return grad_out * u, grad_out * (h - t), grad_out * (1 - u) * (1 - t * t)


def pinball(pred, y, level):  # (n, k), (n), (k) -> ()
    e = y[:, None] - pred
    return torch.maximum(level * e, (level - 1) * e).mean()


def back_pinball(pred, y, level, grad_out):
    below = (y[:, None] < pred).to(pred)  # (n, k)
    ge = (level - below) * grad_out / pred.numel()
    return -ge, ge.sum(1)


PINBALL = Op(
    forward=pinball,
    backwards=(back_pinball,),
    samples={"levels": lambda rand, n=7, k=3: (rand(n, k), rand(n), rand(k))},
    wrt=("pred", "y"),
)


@alternative(PINBALL)
def back_pinball_where(pred, y, level, grad_out):
    gpred = torch.where(pred > y[:, None], 1 - level, -level) * (grad_out / len(level) / len(y))
    return gpred, gpred.sum(1).neg()


@mistake(PINBALL, "mask", of="T13")
def back_pinball_other_side(pred, y, level, grad_out):
    below = (y[:, None] > pred).to(pred)
    ge = (level - below) * grad_out / pred.numel()
    return -ge, ge.sum(1)


@mistake(PINBALL, "sum-for-mean", of="T1")
def back_pinball_by_rows_only(pred, y, level, grad_out):
    ge = (level - (y[:, None] < pred).to(pred)) * grad_out / len(pred)
    return -ge, ge.sum(1)


@mistake(PINBALL, "not-reduced", "shape", of="T2")
def back_pinball_y_not_summed(pred, y, level, grad_out):
    ge = (level - (y[:, None] < pred).to(pred)) * grad_out / pred.numel()
    return -ge, ge


def triplet(a, p, q):  # anchor, positive and negative: three of (n, d) -> ()
    return torch.relu(5 + ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1)).mean()


def back_triplet(a, p, q, grad_out):
    gap = ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1)  # (n)
    g = (gap > -5).to(a)[:, None] * 2 * grad_out / len(a)
    return g * (q - p), g * (p - a), g * (a - q)


TRIPLET = Op(
    forward=triplet,
    backwards=(back_triplet,),
    samples={"margin": lambda rand, n=17, d=3: (rand(n, d), rand(n, d), rand(n, d))},
    wrt=("a", "p", "q"),
)


@alternative(TRIPLET)
def back_triplet_by_norms(a, p, q, grad_out):
    violated = 5 + torch.norm(a - p, dim=1) ** 2 > torch.norm(a - q, dim=1) ** 2
    near, far = (2 / len(a) * grad_out * violated[:, None] * (a - other) for other in (p, q))
    return near - far, -near, far


@mistake(TRIPLET, "missing-branch", "missing-term", of="T8")
def back_triplet_anchor_by_the_positive_only(a, p, q, grad_out):
    gap = ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1)
    g = (gap > -5).to(a)[:, None] * 2 * grad_out / len(a)
    return g * (a - p), g * (p - a), g * (a - q)


@mistake(TRIPLET, "mask", "subset", of="T13")
def back_triplet_margin_left_out_of_the_mask(a, p, q, grad_out):
    gap = ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1)
    g = (gap > 0).to(a)[:, None] * 2 * grad_out / len(a)
    return g * (q - p), g * (p - a), g * (a - q)


@mistake(TRIPLET, "sign", of="T7")
def back_triplet_negative_pulled_in(a, p, q, grad_out):
    gap = ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1)
    g = (gap > -5).to(a)[:, None] * 2 * grad_out / len(a)
    return g * (q - p), g * (p - a), g * (q - a)


@mistake(TRIPLET, "factor", "missing-factor", of="T1")
def back_triplet_two_forgotten(a, p, q, grad_out):
    gap = ((a - p) ** 2).sum(1) - ((a - q) ** 2).sum(1)
    g = (gap > -5).to(a)[:, None] * grad_out / len(a)
    return g * (q - p), g * (p - a), g * (a - q)


def soft_max_pool(x, b):  # (n, t, d), (d) -> (n, d): between the mean and the maximum over t
    return torch.log((x * b.exp()).exp().mean(1)) / b.exp()


def back_soft_max_pool(x, b, out, grad_out):
    p = torch.softmax(x * b.exp(), 1)  # (n, t, d)
    return p * grad_out[:, None], (grad_out * ((p * x).sum(1) - out)).sum(0)


POOL = Op(
    forward=soft_max_pool,
    backwards=(back_soft_max_pool,),
    samples={"time": lambda rand, n=5, t=7, d=3: (rand(n, t, d), rand(d))},
    wrt=("x", "b"),
)


@alternative(POOL)
def back_soft_max_pool_centred(x, b, out, grad_out):
    gx = grad_out[:, None] * torch.exp((x - out[:, None]) * b.exp()) / x.shape[1]
    return gx, (gx * (x - out[:, None])).sum((0, 1))


@mistake(POOL, "wrong-axis", of="T3")
def back_soft_max_pool_over_channels(x, b, out, grad_out):
    p = torch.softmax(x * b.exp(), 2)
    return p * grad_out[:, None], (grad_out * ((p * x).sum(1) - out)).sum(0)


@mistake(POOL, "missing-term", "missing-branch", of="T8")
def back_soft_max_pool_divisor_constant(x, b, grad_out):
    p = torch.softmax(x * b.exp(), 1)
    return p * grad_out[:, None], (grad_out * (p * x).sum(1)).sum(0)


@mistake(POOL, "extra-factor", of="T4")
def back_soft_max_pool_sharpness_not_cancelled(x, b, out, grad_out):
    p = torch.softmax(x * b.exp(), 1)
    return b.exp() * p * grad_out[:, None], (grad_out * ((p * x).sum(1) - out)).sum(0)


@mistake(POOL, "wrong-variable", "missing-factor", of="T5")
def back_soft_max_pool_of_the_sharpness(x, b, out, grad_out):
    p = torch.softmax(x * b.exp(), 1)
    return p * grad_out[:, None], (grad_out * ((p * x).sum(1) - out)).sum(0) / b.exp()
