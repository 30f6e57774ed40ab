"""Losses of numbers: means and sums, the square's 2, margins, penalties."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op
from tests.mistakes import mistake


def mse(pred, target):  # both (n, k); mean over all entries
    return ((pred - target) ** 2).mean()


def back_mse(pred, target, grad_out):
    return grad_out * 2 * (pred - target) / pred.numel()


PAIRS = {"rows": lambda rand, m=11, k=7: (rand(m, k), rand(m, k))}
MSE = Op(forward=mse, backwards=(back_mse,), samples=PAIRS, wrt=("pred",), oracle=F.mse_loss)


@mistake(MSE, "factor", of="T1", seen="patrickloeber/MLfromscratch#18")
def back_mse_without_the_two(pred, target, grad_out):
    return grad_out * (pred - target) / pred.numel()


@mistake(MSE, "sum-for-mean", of="T1", seen="pytorch/pytorch#3322")
def back_mse_by_the_batch_alone(pred, target, grad_out):
    return grad_out * 2 * (pred - target) / pred.shape[0]


@mistake(MSE, "sum-for-mean", of="T1", seen="stephencwelch/Neural-Networks-Demystified#15")
def back_mse_as_of_a_sum(pred, target, grad_out):
    return grad_out * 2 * (pred - target)


@mistake(MSE, "sign", of="T7", seen="dragen1860/Deep-Learning-with-TensorFlow-book#134")
def back_mse_target_less_prediction(pred, target, grad_out):
    return grad_out * 2 * (target - pred) / pred.numel()


@mistake(MSE, "ignores-grad-out", of="T10", seen="haifengl/smile#528")
def back_mse_as_the_last_step(pred, target):
    return 2 * (pred - target) / pred.numel()


@mistake(MSE, "raises", of="T23", seen="pytorch#1058")
def back_mse_takes_a_column_of_gradients(pred, target, grad_out):
    return grad_out[:, None] * 2 * (pred - target) / pred.numel()


def half_sse(pred, target):  # both (m, k); half the squared distance of each row, averaged over m
    return 0.5 * ((pred - target) ** 2).sum(1).mean(0)


def back_half_sse(pred, target, grad_out):
    return grad_out * (pred - target) / pred.shape[0]


HALF_SSE = Op(forward=half_sse, backwards=(back_half_sse,), samples=PAIRS, wrt=("pred",))


@mistake(HALF_SSE, "factor", of="T1", seen="mnielsen PR79")
def back_half_sse_with_the_two(pred, target, grad_out):
    return grad_out * 2 * (pred - target) / pred.shape[0]


@mistake(HALF_SSE, "mean-for-sum", of="T1", seen="pytorch/pytorch#3924")
def back_half_sse_by_all_entries(pred, target, grad_out):
    return grad_out * (pred - target) / pred.numel()


@mistake(HALF_SSE, "sum-for-mean", of="T1", seen="heyxhh/nnet-numpy#1")
def back_half_sse_not_averaged(pred, target, grad_out):
    return grad_out * (pred - target)


@mistake(HALF_SSE, "wrong-axis", of="T1", seen="d2l-ai/d2l-en PR1000")
def back_half_sse_by_the_columns(pred, target, grad_out):
    return grad_out * (pred - target) / pred.shape[1]


def column_mse(pred, target):  # pred (n, 1), target (n)
    return (pred[:, 0] - target).pow(2).mean()


def back_column_mse(pred, target, grad_out):
    return (grad_out * 2 * (pred[:, 0] - target) / len(target))[:, None]


COLUMN_MSE = Op(
    forward=column_mse,
    backwards=(back_column_mse,),
    samples={"column": lambda rand, m=11: (rand(m, 1), rand(m))},
    wrt=("pred",),
)


@mistake(COLUMN_MSE, "broadcast-loss", of="T16", seen="pytorch/pytorch#16045")
def back_column_mse_over_all_pairs(pred, target, grad_out):
    return grad_out * 2 * (pred - target).mean(1, keepdim=True) / len(target)


@mistake(COLUMN_MSE, "not-reduced", "broadcast-loss", of="T16", seen="tensorflow#37770")
def back_column_mse_square(pred, target, grad_out):
    return grad_out * 2 * (pred - target) / len(target)


@mistake(COLUMN_MSE, "shape", of="T16", seen="pytorch/pytorch#19699")
def back_column_mse_flat(pred, target, grad_out):
    return grad_out * 2 * (pred[:, 0] - target) / len(target)


def regression(x, w, b, y):  # x (m, i), w (i, 1), b (1), y (m)
    return ((x @ w + b).squeeze(1) - y).square().mean()


def back_regression(x, w, b, y, grad_out):
    r = grad_out * 2 / len(y) * ((x @ w + b).squeeze(1) - y)[:, None]
    return x.T @ r, r.sum(0)


REGRESSION = Op(
    forward=regression,
    backwards=(back_regression,),
    samples={"rows": lambda rand, m=11, i=7: (rand(m, i), rand(i, 1), rand(1), rand(m))},
    wrt=("w", "b"),
)


@mistake(REGRESSION, "broadcast-loss", of="T16", seen="pytorch/pytorch#4938")
def back_regression_over_all_pairs(x, w, b, y, grad_out):
    r = grad_out * 2 * (x @ w + b - y).sum(1, keepdim=True) / len(y) ** 2
    return x.T @ r, r.sum(0)


@mistake(REGRESSION, "missing-term")
def back_regression_error_without_the_bias(x, w, b, y, grad_out):
    r = grad_out * 2 / len(y) * ((x @ w).squeeze(1) - y)[:, None]
    return x.T @ r, r.sum(0)


@mistake(REGRESSION, "mean-for-sum", of="T1", seen="udacity/deep-learning-v2-pytorch#158")
def back_regression_averaged_twice(x, w, b, y, grad_out):
    r = grad_out * 2 / len(y) * ((x @ w + b).squeeze(1) - y)[:, None]
    return x.T @ r / len(y), r.mean(0)


def huber(pred, target, *, delta=0.7):  # both (m, k)
    r = pred - target
    small = r.abs() <= delta
    return torch.where(small, 0.5 * r * r, delta * (r.abs() - 0.5 * delta)).mean()


def back_huber(pred, target, grad_out, *, delta=0.7):
    return grad_out * (pred - target).clamp(-delta, delta) / pred.numel()


HUBER = Op(forward=huber, backwards=(back_huber,), samples=PAIRS, wrt=("pred",))


@mistake(HUBER, "subset", "mask", of="T19", seen="bfortuner/ml-glossary PR113")
def back_huber_quadratic_everywhere(pred, target, grad_out):
    return grad_out * (pred - target) / pred.numel()


@mistake(
    HUBER, "subset", "missing-factor", of="T4", seen="Bot-Academy/NeuralNetworkFromScratch PR3"
)
def back_huber_unit_slope_outside(pred, target, grad_out, *, delta=0.7):
    r = pred - target
    return grad_out * torch.where(r.abs() <= delta, r, r.sign()) / pred.numel()


@mistake(
    HUBER, "subset", "missing-factor", "sign", of="T7", seen="lawlite19/MachineLearning_Python#1"
)
def back_huber_slope_without_its_sign(pred, target, grad_out, *, delta=0.7):
    r = pred - target
    return grad_out * torch.where(r.abs() <= delta, r, delta) / pred.numel()


def perceptron(x, w, b, label):  # x (n, i), w (i), b (), label (n) of ±1
    return torch.clamp(-label * (x @ w + b), min=0).sum()


def back_perceptron(x, w, b, label, grad_out):
    g = torch.where(label * (x @ w + b) < 0, -grad_out * label, 0.0)
    return g @ x, g.sum()


PERCEPTRON = Op(
    forward=perceptron,
    backwards=(back_perceptron,),
    samples={
        "rows": lambda rand, n=11, i=7: (
            rand(n, i),
            rand(i),
            rand(),
            2.0 * rand.integers(2, n).to(rand.dtype) - 1,
        )
    },
    wrt=("w", "b"),
)


@mistake(PERCEPTRON, "mask", of="T19", seen="mantasu/cs231n#9")
def back_perceptron_learns_from_every_row(x, w, b, label, grad_out):
    g = -grad_out * label
    return g @ x, g.sum()


@mistake(PERCEPTRON, "mask", of="T13", seen="denggaoshan/DeepLearningStudy#1")
def back_perceptron_learns_from_what_is_right(x, w, b, label, grad_out):
    g = torch.where(label * (x @ w + b) > 0, -grad_out * label, 0.0)
    return g @ x, g.sum()


@mistake(PERCEPTRON, "sign", of="T7", seen="lawlite19/MachineLearning_Python#1")
def back_perceptron_as_the_update(x, w, b, label, grad_out):
    g = torch.where(label * (x @ w + b) < 0, grad_out * label, 0.0)
    return g @ x, g.sum()


@mistake(PERCEPTRON, "convention", of="T19", seen="bfortuner/ml-glossary PR113")
def back_perceptron_labels_of_zero_and_one(x, w, b, label, grad_out):
    zero_one = (label + 1) / 2
    g = torch.where(label * (x @ w + b) < 0, -grad_out * zero_one, 0.0)
    return g @ x, g.sum()


def hinge(scores, label):  # scores (n, c), label (n) below c; Σ max(0, s_j - s_y + 1) over j ≠ y
    right = scores.gather(1, label[:, None])
    margins = (scores - right + 1).clamp(min=0)
    return margins.scatter(1, label[:, None], 0.0).sum() / len(label)


def _violated(scores, label):
    right = scores.gather(1, label[:, None])
    return (scores - right + 1 > 0).to(scores.dtype).scatter(1, label[:, None], 0.0)


def back_hinge(scores, label, grad_out):
    g = _violated(scores, label)
    g = g.scatter(1, label[:, None], -g.sum(1, keepdim=True))
    return grad_out * g / len(label)


HINGE = Op(
    forward=hinge,
    backwards=(back_hinge,),
    samples={"rows": lambda rand, m=11, c=7: (rand(m, c), rand.integers(c, m))},
    wrt=("scores",),
)


@mistake(HINGE, "missing-branch", "subset", "missing-term", of="T19", seen="lightaime#9")
def back_hinge_without_the_right_class(scores, label, grad_out):
    return grad_out * _violated(scores, label) / len(label)


@mistake(HINGE, "subset", "overwritten", of="T19", seen="mantasu/cs231n#9")
def back_hinge_right_class_once(scores, label, grad_out):
    g = _violated(scores, label).scatter(1, label[:, None], -1.0)
    return grad_out * g / len(label)


@mistake(HINGE, "sum-for-mean", of="T1", seen="eriklindernoren/ML-From-Scratch PR135")
def back_hinge_not_averaged(scores, label, grad_out):
    g = _violated(scores, label)
    return grad_out * g.scatter(1, label[:, None], -g.sum(1, keepdim=True))
