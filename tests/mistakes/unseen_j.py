"""Homework on graphs and penalties: residual blocks, factorisation, penalised losses."""

import torch

from manual_backprop.op import Op
from tests.mistakes import alternative, mistake


def residual(x, w1, b1, w2, s):
    return torch.relu(x + torch.relu(x @ w1 + b1) @ w2) * s


def back_residual(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    a = z.clamp(min=0)
    r = x + a @ w2
    dr = grad_out * s * (r > 0)
    dz = (dr @ w2.T) * (z > 0)
    return dr + dz @ w1.T, x.T @ dz, dz.sum(0), a.T @ dr, (grad_out * r * (r > 0)).sum(0)


RESIDUAL = Op(
    forward=residual,
    backwards=(back_residual,),
    samples={
        "rows": lambda rand, n=13, d=5, h=11: (
            *(rand(n, d), rand(d, h), rand(h), rand(h, d) / 3, rand(d)),
        )
    },
    wrt=("x", "w1", "b1", "w2", "s"),
)


@mistake(RESIDUAL, "missing-branch", "missing-term", of="T8")
def back_residual_skip_forgotten(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    a = z.clamp(min=0)
    r = x + a @ w2
    dr = grad_out * s * (r > 0)
    dz = (dr @ w2.T) * (z > 0)
    return dz @ w1.T, x.T @ dz, dz.sum(0), a.T @ dr, (grad_out * r * (r > 0)).sum(0)


@mistake(RESIDUAL, "mask", of="T13")
def back_residual_mask_of_branch(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    a = z.clamp(min=0)
    r = x + a @ w2
    dr = grad_out * s * (a @ w2 > 0)
    dz = (dr @ w2.T) * (z > 0)
    return dr + dz @ w1.T, x.T @ dz, dz.sum(0), a.T @ dr, (grad_out * r * (r > 0)).sum(0)


@mistake(RESIDUAL, "mask", "not-linear", of="T13")
def back_residual_mask_of_upstream(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    a = z.clamp(min=0)
    r = x + a @ w2
    dr = grad_out * s * (r > 0)
    da = dr @ w2.T
    dz = da * (da > 0)
    return dr + dz @ w1.T, x.T @ dz, dz.sum(0), a.T @ dr, (grad_out * r * (r > 0)).sum(0)


@mistake(RESIDUAL, "extra-term", of="T20")
def back_residual_visited_twice(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    a = z.clamp(min=0)
    r = x + a @ w2
    dr = grad_out * s * (r > 0)
    grad_x = dr.clone()  # by way of the skip, and the node is done before the other child is
    dz = (dr @ w2.T) * (z > 0)
    grad_x += dz @ w1.T
    grad_x += dr  # ... and visited from there once more
    return grad_x, x.T @ dz, dz.sum(0), a.T @ dr, (grad_out * r * (r > 0)).sum(0)


@mistake(RESIDUAL, "mutates", of="T22")
def back_residual_upstream_scaled_in_place(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    a = z.clamp(min=0)
    r = x + a @ w2
    ds = (grad_out * r * (r > 0)).sum(0)
    grad_out *= s * (r > 0)
    dz = (grad_out @ w2.T) * (z > 0)
    return grad_out + dz @ w1.T, x.T @ dz, dz.sum(0), a.T @ grad_out, ds


@alternative(RESIDUAL)
def back_residual_by_where(x, w1, b1, w2, s, grad_out):
    z = x @ w1 + b1
    r = x + torch.where(z > 0, z, 0.0) @ w2
    dr = torch.where(r > 0, s * grad_out, 0.0)
    dz = torch.where(z > 0, torch.einsum("nd,hd->nh", dr, w2), 0.0)
    ds = torch.einsum("nd,nd->d", grad_out, r.clamp(min=0))
    return dz @ w1.T + dr, (dz.T @ x).T, dz.sum(0), z.clamp(min=0).T @ dr, ds


def factorised(p, q, bu, bi, users, items, ratings, *, lam=0.3):
    e = _miss(p, q, bu, bi, users, items, ratings)
    return (e**2).mean() + lam * ((p**2).sum() + (q**2).sum())


def _miss(p, q, bu, bi, users, items, ratings):
    return (p[users] * q[items]).sum(1) + bu[users] + bi[items] - ratings


def _added(like, rows, values):
    return torch.zeros_like(like).index_add_(0, rows, values)


def back_factorised(p, q, bu, bi, users, items, ratings, grad_out, *, lam=0.3):
    e = 2 * grad_out * _miss(p, q, bu, bi, users, items, ratings) / len(users)
    gp = _added(p, users, e[:, None] * q[items]) + 2 * lam * grad_out * p
    gq = _added(q, items, e[:, None] * p[users]) + 2 * lam * grad_out * q
    return gp, gq, _added(bu, users, e), _added(bi, items, e)


FACTORISED = Op(
    forward=factorised,
    backwards=(back_factorised,),
    samples={
        "ratings": lambda rand, n=13, u=7, m=5, d=3: (
            *(rand(u, d), rand(m, d), rand(u), rand(m)),
            *(rand.integers(u, n), rand.integers(m, n), rand(n)),
        )
    },
    wrt=("p", "q", "bu", "bi"),
)


@mistake(FACTORISED, "missing-factor", "factor", of="T14")
def back_factorised_half_a_penalty(p, q, bu, bi, users, items, ratings, grad_out, *, lam=0.3):
    e = 2 * grad_out * _miss(p, q, bu, bi, users, items, ratings) / len(users)
    gp = _added(p, users, e[:, None] * q[items]) + lam * grad_out * p
    gq = _added(q, items, e[:, None] * p[users]) + lam * grad_out * q
    return gp, gq, _added(bu, users, e), _added(bi, items, e)


@mistake(FACTORISED, "extra-term", of="T14")
def back_factorised_biases_penalised(p, q, bu, bi, users, items, ratings, grad_out, *, lam=0.3):
    e = 2 * grad_out * _miss(p, q, bu, bi, users, items, ratings) / len(users)
    decay = 2 * lam * grad_out
    gp = _added(p, users, e[:, None] * q[items]) + decay * p
    gq = _added(q, items, e[:, None] * p[users]) + decay * q
    return gp, gq, _added(bu, users, e) + decay * bu, _added(bi, items, e) + decay * bi


@mistake(FACTORISED, "missing-term", of="T14")
def back_factorised_items_free(p, q, bu, bi, users, items, ratings, grad_out, *, lam=0.3):
    e = 2 * grad_out * _miss(p, q, bu, bi, users, items, ratings) / len(users)
    gp = _added(p, users, e[:, None] * q[items]) + 2 * lam * grad_out * p
    return gp, _added(q, items, e[:, None] * p[users]), _added(bu, users, e), _added(bi, items, e)


@mistake(FACTORISED, "stale-weights", "not-linear", of="T15")
def back_factorised_users_first(p, q, bu, bi, users, items, ratings, grad_out, *, lam=0.3):
    e = 2 * grad_out * _miss(p, q, bu, bi, users, items, ratings) / len(users)
    gp = _added(p, users, e[:, None] * q[items]) + 2 * lam * grad_out * p
    p = p - 0.1 * gp
    gq = _added(q, items, e[:, None] * p[users]) + 2 * lam * grad_out * q
    return gp, gq, _added(bu, users, e), _added(bi, items, e)


@mistake(FACTORISED, "overwritten", of="T8")
def back_factorised_biases_assigned(p, q, bu, bi, users, items, ratings, grad_out, *, lam=0.3):
    e = 2 * grad_out * _miss(p, q, bu, bi, users, items, ratings) / len(users)
    gp = _added(p, users, e[:, None] * q[items]) + 2 * lam * grad_out * p
    gq = _added(q, items, e[:, None] * p[users]) + 2 * lam * grad_out * q
    gbu = torch.zeros_like(bu)
    for row, user in enumerate(users.tolist()):
        gbu[user] = e[row]
    return gp, gq, gbu, _added(bi, items, e)


def penalised_logistic(x, w, b, y, *, lam=0.7):
    """The mean of log(1 + exp(-y f)), with labels of -1 and 1 and λ/2 |w|²."""
    margin = (2 * y - 1) * (x @ w + b)
    return torch.nn.functional.softplus(-margin).mean() + lam / 2 * (w**2).sum()


def back_penalised_logistic(x, w, b, y, grad_out, *, lam=0.7):
    sign = 2 * y - 1
    d = -sign * torch.sigmoid(-sign * (x @ w + b)) * grad_out / len(x)
    return x.T @ d + lam * grad_out * w, d.sum()


LOGISTIC = Op(
    forward=penalised_logistic,
    backwards=(back_penalised_logistic,),
    samples={"rows": lambda rand, n=11, i=7: (rand(n, i), rand(i), rand(), rand.integers(2, n))},
    wrt=("w", "b"),
)


@mistake(LOGISTIC, "extra-factor", "mean-for-sum", of="T14")
def back_logistic_penalty_over_rows(x, w, b, y, grad_out, *, lam=0.7):
    sign = 2 * y - 1
    d = -sign * torch.sigmoid(-sign * (x @ w + b)) * grad_out / len(x)
    return x.T @ d + lam / len(x) * grad_out * w, d.sum()


@mistake(LOGISTIC, "convention", of="T19")
def back_logistic_labels_of_zero_and_one(x, w, b, y, grad_out, *, lam=0.7):
    d = -y * torch.sigmoid(-y * (x @ w + b)) * grad_out / len(x)
    return x.T @ d + lam * grad_out * w, d.sum()


@mistake(LOGISTIC, "wrong-argument", of="T4")
def back_logistic_sigmoid_of_plain_score(x, w, b, y, grad_out, *, lam=0.7):
    sign = 2 * y - 1
    d = -sign * torch.sigmoid(x @ w + b) * grad_out / len(x)
    return x.T @ d + lam * grad_out * w, d.sum()


@mistake(LOGISTIC, "missing-factor", "not-linear", of="T10")
def back_logistic_penalty_without_upstream(x, w, b, y, grad_out, *, lam=0.7):
    sign = 2 * y - 1
    d = -sign * torch.sigmoid(-sign * (x @ w + b)) * grad_out / len(x)
    return x.T @ d + lam * w, d.sum()


@mistake(LOGISTIC, "sign", of="T7")
def back_logistic_decay_subtracted(x, w, b, y, grad_out, *, lam=0.7):
    sign = 2 * y - 1
    d = -sign * torch.sigmoid(-sign * (x @ w + b)) * grad_out / len(x)
    return x.T @ d - lam * grad_out * w, d.sum()


_VELOCITY = {"w": 0.0, "b": 0.0}


@mistake(LOGISTIC, "stateful", of="T11")
def back_logistic_with_momentum(x, w, b, y, grad_out, *, lam=0.7):
    grad_w, grad_b = back_penalised_logistic(x, w, b, y, grad_out, lam=lam)
    _VELOCITY["w"] = 0.9 * _VELOCITY["w"] + grad_w
    _VELOCITY["b"] = 0.9 * _VELOCITY["b"] + grad_b
    return _VELOCITY["w"], _VELOCITY["b"]


@alternative(LOGISTIC)
def back_logistic_of_probabilities(x, w, b, y, grad_out, *, lam=0.7):
    d = (torch.sigmoid(x @ w + b) - y) / len(x)
    return grad_out * (d @ x + lam * w), grad_out * d.sum()
