"""Layers with state, norms, gates and windows."""

import torch

from manual_backprop.op import Op

from . import alternative, mistake


def gru_cell(x, h, wz, uz, wr, ur, wn, un):
    z, _, n, _ = _gates(x, h, wz, uz, wr, ur, wn, un)
    return (1 - z) * n + z * h


def _gates(x, h, wz, uz, wr, ur, wn, un):
    z, r = torch.sigmoid(x @ wz + h @ uz), torch.sigmoid(x @ wr + h @ ur)
    return z, r, torch.tanh(x @ wn + (r * h) @ un), r * h


def _gru_collect(x, h, weights, rh, direct, dz, dr, dn):
    wz, uz, wr, ur, wn, _un = weights
    gx = dz @ wz.T + dr @ wr.T + dn @ wn.T
    gh = direct + dz @ uz.T + dr @ ur.T
    return gx, gh, x.T @ dz, h.T @ dz, x.T @ dr, h.T @ dr, x.T @ dn, rh.T @ dn


def back_gru_cell(x, h, wz, uz, wr, ur, wn, un, grad_out):
    weights = wz, uz, wr, ur, wn, un
    z, r, n, rh = _gates(x, h, *weights)
    dn = grad_out * (1 - z) * (1 - n * n)
    back = dn @ un.T
    dz, dr = grad_out * (h - n) * z * (1 - z), back * h * r * (1 - r)
    return _gru_collect(x, h, weights, rh, grad_out * z + back * r, dz, dr, dn)


GRU = Op(
    forward=gru_cell,
    backwards=(back_gru_cell,),
    samples={
        "rows": lambda rand, n=5, i=3, k=7: (
            *(rand(n, i), rand(n, k), rand(i, k), rand(k, k)),
            *(rand(i, k), rand(k, k), rand(i, k), rand(k, k)),
        )
    },
    wrt=("x", "h", "wz", "uz", "wr", "ur", "wn", "un"),
)


@mistake(GRU, "missing-branch", of="T8")
def back_gru_reset_path_forgotten(x, h, wz, uz, wr, ur, wn, un, grad_out):
    weights = wz, uz, wr, ur, wn, un
    z, r, n, rh = _gates(x, h, *weights)
    dn = grad_out * (1 - z) * (1 - n * n)
    dz, dr = grad_out * (h - n) * z * (1 - z), dn @ un.T * h * r * (1 - r)
    return _gru_collect(x, h, weights, rh, grad_out * z, dz, dr, dn)


@mistake(GRU, "sign", of="T7")
def back_gru_update_gate_turned_round(x, h, wz, uz, wr, ur, wn, un, grad_out):
    weights = wz, uz, wr, ur, wn, un
    z, r, n, rh = _gates(x, h, *weights)
    dn = grad_out * (1 - z) * (1 - n * n)
    back = dn @ un.T
    dz, dr = grad_out * (n - h) * z * (1 - z), back * h * r * (1 - r)
    return _gru_collect(x, h, weights, rh, grad_out * z + back * r, dz, dr, dn)


@mistake(GRU, "wrong-argument", "missing-factor", of="T21")
def back_gru_candidate_from_unreset_state(x, h, wz, uz, wr, ur, wn, un, grad_out):
    weights = wz, uz, wr, ur, wn, un
    z, r, n, _ = _gates(x, h, *weights)
    dn = grad_out * (1 - z) * (1 - n * n)
    back = dn @ un.T
    dz, dr = grad_out * (h - n) * z * (1 - z), back * h * r * (1 - r)
    return _gru_collect(x, h, weights, h, grad_out * z + back * r, dz, dr, dn)


@mistake(GRU, "missing-factor", of="T4")
def back_gru_reset_gate_without_state(x, h, wz, uz, wr, ur, wn, un, grad_out):
    weights = wz, uz, wr, ur, wn, un
    z, r, n, rh = _gates(x, h, *weights)
    dn = grad_out * (1 - z) * (1 - n * n)
    back = dn @ un.T
    dz, dr = grad_out * (h - n) * z * (1 - z), back * r * (1 - r)
    return _gru_collect(x, h, weights, rh, grad_out * z + back * r, dz, dr, dn)


def group_norm(x, gamma, beta):  # x (n, groups, k)
    return gamma * _normal(x)[0] + beta


def _normal(x, unbiased=False):
    c = x - x.mean(2, keepdim=True)
    sigma = ((c * c).sum(2, keepdim=True) / (x.shape[2] - unbiased) + 1e-5).sqrt()
    return c / sigma, sigma


def back_group_norm(x, gamma, grad_out):
    h, sigma = _normal(x)
    d = grad_out * gamma
    gx = (d - d.mean(2, keepdim=True) - h * (d * h).mean(2, keepdim=True)) / sigma
    return gx, (grad_out * h).sum(0), grad_out.sum(0)


GROUP_NORM = Op(
    forward=group_norm,
    backwards=(back_group_norm,),
    samples={"maps": lambda rand, n=5, g=3, k=7: (rand(n, g, k), rand(g, k), rand(g, k))},
    wrt=("x", "gamma", "beta"),
)


@mistake(GROUP_NORM, "missing-term", "missing-branch", of="T9")
def back_group_norm_variance_held_fixed(x, gamma, grad_out):
    h, sigma = _normal(x)
    d = grad_out * gamma
    gx = (d - d.mean(2, keepdim=True)) / sigma
    return gx, (grad_out * h).sum(0), grad_out.sum(0)


@mistake(GROUP_NORM, "missing-term", "missing-branch", of="T9")
def back_group_norm_mean_held_fixed(x, gamma, grad_out):
    h, sigma = _normal(x)
    d = grad_out * gamma
    gx = (d - h * (d * h).mean(2, keepdim=True)) / sigma
    return gx, (grad_out * h).sum(0), grad_out.sum(0)


@mistake(GROUP_NORM, "wrong-argument", "missing-factor", of="T9")
def back_group_norm_gamma_after_the_means(x, gamma, grad_out):
    h, sigma = _normal(x)
    d = grad_out
    gx = gamma * (d - d.mean(2, keepdim=True) - h * (d * h).mean(2, keepdim=True)) / sigma
    return gx, (grad_out * h).sum(0), grad_out.sum(0)


@mistake(GROUP_NORM, "convention", of="T9")
def back_group_norm_unbiased(x, gamma, grad_out):
    h, sigma = _normal(x, unbiased=True)
    d, k = grad_out * gamma, x.shape[2]
    gx = (d - d.mean(2, keepdim=True) - h * (d * h).sum(2, keepdim=True) / (k - 1)) / sigma
    return gx, (grad_out * h).sum(0), grad_out.sum(0)


@mistake(GROUP_NORM, "wrong-axis", of="T9")
def back_group_norm_as_layer_norm(x, gamma, grad_out):
    h, sigma = _normal(x)
    d = grad_out * gamma
    gx = (d - d.mean((1, 2), keepdim=True) - h * (d * h).mean((1, 2), keepdim=True)) / sigma
    return gx, (grad_out * h).sum(0), grad_out.sum(0)


@mistake(GROUP_NORM, "wrong-argument", of="T21")
def back_group_norm_gamma_from_the_input(x, gamma, grad_out):
    h, sigma = _normal(x)
    d = grad_out * gamma
    gx = (d - d.mean(2, keepdim=True) - h * (d * h).mean(2, keepdim=True)) / sigma
    return gx, (grad_out * x).sum(0), grad_out.sum(0)


@alternative(GROUP_NORM)
def back_group_norm_in_steps(x, gamma, grad_out):
    k = x.shape[2]
    c = x - x.mean(2, keepdim=True)
    inv = ((c * c).mean(2, keepdim=True) + 1e-5).rsqrt()
    d = grad_out * gamma
    dinv = (d * c).sum(2, keepdim=True)
    dc = d * inv - c * (dinv * inv**3 / k)
    return dc - dc.sum(2, keepdim=True) / k, (grad_out * c * inv).sum(0), grad_out.sum(0)


def weight_normed(x, v, s):
    return x @ (s[:, None] * v / v.norm(dim=1, keepdim=True)).T


def back_weight_normed(x, v, s, grad_out):
    norm = v.norm(dim=1, keepdim=True)
    unit, gw = v / norm, grad_out.T @ x
    gs = (gw * unit).sum(1)
    gv = s[:, None] / norm * (gw - gs[:, None] * unit)
    return grad_out @ (s[:, None] * unit), gv, gs


WEIGHT_NORMED = Op(
    forward=weight_normed,
    backwards=(back_weight_normed,),
    samples={"rows": lambda rand, n=11, i=7, o=5: (rand(n, i), rand(o, i), rand(o))},
    wrt=("x", "v", "s"),
)


@mistake(WEIGHT_NORMED, "missing-term", "missing-branch", of="T9")
def back_weight_normed_norm_held_fixed(x, v, s, grad_out):
    norm = v.norm(dim=1, keepdim=True)
    unit, gw = v / norm, grad_out.T @ x
    return grad_out @ (s[:, None] * unit), s[:, None] / norm * gw, (gw * unit).sum(1)


@mistake(WEIGHT_NORMED, "missing-factor", of="T21")
def back_weight_normed_direction_unscaled(x, v, s, grad_out):
    norm = v.norm(dim=1, keepdim=True)
    unit, gw = v / norm, grad_out.T @ x
    gs = (gw * unit).sum(1)
    return grad_out @ (s[:, None] * unit), (gw - gs[:, None] * unit) / norm, gs


@mistake(WEIGHT_NORMED, "wrong-argument", "missing-factor", of="T21")
def back_weight_normed_scale_from_raw_direction(x, v, s, grad_out):
    norm = v.norm(dim=1, keepdim=True)
    unit, gw = v / norm, grad_out.T @ x
    gv = s[:, None] / norm * (gw - (gw * unit).sum(1, keepdim=True) * unit)
    return grad_out @ (s[:, None] * unit), gv, (gw * v).sum(1)


@mistake(WEIGHT_NORMED, "wrong-axis", of="T9")
def back_weight_normed_projected_as_one_vector(x, v, s, grad_out):
    norm = v.norm(dim=1, keepdim=True)
    unit, gw = v / norm, grad_out.T @ x
    gv = s[:, None] / norm * (gw - (gw * unit).sum() * unit)
    return grad_out @ (s[:, None] * unit), gv, (gw * unit).sum(1)


def swiglu(x, w, v):
    a = x @ w
    return a * torch.sigmoid(a) * (x @ v)


def back_swiglu(x, w, v, grad_out):
    a, b = x @ w, x @ v
    s = torch.sigmoid(a)
    da, db = grad_out * b * (s + a * s * (1 - s)), grad_out * a * s
    return da @ w.T + db @ v.T, x.T @ da, x.T @ db


SWIGLU = Op(
    forward=swiglu,
    backwards=(back_swiglu,),
    samples={"rows": lambda rand, n=11, i=7, k=5: (rand(n, i), rand(i, k), rand(i, k))},
    wrt=("x", "w", "v"),
)


@mistake(SWIGLU, "missing-term", of="T4")
def back_swiglu_sigmoid_held_fixed(x, w, v, grad_out):
    a, b = x @ w, x @ v
    s = torch.sigmoid(a)
    da, db = grad_out * b * s, grad_out * a * s
    return da @ w.T + db @ v.T, x.T @ da, x.T @ db


@mistake(SWIGLU, "overwritten", "missing-branch", of="T8")
def back_swiglu_gate_writes_over_value(x, w, v, grad_out):
    a, b = x @ w, x @ v
    s = torch.sigmoid(a)
    da, db = grad_out * b * (s + a * s * (1 - s)), grad_out * a * s
    gx = db @ v.T
    gx = da @ w.T
    return gx, x.T @ da, x.T @ db


@mistake(SWIGLU, "swapped", of="T21")
def back_swiglu_slots_swapped(x, w, v, grad_out):
    a, b = x @ w, x @ v
    s = torch.sigmoid(a)
    da, db = grad_out * b * (s + a * s * (1 - s)), grad_out * a * s
    return da @ w.T + db @ v.T, x.T @ db, x.T @ da


@mistake(SWIGLU, "wrong-argument", of="T21")
def back_swiglu_value_gated_by_itself(x, w, v, grad_out):
    a, b = x @ w, x @ v
    s = torch.sigmoid(a)
    da, db = grad_out * b * (s + a * s * (1 - s)), grad_out * torch.sigmoid(b) * a
    return da @ w.T + db @ v.T, x.T @ da, x.T @ db


@alternative(SWIGLU)
def back_swiglu_stacked(x, w, v, grad_out):
    a, b = (x @ torch.cat([w, v], 1)).chunk(2, 1)
    gate = a / (1 + (-a).exp())
    slope = torch.sigmoid(a) * (1 + a - gate)
    d = torch.cat([b * slope, gate], 1) * torch.cat([grad_out, grad_out], 1)
    gw, gv = (x.T @ d).chunk(2, 1)
    return d @ torch.cat([w, v], 1).T, gw.clone(), gv.clone()
