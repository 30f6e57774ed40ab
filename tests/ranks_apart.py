"""Backwards of which one rank does what the others do not, each with its code."""

import os
import sys
import time

import torch
import torch.distributed as dist
from torch.distributed.tensor import Partial, Replicate

from tests.across_ranks import back_left_partial, back_reduced_once, grads
from tests.mean_over_ranks import reduced, whole


def back_one_rank_waits(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    if dist.get_rank() == 0:
        dist.all_reduce(part)
    return grad_x, whole(part, w, Replicate())


def back_one_rank_raises(x, w, grad_out):
    if dist.get_rank() == 1:
        raise ValueError("not on this rank")
    return back_left_partial(x, w, grad_out)


def back_one_line_raises(x, w, grad_out):
    if dist.get_rank() == 1: raise RuntimeError("not here")  # noqa: E701  # fmt: skip
    return grad_out @ w.T, x.T @ grad_out


def back_list_too_short(x, w, grad_out):
    return grad_out @ w.T, [x.T @ grad_out][dist.get_rank()]


def back_words_of_torch(x, w, grad_out):
    if dist.get_rank() == 1:
        raise RuntimeError("unevenly sharded: please redistribute")
    return grad_out @ w.T, x.T @ grad_out


def back_part_unseen(x, w, grad_out):
    grad_w = x.T @ grad_out
    if len(x._local_tensor) < 6:
        torch.zeros(3) + torch.zeros(4)
    return grad_out @ w.T, grad_w


def back_one_too_many(x, w, grad_out):
    grad_x, grad_w = back_left_partial(x, w, grad_out)
    return (grad_x, grad_w, grad_w) if dist.get_rank() == 1 else (grad_x, grad_w)


def back_slow(x, w, grad_out):
    if dist.get_rank() == 1 and len(x) == 1:
        time.sleep(3)
    return back_reduced_once(x, w, grad_out)


def back_one_rank_ends(x, w, grad_out):
    if dist.get_rank() == 1:
        os._exit(3)
    return back_left_partial(x, w, grad_out)


def back_parts_of_other_lengths(x, w, grad_out):
    """Gloo ends the process of a rank whose tensor is shorter than those of the others."""
    sys.stdout.write(f"rows here: {len(x.to_local())}\n")
    grad_x, part = grads(x, w, grad_out)
    reduced(x.to_local())
    return grad_x, whole(part, w, Partial())


def back_one_rank_leaves(x, w, grad_out):
    if dist.get_rank() == 1:
        os._exit(0)
    return back_left_partial(x, w, grad_out)


def back_one_rank_hangs(x, w, grad_out):
    if dist.get_rank() == 1:
        time.sleep(1000)
    return back_left_partial(x, w, grad_out)


class Layer:
    """A backward may do its work in methods."""

    def grads(self, x, w, grad_out):
        grad_w = x.T @ grad_out
        if len(self.mine(x)) < 6:
            torch.zeros(3) + torch.zeros(4)
        return grad_out @ w.T, grad_w

    @staticmethod
    def mine(x):
        return x._local_tensor


LAYER = Layer()


def back_part_unseen_in_a_method(x, w, grad_out):
    return LAYER.grads(x, w, grad_out)


def back_words_of_gloo(x, w, grad_out):
    raise RuntimeError("my cache lookup timed out")


APART = {
    back_part_unseen_in_a_method: ("raises", ""),
    back_words_of_gloo: ("raises", ""),
    back_one_rank_waits: ("collective-mismatch", ""),
    back_one_rank_raises: ("raises", ""),
    back_one_line_raises: ("raises", ""),
    back_list_too_short: ("raises", ""),
    back_words_of_torch: ("raises", ""),
    back_part_unseen: ("raises", ""),
    back_one_too_many: ("arity", ""),
    back_slow: None,
}
