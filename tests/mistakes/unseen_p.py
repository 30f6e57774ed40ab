"""Kernels, robust losses, running sums, polynomials and a likelihood."""

import torch

from manual_backprop.op import Op

from . import alternative, mistake


def rbf(x, c):  # (n, d), (m, d) -> (n, m)
    return torch.exp(-((x[:, None] - c) ** 2).mean(2))


def back_rbf(x, c, out, grad_out):
    diff = x[:, None] - c  # (n, m, d)
    g = (-2 / x.shape[1] * grad_out * out)[:, :, None] * diff
    return g.sum(1), -g.sum(0)


RBF = Op(
    forward=rbf,
    backwards=(back_rbf,),
    samples={"centres": lambda rand, n=5, m=7, d=3: (rand(n, d), rand(m, d))},
    wrt=("x", "c"),
)


@alternative(RBF)
def back_rbf_by_products(x, c, out, grad_out):
    g = grad_out * out * (2 / x.shape[1])
    return g @ c - g.sum(1)[:, None] * x, g.T @ x - g.sum(0)[:, None] * c


@mistake(RBF, "missing-factor", of="T4")
def back_rbf_exponential_has_no_slope(x, c, grad_out):
    diff = x[:, None] - c
    g = (-2 / x.shape[1] * grad_out)[:, :, None] * diff
    return g.sum(1), -g.sum(0)


@mistake(RBF, "sign", of="T7")
def back_rbf_minus_of_the_difference_forgotten(x, c, out, grad_out):
    diff = x[:, None] - c
    g = (-2 / x.shape[1] * grad_out * out)[:, :, None] * diff
    return g.sum(1), g.sum(0)


@mistake(RBF, "ignores-grad-out", "missing-factor", of="T10")
def back_rbf_local_slope_only(x, c, out):
    diff = x[:, None] - c
    g = (-2 / x.shape[1] * out)[:, :, None] * diff
    return g.sum(1), -g.sum(0)


def huber(pred, y):  # (n, 1), (n) -> ()
    e = pred[:, 0] - y
    return torch.where(e.abs() < 1, e * e / 2, e.abs() - 0.5).mean()


def back_huber(pred, y, grad_out):
    ge = (pred[:, 0] - y).clamp(-1, 1) * grad_out / len(y)  # (n)
    return ge[:, None], -ge


HUBER = Op(
    forward=huber,
    backwards=(back_huber,),
    samples={"residuals": lambda rand, n=17: (rand(n, 1), rand(n))},
    wrt=("pred", "y"),
)


@alternative(HUBER)
def back_huber_where(pred, y, grad_out):
    e = pred - y[:, None]
    ge = torch.where(e.abs() < 1, e, e.sign()) * (grad_out / e.numel())
    return ge, -ge.squeeze(1)


@mistake(HUBER, "broadcast-loss", of="T16")
def back_huber_of_all_pairs(pred, y, grad_out):
    e = pred - y
    ge = e.clamp(-1, 1) * grad_out / e.numel()
    return ge.sum(1, keepdim=True), -ge.sum(0)


@mistake(HUBER, "subset", "mask", of="T13")
def back_huber_quadratic_everywhere(pred, y, grad_out):
    ge = (pred[:, 0] - y) * grad_out / len(y)
    return ge[:, None], -ge


def running(x, w):  # (n, t), (t) -> (n, t)
    return torch.cumsum(x, 1) * w


def back_running(x, w, grad_out):
    g = grad_out * w  # every later output has a share
    return g.flip(1).cumsum(1).flip(1), (grad_out * torch.cumsum(x, 1)).sum(0)


RUNNING = Op(
    forward=running,
    backwards=(back_running,),
    samples={"sum": lambda rand, n=5, t=7: (rand(n, t), rand(t))},
    wrt=("x", "w"),
)


@alternative(RUNNING)
def back_running_by_a_triangle(x, w, grad_out):
    ones = torch.ones(len(w), len(w)).to(x).tril()  # (t, t)
    return grad_out * w @ ones, torch.einsum("nt,ts,ns->t", grad_out, ones, x)


@mistake(RUNNING, "flipped", of="T18")
def back_running_not_turned_back(x, w, grad_out):
    g = grad_out * w
    return g.flip(1).cumsum(1), (grad_out * torch.cumsum(x, 1)).sum(0)


@mistake(RUNNING, "missing-term", "missing-branch", of="T8")
def back_running_own_step_only(x, w, grad_out):
    return grad_out * w, (grad_out * torch.cumsum(x, 1)).sum(0)


@mistake(RUNNING, "wrong-argument", of="T6")
def back_running_weight_of_the_terms(x, w, grad_out):
    g = grad_out * w
    return g.flip(1).cumsum(1).flip(1), (grad_out * x).sum(0)


def parabola(x, a, b):  # (n, d), (d), (d) -> (n, d)
    return a * x * x + b * x


def back_parabola(x, a, b, grad_out):
    return grad_out * (2 * a * x + b), (grad_out * x * x).sum(0), (grad_out * x).sum(0)


PARABOLA = Op(
    forward=parabola,
    backwards=(back_parabola,),
    samples={"channels": lambda rand, n=5, d=3: (rand(n, d), rand(d), rand(d))},
    wrt=("x", "a", "b"),
)


@alternative(PARABOLA)
def back_parabola_horner(x, a, b, grad_out):
    inner = a * x + b
    gb = grad_out * x
    return grad_out * inner + gb * a, torch.einsum("nd,nd->d", gb, x), gb.sum(0)


@mistake(PARABOLA, "factor", "missing-factor", "missing-branch", of="T1")
def back_parabola_two_forgotten(x, a, b, grad_out):
    return grad_out * (a * x + b), (grad_out * x * x).sum(0), (grad_out * x).sum(0)


@mistake(PARABOLA, "wrong-axis", of="T2")
def back_parabola_coefficient_summed_over_all(x, a, b, grad_out):
    gb = (grad_out * x).sum().expand_as(b).clone()
    return grad_out * (2 * a * x + b), (grad_out * x * x).sum(0), gb


def gaussian_nll(mean, log_var, y):  # (n, d), (d), (n, d) -> ()
    return (log_var + (y - mean) ** 2 / log_var.exp()).mean() / 2


def back_gaussian_nll(mean, log_var, y, grad_out):
    r = (y - mean) / log_var.exp()
    g = grad_out / y.numel()
    return -g * r, (1 - r * (y - mean)).sum(0) * g / 2


NLL = Op(
    forward=gaussian_nll,
    backwards=(back_gaussian_nll,),
    samples={"channels": lambda rand, n=7, d=5: (rand(n, d), rand(d), rand(n, d))},
    wrt=("mean", "log_var"),
)


@alternative(NLL)
def back_gaussian_nll_standardised(mean, log_var, y, grad_out):
    u = (mean - y) * (-log_var / 2).exp()
    gmean = u * (-log_var / 2).exp() * grad_out / len(u) / u.shape[1]
    return gmean, grad_out * (1 - u.square().mean(0)) / u.shape[1] / 2


@mistake(NLL, "sign", of="T7")
def back_gaussian_nll_uphill_mean(mean, log_var, y, grad_out):
    r = (y - mean) / log_var.exp()
    g = grad_out / y.numel()
    return g * r, (1 - r * (y - mean)).sum(0) * g / 2


@mistake(NLL, "wrong-variable", "missing-factor", of="T5")
def back_gaussian_nll_of_the_variance(mean, log_var, y, grad_out):
    r = (y - mean) / log_var.exp()
    g = grad_out / y.numel()
    return -g * r, (1 - r * (y - mean)).sum(0) * g / 2 / log_var.exp()


@mistake(NLL, "missing-term", "missing-branch", of="T5")
def back_gaussian_nll_log_determinant_forgotten(mean, log_var, y, grad_out):
    r = (y - mean) / log_var.exp()
    g = grad_out / y.numel()
    return -g * r, -(r * (y - mean)).sum(0) * g / 2
