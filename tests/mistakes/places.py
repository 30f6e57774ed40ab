"""Where things are taken from and put back: rows, largest entries, what is let through."""

import torch
import torch.nn.functional as F

from manual_backprop.op import Op
from tests.mistakes import mistake


def embedding(table, index):  # table (v, d), index (m, s) below v: (m, s, d)
    return table[index]


def back_embedding(table, index, grad_out):
    grad = torch.zeros_like(table)
    grad.index_add_(0, index.flatten(), grad_out.reshape(-1, table.shape[1]))
    return grad


EMBEDDING = Op(
    forward=embedding,
    backwards=(back_embedding,),
    samples={
        "sentences": lambda rand, m=5, s=3, v=7, d=11: (rand(v, d), rand.integers(v, m, s)),
    },
    wrt=("table",),
    oracle=lambda table, index: F.embedding(index, table),
)


@mistake(EMBEDDING, "overwritten", of="T8", seen="pymc-devs/pytensor PR2242")
def back_embedding_written_over(table, index, grad_out):
    grad = torch.zeros_like(table)
    grad[index] = grad_out
    return grad


@mistake(EMBEDDING, "overwritten", of="T8", seen="tenstorrent/tt-metal#6232")
def back_embedding_added_once_a_row(table, index, grad_out):
    grad = torch.zeros_like(table)
    grad[index] += grad_out
    return grad


@mistake(EMBEDDING, "zero", of="T8", seen="ooples/AiDotNet.Tensors PR894")
def back_embedding_added_to_a_copy(table, index, grad_out):
    grad = torch.zeros_like(table)
    grad[index].add_(grad_out)
    return grad


@mistake(EMBEDDING, "shape", of="T23", seen="torch/nn#543")
def back_embedding_one_per_word(grad_out):
    return grad_out.clone()


def gather(x, index):  # x (n, k), index (n, s) below k: (n, s)
    return torch.gather(x, 1, index)


def back_gather(x, index, grad_out):
    return torch.zeros_like(x).scatter_add(1, index, grad_out)


GATHER = Op(
    forward=gather,
    backwards=(back_gather,),
    samples={"rows": lambda rand, n=11, k=5, s=7: (rand(n, k), rand.integers(k, n, s))},
    wrt=("x",),
)


@mistake(GATHER, "overwritten", of="T8", seen="pymc-devs/pytensor PR2242")
def back_gather_scatters(x, index, grad_out):
    return torch.zeros_like(x).scatter(1, index, grad_out)


@mistake(GATHER, "mean-for-sum", of="T2", seen="kvfrans/notes#5")
def back_gather_averages_what_meets(x, index, grad_out):
    return torch.zeros_like(x).scatter_reduce(1, index, grad_out, "mean", include_self=False)


@mistake(GATHER, "extra-term", "not-linear", of="T11", seen="micrograd#53")
def back_gather_into_the_input(x, index, grad_out):
    return x.scatter_add(1, index, grad_out)


def amax(x):  # x (n, k): the largest of each row
    return x.max(dim=1).values


def back_amax(x, grad_out):
    return F.one_hot(x.argmax(1), x.shape[1]) * grad_out[:, None]


AMAX = Op(
    forward=amax,
    backwards=(back_amax,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k),)},
    wrt=("x",),
)


@mistake(AMAX, "mask", "missing-factor", of="T13", seen="andersy005 PR5")
def back_amax_to_every_entry(x, grad_out):
    return grad_out[:, None].expand_as(x).clone()


@mistake(AMAX, "wrong-axis", of="T3", seen="mlpack/mlpack#2360")
def back_amax_of_the_columns(x, grad_out):
    return (x == x.amax(0)).to(x.dtype) * grad_out[:, None]


@mistake(AMAX, "mask", of="T13", seen="oreilly-japan/deep-learning-from-scratch PR43")
def back_amax_to_the_smallest(x, grad_out):
    return F.one_hot(x.argmin(1), x.shape[1]) * grad_out[:, None]


@mistake(AMAX, "extra-factor", of="T4", seen="ttezel/nn#8")
def back_amax_times_the_maximum(x, out, grad_out):
    return F.one_hot(x.argmax(1), x.shape[1]) * (out * grad_out)[:, None]


def max_pool(x):  # x (n, 3 k): the largest of each three neighbours, (n, k)
    return x.reshape(x.shape[0], -1, 3).amax(2)


def back_max_pool(x, out, grad_out):
    windows = x.reshape(x.shape[0], -1, 3)
    is_largest = windows == out[:, :, None]
    share = grad_out[:, :, None] / is_largest.sum(2, keepdim=True)
    return torch.where(is_largest, share, 0.0).reshape(x.shape)


MAX_POOL = Op(
    forward=max_pool,
    backwards=(back_max_pool,),
    samples={"rows": lambda rand, m=5, k=7: (rand(m, 3 * k),)},
    wrt=("x",),
)


@mistake(MAX_POOL, "mask", "missing-factor", of="T13", seen="andersy005 PR5")
def back_max_pool_to_the_whole_window(x, grad_out):
    return grad_out.repeat_interleave(3, dim=1)


@mistake(MAX_POOL, "mask", of="T1", seen="jxgu1016/MNIST_center_loss_pytorch#10")
def back_max_pool_as_of_average_pool(x, grad_out):
    return grad_out.repeat_interleave(3, dim=1) / 3


def dropout(x, mask, *, p=0.3):  # x (n, k), mask of 0 and 1
    return x * mask / (1 - p)


def back_dropout(mask, grad_out, *, p=0.3):
    return grad_out * mask / (1 - p)


DROPOUT = Op(
    forward=dropout,
    backwards=(back_dropout,),
    samples={
        "rows": lambda rand, n=11, k=7: (rand(n, k), rand.integers(2, n, k).to(rand.dtype)),
    },
    wrt=("x",),
)


@mistake(DROPOUT, "mask", "missing-factor", of="T17", seen="ddbourgin/numpy-ml#94")
def back_dropout_without_mask(grad_out, *, p=0.3):
    return grad_out / (1 - p)


@mistake(DROPOUT, "factor", "missing-factor", of="T17", seen="kaldi-asr/kaldi#3890")
def back_dropout_without_scale(mask, grad_out):
    return grad_out * mask


@mistake(DROPOUT, "factor", "wrong-argument", of="T17", seen="rasbt/LLMs-from-scratch#431")
def back_dropout_scaled_by_p(mask, grad_out, *, p=0.3):
    return grad_out * mask / p


@mistake(DROPOUT, "mask", of="T17", seen="lmjohns3/theanets PR123")
def back_dropout_of_what_was_dropped(mask, grad_out, *, p=0.3):
    return grad_out * (1 - mask) / (1 - p)


@mistake(
    DROPOUT,
    "not-repeatable",
    "stateful",
    "mask",
    of="T17",
    seen="iamtrask/Grokking-Deep-Learning#68",
)
def back_dropout_draws_again(grad_out, *, p=0.3):
    return grad_out * (torch.rand_like(grad_out) > p) / (1 - p)


@mistake(DROPOUT, "factor", "extra-factor", of="T17", seen="ddbourgin/numpy-ml#94")
def back_dropout_scaled_twice(mask, grad_out, *, p=0.3):
    return grad_out * mask / (1 - p) ** 2


def clip(x, *, low=-0.5, high=0.9):  # x (n, k)
    return x.clamp(low, high)


def back_clip(x, grad_out, *, low=-0.5, high=0.9):
    return grad_out * ((x >= low) & (x <= high))


CLIP = Op(
    forward=clip,
    backwards=(back_clip,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k),)},
    wrt=("x",),
)


@mistake(CLIP, "mask", "subset", of="T13", seen="andersy005 PR5")
def back_clip_lower_side_only(x, grad_out, *, low=-0.5):
    return grad_out * (x >= low)


@mistake(
    CLIP, "not-linear", "wrong-argument", of="T13", seen="exacity/deeplearningbook-chinese#127"
)
def back_clip_clips_the_gradient(grad_out, *, low=-0.5, high=0.9):
    return grad_out.clamp(low, high)


@mistake(CLIP, "mask", of="T13", seen="denggaoshan/DeepLearningStudy#1")
def back_clip_mask_of_or(x, grad_out, *, low=-0.5, high=0.9):
    return grad_out * ((x < low) | (x > high))


def shifted_rows(x, shift):  # x (n, k), shift (k): moved by one column, then shifted
    return torch.roll(x, 1, dims=1) + shift


def back_shifted_rows(grad_out):
    return torch.roll(grad_out, -1, dims=1), grad_out.sum(0)


SHIFTED_ROWS = Op(
    forward=shifted_rows,
    backwards=(back_shifted_rows,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k))},
    wrt=("x", "shift"),
)


@mistake(SHIFTED_ROWS, "not-reduced", of="T2", seen="deeplearning4j/nd4j#2424")
def back_shifted_rows_shift_as_it_came(grad_out):
    return torch.roll(grad_out, -1, dims=1), grad_out.clone()
