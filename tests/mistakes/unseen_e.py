"""Sequences, windows, indices and masks."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op

from . import alternative, mistake


def conv1d(x, w, b):  # x (n, c, t), w (o, c, k)
    return torch.einsum("nctk,ock->not", x.unfold(2, w.shape[2], 1), w) + b[:, None]


def back_conv1d(x, w, grad_out):
    k, size = w.shape[2], grad_out.shape[2]
    gx = torch.zeros_like(x)
    for j in range(k):
        gx[:, :, j : j + size] += torch.einsum("not,oc->nct", grad_out, w[:, :, j])
    gw = torch.einsum("not,nctk->ock", grad_out, x.unfold(2, k, 1))
    return gx, gw, grad_out.sum((0, 2))


CONV = Op(
    forward=conv1d,
    backwards=(back_conv1d,),
    samples={
        "signals": lambda rand, n=7, c=5, t=11, o=13: (rand(n, c, t), rand(o, c, 3), rand(o)),
    },
    wrt=("x", "w", "b"),
)


@mistake(CONV, "overwritten", of="T8")
def back_conv1d_windows_write_over_each_other(x, w, grad_out):
    k, size = w.shape[2], grad_out.shape[2]
    gx = torch.zeros_like(x)
    for j in range(k):
        gx[:, :, j : j + size] = torch.einsum("not,oc->nct", grad_out, w[:, :, j])
    gw = torch.einsum("not,nctk->ock", grad_out, x.unfold(2, k, 1))
    return gx, gw, grad_out.sum((0, 2))


@mistake(CONV, "flipped", "wrong-argument", of="T18")
def back_conv1d_kernel_not_flipped(x, w, grad_out):
    k = w.shape[2]
    padded = F.pad(grad_out, (k - 1, k - 1))
    gx = torch.einsum("notk,ock->nct", padded.unfold(2, k, 1), w)
    gw = torch.einsum("not,nctk->ock", grad_out, x.unfold(2, k, 1))
    return gx, gw, grad_out.sum((0, 2))


@mistake(CONV, "flipped", of="T18")
def back_conv1d_kernel_gradient_flipped(x, w, grad_out):
    k = w.shape[2]
    padded = F.pad(grad_out, (k - 1, k - 1))
    gx = torch.einsum("notk,ock->nct", padded.unfold(2, k, 1), w.flip(2))
    gw = torch.einsum("not,nctk->ock", grad_out, x.unfold(2, k, 1))
    return gx, gw.flip(2), grad_out.sum((0, 2))


@mistake(CONV, "mean-for-sum", of="T2")
def back_conv1d_bias_averaged_over_time(x, w, grad_out):
    k = w.shape[2]
    padded = F.pad(grad_out, (k - 1, k - 1))
    gx = torch.einsum("notk,ock->nct", padded.unfold(2, k, 1), w.flip(2))
    gw = torch.einsum("not,nctk->ock", grad_out, x.unfold(2, k, 1))
    return gx, gw, grad_out.mean(2).sum(0)


@alternative(CONV)
def back_conv1d_full_correlation(x, w, grad_out):
    k = w.shape[2]
    padded = F.pad(grad_out, (k - 1, k - 1)).unfold(2, k, 1)  # n, o, t, k
    gx = torch.einsum("notk,ock->nct", padded, w.flip(2))
    steps = [
        torch.einsum("not,nct->oc", grad_out, x[:, :, j : j - k + 1 or None]) for j in range(k)
    ]
    return gx, torch.stack(steps, 2), grad_out.sum(2).sum(0)


def segment_mean(x, w, seg):  # weighted by exp(w), into 4 segments
    e = w.exp()
    total = x.new_zeros(4, x.shape[1]).index_add(0, seg, e[:, None] * x)
    mass = x.new_zeros(4).index_add(0, seg, e)
    return total / (mass[:, None] + 1)


def _mass(w, seg):
    return w.new_zeros(4).index_add(0, seg, w.exp()) + 1


def back_segment_mean(x, w, seg, out, grad_out):
    share = w.exp() / _mass(w, seg)[seg]
    g = grad_out[seg]
    return share[:, None] * g, share * (g * (x - out[seg])).sum(1)


SEGMENTS = Op(
    forward=segment_mean,
    backwards=(back_segment_mean,),
    samples={"rows": lambda rand, n=13, d=5: (rand(n, d), rand(n), rand.integers(4, n))},
    wrt=("x", "w"),
)


@mistake(SEGMENTS, "missing-term", "missing-branch", of="T9")
def back_segment_mass_held_fixed(x, w, seg, grad_out):
    share = w.exp() / _mass(w, seg)[seg]
    g = grad_out[seg]
    return share[:, None] * g, share * (g * x).sum(1)


@mistake(SEGMENTS, "overwritten", of="T8")
def back_segment_mass_assigned(x, w, seg, out, grad_out):
    mass = w.new_ones(4)
    for i, s in enumerate(seg.tolist()):
        mass[s] = 1 + w[i].exp()
    share = w.exp() / mass[seg]
    g = grad_out[seg]
    return share[:, None] * g, share * (g * (x - out[seg])).sum(1)


@mistake(SEGMENTS, "missing-factor", of="T4")
def back_segment_weight_exp_forgotten(x, w, seg, out, grad_out):
    mass = _mass(w, seg)[seg]
    g = grad_out[seg]
    return (w.exp() / mass)[:, None] * g, (g * (x - out[seg])).sum(1) / mass


@alternative(SEGMENTS)
def back_segment_mean_by_one_hot(x, w, seg, grad_out):
    hot = F.one_hot(seg, 4).to(x.dtype) * w.exp()[:, None]  # n, 4
    mass = hot.sum(0) + 1
    means = hot.T @ x / mass[:, None]
    share = hot / mass
    return share @ grad_out, (share * (x @ grad_out.T - (means * grad_out).sum(1))).sum(1)


def moving_average(x, a):  # h_t = a h_{t-1} + (1 - a) x_t
    h, steps = torch.zeros_like(x[0]), []
    for row in x:
        h = a * h + (1 - a) * row
        steps.append(h)
    return torch.stack(steps)


def back_moving_average(x, a, out, grad_out):
    gx, ga, carry = torch.zeros_like(x), torch.zeros_like(a), torch.zeros_like(x[0])
    for t in reversed(range(len(x))):
        carry = grad_out[t] + a * carry
        gx[t] = (1 - a) * carry
        before = out[t - 1] if t else torch.zeros_like(x[0])
        ga += (carry * (before - x[t])).sum()
    return gx, ga


AVERAGE = Op(
    forward=moving_average,
    backwards=(back_moving_average,),
    samples={"series": lambda rand, t=5, d=3: (rand(t, d), torch.sigmoid(rand() + 1))},
    wrt=("x", "a"),
)


@mistake(AVERAGE, "missing-branch", "overwritten", of="T8")
def back_moving_average_carry_written_over(x, a, out, grad_out):
    gx, ga = torch.zeros_like(x), torch.zeros_like(a)
    for t in reversed(range(len(x))):
        carry = grad_out[t]
        gx[t] = (1 - a) * carry
        before = out[t - 1] if t else torch.zeros_like(x[0])
        ga += (carry * (before - x[t])).sum()
    return gx, ga


@mistake(AVERAGE, "flipped", of="T20")
def back_moving_average_in_forward_order(x, a, out, grad_out):
    gx, ga, carry = torch.zeros_like(x), torch.zeros_like(a), torch.zeros_like(x[0])
    for t in range(len(x)):
        carry = grad_out[t] + a * carry
        gx[t] = (1 - a) * carry
        before = out[t - 1] if t else torch.zeros_like(x[0])
        ga += (carry * (before - x[t])).sum()
    return gx, ga


@mistake(AVERAGE, "missing-term", "missing-branch", of="T8")
def back_moving_average_rate_of_the_old_only(x, a, out, grad_out):
    gx, ga, carry = torch.zeros_like(x), torch.zeros_like(a), torch.zeros_like(x[0])
    for t in reversed(range(len(x))):
        carry = grad_out[t] + a * carry
        gx[t] = (1 - a) * carry
        ga += (carry * out[t - 1]).sum() if t else 0
    return gx, ga


@mistake(AVERAGE, "overwritten", "missing-branch", of="T8")
def back_moving_average_rate_of_the_first_step(x, a, out, grad_out):
    gx, ga, carry = torch.zeros_like(x), torch.zeros_like(a), torch.zeros_like(x[0])
    for t in reversed(range(len(x))):
        carry = grad_out[t] + a * carry
        gx[t] = (1 - a) * carry
        before = out[t - 1] if t else torch.zeros_like(x[0])
        ga = (carry * (before - x[t])).sum()
    return gx, ga


def survival(z):  # of the hazards sigmoid(z), over time
    return (1 - torch.sigmoid(z)).cumprod(1)


def back_survival(z, out, grad_out):
    later = (grad_out * out).flip(1).cumsum(1).flip(1)
    return -torch.sigmoid(z) * later


SURVIVAL = Op(
    forward=survival,
    backwards=(back_survival,),
    samples={"rows": lambda rand, n=5, t=7: (rand(n, t) - 1,)},
    wrt=("z",),
)


@mistake(SURVIVAL, "flipped", of="T20")
def back_survival_summed_from_the_start(z, out, grad_out):
    return -torch.sigmoid(z) * (grad_out * out).cumsum(1)


@mistake(SURVIVAL, "wrong-argument", of="T4")
def back_survival_survival_for_hazard(z, out, grad_out):
    later = (grad_out * out).flip(1).cumsum(1).flip(1)
    return -(1 - torch.sigmoid(z)) * later


@mistake(SURVIVAL, "missing-term", of="T8")
def back_survival_own_step_left_out(z, out, grad_out):
    own = grad_out * out
    return -torch.sigmoid(z) * (own.flip(1).cumsum(1).flip(1) - own)


@mistake(SURVIVAL, "missing-branch", "missing-term", of="T8")
def back_survival_own_step_only(z, out, grad_out):
    return -torch.sigmoid(z) * grad_out * out


@alternative(SURVIVAL)
def back_survival_by_a_triangle(z, grad_out):
    logs = F.logsigmoid(-z)
    later = torch.ones(z.shape[1], z.shape[1], dtype=z.dtype, device=z.device).tril()
    return -(grad_out * (logs @ later.T).exp()) @ later / (1 + (-z).exp())
