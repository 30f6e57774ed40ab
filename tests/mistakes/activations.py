"""Elementwise functions: a derivative left out, taken twice, or taken at the wrong place."""

import math

import torch
import torch.nn.functional as F

from manual_backprop.op import Op
from tests.mistakes import mistake

ROWS = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}


def relu(x):
    return x.clamp(min=0)


def back_relu(x, grad_out):
    return torch.where(x > 0, grad_out, 0.0)


RELU = Op(forward=relu, backwards=(back_relu,), samples=ROWS, wrt=("x",), oracle=F.relu)


@mistake(RELU, "mask", "not-linear", of="T13", seen="denggaoshan/DeepLearningStudy#1")
def back_relu_mask_of_the_gradient(grad_out):
    return grad_out * (grad_out > 0)


@mistake(RELU, "mask", of="T13", seen="oreilly-japan/deep-learning-from-scratch PR43")
def back_relu_mask_inverted(x, grad_out):
    grad_x = grad_out.clone()
    grad_x[x > 0] = 0
    return grad_x


@mistake(RELU, "mask", "missing-factor", of="T13", seen="utkuozbulak/pytorch-cnn-visualizations#36")
def back_relu_without_mask(grad_out):
    return grad_out.clone()


@mistake(RELU, "extra-factor", of="T4", seen="ttezel/nn#8")
def back_relu_times_its_output(out, grad_out):
    return grad_out * out


@mistake(RELU, "ignores-grad-out", of="T10", seen="pytorch/pytorch#2710")
def back_relu_local_derivative(x):
    return (x > 0).to(x.dtype)


@mistake(RELU, "kink", of="T12", seen="ufal/npfl114 PR9")
def back_relu_open_at_zero(x, grad_out):
    return grad_out * (x >= 0)


@mistake(RELU, "kink", of="T12", seen="tensorflow/playground#19")
def back_relu_half_at_zero(x, grad_out):
    return grad_out * torch.where(x > 0, 1.0, torch.where(x == 0, 0.5, 0.0)).to(x.dtype)


def leaky_relu(x, *, slope=0.1):
    return torch.where(x > 0, x, slope * x)


def back_leaky_relu(x, grad_out, *, slope=0.1):
    return torch.where(x > 0, grad_out, slope * grad_out)


LEAKY_RELU = Op(forward=leaky_relu, backwards=(back_leaky_relu,), samples=ROWS, wrt=("x",))


@mistake(LEAKY_RELU, "missing-branch", "subset", of="T13", seen="andersy005 PR5")
def back_leaky_relu_as_of_relu(x, grad_out, *, slope=0.1):
    return torch.where(x > 0, grad_out, 0.0)


@mistake(LEAKY_RELU, "sign", "subset", of="T7", seen="dennybritz/nn-from-scratch#11")
def back_leaky_relu_negative_side_negated(x, grad_out, *, slope=0.1):
    return torch.where(x > 0, grad_out, -slope * grad_out)


@mistake(LEAKY_RELU, "mask", "not-linear", of="T13", seen="exacity/deeplearningbook-chinese#127")
def back_leaky_relu_by_the_sign_of_the_gradient(grad_out, *, slope=0.1):
    return torch.where(grad_out > 0, grad_out, slope * grad_out)


def prelu(x, slope):  # x (n, k), slope (k)
    return torch.where(x > 0, x, slope * x)


def back_prelu(x, slope, grad_out):
    return (
        torch.where(x > 0, grad_out, slope * grad_out),
        torch.where(x > 0, 0.0, x * grad_out).sum(0),
    )


PRELU = Op(
    forward=prelu,
    backwards=(back_prelu,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k))},
    wrt=("x", "slope"),
)


@mistake(PRELU, "mask", of="T13", seen="utkuozbulak/pytorch-cnn-visualizations#36")
def back_prelu_slope_from_every_entry(x, slope, grad_out):
    return torch.where(x > 0, grad_out, slope * grad_out), (x * grad_out).sum(0)


@mistake(PRELU, "missing-factor", of="T4", seen="Bot-Academy/NeuralNetworkFromScratch PR3")
def back_prelu_slope_without_the_input(x, slope, grad_out):
    return (
        torch.where(x > 0, grad_out, slope * grad_out),
        torch.where(x > 0, 0.0, grad_out).sum(0),
    )


def sigmoid(z):
    return 1 / (1 + torch.exp(-z))


def back_sigmoid(out, grad_out):
    return grad_out * out * (1 - out)


SIGMOID = Op(
    forward=sigmoid,
    backwards=(back_sigmoid,),
    samples={"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    wrt=("z",),
    oracle=torch.sigmoid,
)


@mistake(SIGMOID, "wrong-argument", of="T4", seen="tsoding/nn.h#18")
def back_sigmoid_formula_of_the_output_on_the_input(z, grad_out):
    return grad_out * z * (1 - z)


@mistake(SIGMOID, "wrong-argument", of="T4", seen="benoitfragit/libBrain#78")
def back_sigmoid_squashed_twice(out, grad_out):
    s = torch.sigmoid(out)
    return grad_out * s * (1 - s)


@mistake(SIGMOID, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#4")
def back_sigmoid_half_of_the_derivative(out, grad_out):
    return grad_out * (1 - out)


@mistake(SIGMOID, "extra-factor", of="T4", seen="OpenANN/OpenANN#164")
def back_sigmoid_derivative_twice(out, grad_out):
    slope = out * (1 - out)
    return grad_out * slope * slope


@mistake(SIGMOID, "not-linear", of="T10", seen="pytorch/pytorch#2710")
def back_sigmoid_grad_out_twice(out, grad_out):
    delta = grad_out * out * (1 - out)
    return grad_out * delta


@mistake(SIGMOID, "sign", of="T7", seen="KhawajaAbaid/micrograd_c#1")
def back_sigmoid_output_less_one(out, grad_out):
    return grad_out * out * (out - 1)


@mistake(SIGMOID, "sign", of="T7", seen="KhawajaAbaid/micrograd_c#1")
def back_sigmoid_one_plus(out, grad_out):
    return grad_out * out * (1 + out)


def tanh(z):
    return torch.tanh(z)


def back_tanh(out, grad_out):
    return grad_out * (1 - out**2)


TANH = Op(forward=tanh, backwards=(back_tanh,), samples=SIGMOID.samples, wrt=("z",))


@mistake(TANH, "wrong-argument", of="T4", seen="discuss.pytorch 187917")
def back_tanh_formula_of_the_output_on_the_input(z, grad_out):
    return grad_out * (1 - z**2)


@mistake(TANH, "wrong-argument", of="T4", seen="iamtrask/Grokking-Deep-Learning#50")
def back_tanh_squashed_twice(out, grad_out):
    return grad_out * (1 - torch.tanh(out) ** 2)


@mistake(TANH, "missing-factor", of="T4", seen="dennybritz/nn-from-scratch PR3")
def back_tanh_derivative_forgotten(grad_out):
    return grad_out.clone()


@mistake(TANH, "missing-term", of="T4", seen="jiexunsee/Neural-Network-with-Python#1")
def back_tanh_without_the_one(out, grad_out):
    return -grad_out * out**2


@mistake(TANH, "not-linear", of="T1", seen="discuss.pytorch 202931")
def back_tanh_clipped(out, grad_out):
    grad = grad_out * (1 - out**2)
    return grad / max(1.0, float(grad.norm()))


def silu(x):
    return x * torch.sigmoid(x)


def back_silu(x, grad_out):
    s = torch.sigmoid(x)
    return grad_out * (s + x * s * (1 - s))


SILU = Op(forward=silu, backwards=(back_silu,), samples=ROWS, wrt=("x",), oracle=F.silu)


@mistake(SILU, "missing-branch", "missing-term", of="T8", seen="apache/mxnet#9172")
def back_silu_gate_only(x, grad_out):
    return grad_out * torch.sigmoid(x)


@mistake(SILU, "missing-branch", "missing-term", of="T8", seen="HIPS/autograd#39")
def back_silu_without_the_gate(x, grad_out):
    s = torch.sigmoid(x)
    return grad_out * x * s * (1 - s)


@mistake(SILU, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#15")
def back_silu_product_rule_without_x(x, grad_out):
    s = torch.sigmoid(x)
    return grad_out * (s + s * (1 - s))


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def back_gelu(x, grad_out):
    cdf = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    pdf = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return grad_out * (cdf + x * pdf)


GELU = Op(forward=gelu, backwards=(back_gelu,), samples=ROWS, wrt=("x",), oracle=F.gelu)


@mistake(GELU, "missing-branch", "missing-term", of="T8", seen="pytorch/pytorch#1528")
def back_gelu_treats_the_gate_as_constant(x, grad_out):
    return grad_out * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@mistake(GELU, "missing-factor", "factor", of="T1", seen="patrickloeber/MLfromscratch#18")
def back_gelu_density_without_its_normaliser(x, grad_out):
    cdf = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    return grad_out * (cdf + x * torch.exp(-0.5 * x * x))


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


def back_softplus(x, grad_out):
    return grad_out * torch.sigmoid(x)


SOFTPLUS = Op(forward=softplus, backwards=(back_softplus,), samples=ROWS, wrt=("x",))


@mistake(SOFTPLUS, "nan")
def back_softplus_overflows(x, grad_out):
    return grad_out * (1 - torch.exp(-x) / (1 + torch.exp(-x)))


@mistake(
    SOFTPLUS, "wrong-argument", of="T7", seen="dragen1860/Deep-Learning-with-TensorFlow-book#134"
)
def back_softplus_of_the_mirrored_input(x, grad_out):
    return grad_out * torch.sigmoid(-x)
