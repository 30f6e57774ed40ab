"""Affine maps and what they are made of: a layer as PyTorch has it, its bias, products in a row."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op
from tests.mistakes import mistake


def linear(x, weight, bias):  # x (n, i), weight (o, i), bias (o)
    return x @ weight.T + bias


def back_linear(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, grad_out.sum(0)


LINEAR = Op(
    forward=linear,
    backwards=(back_linear,),
    samples={"rows": lambda rand, n=11, i=7, o=5: (rand(n, i), rand(o, i), rand(o))},
    wrt=("x", "weight", "bias"),
    oracle=F.linear,
)


@mistake(LINEAR, "not-reduced", of="T2", seen="jimfleming/differentiation#1")
def back_linear_bias_not_summed(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, grad_out.clone()


@mistake(LINEAR, "mean-for-sum", of="T2", seen="kvfrans/notes#5")
def back_linear_bias_averaged(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, grad_out.mean(0)


@mistake(LINEAR, "wrong-axis", of="T2", seen="rasbt/stat453-deep-learning-ss21#5")
def back_linear_one_sum_for_all_biases(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, grad_out.sum() * torch.ones_like(weight[:, 0])


@mistake(LINEAR, "shape", of="T2", seen="nn-zero-to-hero#59")
def back_linear_bias_keeps_its_row(x, weight, grad_out):
    return grad_out @ weight, grad_out.T @ x, grad_out.sum(0, keepdim=True)


@mistake(
    LINEAR,
    "extra-factor",
    of="T2",
    seen="rust0258/Deeplearning.ai-Natural-Language-Processing-Specialization#62",
)
def back_linear_bias_times_the_inputs(x, weight, grad_out):
    grad_weight = grad_out.T @ x
    return grad_out @ weight, grad_weight, grad_weight.sum(1)


@mistake(LINEAR, "transposed", of="T6", seen="DLS 402919")
def back_linear_weight_as_inputs_by_outputs(x, weight, grad_out):
    return grad_out @ weight, x.T @ grad_out, grad_out.sum(0)


@mistake(LINEAR, "raises", of="T6", seen="jcjohnson/pytorch-examples#5")
def back_linear_by_the_transposed_weight(x, weight, grad_out):
    return grad_out @ weight.T, grad_out.T @ x, grad_out.sum(0)


@mistake(LINEAR, "mean-for-sum", of="T1", seen="paiml/aprender PR2182")
def back_linear_weight_averaged_over_the_batch(x, weight, grad_out):
    grad_weight = grad_out.T @ x / x.shape[0] if x.shape[0] else torch.zeros_like(weight)
    return grad_out @ weight, grad_weight, grad_out.sum(0)


@mistake(LINEAR, "sign", of="T7", seen="wvabrinskas/Neuron PR121")
def back_linear_input_negated(x, weight, grad_out):
    return -grad_out @ weight, grad_out.T @ x, grad_out.sum(0)


@mistake(LINEAR, "overwritten", of="T8", seen="ARENA_2.0 PR18")
def back_linear_weight_of_the_last_row(x, weight, grad_out):
    grad_weight = torch.zeros_like(weight)
    for row, grad in zip(x, grad_out, strict=True):
        grad_weight = torch.outer(grad, row)
    return grad_out @ weight, grad_weight, grad_out.sum(0)


@mistake(LINEAR, "shape", of="T21", seen="DLS 402919")
def back_linear_bias_before_weight(x, weight, grad_out):
    return grad_out @ weight, grad_out.sum(0), grad_out.T @ x


@mistake(LINEAR, "ignores-grad-out", of="T10", seen="haifengl/smile#528")
def back_linear_weight_without_grad_out(x, weight, grad_out):
    grad_weight = torch.ones_like(grad_out).T @ x
    return grad_out @ weight, grad_weight, grad_out.sum(0)


def affine_rows(x, scale, shift):  # x (m, n, k), scale (k), shift (n, 1)
    return x * scale + shift


def back_affine_rows(x, scale, grad_out):
    return (
        grad_out * scale,
        (grad_out * x).sum((0, 1)),
        grad_out.sum((0, 2)).unsqueeze(-1),
    )


AFFINE_ROWS = Op(
    forward=affine_rows,
    backwards=(back_affine_rows,),
    samples={"batched": lambda rand, m=3, n=5, k=7: (rand(m, n, k), rand(k), rand(n, 1))},
    wrt=("x", "scale", "shift"),
)


@mistake(AFFINE_ROWS, "not-reduced", of="T2", seen="tracel-ai/burn#181")
def back_affine_rows_summed_over_the_batch_only(x, scale, grad_out):
    grad_scale = (grad_out * x).sum(0)
    return grad_out * scale, grad_scale, grad_out.sum((0, 2)).unsqueeze(-1)


@mistake(AFFINE_ROWS, "mean-for-sum", of="T2", seen="chainer/chainer#3398")
def back_affine_rows_shift_averaged_along_its_row(x, scale, grad_out):
    grad_shift = grad_out.sum(0).mean(1, keepdim=True)
    return grad_out * scale, (grad_out * x).sum((0, 1)), grad_shift


@mistake(AFFINE_ROWS, "missing-factor", of="T2", seen="tracel-ai/burn#686")
def back_affine_rows_scale_treated_as_a_shift(x, scale, grad_out):
    return grad_out * scale, grad_out.sum((0, 1)), grad_out.sum((0, 2)).unsqueeze(-1)


@mistake(AFFINE_ROWS, "wrong-argument", of="T6", seen="DLS 723602")
def back_affine_rows_input_times_itself(x, scale, grad_out):
    return (
        grad_out * x,
        (grad_out * x).sum((0, 1)),
        grad_out.sum((0, 2)).unsqueeze(-1),
    )


def chain(a, b, c):  # a (n, i), b (i, h), c (h, i)
    return a @ b @ c


def back_chain(a, b, c, grad_out):
    grad_ab = grad_out @ c.T
    return grad_ab @ b.T, a.T @ grad_ab, (a @ b).T @ grad_out


CHAIN = Op(
    forward=chain,
    backwards=(back_chain,),
    samples={"rows": lambda rand, n=11, i=7, h=5: (rand(n, i), rand(i, h), rand(h, i))},
    wrt=("a", "b", "c"),
)


@mistake(CHAIN, "wrong-argument", of="T6", seen="jcjohnson/pytorch-examples#28")
def back_chain_through_the_wrong_matrix(a, b, c, grad_out):
    grad_ab = grad_out @ b  # b has the shape of c.T
    return grad_ab @ b.T, a.T @ grad_ab, (a @ b).T @ grad_out


@mistake(CHAIN, "transposed", of="T6", seen="paiml/entrenar#312")
def back_chain_middle_transposed(a, b, c, grad_out):
    return grad_out @ c.T @ b.T, c @ grad_out.T @ a, (a @ b).T @ grad_out


@mistake(CHAIN, "shape", of="T21", seen="jcjohnson/pytorch-examples#5")
def back_chain_in_the_order_of_the_way_back(a, b, c, grad_out):
    grad_ab = grad_out @ c.T
    return (a @ b).T @ grad_out, a.T @ grad_ab, grad_ab @ b.T


@mistake(CHAIN, "wrong-argument", of="T6", seen="HomericIntelligence/Odyssey#2136")
def back_chain_first_goes_through_c_twice(a, b, c, grad_out):
    grad_ab = grad_out @ c.T
    return grad_ab @ c, a.T @ grad_ab, (a @ b).T @ grad_out


def gram(x):  # x (n, i): the similarities of all rows with all rows, (n, n)
    return x @ x.T


def back_gram(x, grad_out):
    return (grad_out + grad_out.T) @ x


GRAM = Op(
    forward=gram,
    backwards=(back_gram,),
    samples={"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    wrt=("x",),
)


@mistake(GRAM, "missing-branch", of="T8", seen="HIPS/autograd#39")
def back_gram_as_of_the_first_factor(x, grad_out):
    return grad_out @ x


@mistake(GRAM, "sign", of="T7", seen="owlbarn/owl#532")
def back_gram_with_a_difference(x, grad_out):
    return (grad_out - grad_out.T) @ x


@mistake(GRAM, "factor", of="T1", seen="davisking/dlib#1169")
def back_gram_symmetrised(x, grad_out):
    return 0.5 * (grad_out + grad_out.T) @ x


def bilinear(x, a, y):  # x (n, i), a (i, j), y (n, j); one number per row
    return ((x @ a) * y).sum(-1)


def back_bilinear(x, a, y, grad_out):
    g = grad_out[:, None]
    return g * (y @ a.T), (g * x).T @ y, g * (x @ a)


BILINEAR = Op(
    forward=bilinear,
    backwards=(back_bilinear,),
    samples={"rows": lambda rand, n=11, i=7, j=5: (rand(n, i), rand(i, j), rand(n, j))},
    wrt=("x", "a", "y"),
)


@mistake(BILINEAR, "ignores-grad-out", of="T10", seen="pytorch/pytorch#4355")
def back_bilinear_matrix_without_grad_out(x, a, y, grad_out):
    g = grad_out[:, None]
    return g * (y @ a.T), x.T @ y, g * (x @ a)


@mistake(BILINEAR, "wrong-argument", of="T23", seen="FlagGems#5212")
def back_bilinear_first_grad_out_for_all_rows(x, a, y, grad_out):
    g = grad_out[:1, None]
    return g * (y @ a.T), (g * x).T @ y, g * (x @ a)


@mistake(BILINEAR, "missing-factor", of="T6", seen="DLS 674897")
def back_bilinear_forgets_the_matrix(x, a, y, grad_out):
    g = grad_out[:, None]
    return g * y.sum(1, keepdim=True).expand_as(x), (g * x).T @ y, g * (x @ a)
