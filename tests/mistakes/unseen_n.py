"""A gated block, an attention head, a norm, a smoothed loss and a bag of words."""

import torch

from manual_backprop.op import Op

from . import alternative, mistake


def swiglu(x, w, v):  # (n, d), (d, h), (d, h) -> (n, h)
    z = x @ w
    return z * torch.sigmoid(z) * (x @ v)


def back_swiglu(x, w, v, grad_out):
    z, s = x @ w, torch.sigmoid(x @ w)  # (n, h)
    gz, gu = grad_out * (x @ v) * (s + z * s * (1 - s)), grad_out * z * s
    return gz @ w.T + gu @ v.T, x.T @ gz, x.T @ gu


SWIGLU = Op(
    forward=swiglu,
    backwards=(back_swiglu,),
    samples={"block": lambda rand, n=5, d=3, h=7: (rand(n, d), rand(d, h), rand(d, h))},
    wrt=("x", "w", "v"),
)


@alternative(SWIGLU)
def back_swiglu_stacked(x, w, v, grad_out):
    z, u = (x @ torch.cat((w, v), 1)).chunk(2, 1)
    y, s = torch.nn.functional.silu(z), torch.sigmoid(z)
    g = torch.cat((grad_out * u * (y + s * (1 - y)), grad_out * y), 1)  # (n, 2 h)
    return g @ torch.cat((w, v), 1).T, *(x.T @ g).chunk(2, 1)


@mistake(SWIGLU, "missing-term", "missing-branch", of="T4")
def back_swiglu_gate_held_constant(x, w, v, grad_out):
    gz, gu = torch.sigmoid(x @ w) * grad_out * (x @ v), torch.sigmoid(x @ w) * grad_out * (x @ w)
    return gz @ w.T + gu @ v.T, x.T @ gz, x.T @ gu


@mistake(SWIGLU, "wrong-argument", of="T4")
def back_swiglu_slope_of_the_activation(x, w, v, grad_out):
    z, s = x @ w, torch.sigmoid(x @ w)
    gz, gu = grad_out * (x @ v) * (s + z * z * s * (1 - z * s)), grad_out * z * s
    return gz @ w.T + gu @ v.T, x.T @ gz, x.T @ gu


@mistake(SWIGLU, "missing-branch", "missing-term", of="T8")
def back_swiglu_x_by_the_gate_only(x, w, v, grad_out):
    z, s = x @ w, torch.sigmoid(x @ w)
    gz, gu = grad_out * (x @ v) * (s + z * s * (1 - s)), grad_out * z * s
    return gz @ w.T, x.T @ gz, x.T @ gu


@mistake(SWIGLU, "swapped", of="T21")
def back_swiglu_weights_in_other_order(x, w, v, grad_out):
    gx, gw, gv = back_swiglu(x, w, v, grad_out)
    return gx, gv, gw


def attend(q, k, v):  # (n, d), (m, d), (m, e) -> (n, e)
    return torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1) @ v


def back_attend(q, k, v, grad_out):
    p, gp = torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1), grad_out @ v.T  # (n, m)
    gs = p * (gp - (p * gp).sum(1, keepdim=True)) / q.shape[1] ** 0.5
    return gs @ k, gs.T @ q, p.T @ grad_out


ATTEND = Op(
    forward=attend,
    backwards=(back_attend,),
    samples={"head": lambda rand, n=5, m=7, d=3, e=11: (rand(n, d), rand(m, d), rand(m, e))},
    wrt=("q", "k", "v"),
)


@alternative(ATTEND)
def back_attend_sum_from_out(q, k, v, out, grad_out):
    p = torch.softmax(q @ k.T * q.shape[1] ** -0.5, 1)
    gs = p * (grad_out @ v.T - (grad_out * out).sum(1)[:, None]) * q.shape[1] ** -0.5
    return gs @ k, (q.T @ gs).T, p.T @ grad_out


@mistake(ATTEND, "missing-factor", "factor", of="T1")
def back_attend_unscaled(q, k, v, grad_out):
    p, gp = torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1), grad_out @ v.T
    gs = p * (gp - (p * gp).sum(1, keepdim=True))
    return gs @ k, gs.T @ q, p.T @ grad_out


@mistake(ATTEND, "wrong-axis", of="T3")
def back_attend_sum_over_queries(q, k, v, grad_out):
    p, gp = torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1), grad_out @ v.T
    gs = p * (gp - (p * gp).sum(0)) / q.shape[1] ** 0.5
    return gs @ k, gs.T @ q, p.T @ grad_out


@mistake(ATTEND, "missing-factor", of="T3")
def back_attend_outer_weight_forgotten(q, k, v, grad_out):
    p, gp = torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1), grad_out @ v.T
    gs = (gp - (p * gp).sum(1, keepdim=True)) / q.shape[1] ** 0.5
    return gs @ k, gs.T @ q, p.T @ grad_out


def rms_norm(x, gain):  # (n, d), (d) -> (n, d)
    return x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5) * gain


def back_rms_norm(x, gain, grad_out):
    r = torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5)  # (n, 1)
    u, gu = x * r, grad_out * gain
    return r * (gu - u * (gu * u).mean(1, keepdim=True)), (grad_out * u).sum(0)


RMS_NORM = Op(
    forward=rms_norm,
    backwards=(back_rms_norm,),
    samples={"rows": lambda rand, n=5, d=7: (rand(n, d), rand(d))},
    wrt=("x", "gain"),
)


@alternative(RMS_NORM)
def back_rms_norm_einsum(x, gain, grad_out):
    r = ((x * x).sum(1) / x.shape[1] + 1e-5) ** -0.5  # (n)
    along = torch.einsum("nd,d,nd,n->n", grad_out, gain, x, r**3) / x.shape[1]
    ggain = torch.einsum("nd,nd,n->d", grad_out, x, r)
    return r[:, None] * gain * grad_out - along[:, None] * x, ggain


@mistake(RMS_NORM, "missing-branch", "missing-term", of="T9")
def back_rms_norm_of_a_constant_rms(x, gain, grad_out):
    r = torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5)
    return r * grad_out * gain, (grad_out * x * r).sum(0)


@mistake(RMS_NORM, "sum-for-mean", of="T9")
def back_rms_norm_projection_summed(x, gain, grad_out):
    r = torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5)
    u, gu = x * r, grad_out * gain
    return r * (gu - u * (gu * u).sum(1, keepdim=True)), (grad_out * u).sum(0)


@mistake(RMS_NORM, "extra-term", of="T9")
def back_rms_norm_as_layer_norm(x, gain, grad_out):
    r = torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5)
    u, gu = x * r, grad_out * gain
    gx = gu - gu.mean(1, keepdim=True) - u * (gu * u).mean(1, keepdim=True)
    return r * gx, (grad_out * u).sum(0)


@mistake(RMS_NORM, "wrong-argument", "missing-factor", of="T9")
def back_rms_norm_gain_of_raw_input(x, gain, grad_out):
    return back_rms_norm(x, gain, grad_out)[0], (grad_out * x).sum(0)


def smoothed_loss(scores, bias, target):  # (n, k), (k), (n) -> ()
    logp = torch.log_softmax(scores + bias, 1)
    return -(0.8 * logp.gather(1, target[:, None])[:, 0] + 0.2 * logp.mean(1)).mean()


def back_smoothed_loss(scores, bias, target, grad_out):
    n, k = scores.shape
    q = 0.8 * torch.eye(k).to(scores)[target] + 0.2 / k  # (n, k)
    gz = (torch.softmax(scores + bias, 1) - q) * grad_out / n
    return gz, gz.sum(0)


SMOOTHED = Op(
    forward=smoothed_loss,
    backwards=(back_smoothed_loss,),
    samples={"ce": lambda rand, n=7, k=5: (rand(n, k), rand(k), rand.integers(k, n))},
    wrt=("scores", "bias"),
)


@alternative(SMOOTHED)
def back_smoothed_loss_in_place(scores, bias, target, grad_out):
    g = torch.softmax(scores + bias, 1) - 0.2 / scores.shape[1]
    g[torch.arange(len(g)), target] -= 0.8
    return g * (grad_out / len(g)), grad_out * g.mean(0)


@mistake(SMOOTHED, "missing-term", of="T5")
def back_smoothed_loss_uniform_part_forgotten(scores, bias, target, grad_out):
    q = 0.8 * torch.eye(scores.shape[1]).to(scores)[target]
    gz = (torch.softmax(scores + bias, 1) - q) * grad_out / len(scores)
    return gz, gz.sum(0)


@mistake(SMOOTHED, "convention", of="T19")
def back_smoothed_loss_rest_to_the_others(scores, bias, target, grad_out):
    y = torch.eye(scores.shape[1]).to(scores)[target]
    q = 0.8 * y + 0.2 * (1 - y) / (scores.shape[1] - 1)
    gz = (torch.softmax(scores + bias, 1) - q) * grad_out / len(scores)
    return gz, gz.sum(0)


@mistake(SMOOTHED, "wrong-variable", of="T5")
def back_smoothed_loss_of_the_probabilities(scores, bias, target, grad_out):
    q = 0.8 * torch.eye(scores.shape[1]).to(scores)[target] + 0.2 / scores.shape[1]
    gp = -q / torch.softmax(scores + bias, 1) * grad_out / len(scores)
    return gp, gp.sum(0)


@mistake(SMOOTHED, "mean-for-sum", of="T2")
def back_smoothed_loss_bias_averaged(scores, bias, target, grad_out):
    gz, _ = back_smoothed_loss(scores, bias, target, grad_out)
    return gz, gz.mean(0)


def scaled_bag(table, scale, index):  # (v, d), (d), (n, t) -> (n, d)
    return table[index].mean(1) * scale


def back_scaled_bag(table, scale, index, grad_out):
    rows = (grad_out * scale / index.shape[1]).repeat_interleave(index.shape[1], 0)  # (n t, d)
    gtable = torch.zeros_like(table).index_add(0, index.flatten(), rows)
    return gtable, (grad_out * table[index].mean(1)).sum(0)


BAG = Op(
    forward=scaled_bag,
    backwards=(back_scaled_bag,),
    samples={
        "words": lambda rand, n=5, t=3, v=7, d=11: (rand(v, d), rand(d), rand.integers(v, n, t))
    },
    wrt=("table", "scale"),
)


@alternative(BAG)
def back_scaled_bag_by_counts(table, scale, index, grad_out):
    share = torch.eye(len(table)).to(table)[index].sum(1) / index.shape[1]  # (n, v)
    return share.T @ (grad_out * scale), (grad_out * (share @ table)).sum(0)


@mistake(BAG, "overwritten", "subset", of="T8")
def back_scaled_bag_repeats_written_over(table, scale, index, grad_out):
    gtable = torch.zeros_like(table)
    for where, row in zip(index, grad_out * scale / index.shape[1], strict=True):
        gtable[where] = row
    return gtable, (grad_out * table[index].mean(1)).sum(0)


@mistake(BAG, "mean-for-sum", "extra-factor", "subset", of="T8")
def back_scaled_bag_repeats_averaged(table, scale, index, grad_out):
    gtable, gscale = back_scaled_bag(table, scale, index, grad_out)
    return gtable / index.flatten().bincount(minlength=len(table)).clamp(1)[:, None], gscale


@mistake(BAG, "wrong-argument", "extra-factor", of="T6")
def back_scaled_bag_scale_from_out(table, scale, index, out, grad_out):
    return back_scaled_bag(table, scale, index, grad_out)[0], (grad_out * out).sum(0)
