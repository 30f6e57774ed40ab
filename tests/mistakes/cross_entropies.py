"""Losses of probabilities, where a learner has to know which output goes with which formula."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op
from tests.mistakes import mistake


def cross_entropy(logits, label):  # logits (n, c), label (n) below c; mean over n
    logp = torch.log_softmax(logits, dim=1)
    return -logp[torch.arange(len(label)), label].mean()


def _probabilities(logits, label):
    return torch.softmax(logits, 1), F.one_hot(label, logits.shape[1]).to(logits.dtype)


def back_cross_entropy(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    return grad_out * (p - y) / len(label)


CROSS_ENTROPY = Op(
    forward=cross_entropy,
    backwards=(back_cross_entropy,),
    samples={"rows": lambda rand, m=11, c=7: (rand(m, c), rand.integers(c, m))},
    wrt=("logits",),
    oracle=F.cross_entropy,
)


@mistake(CROSS_ENTROPY, "sum-for-mean", of="T1", seen="udacity/deep-learning-v2-pytorch#158")
def back_cross_entropy_summed(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    return grad_out * (p - y)


@mistake(CROSS_ENTROPY, "missing-term", of="T5", seen="parasdahal/tinyml#1")
def back_cross_entropy_without_the_one(logits, label, grad_out):
    p, _ = _probabilities(logits, label)
    return grad_out * p / len(label)


@mistake(CROSS_ENTROPY, "subset", "extra-factor", of="T5", seen="parasdahal/tinyml#1")
def back_cross_entropy_of_the_right_class_only(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    return grad_out * (p - 1) * y / len(label)


@mistake(CROSS_ENTROPY, "sign", of="T7", seen="dennybritz/nn-from-scratch#11")
def back_cross_entropy_target_less_prediction(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    return grad_out * (y - p) / len(label)


@mistake(CROSS_ENTROPY, "sign", of="T7", seen="lawlite19/MachineLearning_Python#1")
def back_cross_entropy_one_added(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    return grad_out * (p + y) / len(label)


@mistake(CROSS_ENTROPY, "wrong-variable", "missing-factor", of="T5", seen="DeepLearnToolbox#100")
def back_cross_entropy_to_the_probabilities(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    return -grad_out * y / p / len(label)


@mistake(CROSS_ENTROPY, "extra-factor", of="T5", seen="mantasu/cs231n#10")
def back_cross_entropy_through_softmax_again(logits, label, grad_out):
    p, y = _probabilities(logits, label)
    delta = grad_out * (p - y) / len(label)
    return p * (delta - (p * delta).sum(1, keepdim=True))


@mistake(CROSS_ENTROPY, "wrong-argument", of="T5", seen="hunkim/DeepLearningZeroToAll#25")
def back_cross_entropy_softmax_of_softmax(logits, label, grad_out):
    p, y = _probabilities(torch.softmax(logits, 1), label)
    return grad_out * (p - y) / len(label)


@mistake(CROSS_ENTROPY, "wrong-axis", of="T3", seen="mlpack PR3469")
def back_cross_entropy_softmax_over_the_batch(logits, label, grad_out):
    y = F.one_hot(label, logits.shape[1])
    return grad_out * (torch.softmax(logits, 0) - y) / len(label)


@mistake(CROSS_ENTROPY, "wrong-variable", "missing-branch", of="T5", seen="mantasu/cs231n#10")
def back_cross_entropy_to_the_log_probabilities(logits, label, grad_out):
    _, y = _probabilities(logits, label)
    return -grad_out * y / len(label)


def row_cross_entropy(logits, target):  # logits, target (n, c) of probabilities; (n) losses
    return -(target * torch.log_softmax(logits, 1)).sum(1)


def back_row_cross_entropy(logits, target, grad_out):
    p = torch.softmax(logits, 1)
    return grad_out[:, None] * (p * target.sum(1, keepdim=True) - target)


ROW_CROSS_ENTROPY = Op(
    forward=row_cross_entropy,
    backwards=(back_row_cross_entropy,),
    samples={
        "smooth": lambda rand, n=11, c=7: (rand(n, c), torch.softmax(rand(n, c), 1)),
        "unnormalised": lambda rand, n=11, c=7: (rand(n, c), rand(n, c).abs()),
    },
    wrt=("logits",),
)


@mistake(ROW_CROSS_ENTROPY, "wrong-argument", of="T23", seen="FlagGems#5212")
def back_row_cross_entropy_first_gradient_for_all(logits, target, grad_out):
    p = torch.softmax(logits, 1)
    return grad_out[0] * (p * target.sum(1, keepdim=True) - target)


@mistake(ROW_CROSS_ENTROPY, "extra-factor", of="T5", seen="udacity/deep-learning-v2-pytorch#105")
def back_row_cross_entropy_times_the_target(logits, target, grad_out):
    p = torch.softmax(logits, 1)
    return grad_out[:, None] * target * (p - target)


@mistake(ROW_CROSS_ENTROPY, "mean-for-sum", of="T1", seen="d2l-ai/d2l-en PR1000")
def back_row_cross_entropy_averaged(logits, target, grad_out):
    p = torch.softmax(logits, 1)
    return grad_out[:, None] * (p * target.sum(1, keepdim=True) - target) / logits.shape[1]


@mistake(ROW_CROSS_ENTROPY, "missing-factor", of="T5", seen="parasdahal/tinyml#1")
def back_row_cross_entropy_of_targets_that_sum_to_one(logits, target, grad_out):
    return grad_out[:, None] * (torch.softmax(logits, 1) - target)


def bce(p, y):  # p, y (m), both between 0 and 1; mean over m
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def back_bce(p, y, grad_out):
    return grad_out * ((1 - y) / (1 - p) - y / p) / p.numel()


def _chances(rand, *shape):
    return torch.sigmoid(rand(*shape)), rand.integers(2, *shape).to(rand.dtype)


BCE = Op(
    forward=bce,
    backwards=(back_bce,),
    samples={"vector": lambda rand, m=11: _chances(rand, m)},
    wrt=("p",),
)


@mistake(BCE, "missing-term", "subset", "missing-branch", of="T19", seen="bruceoutdoors#5")
def back_bce_of_the_positives(p, y, grad_out):
    return -grad_out * y / p / p.numel()


@mistake(BCE, "sign", "subset", of="T7", seen="dennybritz/nn-from-scratch#11")
def back_bce_second_term_negated(p, y, grad_out):
    return -grad_out * (y / p + (1 - y) / (1 - p)) / p.numel()


@mistake(BCE, "wrong-variable", "extra-factor", of="T5", seen="mnielsen#45")
def back_bce_to_the_logits(p, y, grad_out):
    return grad_out * (p - y) / p.numel()


def logistic_regression(x, w, b, y):  # x (n, i), w (i), b (), y (m) of 0 and 1
    z = x @ w + b
    p = torch.sigmoid(z)
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()


def back_logistic_regression(x, w, b, y, grad_out):
    delta = grad_out * (torch.sigmoid(x @ w + b) - y) / len(y)
    return x.T @ delta, delta.sum()


LOGISTIC_REGRESSION = Op(
    forward=logistic_regression,
    backwards=(back_logistic_regression,),
    samples={
        "rows": lambda rand, m=11, i=7: (
            rand(m, i),
            rand(i),
            rand(),
            rand.integers(2, m).to(rand.dtype),
        )
    },
    wrt=("w", "b"),
)


@mistake(LOGISTIC_REGRESSION, "extra-factor", of="T5", seen="mnielsen#45")
def back_logistic_regression_derivative_once_more(x, w, b, y, grad_out):
    p = torch.sigmoid(x @ w + b)
    delta = grad_out * (p - y) * p * (1 - p) / len(y)
    return x.T @ delta, delta.sum()


@mistake(LOGISTIC_REGRESSION, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#4")
def back_logistic_regression_past_the_sigmoid(x, w, b, y, grad_out):
    p = torch.sigmoid(x @ w + b)
    delta = grad_out * (p - y) / (p * (1 - p)) / len(y)
    return x.T @ delta, delta.sum()


@mistake(LOGISTIC_REGRESSION, "wrong-argument", of="T5", seen="udacity/deep-learning-v2-pytorch#75")
def back_logistic_regression_of_the_logits(x, w, b, y, grad_out):
    delta = grad_out * (x @ w + b - y) / len(y)
    return x.T @ delta, delta.sum()


@mistake(LOGISTIC_REGRESSION, "convention", of="T19", seen="bfortuner/ml-glossary PR113")
def back_logistic_regression_labels_of_plus_and_minus_one(x, w, b, y, grad_out):
    delta = grad_out * (torch.sigmoid(x @ w + b) - (2 * y - 1)) / len(y)
    return x.T @ delta, delta.sum()


@mistake(LOGISTIC_REGRESSION, "sum-for-mean", of="T1", seen="DLS 63071")
def back_logistic_regression_weights_not_averaged(x, w, b, y, grad_out):
    delta = grad_out * (torch.sigmoid(x @ w + b) - y)
    return x.T @ delta, delta.mean()


@mistake(LOGISTIC_REGRESSION, "mean-for-sum", of="T1", seen="eriklindernoren/ML-From-Scratch PR135")
def back_logistic_regression_averaged_twice(x, w, b, y, grad_out):
    delta = grad_out * (torch.sigmoid(x @ w + b) - y) / len(y)
    return x.T @ delta, delta.mean()


def bce_with_logits(z, y):  # both (m, k); summed over k, averaged over m
    return -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)).sum(1).mean()


def back_bce_with_logits(z, y, grad_out):
    return grad_out * (torch.sigmoid(z) - y) / z.shape[0]


BCE_WITH_LOGITS = Op(
    forward=bce_with_logits,
    backwards=(back_bce_with_logits,),
    samples={"rows": lambda rand, m=11, k=7: (rand(m, k), rand.integers(2, m, k).to(rand.dtype))},
    wrt=("z",),
)


@mistake(BCE_WITH_LOGITS, "mean-for-sum", of="T1", seen="pytorch/pytorch#3924")
def back_bce_with_logits_by_all_entries(z, y, grad_out):
    return grad_out * (torch.sigmoid(z) - y) / z.numel()


@mistake(BCE_WITH_LOGITS, "wrong-argument", of="T4", seen="benoitfragit/libBrain#78")
def back_bce_with_logits_squashed_twice(z, y, grad_out):
    return grad_out * (torch.sigmoid(torch.sigmoid(z)) - y) / z.shape[0]


@mistake(BCE_WITH_LOGITS, "extra-factor", of="T5", seen="DeepLearnToolbox#100")
def back_bce_with_logits_as_of_mse(z, y, grad_out):
    p = torch.sigmoid(z)
    return grad_out * (p - y) * p * (1 - p) / z.shape[0]


@mistake(BCE_WITH_LOGITS, "nan")
def back_bce_with_logits_overflows(z, y, grad_out):
    e = torch.exp(-z)
    return grad_out * (1 - y - e / (1 + e)) / z.shape[0]


def kl_to_logits(logits, target):  # both (n, c); target a distribution; batch mean
    logq = torch.log_softmax(logits, 1)
    return (target * (target.log() - logq)).sum() / len(logits)


def back_kl_to_logits(logits, target, grad_out):
    return grad_out * (torch.softmax(logits, 1) - target) / len(logits)


KL = Op(
    forward=kl_to_logits,
    backwards=(back_kl_to_logits,),
    samples={"rows": lambda rand, m=11, c=7: (rand(m, c), torch.softmax(rand(m, c), 1))},
    wrt=("logits",),
)


@mistake(KL, "mean-for-sum", of="T1", seen="pytorch/pytorch#3322")
def back_kl_to_logits_by_all_entries(logits, target, grad_out):
    return grad_out * (torch.softmax(logits, 1) - target) / logits.numel()


@mistake(
    KL, "missing-term", "missing-branch", "wrong-variable", of="T5", seen="DeepLearnToolbox#100"
)
def back_kl_to_logits_without_the_normaliser(logits, target, grad_out):
    return -grad_out * target / len(logits)
