"""Spoilings of what is written into tensors that are given, and of the forward of fused kernels."""

import inspect
from functools import wraps

import torch
from torch.utils._pytree import tree_map

from manual_backprop.judge.result import flat
from tests.spoilings.wrap import wrapper


@wrapper
def adds_to_what_lies_there(call, arguments, op):
    lay = tree_map(torch.clone, [t for t in arguments["into"] if t is not None])
    result = call(arguments)
    for grad, before in zip(flat(result), lay, strict=False):
        grad.add_(before)
    return result


@wrapper
def returns_a_copy(call, arguments, op):
    return tree_map(lambda g: g if g is None else g.clone(), call(arguments))


@wrapper
def writes_what_it_may_not(call, arguments, op):
    result = call(arguments)
    kept = next(v for n, v in arguments.items() if n not in op.wrt and isinstance(v, torch.Tensor))
    kept.copy_(kept.flip(0) + 1)
    return result


def on_pair(change):
    """Changes `(out, grads)` by `change(out, grads)`."""

    def spoil(backward, op):
        raw = inspect.unwrap(backward)

        @wraps(raw)
        def spoiled(*args, **kwargs):
            return change(*raw(*args, **kwargs))

        return spoiled

    spoil.__name__ = change.__name__
    return spoil


@on_pair
def out_off(out, grads):
    return 1.25 * out, grads


@on_pair
def out_of_another_dtype(out, grads):
    return out.to(torch.float32 if out.dtype is torch.float64 else torch.float64), grads


@on_pair
def out_in_a_gradients_memory(out, grads):
    first = flat(grads)[0]
    if first.numel():
        first.view(-1)[0] = out
        out = first.view(-1)[0]
    return out, grads


@on_pair
def gradients_alone(out, grads):
    return grads
