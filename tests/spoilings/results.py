"""Spoilings of the result: its values, its shapes, its types."""

from zlib import crc32

import torch

from manual_backprop.judge.result import flat
from tests.spoilings.wrap import inputs, on_result, wrapper


def entry_off(single):
    """One random entry of one gradient off by as little as the judge promises to see."""

    def spoil(which):
        def one_entry_off(call, arguments, op):
            result = call(arguments)
            grads = flat(result)
            grad = grads[which % len(grads)]
            if grad.numel():
                eps = torch.finfo(grad.dtype).eps
                part = (1e-13 if single else 1e-11) if grad.dtype is torch.float64 else 32 * eps
                place = crc32(repr((tuple(grad.shape), which)).encode()) % grad.numel()
                index = tuple(torch.unravel_index(torch.tensor(place), grad.shape))
                grad[index] += part * grad.abs().max()
            return result

        one_entry_off.__name__ = f"entry {which} off"
        return wrapper(one_entry_off)

    return spoil


@on_result
def sign(g):
    return g.neg_()


@on_result
def factor(g):
    return g.mul_(2)


@on_result
def a_little_too_large(g):
    return g.mul_(1.25)


@on_result
def transposed_where_square(g):
    return g.copy_(g.mT.clone()) if g.dim() >= 2 and g.shape[-1] == g.shape[-2] else g


@on_result
def unreduced(g):
    return torch.stack([g * 0.5, g * 0.5])


@on_result
def keepdim(g):
    return g[None]


@on_result
def wrong_dtype(g):
    return g.to(torch.float32 if g.dtype is torch.float64 else torch.float64)


@on_result
def none(g):
    return None


@on_result
def nan_in_one_entry(g):
    if g.numel():
        g[torch.unravel_index(torch.tensor(g.numel() // 2), g.shape)] = torch.nan
    return g


@on_result
def long_row_unfinished(g):
    for axis, size in enumerate(g.shape):
        if size > 256:
            g.narrow(axis, size // 256 * 256, size % 256).zero_()
    return g


@wrapper
def right_only_below_eight(call, arguments, op):
    given = [v for v in inputs(arguments).values() if v.device.type != "meta"]
    large = any(bool((v.abs() > 8).any()) for v in given)
    result = call(arguments)
    if large and all(arguments.get("needs", (True,))):
        for grad in flat(result):
            grad.mul_(1.5)
    return result
