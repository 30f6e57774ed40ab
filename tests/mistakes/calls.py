"""What is wrong with the call and not with the formula: results, memory, state, layout."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op
from tests.mistakes import mistake
from tests.mistakes.activations import SIGMOID, TANH
from tests.mistakes.linear import LINEAR
from tests.mistakes.losses import MSE


@mistake(LINEAR, "arity")
def back_linear_without_the_bias(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x


@mistake(LINEAR, "zero")
def back_linear_bias_never_filled(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, torch.zeros_like(weight[:, 0])


@mistake(LINEAR, "arity", "not-a-tensor")
def back_linear_forgets_to_return(x, weight, grad_out):
    grad_x, grad_weight, grad_bias = grad_out @ weight, grad_out.T @ x, grad_out.sum(0)  # noqa: F841


@mistake(MSE, "not-a-tensor")
def back_mse_one_number(pred, target, grad_out):
    return float((grad_out * 2 * (pred - target) / pred.numel()).sum())


@mistake(LINEAR, "dtype", seen="pytorch/pytorch#65244")
def back_linear_bias_in_float32(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, grad_out.sum(0, dtype=torch.float32)


@mistake(SIGMOID, "dtype", seen="pytorch/pytorch#78355")
def back_sigmoid_by_way_of_float32(out, grad_out):
    s = out.float()
    return s * (1 - s) * grad_out.float()


@mistake(SIGMOID, "raises")
def back_sigmoid_with_a_slip(out, grad_out):
    return gard_out * out * (1 - out)  # noqa: F821


_SEEN = []


@mistake(TANH, "stateful", of="T11", seen="micrograd#53")
def back_tanh_adds_to_the_last_gradient(out, grad_out):
    grad = grad_out * (1 - out**2)
    if _SEEN and _SEEN[-1].shape == grad.shape:
        grad = grad + _SEEN[-1]
    _SEEN.append(grad)
    return grad


_TOTALS = {}


@mistake(LINEAR, "stateful", of="T11", seen="micrograd#25")
def back_linear_never_zeroes(x, weight, grad_out):
    total = _TOTALS.setdefault(weight.shape, torch.zeros_like(weight))
    total += grad_out.T @ x
    return grad_out @ weight, total.clone(), grad_out.sum(0)


@mistake(TANH, "mutates", of="T22", seen="CS231n")
def back_tanh_squares_its_output(out, grad_out):
    return grad_out * out.pow_(2).neg_().add_(1)


@mistake(MSE, "mutates", of="T22", seen="Karpathy's .clone()")
def back_mse_difference_in_place(pred, target, grad_out):
    pred -= target
    return pred * (grad_out * 2 / pred.numel())


def average(a, b):  # both (n, k)
    return (a + b) / 2


def back_average(grad_out):
    return grad_out / 2, grad_out / 2


AVERAGE = Op(
    forward=average,
    backwards=(back_average,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(n, k))},
    wrt=("a", "b"),
)


@mistake(AVERAGE, "aliases", of="T22", seen="pytorch#9391")
def back_average_one_tensor_twice(grad_out):
    half = grad_out / 2
    return half, half


@mistake(AVERAGE, "mutates", of="T22", seen="Karpathy's .clone()")
def back_average_halves_grad_out(grad_out):
    grad_out /= 2
    return grad_out.clone(), grad_out.clone()


def dot(a, b):  # both (n): a number
    return (a * b).sum()


def back_dot(a, b, grad_out):
    return grad_out * b, grad_out * a


DOT = Op(
    forward=dot,
    backwards=(back_dot,),
    samples={"vectors": lambda rand, n=11: (rand(n), rand(n))},
    wrt=("a", "b"),
    oracle=torch.dot,
)


@mistake(DOT, "aliases", "ignores-grad-out", of="T10", seen="pytorch/pytorch#4355")
def back_dot_returns_the_other(a, b):
    return b, a


@mistake(DOT, "shape", of="T23", seen="FlagGems#5212")
def back_dot_of_the_products(a, b, grad_out):
    return (grad_out * b).sum(), (grad_out * a).sum()


def flat_scale(x, *, scale=0.7):  # x (n, k): (n k)
    return scale * x.reshape(-1)


def back_flat_scale(x, grad_out, *, scale=0.7):
    return scale * grad_out.reshape(x.shape)


FLAT_SCALE = Op(
    forward=flat_scale,
    backwards=(back_flat_scale,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k),)},
    wrt=("x",),
)


@mistake(FLAT_SCALE, "layout")
def back_flat_scale_of_contiguous_memory(x, grad_out, *, scale=0.7):
    return scale * grad_out.as_strided(x.shape, (x.shape[1], 1))


@mistake(FLAT_SCALE, "transposed")
def back_flat_scale_columns_first(x, grad_out, *, scale=0.7):
    return scale * grad_out.reshape(x.shape[0], x.shape[1]).T


def normalise(x):  # x (n, k): every row to length 1
    return F.normalize(x, dim=1)


def back_normalise(x, grad_out):
    length = x.norm(dim=1, keepdim=True)
    unit = x / length
    return (grad_out - unit * (unit * grad_out).sum(1, keepdim=True)) / length


NORMALISE = Op(
    forward=normalise,
    backwards=(back_normalise,),
    samples={"rows": lambda rand, m=11, k=7: (rand(m, k),)},
    wrt=("x",),
)


@mistake(NORMALISE, "missing-branch", "missing-term", of="T9", seen="pjreddie/darknet#1634")
def back_normalise_length_as_constant(x, grad_out):
    return grad_out / x.norm(dim=1, keepdim=True)


@mistake(NORMALISE, "missing-factor", of="T9", seen="BVLC/caffe PR1891")
def back_normalise_not_divided(x, out, grad_out):
    return grad_out - out * (out * grad_out).sum(1, keepdim=True)
