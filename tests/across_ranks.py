"""Backwards that work on their rank's part of DTensors: right ones, and mistakes with their code.

They are functions of this module, so that the processes of a mesh find them.
"""

import os
import time
from dataclasses import replace

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

from manual_backprop import Op
from manual_backprop.ops.softmax import OP as SOFTMAX


def whole(part, like, placement, shape=None):
    """A rank's part as a DTensor on the mesh of another, by default of that one's shape."""
    shape = torch.Size(like.shape if shape is None else shape)
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        part, like.device_mesh, [placement], run_check=False, shape=shape, stride=stride
    )


def affine(x, w):
    return x @ w


def grads(x, w, grad_out):
    """grad_x as it is, sharded like x, and this rank's part of grad_w."""
    g = grad_out.to_local()
    grad_x = whole(g @ w.to_local().T, x, x.placements[0])
    return grad_x, x.to_local().T @ g


def reduced(part, times=1):
    part = part.clone()
    for _ in range(times):
        dist.all_reduce(part)
    return part


def back_reduced_once(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part), w, Replicate())


def back_left_partial(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(part, w, Partial())


def back_never_reduced(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(part, w, Replicate())


def back_reduced_twice(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part, 2), w, Replicate())


def back_reduced_and_partial(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part), w, Partial())


def back_averaged(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part) / dist.get_world_size(), w, Replicate())


def back_twice_too_large(x, w, grad_out):
    """On two ranks as large as one that is reduced twice, and for another reason."""
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(2 * reduced(part), w, Replicate())


def back_plain_tensor(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, reduced(part)


def back_equal_parts(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return DTensor.from_local(grad_x.to_local(), x.device_mesh, [Shard(0)]), whole(
        part, w, Partial()
    )


def back_ranks_disagree(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part), w, Partial() if dist.get_rank() else Replicate())


def back_part_does_not_fit(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part), w, Shard(0))


def back_one_rank_differs(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    return grad_x, whole(reduced(part) + (dist.get_rank() == 1), w, Replicate())


def back_writes(x, w, grad_out):
    grad_x, part = back_reduced_once(x, w, grad_out)
    w.to_local().mul_(2)
    return grad_x, part


def back_in_single(x, w, grad_out):
    grad_x, grad_w = back_reduced_once(x, w, grad_out)
    return grad_x, grad_w.float()


def back_one_gradient(x, w, grad_out):
    return back_reduced_once(x, w, grad_out)[0]


def back_mixed(x, w, grad_out):
    return grad_out @ w.T, (torch.arange(x.shape[0])[:, None] * 0 + x).T @ grad_out


def back_one_rank_waits(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    if dist.get_rank() == 0:
        dist.all_reduce(part)
    return grad_x, whole(part, w, Replicate())


def back_one_rank_raises(x, w, grad_out):
    if dist.get_rank() == 1:
        raise ValueError("not on this rank")
    return back_left_partial(x, w, grad_out)


def back_one_rank_ends(x, w, grad_out):
    if dist.get_rank() == 1:
        os._exit(3)
    return back_left_partial(x, w, grad_out)


def back_one_rank_hangs(x, w, grad_out):
    if dist.get_rank() == 1:
        time.sleep(1000)
    return back_left_partial(x, w, grad_out)


AFFINE = {  # each with its code and the gradient that it is told of
    back_reduced_once: None,
    back_left_partial: None,
    back_never_reduced: ("missing-all-reduce", "grad_w"),
    back_reduced_twice: ("doubled-all-reduce", "grad_w"),
    back_reduced_and_partial: ("doubled-all-reduce", "grad_w"),
    back_averaged: ("averaged-all-reduce", "grad_w"),
    back_twice_too_large: ("unknown", "grad_w"),
    back_plain_tensor: ("not-a-dtensor", "grad_w"),
    back_equal_parts: ("placement", "grad_x"),
    back_ranks_disagree: ("placement", "grad_w"),
    back_part_does_not_fit: ("placement", "grad_w"),
    back_one_rank_differs: ("unknown", "grad_w"),
    back_writes: ("mutates", ""),
    back_in_single: ("dtype", "grad_w"),
    back_one_gradient: ("arity", ""),
    back_mixed: ("raises", ""),
    back_one_rank_raises: ("raises", ""),
    back_one_rank_waits: ("collective-mismatch", ""),
}


def column(x, w):
    return x @ w


def back_column(x, w, grad_out):
    """With the columns of w sharded: each rank has a part of the sum that grad_x is."""
    part = grad_out.to_local() @ w.to_local().T
    return whole(part, x, Replicate()), whole(x.to_local().T @ grad_out.to_local(), w, Shard(1))


def mean_square(x, w):
    return (x @ w).square().mean()


def mean_grads(x, w, grad_out, rows):
    """This rank's part of both gradients, as if the mean ran over so many rows."""
    x, w = x.to_local(), w.to_local()
    grad_y = grad_out.to_local() * 2 * (x @ w) / rows
    return grad_y[:, None] * w, x.T @ grad_y


def back_mean_over_all(x, w, grad_out):
    grad_x, part = mean_grads(x, w, grad_out, x.shape[0])
    return whole(grad_x, x, Shard(0)), whole(reduced(part), w, Replicate())


def back_mean_over_own(x, w, grad_out):
    grad_x, _ = mean_grads(x, w, grad_out, max(len(x.to_local()), 1))
    return whole(grad_x, x, Shard(0)), back_mean_over_all(x, w, grad_out)[1]


def back_sum_of_means(x, w, grad_out):
    _, part = mean_grads(x, w, grad_out, max(len(x.to_local()), 1))
    return back_mean_over_all(x, w, grad_out)[0], whole(reduced(part), w, Replicate())


def back_mean_of_means(x, w, grad_out):
    grad_x, grad_w = back_sum_of_means(x, w, grad_out)
    return grad_x, grad_w / dist.get_world_size()


def back_own_mean(x, w, grad_out):
    _, part = mean_grads(x, w, grad_out, max(len(x.to_local()), 1))
    return back_mean_over_all(x, w, grad_out)[0], whole(part, w, Replicate())


MEAN = {
    back_mean_over_all: None,
    back_mean_over_own: ("local-mean", "grad_x"),
    back_sum_of_means: ("local-mean", "grad_w"),
    back_mean_of_means: ("local-mean", "grad_w"),
    back_own_mean: ("missing-all-reduce", "grad_w"),
}


def back_softmax_of_own(out, grad_out):
    """With the classes sharded: the sum over the row stops at the rank."""
    p, g = out.to_local(), grad_out.to_local()
    return whole(p * (g - (p * g).sum(-1, keepdim=True)), out, out.placements[0])


def doubled(x):
    return x + x


def back_half(x, grad_out):
    """Wrong without a mesh as well."""
    return grad_out * 1.0


def back_without_a_rule(x, grad_out):
    """DTensor cannot sort out a kernel that it has no rule for."""
    return 2 * grad_out + 0 * x[:, None].renorm(2, 0, 1.0)[:, 0]


# One axis each, which is the one to shard.
ROWS = {"rows": lambda rand, n=11: (rand(n, 7), rand(7, 5))}
COLUMNS = {"columns": lambda rand, o=5: (rand(11, 7), rand(7, o))}
PAIR = {"rows": lambda rand, n=11: (rand(n, 7), rand(7))}
CLASSES = {"classes": lambda rand, k=7: (rand(11, k),)}
ALONE = {"vector": lambda rand, n=11: (rand(n),)}


def op_of(backward):
    """The operator that a backward of this file belongs to."""
    if backward in AFFINE or backward in (back_one_rank_ends, back_one_rank_hangs):
        return Op(affine, (backward,), ROWS, ("x", "w"))
    if backward in MEAN:
        return Op(mean_square, (backward,), PAIR, ("x", "w"))
    if backward is back_column:
        return Op(column, (backward,), COLUMNS, ("x", "w"))
    if backward is back_softmax_of_own:
        return replace(SOFTMAX, samples=CLASSES)
    return Op(doubled, (backward,), ALONE, ("x",))
