"""Homework on losses: policy gradients, weighted classes, hinges, kernels, kinks."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def policy_loss(s, w, b, actions, advantage, *, bonus=0.3):
    """Minus the mean of advantage times log π(action), minus the bonus on the entropy."""
    log_pi = torch.log_softmax(s @ w + b, 1)
    gain = advantage * log_pi[torch.arange(len(s)), actions]
    return -(gain - bonus * (log_pi.exp() * log_pi).sum(1)).mean()


def back_policy_loss(s, w, b, actions, advantage, grad_out, *, bonus=0.3):
    log_pi = torch.log_softmax(s @ w + b, 1)
    pi = log_pi.exp()
    d = (pi - torch.nn.functional.one_hot(actions, len(b))) * advantage[:, None]
    d = d + bonus * pi * (log_pi - (pi * log_pi).sum(1, keepdim=True))
    d = d * grad_out / len(s)
    return s.T @ d, d.sum(0)


POLICY = Op(
    forward=policy_loss,
    backwards=(back_policy_loss,),
    samples={
        "rows": lambda rand, n=11, i=5, k=7: (
            *(rand(n, i), rand(i, k), rand(k), rand.integers(k, n), rand(n)),
        )
    },
    wrt=("w", "b"),
)


@mistake(POLICY, "sign", of="T7")
def back_policy_entropy_punished(s, w, b, actions, advantage, grad_out, *, bonus=0.3):
    log_pi = torch.log_softmax(s @ w + b, 1)
    pi = log_pi.exp()
    d = (pi - torch.nn.functional.one_hot(actions, len(b))) * advantage[:, None]
    d = d - bonus * pi * (log_pi - (pi * log_pi).sum(1, keepdim=True))
    d = d * grad_out / len(s)
    return s.T @ d, d.sum(0)


@mistake(POLICY, "missing-term", of="T3")
def back_policy_entropy_diagonal(s, w, b, actions, advantage, grad_out, *, bonus=0.3):
    log_pi = torch.log_softmax(s @ w + b, 1)
    pi = log_pi.exp()
    d = (pi - torch.nn.functional.one_hot(actions, len(b))) * advantage[:, None]
    d = d + bonus * pi * log_pi
    d = d * grad_out / len(s)
    return s.T @ d, d.sum(0)


@mistake(POLICY, "wrong-argument", of="T22")
def back_policy_probabilities_damaged(s, w, b, actions, advantage, grad_out, *, bonus=0.3):
    log_pi = torch.log_softmax(s @ w + b, 1)
    pi = log_pi.exp()
    d = pi
    d[torch.arange(len(s)), actions] -= 1  # pi too
    d = d * advantage[:, None]
    d = d + bonus * pi * (log_pi - (log_pi.exp() * log_pi).sum(1, keepdim=True))
    d = d * grad_out / len(s)
    return s.T @ d, d.sum(0)


@mistake(POLICY, "missing-factor", of="T5")
def back_policy_advantage_on_action_only(s, w, b, actions, advantage, grad_out, *, bonus=0.3):
    log_pi = torch.log_softmax(s @ w + b, 1)
    pi = log_pi.exp()
    d = pi - torch.nn.functional.one_hot(actions, len(b)) * advantage[:, None]
    d = d + bonus * pi * (log_pi - (pi * log_pi).sum(1, keepdim=True))
    d = d * grad_out / len(s)
    return s.T @ d, d.sum(0)


def weighted_softmax_loss(x, w, b, weights, y):
    log_p = torch.log_softmax(x @ w + b, 1)[torch.arange(len(x)), y]
    return -(weights[y] * log_p).sum() / weights[y].sum()


def back_weighted_softmax_loss(x, w, b, weights, y, grad_out):
    d = torch.softmax(x @ w + b, 1) - torch.nn.functional.one_hot(y, len(b))
    d = d * (weights[y] / weights[y].sum())[:, None] * grad_out
    return x.T @ d, d.sum(0)


WEIGHTED = Op(
    forward=weighted_softmax_loss,
    backwards=(back_weighted_softmax_loss,),
    samples={
        "rows": lambda rand, n=13, i=5, k=3: (
            *(rand(n, i), rand(i, k), rand(k), rand(k).abs() + 0.5, rand.integers(k, n)),
        )
    },
    wrt=("w", "b"),
)


@mistake(WEIGHTED, "convention", "factor", of="T1")
def back_weighted_over_rows(x, w, b, weights, y, grad_out):
    d = torch.softmax(x @ w + b, 1) - torch.nn.functional.one_hot(y, len(b))
    d = d * (weights[y] / len(y))[:, None] * grad_out
    return x.T @ d, d.sum(0)


@mistake(WEIGHTED, "wrong-argument", "wrong-axis", of="T5")
def back_weighted_by_column(x, w, b, weights, y, grad_out):
    d = torch.softmax(x @ w + b, 1) - torch.nn.functional.one_hot(y, len(b))
    d = d * weights / weights[y].sum() * grad_out
    return x.T @ d, d.sum(0)


@mistake(WEIGHTED, "missing-term", of="T5")
def back_weighted_without_target(x, w, b, weights, y, grad_out):
    d = torch.softmax(x @ w + b, 1) * (weights[y] / weights[y].sum())[:, None] * grad_out
    return x.T @ d, d.sum(0)


@alternative(WEIGHTED)
def back_weighted_row_by_row(x, w, b, weights, y, grad_out):
    grad_w, grad_b = torch.zeros_like(w), torch.zeros_like(b)
    for row, label in zip(x, y.tolist(), strict=True):
        d = torch.softmax(row @ w + b, 0)
        d[label] -= 1
        d *= weights[label]
        grad_w += torch.outer(row, d)
        grad_b += d
    scale = grad_out / weights[y].sum()
    return grad_w * scale, grad_b * scale


def multi_hinge(x, w, y, *, lam=0.2):
    """The mean over rows of Σ (s - s_y + 1)₊ over the wrong classes, plus λ |w|²."""
    s = x @ w
    margins = (s - s.gather(1, y[:, None]) + 1).clamp(min=0)
    return (margins.sum(1) - 1).mean() + lam * (w**2).sum()


def back_multi_hinge(x, w, y, grad_out, *, lam=0.2):
    s, rows = x @ w, torch.arange(len(x))
    d = (s - s[rows, y][:, None] + 1 > 0).to(x.dtype)
    d[rows, y] = 0
    d[rows, y] = -d.sum(1)
    return grad_out * (x.T @ d / len(x) + 2 * lam * w)


HINGE = Op(
    forward=multi_hinge,
    backwards=(back_multi_hinge,),
    samples={"rows": lambda rand, n=11, i=5, k=7: (rand(n, i), rand(i, k), rand.integers(k, n))},
    wrt=("w",),
)


@mistake(HINGE, "missing-factor", of="T19")
def back_hinge_target_once(x, w, y, grad_out, *, lam=0.2):
    s, rows = x @ w, torch.arange(len(x))
    d = (s - s[rows, y][:, None] + 1 > 0).to(x.dtype)
    d[rows, y] = -1
    return grad_out * (x.T @ d / len(x) + 2 * lam * w)


@mistake(HINGE, "mask", of="T19")
def back_hinge_as_perceptron(x, w, y, grad_out, *, lam=0.2):
    s, rows = x @ w, torch.arange(len(x))
    d = (s - s[rows, y][:, None] > 0).to(x.dtype)
    d[rows, y] = -d.sum(1)
    return grad_out * (x.T @ d / len(x) + 2 * lam * w)


@mistake(HINGE, "missing-term", "missing-branch", of="T19")
def back_hinge_target_not_pulled(x, w, y, grad_out, *, lam=0.2):
    s, rows = x @ w, torch.arange(len(x))
    d = (s - s[rows, y][:, None] + 1 > 0).to(x.dtype)
    d[rows, y] = 0
    return grad_out * (x.T @ d / len(x) + 2 * lam * w)


def kernel_regression(q, x, y, h):
    """At each of m places q the mean of y, weighted by a Gaussian of width h."""
    k = (-0.5 * ((q[:, None] - x) / h) ** 2).exp()
    return k @ y / k.sum(1)


def back_kernel_regression(q, x, y, h, out, grad_out):
    gap = q[:, None] - x
    share = torch.softmax(-0.5 * (gap / h) ** 2, 1)
    each = grad_out[:, None] * share * (y - out[:, None])
    return -(each * gap).sum(1) / h**2, share.T @ grad_out, (each * gap**2).sum() / h**3


KERNEL = Op(
    forward=kernel_regression,
    backwards=(back_kernel_regression,),
    samples={"points": lambda rand, m=7, n=11: (rand(m), rand(n), rand(n), rand().abs() + 0.7)},
    wrt=("q", "y", "h"),
)


@mistake(KERNEL, "missing-term", "missing-branch", of="T3")
def back_kernel_denominator_constant(q, x, y, h, grad_out):
    gap = q[:, None] - x
    share = torch.softmax(-0.5 * (gap / h) ** 2, 1)
    each = grad_out[:, None] * share * y
    return -(each * gap).sum(1) / h**2, share.T @ grad_out, (each * gap**2).sum() / h**3


@mistake(KERNEL, "missing-factor", of="T4")
def back_kernel_gap_not_squared(q, x, y, h, out, grad_out):
    gap = q[:, None] - x
    share = torch.softmax(-0.5 * (gap / h) ** 2, 1)
    each = grad_out[:, None] * share * (y - out[:, None])
    return -(each * gap).sum(1) / h**2, share.T @ grad_out, (each * gap).sum() / h**3


@mistake(KERNEL, "wrong-axis", of="T3")
def back_kernel_normalised_over_queries(q, x, y, h, out, grad_out):
    gap = q[:, None] - x
    share = torch.softmax(-0.5 * (gap / h) ** 2, 1)
    each = grad_out[:, None] * share * (y - out[:, None])
    over = torch.softmax(-0.5 * (gap / h) ** 2, 0)
    return -(each * gap).sum(1) / h**2, over.T @ grad_out, (each * gap**2).sum() / h**3


@alternative(KERNEL)
def back_kernel_by_quotient_rule(q, x, y, h, grad_out):
    gap = (q[:, None] - x) / h
    k = (-0.5 * gap**2).exp()
    top, bottom = k @ y, k.sum(1)
    dk = torch.outer(grad_out / bottom, y) - (grad_out * top / bottom**2)[:, None]
    dgap = -dk * k * gap
    return dgap.sum(1) / h, k.T @ (grad_out / bottom), -(dgap * gap).sum() / h


def leaky_lasso(x, w, b, v, y, *, lam=0.3):
    z = x @ w + b
    return ((torch.where(z > 0, z, 0.1 * z) @ v - y) ** 2).mean() + lam * w.abs().sum()


def _leaky_back(x, w, b, v, y, grad_out):
    z = x @ w + b
    a = torch.where(z > 0, z, 0.1 * z)
    e = 2 * grad_out * (a @ v - y) / len(x)
    return z, a, e, torch.outer(e, v)


def back_leaky_lasso(x, w, b, v, y, grad_out, *, lam=0.3):
    z, a, e, da = _leaky_back(x, w, b, v, y, grad_out)
    dz = torch.where(z > 0, da, 0.1 * da)
    return x.T @ dz + lam * grad_out * w.sign(), dz.sum(0), a.T @ e


LEAKY = Op(
    forward=leaky_lasso,
    backwards=(back_leaky_lasso,),
    samples={
        "sparse": lambda rand, n=11, i=5, h=7: (
            *(rand(n, i), rand(i, h) * rand.integers(2, i, h), rand(h), rand(h), rand(n)),
        )
    },
    wrt=("w", "b", "v"),
)


@mistake(LEAKY, "nan", of="T12")
def back_lasso_over_absolute_value(x, w, b, v, y, grad_out, *, lam=0.3):
    z, a, e, da = _leaky_back(x, w, b, v, y, grad_out)
    dz = torch.where(z > 0, da, 0.1 * da)
    return x.T @ dz + lam * grad_out * w / w.abs(), dz.sum(0), a.T @ e


@mistake(LEAKY, "missing-factor", "mask", of="T4")
def back_leaky_slope_forgotten(x, w, b, v, y, grad_out, *, lam=0.3):
    _, a, e, dz = _leaky_back(x, w, b, v, y, grad_out)
    return x.T @ dz + lam * grad_out * w.sign(), dz.sum(0), a.T @ e


@mistake(LEAKY, "mask", "not-linear", of="T13")
def back_leaky_side_of_upstream(x, w, b, v, y, grad_out, *, lam=0.3):
    _, a, e, da = _leaky_back(x, w, b, v, y, grad_out)
    dz = torch.where(da > 0, da, 0.1 * da)
    return x.T @ dz + lam * grad_out * w.sign(), dz.sum(0), a.T @ e


@mistake(LEAKY, "missing-term", of="T14")
def back_leaky_lasso_without_penalty(x, w, b, v, y, grad_out):
    z, a, e, da = _leaky_back(x, w, b, v, y, grad_out)
    dz = torch.where(z > 0, da, 0.1 * da)
    return x.T @ dz, dz.sum(0), a.T @ e
