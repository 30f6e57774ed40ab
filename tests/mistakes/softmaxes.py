"""Softmax and its kin: the sum that couples a row, left out or taken along another axis."""

import torch

from manual_backprop.op import Op
from tests.mistakes import mistake

ROWS = {"rows": lambda rand, n=11, k=7: (rand(n, k),)}


def softmax(x):  # x (n, k), along the last axis
    e = torch.exp(x - x.max(dim=1, keepdim=True).values)
    return e / e.sum(dim=1, keepdim=True)


def back_softmax(out, grad_out):
    return out * (grad_out - (grad_out * out).sum(dim=1, keepdim=True))


SOFTMAX = Op(
    forward=softmax,
    backwards=(back_softmax,),
    samples=ROWS,
    wrt=("x",),
    oracle=lambda x: torch.softmax(x, 1),
)


@mistake(SOFTMAX, "missing-term", of="T3", seen="deeplearning4j/libnd4j#440")
def back_softmax_diagonal(out, grad_out):
    return grad_out * out * (1 - out)


@mistake(SOFTMAX, "missing-term", "missing-branch", of="T3", seen="RubixML/ML PR438")
def back_softmax_without_the_sum(out, grad_out):
    return grad_out * out


@mistake(SOFTMAX, "missing-factor", of="T3", seen="SebLague/Neural-Network-Experiments PR5")
def back_softmax_without_the_outer_probability(out, grad_out):
    return grad_out - (grad_out * out).sum(dim=1, keepdim=True)


@mistake(SOFTMAX, "wrong-axis", of="T3", seen="mlpack/mlpack#2360")
def back_softmax_sum_over_the_batch(out, grad_out):
    return out * (grad_out - (grad_out * out).sum(dim=0, keepdim=True))


@mistake(SOFTMAX, "wrong-axis", of="T3", seen="mlpack PR2364")
def back_softmax_sum_over_everything(out, grad_out):
    return out * (grad_out - (grad_out * out).sum())


@mistake(SOFTMAX, "sign", of="T3", seen="Apiquet/DeepLearningFrameworkFromScratchCpp#1")
def back_softmax_sum_added(out, grad_out):
    return out * (grad_out + (grad_out * out).sum(dim=1, keepdim=True))


@mistake(SOFTMAX, "missing-factor", of="T3", seen="pytorch/pytorch#107007")
def back_softmax_sum_of_the_gradient_alone(out, grad_out):
    return out * (grad_out - grad_out.sum(dim=1, keepdim=True))


@mistake(SOFTMAX, "mean-for-sum", of="T3", seen="HomericIntelligence/Odyssey#2134")
def back_softmax_mean_in_the_sum(out, grad_out):
    return out * (grad_out - (grad_out * out).mean(dim=1, keepdim=True))


@mistake(SOFTMAX, "wrong-argument", of="T4", seen="tsoding/nn.h#18")
def back_softmax_of_the_inputs(x, grad_out):
    return x * (grad_out - (grad_out * x).sum(dim=1, keepdim=True))


def log_softmax(x):  # x (n, k)
    shifted = x - x.amax(1, keepdim=True)
    return shifted - shifted.exp().sum(1, keepdim=True).log()


def back_log_softmax(out, grad_out):
    return grad_out - out.exp() * grad_out.sum(1, keepdim=True)


LOG_SOFTMAX = Op(
    forward=log_softmax,
    backwards=(back_log_softmax,),
    samples=ROWS,
    wrt=("x",),
    oracle=lambda x: torch.log_softmax(x, 1),
)


@mistake(LOG_SOFTMAX, "wrong-argument", of="T3", seen="mlpack PR3469")
def back_log_softmax_forgets_to_exponentiate(out, grad_out):
    return grad_out - out * grad_out.sum(1, keepdim=True)


@mistake(LOG_SOFTMAX, "missing-factor", of="T3", seen="mlpack PR3469")
def back_log_softmax_sum_without_probability(grad_out):
    return grad_out - grad_out.sum(1, keepdim=True)


@mistake(LOG_SOFTMAX, "wrong-axis", of="T3", seen="mlpack/mlpack#2360")
def back_log_softmax_over_the_batch(out, grad_out):
    return grad_out - out.exp() * grad_out.sum(0, keepdim=True)


@mistake(LOG_SOFTMAX, "missing-term", "wrong-axis", of="T3", seen="pytorch/pytorch#107007")
def back_log_softmax_without_any_sum(out, grad_out):
    return grad_out - out.exp() * grad_out


@mistake(LOG_SOFTMAX, "missing-term", "missing-branch", of="T3", seen="RubixML/ML PR438")
def back_log_softmax_passes_on(grad_out):
    return grad_out.clone()


def logsumexp(x):  # x (n, k), one number per row
    top = x.amax(1, keepdim=True)
    return ((x - top).exp().sum(1, keepdim=True).log() + top).squeeze(1)


def back_logsumexp(x, out, grad_out):
    return grad_out[:, None] * torch.exp(x - out[:, None])


LOGSUMEXP = Op(forward=logsumexp, backwards=(back_logsumexp,), samples=ROWS, wrt=("x",))


@mistake(LOGSUMEXP, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#4")
def back_logsumexp_of_a_plain_sum(x, grad_out):
    return grad_out[:, None].expand_as(x).clone()


@mistake(LOGSUMEXP, "wrong-axis", of="T3", seen="mlpack/mlpack#2360")
def back_logsumexp_softmax_over_columns(x, grad_out):
    return grad_out[:, None] * torch.softmax(x, 0)


@mistake(LOGSUMEXP, "sum-for-mean", of="T1", seen="heyxhh/nnet-numpy#1")
def back_logsumexp_times_the_number_of_classes(x, out, grad_out):
    return x.shape[1] * grad_out[:, None] * torch.exp(x - out[:, None])


def attention(q, k, v):  # q (n, d), k (m, d), v (m, e): out (n, e)
    scores = q @ k.T / k.shape[1] ** 0.5
    return torch.softmax(scores, -1) @ v


def _attention(q, k, v, grad_out):
    weights = torch.softmax(q @ k.T / k.shape[1] ** 0.5, -1)
    grad_weights = grad_out @ v.T
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    return weights, grad_weights, grad_scores, k.shape[1] ** 0.5


def back_attention(q, k, v, grad_out):
    weights, _, grad_scores, scale = _attention(q, k, v, grad_out)
    return grad_scores @ k / scale, grad_scores.T @ q / scale, weights.T @ grad_out


ATTENTION = Op(
    forward=attention,
    backwards=(back_attention,),
    samples={"rows": lambda rand, n=11, m=7, d=5, e=3: (rand(n, d), rand(m, d), rand(m, e))},
    wrt=("q", "k", "v"),
)


@mistake(ATTENTION, "factor", "missing-factor", of="T1", seen="mlpack/ensmallen#428")
def back_attention_scale_forgotten(q, k, v, grad_out):
    weights, _, grad_scores, _ = _attention(q, k, v, grad_out)
    return grad_scores @ k, grad_scores.T @ q, weights.T @ grad_out


@mistake(ATTENTION, "missing-factor", of="T5", seen="mantasu/cs231n#10")
def back_attention_past_the_softmax(q, k, v, grad_out):
    weights, grad_weights, _, scale = _attention(q, k, v, grad_out)
    return grad_weights @ k / scale, grad_weights.T @ q / scale, weights.T @ grad_out


@mistake(ATTENTION, "missing-term", of="T3", seen="deeplearning4j/libnd4j#440")
def back_attention_softmax_diagonal(q, k, v, grad_out):
    weights, grad_weights, _, scale = _attention(q, k, v, grad_out)
    grad_scores = grad_weights * weights * (1 - weights)
    return grad_scores @ k / scale, grad_scores.T @ q / scale, weights.T @ grad_out


@mistake(ATTENTION, "wrong-axis", of="T3", seen="mlpack/mlpack#2360")
def back_attention_softmax_over_the_queries(q, k, v, grad_out):
    weights, grad_weights, _, scale = _attention(q, k, v, grad_out)
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(0, keepdim=True))
    return grad_scores @ k / scale, grad_scores.T @ q / scale, weights.T @ grad_out


@mistake(ATTENTION, "wrong-argument", of="T6", seen="HomericIntelligence/Odyssey#2136")
def back_attention_values_by_the_scores(q, k, v, grad_out):
    _, _, grad_scores, scale = _attention(q, k, v, grad_out)
    scores = q @ k.T / scale
    return grad_scores @ k / scale, grad_scores.T @ q / scale, scores.T @ grad_out


@mistake(ATTENTION, "shape", of="T21", seen="DLS 402919")
def back_attention_values_before_keys(q, k, v, grad_out):
    weights, _, grad_scores, scale = _attention(q, k, v, grad_out)
    return grad_scores @ k / scale, weights.T @ grad_out, grad_scores.T @ q / scale


def self_attention(x):  # x (m, d): every row looks at every row
    return torch.softmax(x @ x.T, -1) @ x


def _self_attention(x, grad_out):
    weights = torch.softmax(x @ x.T, -1)
    grad_weights = grad_out @ x.T
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    return weights, grad_scores


def back_self_attention(x, grad_out):
    weights, grad_scores = _self_attention(x, grad_out)
    return grad_scores @ x + grad_scores.T @ x + weights.T @ grad_out


SELF_ATTENTION = Op(
    forward=self_attention,
    backwards=(back_self_attention,),
    samples={"rows": lambda rand, m=7, d=5: (rand(m, d),)},
    wrt=("x",),
)


@mistake(SELF_ATTENTION, "missing-branch", of="T8", seen="pytorch/pytorch#1631")
def back_self_attention_as_query_only(x, grad_out):
    _, grad_scores = _self_attention(x, grad_out)
    return grad_scores @ x


@mistake(SELF_ATTENTION, "missing-branch", of="T8", seen="HIPS/autograd PR136")
def back_self_attention_not_as_values(x, grad_out):
    _, grad_scores = _self_attention(x, grad_out)
    return grad_scores @ x + grad_scores.T @ x
