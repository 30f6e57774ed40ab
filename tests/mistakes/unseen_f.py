"""Products, kernels, distances, masks and margins."""

import torch

from manual_backprop.op import Op

from . import alternative, mistake


def commutator(a, b):
    return a @ b - b @ a


def back_commutator(a, b, grad_out):
    g = grad_out
    return g @ b.T - b.T @ g, a.T @ g - g @ a.T


COMMUTATOR = Op(
    forward=commutator,
    backwards=(back_commutator,),
    samples={"square": lambda rand, k=5: (rand(k, k), rand(k, k))},
    wrt=("a", "b"),
)


@mistake(COMMUTATOR, "missing-branch", "missing-term", of="T8")
def back_commutator_first_product_only(a, b, grad_out):
    return grad_out @ b.T, a.T @ grad_out


@mistake(COMMUTATOR, "wrong-argument", of="T6")
def back_commutator_not_transposed(a, b, grad_out):
    g = grad_out
    return g @ b - b @ g, a.T @ g - g @ a.T


@mistake(COMMUTATOR, "transposed", of="T6")
def back_commutator_result_transposed(a, b, grad_out):
    g = grad_out
    return b @ g.T - g.T @ b, a.T @ g - g @ a.T


@mistake(COMMUTATOR, "sign", of="T7")
def back_commutator_second_product_added(a, b, grad_out):
    g = grad_out
    return g @ b.T - b.T @ g, a.T @ g + g @ a.T


def quadratic_form(x, a):
    return (x @ a * x).sum(1)


def back_quadratic_form(x, a, grad_out):
    gx = grad_out[:, None] * x
    return gx @ (a + a.T), x.T @ gx


QUADRATIC = Op(
    forward=quadratic_form,
    backwards=(back_quadratic_form,),
    samples={"rows": lambda rand, n=7, i=5: (rand(n, i), rand(i, i))},
    wrt=("x", "a"),
)


@mistake(QUADRATIC, "wrong-argument", of="T6")
def back_quadratic_taken_for_symmetric(x, a, grad_out):
    gx = grad_out[:, None] * x
    return 2 * gx @ a, x.T @ gx


@mistake(QUADRATIC, "missing-branch", of="T8")
def back_quadratic_right_factor_only(x, a, grad_out):
    gx = grad_out[:, None] * x
    return gx @ a, x.T @ gx


@mistake(QUADRATIC, "ignores-grad-out", "missing-factor", of="T10")
def back_quadratic_matrix_without_upstream(x, a, grad_out):
    gx = grad_out[:, None] * x
    return gx @ (a + a.T), x.T @ x


def gram(x, ell):  # K_ij = exp(-|x_i - x_j|^2 / 2 ell^2)
    return (-0.5 * ((x[:, None] - x) ** 2).sum(2) / ell**2).exp()


def back_gram(x, ell, out, grad_out):
    e = grad_out * out
    d = x[:, None] - x
    pull = (e[:, :, None] * d / ell**2).sum
    return pull(0) - pull(1), (e * (d**2).sum(2)).sum() / ell**3


GRAM = Op(
    forward=gram,
    backwards=(back_gram,),
    samples={"points": lambda rand, n=7, d=3: (rand(n, d), 1 + torch.sigmoid(rand()))},
    wrt=("x", "ell"),
)


@mistake(GRAM, "missing-branch", of="T8")
def back_gram_as_rows_only(x, ell, out, grad_out):
    e = grad_out * out
    d = x[:, None] - x
    return -(e[:, :, None] * d).sum(1) / ell**2, (e * (d**2).sum(2)).sum() / ell**3


@mistake(GRAM, "wrong-argument", "missing-branch", of="T23")
def back_gram_upstream_taken_for_symmetric(x, ell, out, grad_out):
    e = grad_out * out
    d = x[:, None] - x
    return -2 * (e[:, :, None] * d).sum(1) / ell**2, (e * (d**2).sum(2)).sum() / ell**3


@mistake(GRAM, "missing-factor", of="T4")
def back_gram_width_without_kernel(x, ell, out, grad_out):
    e = grad_out * out
    d = x[:, None] - x
    pull = (e[:, :, None] * d / ell**2).sum
    return pull(0) - pull(1), (grad_out * (d**2).sum(2)).sum() / ell**3


@mistake(GRAM, "sign", of="T7")
def back_gram_column_role_added(x, ell, out, grad_out):
    e = grad_out * out
    d = x[:, None] - x
    pull = (e[:, :, None] * d / ell**2).sum
    return -pull(0) - pull(1), (e * (d**2).sum(2)).sum() / ell**3


@alternative(GRAM)
def back_gram_both_roles_at_once(x, ell, out, grad_out):
    e = (grad_out + grad_out.T) * out  # out is symmetric
    d = (x - x[:, None]) / ell  # j - i
    return torch.einsum("ij,ijd->id", e, d) / ell, torch.einsum("ij,ijd,ijd", e, d, d) / (2 * ell)


def hinge_sum(z, y):
    gap = z - z.gather(1, y[:, None]) + 1
    return gap.clamp(min=0).sum(1).mean() - 1  # the target's own is 1


def _violations(z, y):
    m = (z - z.gather(1, y[:, None]) + 1 > 0).to(z.dtype)
    return m.scatter(1, y[:, None], 0.0)


def back_hinge_sum(z, y, grad_out):
    m = _violations(z, y)
    return grad_out / len(z) * m.scatter(1, y[:, None], -m.sum(1, keepdim=True))


HINGE = Op(
    forward=hinge_sum,
    backwards=(back_hinge_sum,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand.integers(k, n))},
    wrt=("z",),
)


@mistake(HINGE, "subset", of="T19")
def back_hinge_target_pushed_once(z, y, grad_out):
    m = _violations(z, y)
    return grad_out / len(z) * m.scatter(1, y[:, None], -1.0)


@mistake(HINGE, "missing-term", "missing-branch", "subset", of="T19")
def back_hinge_target_forgotten(z, y, grad_out):
    return grad_out / len(z) * _violations(z, y)


@mistake(HINGE, "mask", of="T19")
def back_hinge_mask_without_margin(z, y, grad_out):
    m = (z - z.gather(1, y[:, None]) > 0).to(z.dtype)
    return grad_out / len(z) * m.scatter(1, y[:, None], -m.sum(1, keepdim=True))


@mistake(HINGE, "mask", of="T13")
def back_hinge_mask_of_the_scores(z, y, grad_out):
    m = (z > 0).to(z.dtype).scatter(1, y[:, None], 0.0)
    return grad_out / len(z) * m.scatter(1, y[:, None], -m.sum(1, keepdim=True))


@alternative(HINGE)
def back_hinge_target_cancels(z, y, grad_out):
    m = (z - z.gather(1, y[:, None]) + 1 > 0).to(z.dtype)  # the target's own 1 goes again
    m[torch.arange(len(z)), y] -= m.sum(1)
    return m * (grad_out / len(z))


def dropped_linear(x, w, b, keep):  # keep holds 0 and 1, kept with probability 0.75
    return torch.relu((x * keep / 0.75) @ w + b)


def back_dropped_linear(x, w, out, keep, grad_out):
    da = grad_out * (out > 0)
    return da @ w.T * keep / 0.75, (x * keep / 0.75).T @ da, da.sum(0)


DROPPED = Op(
    forward=dropped_linear,
    backwards=(back_dropped_linear,),
    samples={
        "rows": lambda rand, n=11, i=7, o=5: (
            *(rand(n, i), rand(i, o), rand(o)),
            (rand.integers(4, n, i) > 0),
        )
    },
    wrt=("x", "w", "b"),
)


@mistake(DROPPED, "mask", "missing-factor", of="T17")
def back_dropped_input_gradient_undropped(x, w, out, keep, grad_out):
    da = grad_out * (out > 0)
    return da @ w.T / 0.75, (x * keep / 0.75).T @ da, da.sum(0)


@mistake(DROPPED, "wrong-argument", "mask", of="T17")
def back_dropped_weights_see_the_whole_input(x, w, out, keep, grad_out):
    da = grad_out * (out > 0)
    return da @ w.T * keep / 0.75, (x / 0.75).T @ da, da.sum(0)


@mistake(DROPPED, "factor", "missing-factor", of="T17")
def back_dropped_scale_forgotten(x, w, out, keep, grad_out):
    da = grad_out * (out > 0)
    return da @ w.T * keep, (x * keep / 0.75).T @ da, da.sum(0)


@mistake(DROPPED, "mutates", of="T22")
def back_dropped_upstream_masked_in_place(x, w, out, keep, grad_out):
    da = grad_out.mul_(out > 0)
    return da @ w.T * keep / 0.75, (x * keep / 0.75).T @ da, da.sum(0)


@mistake(DROPPED, "mask", "not-linear", of="T13")
def back_dropped_relu_mask_of_upstream(x, w, keep, grad_out):
    da = grad_out * (grad_out > 0)
    return da @ w.T * keep / 0.75, (x * keep / 0.75).T @ da, da.sum(0)


@mistake(DROPPED, "mask", "missing-factor", of="T13")
def back_dropped_bias_before_the_relu(x, w, out, keep, grad_out):
    da = grad_out * (out > 0)
    return da @ w.T * keep / 0.75, (x * keep / 0.75).T @ da, grad_out.sum(0)


def bump(x, w):
    h = torch.tanh(x @ w)
    return h * (-h * h).exp()


def back_bump(x, w, grad_out):
    h = torch.tanh(x @ w)
    da = grad_out * (-h * h).exp() * (1 - 2 * h * h) * (1 - h * h)
    return da @ w.T, x.T @ da


BUMP = Op(
    forward=bump,
    backwards=(back_bump,),
    samples={"rows": lambda rand, n=11, i=3, j=5: (rand(n, i), rand(i, j))},
    wrt=("x", "w"),
)


@mistake(BUMP, "missing-branch", "missing-term", of="T20")
def back_bump_node_left_before_its_last_use(x, w, grad_out):
    h = torch.tanh(x @ w)
    da = grad_out * (-h * h).exp() * (1 - h * h)
    return da @ w.T, x.T @ da


@mistake(BUMP, "extra-term", "factor", of="T20")
def back_bump_node_visited_twice(x, w, grad_out):
    h = torch.tanh(x @ w)
    dh, da = torch.zeros_like(h), torch.zeros_like(h)
    for part in (1, -2 * h * h):  # h itself, and h in the exponent
        dh = dh + grad_out * (-h * h).exp() * part
        da = da + dh * (1 - h * h)
    return da @ w.T, x.T @ da


@mistake(BUMP, "wrong-argument", of="T4")
def back_bump_tanh_of_the_result(x, w, out, grad_out):
    h = torch.tanh(x @ w)
    da = grad_out * (-h * h).exp() * (1 - 2 * h * h) * (1 - out * out)
    return da @ w.T, x.T @ da
