"""Models that end in a loss: regressions, small networks, penalties, ranking."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op

from . import alternative, mistake


def poisson_regression(x, w, k):
    eta = x @ w
    return (eta.exp() - k * eta).mean()


def back_poisson_regression(x, w, k, grad_out):
    d = grad_out / len(x) * ((x @ w).exp() - k)
    return d[:, None] * w, x.T @ d


POISSON = Op(
    forward=poisson_regression,
    backwards=(back_poisson_regression,),
    samples={"rows": lambda rand, n=11, i=3: (rand(n, i), rand(i), rand.integers(4, n))},
    wrt=("x", "w"),
)
_ADDED_UP = {}


@mistake(POISSON, "wrong-argument", of="T5")
def back_poisson_as_least_squares(x, w, k, grad_out):
    d = grad_out / len(x) * (x @ w - k)
    return d[:, None] * w, x.T @ d


@mistake(POISSON, "wrong-variable", "extra-factor", "missing-factor", of="T5")
def back_poisson_to_the_rate(x, w, k, grad_out):
    d = grad_out / len(x) * (1 - k / (x @ w).exp())
    return d[:, None] * w, x.T @ d


@mistake(POISSON, "stateful", of="T11")
def back_poisson_never_zeroed(x, w, k, grad_out):
    d = grad_out / len(x) * ((x @ w).exp() - k)
    before = _ADDED_UP.get((w.shape, w.dtype), 0)
    _ADDED_UP[w.shape, w.dtype] = gw = before + x.T @ d
    return d[:, None] * w, gw.clone()


@mistake(POISSON, "stale-weights", "not-linear", of="T15")
def back_poisson_rows_after_the_update(x, w, k, grad_out):
    d = grad_out / len(x) * ((x @ w).exp() - k)
    gw = x.T @ d
    w = w - 0.1 * gw
    return d[:, None] * w, gw


def elastic_logcosh(x, w, b, y):
    r = x @ w + b - y
    loss = (r - F.logsigmoid(2 * r)).mean()  # log cosh r + log 2
    return loss + 0.5 * 0.3 * (w * w).sum() + 0.2 * w.abs().sum()


def back_elastic_logcosh(x, w, b, y, grad_out):
    d = torch.tanh(x @ w + b - y) / len(x)
    gw = x.T @ d + 0.3 * w + 0.2 * w.sign()
    return grad_out * gw, grad_out * d.sum()


ELASTIC = Op(
    forward=elastic_logcosh,
    backwards=(back_elastic_logcosh,),
    samples={"rows": lambda rand, n=13, i=5: (rand(n, i), rand(i), rand(), rand(n))},
    wrt=("w", "b"),
)


@mistake(ELASTIC, "missing-term", of="T14")
def back_elastic_lasso_forgotten(x, w, b, y, grad_out):
    d = torch.tanh(x @ w + b - y) / len(x)
    return grad_out * (x.T @ d + 0.3 * w), grad_out * d.sum()


@mistake(ELASTIC, "extra-factor", "factor", of="T14")
def back_elastic_ridge_without_its_half(x, w, b, y, grad_out):
    d = torch.tanh(x @ w + b - y) / len(x)
    gw = x.T @ d + 2 * 0.3 * w + 0.2 * w.sign()
    return grad_out * gw, grad_out * d.sum()


@mistake(ELASTIC, "mean-for-sum", "extra-factor", of="T14")
def back_elastic_penalties_averaged(x, w, b, y, grad_out):
    d = torch.tanh(x @ w + b - y)
    gw = (x.T @ d + 0.3 * w + 0.2 * w.sign()) / len(x)
    return grad_out * gw, grad_out * d.sum() / len(x)


@mistake(ELASTIC, "extra-term", of="T14")
def back_elastic_bias_penalised(x, w, b, y, grad_out):
    d = torch.tanh(x @ w + b - y) / len(x)
    gw = x.T @ d + 0.3 * w + 0.2 * w.sign()
    return grad_out * gw, grad_out * (d.sum() + 0.3 * b)


@mistake(ELASTIC, "missing-factor", "not-linear", of="T10")
def back_elastic_penalty_beside_upstream(x, w, b, y, grad_out):
    d = grad_out * torch.tanh(x @ w + b - y) / len(x)
    return x.T @ d + 0.3 * w + 0.2 * w.sign(), d.sum()


@mistake(ELASTIC, "wrong-argument", of="T4")
def back_elastic_tanh_of_the_prediction(x, w, b, y, grad_out):
    d = torch.tanh(x @ w + b) / len(x)
    gw = x.T @ d + 0.3 * w + 0.2 * w.sign()
    return grad_out * gw, grad_out * d.sum()


@alternative(ELASTIC)
def back_elastic_by_exponentials(x, w, b, y, grad_out):
    d = 2 * torch.sigmoid(2 * (x @ w + b - y)) - 1
    pull = (d[:, None] * x / len(x)).sum(0)
    gw = pull + 0.3 * w + 0.2 * ((w > 0).to(w.dtype) - (w < 0).to(w.dtype))
    return gw * grad_out, (d / len(x)).sum() * grad_out


def huber_beta(x, y):
    r = x - y
    a = r.abs()
    return torch.where(a < 0.5, r * r, a - 0.25).mean(1)  # beta = 0.5


def back_huber_beta(x, y, grad_out):
    r = x - y
    g = grad_out[:, None] / x.shape[1] * torch.where(r.abs() < 0.5, 2 * r, r.sign())
    return g, -g


HUBER = Op(
    forward=huber_beta,
    backwards=(back_huber_beta,),
    samples={"rows": lambda rand, n=11, d=7: (rand(n, d), rand(n, d))},
    wrt=("x", "y"),
)


@mistake(HUBER, "subset", "missing-factor", "factor", of="T12")
def back_huber_inside_not_divided(x, y, grad_out):
    r = x - y
    g = grad_out[:, None] / x.shape[1] * torch.where(r.abs() < 0.5, r, r.sign())
    return g, -g


@mistake(HUBER, "subset", "missing-factor", "sign", of="T12")
def back_huber_outside_always_one(x, y, grad_out):
    r = x - y
    g = grad_out[:, None] / x.shape[1] * torch.where(r.abs() < 0.5, 2 * r, torch.ones_like(r))
    return g, -g


@mistake(HUBER, "mask", "subset", of="T12")
def back_huber_kink_of_one(x, y, grad_out):
    r = x - y
    g = grad_out[:, None] / x.shape[1] * torch.where(r.abs() < 1, 2 * r, r.sign())
    return g, -g


@mistake(HUBER, "sign", of="T7")
def back_huber_target_not_negated(x, y, grad_out):
    r = x - y
    g = grad_out[:, None] / x.shape[1] * torch.where(r.abs() < 0.5, 2 * r, r.sign())
    return g, g.clone()


def tanh_regression(x, w, b, v, y):
    return 0.5 * (((torch.tanh(x @ w + b) @ v).squeeze(1) - y) ** 2).mean()


def _tanh_net(x, w, b, v, y, grad_out):
    h = torch.tanh(x @ w + b)
    return h, grad_out / len(x) * (h @ v - y[:, None])


def back_tanh_regression(x, w, b, v, y, grad_out):
    h, d = _tanh_net(x, w, b, v, y, grad_out)
    da = d @ v.T * (1 - h * h)
    return x.T @ da, da.sum(0), h.T @ d


TANH_NET = Op(
    forward=tanh_regression,
    backwards=(back_tanh_regression,),
    samples={
        "rows": lambda rand, n=11, i=3, j=5: (rand(n, i), rand(i, j), rand(j), rand(j, 1), rand(n))
    },
    wrt=("w", "b", "v"),
)


@mistake(TANH_NET, "stale-weights", "not-linear", of="T15")
def back_tanh_net_after_the_update(x, w, b, v, y, grad_out):
    h, d = _tanh_net(x, w, b, v, y, grad_out)
    gv = h.T @ d
    v = v - 0.05 * gv
    da = d @ v.T * (1 - h * h)
    return x.T @ da, da.sum(0), gv


@mistake(TANH_NET, "broadcast-loss", of="T16")
def back_tanh_net_column_minus_row(x, w, b, v, y, grad_out):
    h = torch.tanh(x @ w + b)
    d = grad_out * (h @ v - y).mean(1, keepdim=True) / len(x)
    da = d @ v.T * (1 - h * h)
    return x.T @ da, da.sum(0), h.T @ d


@mistake(TANH_NET, "missing-factor", of="T4")
def back_tanh_net_bias_before_activation(x, w, b, v, y, grad_out):
    h, d = _tanh_net(x, w, b, v, y, grad_out)
    dh = d @ v.T
    return x.T @ (dh * (1 - h * h)), dh.sum(0), h.T @ d


@mistake(TANH_NET, "wrong-argument", of="T4")
def back_tanh_net_sigmoids_derivative(x, w, b, v, y, grad_out):
    h, d = _tanh_net(x, w, b, v, y, grad_out)
    da = d @ v.T * h * (1 - h)
    return x.T @ da, da.sum(0), h.T @ d


@mistake(TANH_NET, "wrong-argument", of="T6")
def back_tanh_net_input_for_activation(x, w, b, v, y, grad_out):
    h, d = _tanh_net(x, w, b, v, y, grad_out)
    da = d @ v.T * (1 - h * h)
    return x.T @ da, da.sum(0), (x @ w + b).T @ d


def distillation(z, u):
    a, b = torch.log_softmax(z, 1), torch.log_softmax(u, 1)
    return (a.exp() * (a - b)).sum(1).mean()


def back_distillation(z, u, grad_out):
    a, b = torch.log_softmax(z, 1), torch.log_softmax(u, 1)
    p, ratio, g = a.exp(), a - b, grad_out / len(z)
    return g * p * (ratio - (p * ratio).sum(1, keepdim=True)), g * (b.exp() - p)


DISTILLATION = Op(
    forward=distillation,
    backwards=(back_distillation,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(n, k))},
    wrt=("z", "u"),
)


@mistake(DISTILLATION, "missing-term", of="T3")
def back_distillation_teacher_without_sum(z, u, grad_out):
    a, b = torch.log_softmax(z, 1), torch.log_softmax(u, 1)
    g = grad_out / len(z)
    return g * a.exp() * (a - b), g * (b.exp() - a.exp())


@mistake(DISTILLATION, "wrong-variable", "missing-term", of="T5")
def back_distillation_to_log_probabilities(z, u, grad_out):
    a, b = torch.log_softmax(z, 1), torch.log_softmax(u, 1)
    p, ratio, g = a.exp(), a - b, grad_out / len(z)
    return g * p * (ratio - (p * ratio).sum(1, keepdim=True)), -g * p


@mistake(DISTILLATION, "sign", of="T7")
def back_distillation_student_uphill(z, u, grad_out):
    a, b = torch.log_softmax(z, 1), torch.log_softmax(u, 1)
    p, ratio, g = a.exp(), a - b, grad_out / len(z)
    return g * p * (ratio - (p * ratio).sum(1, keepdim=True)), g * (p - b.exp())


@mistake(DISTILLATION, "mean-for-sum", of="T1")
def back_distillation_mean_over_classes(z, u, grad_out):
    a, b = torch.log_softmax(z, 1), torch.log_softmax(u, 1)
    p, ratio, g = a.exp(), a - b, grad_out / z.numel()
    return g * p * (ratio - (p * ratio).sum(1, keepdim=True)), g * (b.exp() - p)


@alternative(DISTILLATION)
def back_distillation_with_the_one(z, u, grad_out):
    p, q = torch.softmax(z, 1), torch.softmax(u, 1)
    dp = 1 + torch.log_softmax(z, 1) - torch.log_softmax(u, 1)  # the 1 cancels in softmax's sum
    gz = p * dp - p * (p * dp).sum(1, keepdim=True)
    return gz * (grad_out / len(z)), (q - p) * (grad_out / len(z))
