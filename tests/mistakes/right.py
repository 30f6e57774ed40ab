"""Right backwards in other words: none of them may be accused of anything."""

import math

import torch
import torch.nn.functional as F

from tests.mistakes import activations as act
from tests.mistakes import alternative, losses, norms, softmaxes
from tests.mistakes import cross_entropies as ce
from tests.mistakes import linear as lin


@alternative(lin.LINEAR)
def linear_by_einsum(x, weight, grad_out):
    return (
        torch.einsum("no,oi->ni", grad_out, weight),
        torch.einsum("no,ni->oi", grad_out, x),
        torch.einsum("no->o", grad_out),
    )


@alternative(lin.LINEAR)
def linear_row_by_row(x, weight, grad_out):
    grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
    grad_bias = torch.zeros_like(weight[:, 0])
    for n in range(len(x)):
        grad_x[n] = weight.T @ grad_out[n]
        grad_weight += torch.outer(grad_out[n], x[n])
        grad_bias += grad_out[n]
    return grad_x, grad_weight, grad_bias


@alternative(lin.LINEAR)
def linear_by_transposes(x, weight, grad_out):
    return (weight.T @ grad_out.T).T, (x.T @ grad_out).T, grad_out.T @ x.new_ones(len(x))


@alternative(lin.AFFINE_ROWS)
def affine_rows_reduced_in_steps(x, scale, grad_out):
    grad_shift = grad_out.sum(0).sum(1, keepdim=True)
    return scale * grad_out, (x * grad_out).sum(1).sum(0), grad_shift


@alternative(lin.CHAIN)
def chain_from_the_other_side(a, b, c, grad_out):
    return grad_out @ (b @ c).T, a.T @ (grad_out @ c.T), b.T @ (a.T @ grad_out)


@alternative(lin.GRAM)
def gram_two_products(x, grad_out):
    return grad_out @ x + (x.T @ grad_out).T


@alternative(lin.BILINEAR)
def bilinear_by_einsum(x, a, y, grad_out):
    return (
        torch.einsum("n,ij,nj->ni", grad_out, a, y),
        torch.einsum("n,ni,nj->ij", grad_out, x, y),
        torch.einsum("n,ni,ij->nj", grad_out, x, a),
    )


@alternative(act.RELU)
def relu_mask_of_the_output(out, grad_out):
    return grad_out * (out > 0)


@alternative(act.RELU)
def relu_in_its_own_buffer(x, grad_out):
    grad = grad_out.clone()
    grad[x <= 0] = 0
    return grad


@alternative(act.RELU)
def relu_by_heaviside(x, grad_out):
    return grad_out * torch.heaviside(x, torch.zeros((), dtype=x.dtype))


@alternative(act.LEAKY_RELU)
def leaky_relu_as_a_slope(x, grad_out, *, slope=0.1):
    return grad_out * (slope + (1 - slope) * (x > 0).to(x.dtype))


@alternative(act.PRELU)
def prelu_by_masks(x, slope, grad_out):
    negative = x.clamp(max=0)
    return grad_out * ((x > 0) + slope * (x <= 0)), (negative * grad_out).sum(0)


@alternative(act.SIGMOID)
def sigmoid_of_the_input(z, grad_out):
    return grad_out * torch.sigmoid(z) * torch.sigmoid(-z)


@alternative(act.SIGMOID)
def sigmoid_less_its_square(out, grad_out):
    return grad_out * out - grad_out * out * out


@alternative(act.TANH)
def tanh_by_factors(out, grad_out):
    return grad_out * (1 - out) * (1 + out)


@alternative(act.SILU)
def silu_from_the_output(x, out, grad_out):
    s = torch.sigmoid(x)
    return grad_out * (out + s * (1 - out))


@alternative(act.GELU)
def gelu_by_erfc(x, grad_out):
    cdf = 0.5 * torch.erfc(-x / math.sqrt(2))
    return grad_out * cdf + grad_out * x * torch.exp(-(x**2) / 2) * (2 * math.pi) ** -0.5


@alternative(act.SOFTPLUS)
def softplus_by_tanh(x, grad_out):
    return grad_out * 0.5 * (1 + torch.tanh(x / 2))


@alternative(softmaxes.SOFTMAX)
def softmax_by_its_jacobian(out, grad_out):
    jacobian = torch.diag_embed(out) - out[:, :, None] * out[:, None, :]
    return torch.einsum("nij,ni->nj", jacobian, grad_out)


@alternative(softmaxes.SOFTMAX)
def softmax_of_products(out, grad_out):
    weighted = out * grad_out
    return weighted - out * weighted.sum(1, keepdim=True)


@alternative(softmaxes.SOFTMAX)
def softmax_less_any_constant(out, grad_out):
    shifted = grad_out - grad_out.mean(1, keepdim=True)
    return out * (shifted - (out * shifted).sum(1, keepdim=True))


@alternative(softmaxes.LOG_SOFTMAX)
def log_softmax_from_the_input(x, grad_out):
    return grad_out - torch.softmax(x, 1) * grad_out.sum(1)[:, None]


@alternative(softmaxes.LOGSUMEXP)
def logsumexp_as_softmax(x, grad_out):
    return torch.softmax(x, 1) * grad_out.unsqueeze(1)


@alternative(softmaxes.ATTENTION)
def attention_scaled_first(q, k, v, grad_out):
    root = k.shape[1] ** 0.25
    q, k = q / root, k / root
    p = torch.softmax(q @ k.T, 1)
    weighted = p * (grad_out @ v.T)
    grad_scores = weighted - p * (grad_out * (p @ v)).sum(1, keepdim=True)
    return grad_scores @ k / root, grad_scores.T @ q / root, p.T @ grad_out


@alternative(softmaxes.SELF_ATTENTION)
def self_attention_symmetrised(x, grad_out):
    weights, grad_scores = softmaxes._self_attention(x, grad_out)
    return (grad_scores + grad_scores.T) @ x + weights.T @ grad_out


@alternative(losses.MSE)
def mse_factor_first(pred, target, grad_out):
    return (2 / pred.numel() * grad_out) * (pred - target)


@alternative(losses.MSE)
def mse_by_the_product_rule(pred, target, grad_out):
    r = (pred - target) / pred.numel()
    return r * grad_out + grad_out * r


@alternative(losses.HALF_SSE)
def half_sse_entry_by_entry(pred, target, grad_out):
    grad = torch.empty_like(pred)
    for row in range(pred.shape[0]):
        for column in range(pred.shape[1]):
            grad[row, column] = grad_out * (pred[row, column] - target[row, column]) / len(pred)
    return grad


@alternative(losses.REGRESSION)
def regression_normal_equations(x, w, b, y, grad_out):
    n = len(y)
    grad_w = 2 / n * (x.T @ x @ w + b * x.sum(0)[:, None] - (x.T @ y)[:, None])
    grad_b = 2 * (x.mean(0) @ w + b - y.mean())
    return grad_out * grad_w, grad_out * grad_b


@alternative(losses.HUBER)
def huber_by_where(pred, target, grad_out, *, delta=0.7):
    r = pred - target
    return grad_out * torch.where(r.abs() < delta, r, delta * r.sign()) / r.numel()


@alternative(losses.PERCEPTRON)
def perceptron_of_the_missed_rows(x, w, b, label, grad_out):
    missed = label * (x @ w + b) < 0
    chosen = label[missed]
    return -grad_out * (chosen @ x[missed]), -grad_out * chosen.sum()


@alternative(losses.HINGE)
def hinge_by_one_hot(scores, label, grad_out):
    violated = losses._violated(scores, label)
    y = F.one_hot(label, scores.shape[1])
    return grad_out * (violated - y * violated.sum(1, keepdim=True)) / len(label)


@alternative(ce.CROSS_ENTROPY)
def cross_entropy_less_one_in_place(logits, label, grad_out):
    p = torch.softmax(logits, 1)
    p[range(len(label)), label] -= 1
    return p * (grad_out / len(label))


@alternative(ce.CROSS_ENTROPY)
def cross_entropy_with_the_largest_logit(logits, label, grad_out):
    # makemore's way: the path through the row's maximum is followed, and is 0 up to rounding
    e = (logits - logits.amax(1, keepdim=True)).exp()
    p = e / e.sum(1, keepdim=True)
    grad = grad_out * (p - F.one_hot(label, logits.shape[1])) / len(label)
    through_max = -grad.sum(1, keepdim=True)
    return grad + F.one_hot(logits.argmax(1), logits.shape[1]) * through_max


@alternative(ce.ROW_CROSS_ENTROPY)
def row_cross_entropy_as_log_softmax(logits, target, grad_out):
    g = -grad_out[:, None] * target
    return g - torch.softmax(logits, 1) * g.sum(1, keepdim=True)


@alternative(ce.BCE)
def bce_on_one_denominator(p, y, grad_out):
    return grad_out * (p - y) / (p * (1 - p)) / len(p)


@alternative(ce.LOGISTIC_REGRESSION)
def logistic_regression_by_chain_rule(x, w, b, y, grad_out):
    p = torch.sigmoid(x @ w + b)
    grad_p = grad_out * ((1 - y) / (1 - p) - y / p) / len(y)
    grad_z = grad_p * p * (1 - p)
    return (grad_z[:, None] * x).sum(0), grad_z.sum()


@alternative(norms.LAYER_NORM)
def layer_norm_in_three_paths(x, gamma, grad_out, *, eps=1e-3):
    k = x.shape[1]
    centred = x - x.mean(1, keepdim=True)
    std = (centred.square().mean(1, keepdim=True) + eps).sqrt()
    g = grad_out * gamma
    grad_var = -0.5 * (g * centred).sum(1, keepdim=True) / std**3
    # centred sums to 0 along the row, so the variance moves the mean by nothing
    grad_mean = -(g / std).sum(1, keepdim=True)
    grad_x = g / std + grad_var * 2 * centred / k + grad_mean / k
    return grad_x, (grad_out * centred / std).sum(0), grad_out.sum(0)


@alternative(norms.BATCH_NORM)
def batch_norm_in_one_line(x, gamma, grad_out, *, eps=1e-3):
    n = len(x)
    std = (x.var(0, unbiased=False) + eps).sqrt()
    xhat = (x - x.mean(0)) / std
    grad_beta, grad_gamma = grad_out.sum(0), (grad_out * xhat).sum(0)
    grad_x = gamma / (n * std) * (n * grad_out - grad_beta - xhat * grad_gamma)
    return grad_x, grad_gamma, grad_beta


@alternative(norms.RMS_NORM)
def rms_norm_by_the_unit_row(x, weight, grad_out, *, eps=1e-3):
    rms = (x.square().sum(-1, keepdim=True) / x.shape[-1] + eps).sqrt()
    u, g = x / rms, grad_out * weight
    return (g - u * (u * g).mean(-1, keepdim=True)) / rms, (grad_out * u).sum(0)


@alternative(norms.COLUMN_STD)
def column_std_by_the_variance(x, grad_out):
    grad_var = grad_out / (2 * x.var(0).sqrt())
    return grad_var * 2 * (x - x.mean(0)) / (len(x) - 1)
