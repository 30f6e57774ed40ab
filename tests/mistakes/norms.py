"""Normalisations: every entry moves the mean and the spread, and those move every entry."""

import torch

from manual_backprop.op import Op
from tests.mistakes import mistake


def layer_norm(x, gamma, beta, *, eps=1e-3):  # x (n, k), gamma and beta (k)
    mean = x.mean(1, keepdim=True)
    var = ((x - mean) ** 2).mean(1, keepdim=True)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def _standardised(x, axis, eps):
    mean = x.mean(axis, keepdim=True)
    std = (((x - mean) ** 2).mean(axis, keepdim=True) + eps).sqrt()
    return (x - mean) / std, std


def back_layer_norm(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 1, eps)
    g = grad_out * gamma
    grad_x = (g - g.mean(1, keepdim=True) - xhat * (g * xhat).mean(1, keepdim=True)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


LAYER_NORM = Op(
    forward=layer_norm,
    backwards=(back_layer_norm,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k), rand(k))},
    wrt=("x", "gamma", "beta"),
)


@mistake(LAYER_NORM, "missing-branch", "missing-term", of="T9", seen="AlexeyAB/darknet#4605")
def back_layer_norm_without_the_mean(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 1, eps)
    g = grad_out * gamma
    grad_x = (g - xhat * (g * xhat).mean(1, keepdim=True)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(LAYER_NORM, "missing-branch", "missing-term", of="T9", seen="pjreddie/darknet#1634")
def back_layer_norm_without_the_variance(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 1, eps)
    g = grad_out * gamma
    grad_x = (g - g.mean(1, keepdim=True)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(LAYER_NORM, "wrong-axis", of="T9", seen="mlpack PR2474")
def back_layer_norm_means_over_the_batch(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 1, eps)
    g = grad_out * gamma
    grad_x = (g - g.mean(0) - xhat * (g * xhat).mean(0)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(LAYER_NORM, "sum-for-mean", of="T9", seen="deeplearning4j PR8379")
def back_layer_norm_sums_for_means(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 1, eps)
    g = grad_out * gamma
    grad_x = (g - g.sum(1, keepdim=True) - xhat * (g * xhat).sum(1, keepdim=True)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(LAYER_NORM, "swapped", of="T21", seen="pytorch#2330")
def back_layer_norm_shift_before_scale(x, gamma, grad_out, *, eps=1e-3):
    grad_x, grad_gamma, grad_beta = back_layer_norm(x, gamma, grad_out, eps=eps)
    return grad_x, grad_beta, grad_gamma


@mistake(LAYER_NORM, "missing-factor", of="T9", seen="BVLC/caffe PR1891")
def back_layer_norm_not_divided(x, gamma, grad_out, *, eps=1e-3):
    xhat, _ = _standardised(x, 1, eps)
    g = grad_out * gamma
    grad_x = g - g.mean(1, keepdim=True) - xhat * (g * xhat).mean(1, keepdim=True)
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


def batch_norm(x, gamma, beta, *, eps=1e-3):  # x (b, k), gamma and beta (k)
    mean = x.mean(0)
    var = x.var(0, unbiased=False)
    return gamma * (x - mean) / (var + eps).sqrt() + beta


def back_batch_norm(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 0, eps)
    g = grad_out * gamma
    grad_x = (g - g.mean(0) - xhat * (g * xhat).mean(0)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


BATCH_NORM = Op(
    forward=batch_norm,
    backwards=(back_batch_norm,),
    samples={"rows": lambda rand, b=11, k=7: (rand(b, k), rand(k), rand(k))},
    wrt=("x", "gamma", "beta"),
)


@mistake(BATCH_NORM, "convention", of="T9", seen="mxnet#1053")
def back_batch_norm_unbiased_variance(x, gamma, grad_out, *, eps=1e-3):
    b = len(x)
    mean = x.mean(0)
    inv = (x.var(0) + eps) ** -0.5
    centred = x - mean
    g = grad_out * gamma
    grad_var = (g * centred).sum(0) * -0.5 * inv**3
    grad_x = g * inv + 2 * centred * grad_var / (b - 1)
    grad_x = grad_x - grad_x.mean(0)
    return grad_x, (grad_out * centred * inv).sum(0), grad_out.sum(0)


@mistake(BATCH_NORM, "missing-factor", of="T9", seen="BVLC/caffe PR1891")
def back_batch_norm_without_gamma(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 0, eps)
    grad_x = (grad_out - grad_out.mean(0) - xhat * (grad_out * xhat).mean(0)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(BATCH_NORM, "missing-branch", "missing-term", of="T9", seen="AlexeyAB/darknet#4605")
def back_batch_norm_statistics_as_constants(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 0, eps)
    return grad_out * gamma / std, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(BATCH_NORM, "wrong-argument", of="T9", seen="mlpack PR2474")
def back_batch_norm_scale_by_the_raw_input(x, gamma, grad_out, *, eps=1e-3):
    grad_x, _, grad_beta = back_batch_norm(x, gamma, grad_out, eps=eps)
    return grad_x, (grad_out * x).sum(0), grad_beta


@mistake(BATCH_NORM, "mean-for-sum", of="T2", seen="kvfrans/notes#5")
def back_batch_norm_shift_averaged(x, gamma, grad_out, *, eps=1e-3):
    grad_x, grad_gamma, grad_beta = back_batch_norm(x, gamma, grad_out, eps=eps)
    return grad_x, grad_gamma, grad_beta / len(x)


@mistake(BATCH_NORM, "sign", of="T9", seen="deeplearning4j PR8379")
def back_batch_norm_variance_path_added(x, gamma, grad_out, *, eps=1e-3):
    xhat, std = _standardised(x, 0, eps)
    g = grad_out * gamma
    grad_x = (g - g.mean(0) + xhat * (g * xhat).mean(0)) / std
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(BATCH_NORM, "wrong-variable", "missing-factor", of="T9", seen="AlexeyAB/darknet#4605")
def back_batch_norm_to_the_normalised(x, gamma, grad_out, *, eps=1e-3):
    _, grad_gamma, grad_beta = back_batch_norm(x, gamma, grad_out, eps=eps)
    return grad_out * gamma, grad_gamma, grad_beta


def rms_norm(x, weight, *, eps=1e-3):  # x (n, k), weight (k)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def back_rms_norm(x, weight, grad_out, *, eps=1e-3):
    inv = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    g = grad_out * weight
    grad_x = g * inv - x * inv**3 * (g * x).mean(-1, keepdim=True)
    return grad_x, (grad_out * x * inv).sum(0)


RMS_NORM = Op(
    forward=rms_norm,
    backwards=(back_rms_norm,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k))},
    wrt=("x", "weight"),
)


@mistake(RMS_NORM, "missing-branch", "missing-term", of="T9", seen="pjreddie/darknet#1634")
def back_rms_norm_scale_as_constant(x, weight, grad_out, *, eps=1e-3):
    inv = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return grad_out * weight * inv, (grad_out * x * inv).sum(0)


@mistake(RMS_NORM, "missing-factor", of="T9", seen="BVLC/caffe PR1891")
def back_rms_norm_weight_forgotten_in_the_mean(x, weight, grad_out, *, eps=1e-3):
    inv = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    grad_x = grad_out * weight * inv - x * inv**3 * (grad_out * x).mean(-1, keepdim=True)
    return grad_x, (grad_out * x * inv).sum(0)


@mistake(RMS_NORM, "missing-factor", of="T9", seen="mlpack PR2474")
def back_rms_norm_square_for_cube(x, weight, grad_out, *, eps=1e-3):
    inv = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    g = grad_out * weight
    grad_x = g * inv - x * inv**2 * (g * x).mean(-1, keepdim=True)
    return grad_x, (grad_out * x * inv).sum(0)


@mistake(RMS_NORM, "extra-term", of="T9", seen="AlexeyAB/darknet#4605")
def back_rms_norm_centred_like_layer_norm(x, weight, grad_out, *, eps=1e-3):
    grad_x, grad_weight = back_rms_norm(x, weight, grad_out, eps=eps)
    inv = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return grad_x - inv * (grad_out * weight).mean(-1, keepdim=True), grad_weight


def column_std(x):  # x (m, k): one standard deviation per column, with m - 1
    return x.std(0)


def back_column_std(x, out, grad_out):
    return grad_out * (x - x.mean(0)) / ((len(x) - 1) * out)


COLUMN_STD = Op(
    forward=column_std,
    backwards=(back_column_std,),
    samples={"rows": lambda rand, m=11, k=7: (rand(m, k),)},
    wrt=("x",),
)


@mistake(COLUMN_STD, "convention", of="T9", seen="mxnet#1053")
def back_column_std_biased(x, out, grad_out):
    return grad_out * (x - x.mean(0)) / (len(x) * out)


@mistake(COLUMN_STD, "missing-term", "wrong-argument", of="T9", seen="AlexeyAB/darknet#4605")
def back_column_std_not_centred(x, out, grad_out):
    return grad_out * x / ((len(x) - 1) * out)


@mistake(COLUMN_STD, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#4")
def back_column_std_as_of_the_variance(x, grad_out):
    return grad_out * 2 * (x - x.mean(0)) / (len(x) - 1)


def cosine(a, b):  # both (n, k); one similarity per row
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def back_cosine(a, b, out, grad_out):
    na, nb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    g, c = grad_out[:, None], out[:, None]
    return g * (b / (na * nb) - c * a / na**2), g * (a / (na * nb) - c * b / nb**2)


COSINE = Op(
    forward=cosine,
    backwards=(back_cosine,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(n, k))},
    wrt=("a", "b"),
)


@mistake(COSINE, "missing-branch", "missing-term", of="T8", seen="HIPS/autograd#39")
def back_cosine_norms_as_constants(a, b, grad_out):
    scale = grad_out[:, None] / (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True))
    return scale * b, scale * a


@mistake(COSINE, "swapped", of="T21", seen="DLS 402919")
def back_cosine_the_other_way_round(a, b, out, grad_out):
    return tuple(reversed(back_cosine(a, b, out, grad_out)))


@mistake(COSINE, "sign", of="T7", seen="wvabrinskas/Neuron PR121")
def back_cosine_second_negated(a, b, out, grad_out):
    grad_a, grad_b = back_cosine(a, b, out, grad_out)
    return grad_a, -grad_b


def _batch_norm_by(x, gamma, grad_out, sigma):
    xhat = (x - x.mean(0)) / sigma
    g = grad_out * gamma
    grad_x = (g - g.mean(0) - xhat * (g * xhat).mean(0)) / sigma
    return grad_x, (grad_out * xhat).sum(0), grad_out.sum(0)


@mistake(BATCH_NORM, "missing-term", of="T9", seen="mxnet#1053")
def back_batch_norm_without_eps(x, gamma, grad_out):
    return _batch_norm_by(x, gamma, grad_out, x.std(0, correction=0))


@mistake(BATCH_NORM, "convention", of="T9", seen="mxnet#1053")
def back_batch_norm_by_std(x, gamma, grad_out):
    return _batch_norm_by(x, gamma, grad_out, x.std(0))


@mistake(BATCH_NORM, "wrong-argument", of="T9", seen="mxnet#1053")
def back_batch_norm_eps_outside_the_root(x, gamma, grad_out, *, eps=1e-3):
    return _batch_norm_by(x, gamma, grad_out, x.std(0, correction=0) + eps)
