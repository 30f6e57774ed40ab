"""Backwards of a mean, on their rank's part of DTensors: a right one, and mistakes."""

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, Shard

PAIR = {"rows": lambda rand, n=11: (rand(n, 7), rand(7))}


def whole(part, like, placement, shape=None):
    """A rank's part as a DTensor on the mesh of another, by default of that one's shape."""
    shape = torch.Size(like.shape if shape is None else shape)
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        part, like.device_mesh, [placement], run_check=False, shape=shape, stride=stride
    )


def reduced(part, times=1):
    part = part.clone()
    for _ in range(times):
        dist.all_reduce(part)
    return part


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


def back_mean_over_equal_parts(x, w, grad_out):
    """What a loss divided by its own rows gives once the ranks' gradients are averaged."""
    grad_x, _ = mean_grads(x, w, grad_out, max(len(x.to_local()), 1))
    grad_x = grad_x / dist.get_world_size()
    return whole(grad_x, x, Shard(0)), back_mean_over_all(x, w, grad_out)[1]


def back_mean_to_the_first(x, w, grad_out):
    grad_x, part = mean_grads(x, w, grad_out, x.shape[0])
    dist.reduce(part, 0)
    return whole(grad_x, x, Shard(0)), whole(part, w, Replicate())


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
    back_mean_over_equal_parts: ("local-mean", "grad_x"),
    back_mean_to_the_first: ("missing-all-reduce", "grad_w"),
    back_sum_of_means: ("local-mean", "grad_w"),
    back_mean_of_means: ("local-mean", "grad_w"),
    back_own_mean: ("missing-all-reduce", "grad_w"),
}
