"""Spoilings of what is given: written to, returned, misread."""

import torch
from torch.utils._pytree import tree_map

from tests.spoilings.wrap import inputs, on_grad_out, wrapper


@wrapper
def writes_an_input(call, arguments, op):
    result = call(arguments)
    target = next(iter(inputs(arguments).values()))
    target.untyped_storage()  # raises for fake tensors, which cannot be written to
    target.copy_(target.flip(0) + 1)
    return result


@wrapper
def writes_grad_out(call, arguments, op):
    result = call(arguments)
    arguments["grad_out"] += 1
    return result


@wrapper
def returns_an_input(call, arguments, op):
    result = call(arguments)
    given = inputs(arguments).values()
    return tree_map(lambda g: next((t.view_as(t) for t in given if t.shape == g.shape), g), result)


@on_grad_out
def absolute(g):
    return g.abs()


@on_grad_out
def squared(g):
    return g * g


@on_grad_out
def clipped(g):
    return g.clamp(-4, 4)


@on_grad_out
def thresholded(g):
    return torch.where(g.abs() < 2.0**-11, 0.0, g)  # 8 times what a tiny one is in float16


@on_grad_out
def normalised(g):
    return g / g.norm()


@on_grad_out
def ignored(g):
    return torch.ones_like(g)


@on_grad_out
def grad_out_taken_for_contiguous(g):
    return g.as_strided(g.shape, torch.empty(g.shape, device="meta").stride())


@wrapper
def inputs_taken_for_contiguous(call, arguments, op):
    taken = {
        n: v.as_strided(v.shape, torch.empty(v.shape, device="meta").stride())
        if n != "grad_out" and isinstance(v, torch.Tensor)
        else v
        for n, v in arguments.items()
    }
    return call(taken)
