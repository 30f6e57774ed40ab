"""More right backwards in other words: places, steps, networks, calculus."""

import math

import torch
import torch.nn.functional as F

from tests.mistakes import alternative, networks, norms, places, sequences
from tests.mistakes import arithmetic as ari
from tests.mistakes.calls import AVERAGE, DOT, FLAT_SCALE, NORMALISE


@alternative(norms.COSINE)
def cosine_by_unit_vectors(a, b, grad_out):
    na, nb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    u, v = a / na, b / nb
    c = (u * v).sum(1, keepdim=True)
    g = grad_out[:, None]
    return g * (v - c * u) / na, g * (u - c * v) / nb


@alternative(places.EMBEDDING)
def embedding_by_one_hot(table, index, grad_out):
    one_hot = F.one_hot(index, len(table)).to(table.dtype)
    return torch.einsum("msv,msd->vd", one_hot, grad_out)


@alternative(places.EMBEDDING)
def embedding_word_by_word(table, index, grad_out):
    grad = torch.zeros_like(table)
    for row in range(index.shape[0]):
        for place in range(index.shape[1]):
            grad[index[row, place]] += grad_out[row, place]
    return grad


@alternative(places.GATHER)
def gather_by_one_hot(x, index, grad_out):
    return (F.one_hot(index, x.shape[1]) * grad_out[:, :, None]).sum(1)


@alternative(places.AMAX)
def amax_by_scatter(x, grad_out):
    return torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), grad_out[:, None])


@alternative(places.MAX_POOL)
def max_pool_by_equality(x, out, grad_out):
    is_largest = (x == out.repeat_interleave(3, 1)).to(x.dtype)
    ties = is_largest.reshape(len(x), -1, 3).sum(2)
    return is_largest * (grad_out / ties).repeat_interleave(3, 1)


@alternative(places.DROPOUT)
def dropout_by_where(mask, grad_out, *, p=0.3):
    return torch.where(mask == 1, grad_out / (1 - p), 0.0)


@alternative(places.CLIP)
def clip_by_the_output(x, out, grad_out):
    return torch.where(x == out, grad_out, 0.0)


@alternative(places.SHIFTED_ROWS)
def shifted_rows_of_one_buffer(grad_out):
    # two views of one allocation that do not overlap
    buffer = torch.cat([torch.roll(grad_out, -1, dims=1), grad_out.sum(0, keepdim=True)])
    return buffer[:-1], buffer[-1]


@alternative(sequences.CONV1D)
def conv1d_window_by_window(x, kernel, grad_out):
    grad_x, grad_kernel = torch.zeros_like(x), torch.zeros_like(kernel)
    for place in range(grad_out.shape[1]):
        window = slice(place, place + len(kernel))
        grad_x[:, window] += grad_out[:, place, None] * kernel
        grad_kernel += grad_out[:, place] @ x[:, window]
    return grad_x, grad_kernel


@alternative(sequences.CUMSUM)
def cumsum_total_less_what_came_before(grad_out):
    return grad_out.sum(1, keepdim=True) - grad_out.cumsum(1) + grad_out


@alternative(sequences.CUMSUM)
def cumsum_by_a_triangle(grad_out):
    ones = grad_out.new_ones(grad_out.shape[1], grad_out.shape[1])
    return grad_out @ ones.tril()


@alternative(sequences.RNN)
def rnn_collected_then_multiplied(x, h, wx, wh, b, grad_out):
    states = torch.stack(sequences._states(x, h, wx, wh, b))
    grad_z = torch.empty_like(states[1:])
    grad_h = grad_out
    for t in range(len(x) - 1, -1, -1):
        grad_z[t] = grad_h * (1 - states[t + 1] * states[t + 1])
        grad_h = grad_z[t] @ wh.T
    return (
        grad_z @ wx.T,
        grad_h,
        torch.einsum("tni,tnk->ik", x, grad_z),
        torch.einsum("tnj,tnk->jk", states[:-1], grad_z),
        grad_z.sum((0, 1)),
    )


@alternative(networks.TWO_LAYER)
def two_layer_with_the_bias_as_a_weight(x, w1, b1, w2, b2, y, grad_out):
    ones = x.new_ones(len(x), 1)
    x1 = torch.cat([x, ones], 1)
    h = (x1 @ torch.cat([w1, b1[None]])).relu()
    h1 = torch.cat([h, ones], 1)
    delta2 = (h1 @ torch.cat([w2, b2[None]]) - y) * (2 * grad_out / len(x))
    delta1 = (delta2 @ w2.T).masked_fill(h <= 0, 0.0)
    first, second = x1.T @ delta1, h1.T @ delta2
    return first[:-1], first[-1], second[:-1], second[-1]


@alternative(networks.RIDGE)
def ridge_decay_first(x, w, b, y, grad_out, *, decay=0.3):
    error = x @ w + b - y
    return grad_out * 2 * (decay * w + (error @ x) / len(y)), grad_out * 2 * error.mean()


@alternative(networks.RESIDUAL)
def residual_into_its_own_buffer(x, w, grad_out):
    grad_z = grad_out * (1 - torch.tanh(x @ w) ** 2)
    grad_x = grad_out.clone()
    grad_x += grad_z @ w.T
    return grad_x, x.T @ grad_z


@alternative(networks.TIED)
def tied_collected(x, w, grad_out):
    h = torch.tanh(x @ w)
    grad_w = torch.zeros_like(w)
    grad_w += (h.T @ grad_out).T
    grad_w += x.T @ ((grad_out @ w) * (1 - h) * (1 + h))
    return grad_w, grad_out.sum(0)


@alternative(ari.CUBE)
def cube_as_products(x, grad_out):
    return grad_out * x * x + grad_out * x * x + grad_out * x * x


@alternative(ari.LOG2)
def log2_of_e(x, grad_out):
    return grad_out * math.log2(math.e) / x


@alternative(ari.DIVIDE)
def divide_from_the_output(b, out, grad_out):
    grad_a = grad_out / b
    return grad_a, -(grad_a * out).sum(0)


@alternative(ari.MEAN_OVER_ROWS)
def mean_over_rows_by_ones(x, grad_out):
    return torch.ones_like(x) * grad_out.reshape(1, -1, 1) / (x.numel() / x.shape[1])


@alternative(ari.DIAMOND)
def diamond_multiplied_out(a, b, grad_out):
    c = a * b
    slope = torch.sin(c) + a + (c + 1) * torch.cos(c)
    return grad_out * (slope * b + c + 1), grad_out * slope * a


@alternative(ari.QUADRATIC)
def quadratic_symmetrised(x, a, grad_out):
    g = grad_out.unsqueeze(1)
    return g * (x @ (a + a.T)), torch.einsum("n,ni,nj->ij", grad_out, x, x)


@alternative(AVERAGE)
def average_passed_on_twice(grad_out):
    return 0.5 * grad_out, grad_out - 0.5 * grad_out


@alternative(DOT)
def dot_in_the_other_order(a, b, grad_out):
    return b.mul(grad_out), a.mul(grad_out)


@alternative(FLAT_SCALE)
def flat_scale_unflattened(x, grad_out, *, scale=0.7):
    return (grad_out * scale).unflatten(0, x.shape)


@alternative(NORMALISE)
def normalise_by_its_jacobian(x, grad_out):
    k = x.shape[1]
    length = x.norm(dim=1)[:, None, None]
    unit = x[:, :, None] / length
    jacobian = (torch.eye(k, dtype=x.dtype) - unit @ unit.transpose(1, 2)) / length
    return (jacobian @ grad_out[:, :, None]).squeeze(2)
