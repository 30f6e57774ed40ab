"""Layers that one builds from smaller parts: gates, tied weights, pooling, norms."""

import torch

from manual_backprop.op import Op

from . import alternative, mistake


def highway(x, w, b, u, c):
    h, t = _highway(x, w, b, u, c)
    return t * h + (1 - t) * x


def _highway(x, w, b, u, c):
    return torch.tanh(x @ w + b), torch.sigmoid(x @ u + c)


def _highway_collect(x, w, u, carry, da, dt):
    return carry + da @ w.T + dt @ u.T, x.T @ da, da.sum(0), x.T @ dt, dt.sum(0)


def back_highway(x, w, b, u, c, grad_out):
    h, t = _highway(x, w, b, u, c)
    da, dt = grad_out * t * (1 - h * h), grad_out * (h - x) * t * (1 - t)
    return _highway_collect(x, w, u, grad_out * (1 - t), da, dt)


HIGHWAY = Op(
    forward=highway,
    backwards=(back_highway,),
    samples={
        "rows": lambda rand, n=11, i=7: (rand(n, i), rand(i, i), rand(i), rand(i, i), rand(i))
    },
    wrt=("x", "w", "b", "u", "c"),
)


@mistake(HIGHWAY, "missing-branch", of="T8")
def back_highway_carry_forgotten(x, w, b, u, c, grad_out):
    h, t = _highway(x, w, b, u, c)
    da, dt = grad_out * t * (1 - h * h), grad_out * (h - x) * t * (1 - t)
    return _highway_collect(x, w, u, 0, da, dt)


@mistake(HIGHWAY, "missing-branch", "missing-term", of="T8")
def back_highway_gate_without_carry(x, w, b, u, c, grad_out):
    h, t = _highway(x, w, b, u, c)
    da, dt = grad_out * t * (1 - h * h), grad_out * h * t * (1 - t)
    return _highway_collect(x, w, u, grad_out * (1 - t), da, dt)


@mistake(HIGHWAY, "wrong-argument", of="T21")
def back_highway_carry_through_open_gate(x, w, b, u, c, grad_out):
    h, t = _highway(x, w, b, u, c)
    da, dt = grad_out * t * (1 - h * h), grad_out * (h - x) * t * (1 - t)
    return _highway_collect(x, w, u, grad_out * t, da, dt)


@mistake(HIGHWAY, "wrong-argument", of="T4")
def back_highway_tanh_of_tanh(x, w, b, u, c, grad_out):
    h, t = _highway(x, w, b, u, c)
    da, dt = grad_out * t * (1 - torch.tanh(h) ** 2), grad_out * (h - x) * t * (1 - t)
    return _highway_collect(x, w, u, grad_out * (1 - t), da, dt)


@alternative(HIGHWAY)
def back_highway_as_one_product(x, w, b, u, c, grad_out):
    h, t = _highway(x, w, b, u, c)
    da = torch.addcmul(t, -t * h, h) * grad_out
    dt = grad_out * (t - t * t) * (h - x)
    both = torch.cat([da, dt], 1)
    grads = x.T @ both
    i = w.shape[1]
    gx = grad_out - grad_out * t + both @ torch.cat([w, u], 1).T
    bias = both.sum(0)
    return gx, grads[:, :i].clone(), bias[:i].clone(), grads[:, i:].clone(), bias[i:].clone()


def tied_autoencoder(x, w, b, c):
    h = torch.sigmoid(x @ w + b)
    return ((h @ w.T + c - x) ** 2).mean()


def _tied(x, w, b, c, grad_out):
    h = torch.sigmoid(x @ w + b)
    r = 2 * grad_out * (h @ w.T + c - x) / x.numel()
    return h, r, (r @ w) * h * (1 - h)


def back_tied_autoencoder(x, w, b, c, grad_out):
    h, r, da = _tied(x, w, b, c, grad_out)
    return da @ w.T - r, x.T @ da + r.T @ h, da.sum(0), r.sum(0)


TIED = Op(
    forward=tied_autoencoder,
    backwards=(back_tied_autoencoder,),
    samples={"rows": lambda rand, n=11, i=7, j=5: (rand(n, i), rand(i, j), rand(j), rand(i))},
    wrt=("x", "w", "b", "c"),
)


@mistake(TIED, "missing-branch", of="T8")
def back_tied_decoder_only(x, w, b, c, grad_out):
    h, r, da = _tied(x, w, b, c, grad_out)
    return da @ w.T - r, r.T @ h, da.sum(0), r.sum(0)


@mistake(TIED, "overwritten", "missing-branch", of="T8")
def back_tied_encoder_writes_over_decoder(x, w, b, c, grad_out):
    h, r, da = _tied(x, w, b, c, grad_out)
    gw = torch.zeros_like(w)
    for part in (r.T @ h, x.T @ da):
        gw[:] = part
    return da @ w.T - r, gw, da.sum(0), r.sum(0)


@mistake(TIED, "missing-branch", of="T8")
def back_tied_target_held_fixed(x, w, b, c, grad_out):
    h, r, da = _tied(x, w, b, c, grad_out)
    return da @ w.T, x.T @ da + r.T @ h, da.sum(0), r.sum(0)


@mistake(TIED, "mean-for-sum", of="T2")
def back_tied_hidden_bias_averaged(x, w, b, c, grad_out):
    h, r, da = _tied(x, w, b, c, grad_out)
    return da @ w.T - r, x.T @ da + r.T @ h, da.mean(0), r.sum(0)


@mistake(TIED, "wrong-argument", of="T4")
def back_tied_sigmoid_of_sigmoid(x, w, b, c, grad_out):
    h, r, _ = _tied(x, w, b, c, grad_out)
    s = torch.sigmoid(h)
    da = (r @ w) * s * (1 - s)
    return da @ w.T - r, x.T @ da + r.T @ h, da.sum(0), r.sum(0)


def attention_pooling(x, v):
    a = _attend(x, v)
    return (a[:, :, None] * x).sum(1)


def _attend(x, v):
    return torch.softmax(x @ v / len(v) ** 0.5, 1)


def back_attention_pooling(x, v, grad_out):
    a = _attend(x, v)
    da = (x * grad_out[:, None]).sum(2)
    ds = a * (da - (a * da).sum(1, keepdim=True)) / len(v) ** 0.5
    gx = a[:, :, None] * grad_out[:, None] + ds[:, :, None] * v
    return gx, (ds[:, :, None] * x).sum((0, 1))


POOLING = Op(
    forward=attention_pooling,
    backwards=(back_attention_pooling,),
    samples={"rows": lambda rand, n=5, t=11, d=7: (rand(n, t, d), rand(d))},
    wrt=("x", "v"),
)


@mistake(POOLING, "missing-branch", of="T8")
def back_pooling_scores_forgotten(x, v, grad_out):
    a = _attend(x, v)
    da = (x * grad_out[:, None]).sum(2)
    ds = a * (da - (a * da).sum(1, keepdim=True)) / len(v) ** 0.5
    return a[:, :, None] * grad_out[:, None], (ds[:, :, None] * x).sum((0, 1))


@mistake(POOLING, "missing-term", of="T3")
def back_pooling_softmax_diagonal(x, v, grad_out):
    a = _attend(x, v)
    ds = a * (1 - a) * (x * grad_out[:, None]).sum(2) / len(v) ** 0.5
    gx = a[:, :, None] * grad_out[:, None] + ds[:, :, None] * v
    return gx, (ds[:, :, None] * x).sum((0, 1))


@mistake(POOLING, "wrong-axis", of="T3")
def back_pooling_softmax_sums_over_batch(x, v, grad_out):
    a = _attend(x, v)
    da = (x * grad_out[:, None]).sum(2)
    ds = a * (da - (a * da).sum(0, keepdim=True)) / len(v) ** 0.5
    gx = a[:, :, None] * grad_out[:, None] + ds[:, :, None] * v
    return gx, (ds[:, :, None] * x).sum((0, 1))


@mistake(POOLING, "missing-factor", of="T3")
def back_pooling_softmax_sum_unweighted(x, v, grad_out):
    a = _attend(x, v)
    da = (x * grad_out[:, None]).sum(2)
    ds = a * (da - da.sum(1, keepdim=True)) / len(v) ** 0.5
    gx = a[:, :, None] * grad_out[:, None] + ds[:, :, None] * v
    return gx, (ds[:, :, None] * x).sum((0, 1))


@mistake(POOLING, "not-reduced", of="T2")
def back_pooling_query_per_sample(x, v, grad_out):
    a = _attend(x, v)
    da = (x * grad_out[:, None]).sum(2)
    ds = a * (da - (a * da).sum(1, keepdim=True)) / len(v) ** 0.5
    gx = a[:, :, None] * grad_out[:, None] + ds[:, :, None] * v
    return gx, (ds[:, :, None] * x).sum(1)


def squeeze_excite(x, w, u):
    e = torch.sigmoid(torch.relu(x.mean(2) @ w) @ u)
    return x * e[:, :, None]


def _squeeze(x, w, u):
    s = x.mean(2)
    h = torch.relu(s @ w)
    return s, h, torch.sigmoid(h @ u)


def back_squeeze_excite(x, w, u, grad_out):
    s, h, e = _squeeze(x, w, u)
    dq = (grad_out * x).sum(2) * e * (1 - e)
    da = dq @ u.T * (h > 0)
    gx = grad_out * e[:, :, None] + (da @ w.T)[:, :, None] / x.shape[2]
    return gx, s.T @ da, h.T @ dq


SQUEEZE = Op(
    forward=squeeze_excite,
    backwards=(back_squeeze_excite,),
    samples={"maps": lambda rand, n=5, c=7, r=3, t=11: (rand(n, c, t), rand(c, r), rand(r, c))},
    wrt=("x", "w", "u"),
)


@mistake(SQUEEZE, "missing-branch", of="T8")
def back_squeeze_gate_held_fixed(x, w, u, grad_out):
    s, h, e = _squeeze(x, w, u)
    dq = (grad_out * x).sum(2) * e * (1 - e)
    da = dq @ u.T * (h > 0)
    return grad_out * e[:, :, None], s.T @ da, h.T @ dq


@mistake(SQUEEZE, "sum-for-mean", "missing-factor", of="T1")
def back_squeeze_mean_forgotten(x, w, u, grad_out):
    s, h, e = _squeeze(x, w, u)
    dq = (grad_out * x).sum(2) * e * (1 - e)
    da = dq @ u.T * (h > 0)
    gx = grad_out * e[:, :, None] + (da @ w.T)[:, :, None]
    return gx, s.T @ da, h.T @ dq


@mistake(SQUEEZE, "mask", "not-linear", of="T13")
def back_squeeze_mask_of_upstream(x, w, u, grad_out):
    s, h, e = _squeeze(x, w, u)
    dq = (grad_out * x).sum(2) * e * (1 - e)
    dh = dq @ u.T
    da = dh * (dh > 0)
    gx = grad_out * e[:, :, None] + (da @ w.T)[:, :, None] / x.shape[2]
    return gx, s.T @ da, h.T @ dq


@mistake(SQUEEZE, "mean-for-sum", of="T2")
def back_squeeze_gate_averaged(x, w, u, grad_out):
    s, h, e = _squeeze(x, w, u)
    dq = (grad_out * x).mean(2) * e * (1 - e)
    da = dq @ u.T * (h > 0)
    gx = grad_out * e[:, :, None] + (da @ w.T)[:, :, None] / x.shape[2]
    return gx, s.T @ da, h.T @ dq


@alternative(SQUEEZE)
def back_squeeze_excite_einsum(x, w, u, grad_out):
    s, h, e = _squeeze(x, w, u)
    dq = torch.einsum("nct,nct,nc->nc", grad_out, x, e - e * e)
    da = torch.where(s @ w > 0, torch.einsum("nc,rc->nr", dq, u), torch.zeros_like(h))
    ds = torch.einsum("nr,cr->nc", da, w)
    gx = torch.einsum("nct,nc->nct", grad_out, e) + ds.div(x.shape[2]).unsqueeze(2)
    return gx, torch.einsum("nc,nr->cr", s, da), torch.einsum("nr,nc->rc", h, dq)
