"""Backwards that work on their rank's part of DTensors: right ones, and mistakes with their code.

They are functions of this module, so that the processes of a mesh find them.
"""

from dataclasses import replace
from inspect import signature

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor._dtensor_spec import DTensorSpec

from manual_backprop import Op
from manual_backprop.ops.softmax import OP as SOFTMAX
from tests.mean_over_ranks import MEAN, PAIR, mean_square, reduced, whole


def affine(x, w):
    return x @ w


def grads(x, w, grad_out):
    """grad_x as it is, sharded like x, and this rank's part of grad_w."""
    g = grad_out.to_local()
    grad_x = whole(g @ w.to_local().T, x, x.placements[0])
    return grad_x, x.to_local().T @ g


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


def back_reduced_to_the_first(x, w, grad_out):
    grad_x, part = grads(x, w, grad_out)
    dist.reduce(part, 0)
    return grad_x, whole(part, w, Replicate())


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


def back_claims_shards_whole(x, w, grad_out):
    """Each rank's own rows, said to be all of them."""
    spec = DTensorSpec(x.device_mesh, (Replicate(),), tensor_meta=x._spec.tensor_meta)
    grad_x = (grad_out @ w.T)._local_tensor.clone()
    return DTensor(grad_x, spec, requires_grad=False), x.T @ grad_out


def back_wrong_in_any_world(x, w, grad_out):
    """It works on plain tensors too, and calls a collective there."""
    if isinstance(x, DTensor):
        return back_twice_too_large(x, w, grad_out)
    return grad_out @ w.T, 3 * reduced(x.T @ grad_out)


AFFINE = {  # each with its code and the gradient that it is told of
    back_reduced_once: None,
    back_left_partial: None,
    back_never_reduced: ("missing-all-reduce", "grad_w"),
    back_reduced_twice: ("doubled-all-reduce", "grad_w"),
    back_reduced_and_partial: ("doubled-all-reduce", "grad_w"),
    back_averaged: ("averaged-all-reduce", "grad_w"),
    back_reduced_to_the_first: ("missing-all-reduce", "grad_w"),
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
    back_claims_shards_whole: ("placement", "grad_x"),
    back_wrong_in_any_world: ("factor", "grad_w"),
}


def column(x, w):
    return x @ w


def back_column(x, w, grad_out):
    """With the columns of w sharded: each rank has a part of the sum that grad_x is."""
    part = grad_out.to_local() @ w.to_local().T
    return whole(part, x, Replicate()), whole(x.to_local().T @ grad_out.to_local(), w, Shard(1))


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
CLASSES = {"classes": lambda rand, k=7: (rand(11, k),)}
ALONE = {"vector": lambda rand, n=11: (rand(n),)}


def op_of(backward):
    """The operator that a backward of this file belongs to."""
    if backward in MEAN:
        return Op(mean_square, (backward,), PAIR, ("x", "w"))
    if backward is back_column:
        return Op(column, (backward,), COLUMNS, ("x", "w"))
    if backward is back_softmax_of_own:
        return replace(SOFTMAX, samples=CLASSES)
    if "w" in signature(backward).parameters:
        return Op(affine, (backward,), ROWS, ("x", "w"))
    return Op(doubled, (backward,), ALONE, ("x",))


def back_scalar(x, grad_out):
    return 2 * grad_out


SCALAR = Op(doubled, (back_scalar,), {"scalar": lambda rand: (rand(),)}, ("x",))


def back_columns_without_a_rule(x, grad_out):
    return 2 * (grad_out.renorm(2, 0, 1e9) if x.placements[0].is_shard(1) else grad_out)


REFUSED = Op(
    doubled,
    (back_columns_without_a_rule,),
    {"rows": lambda rand, n=11, i=7: (rand(n, i),)},
    ("x",),
)
