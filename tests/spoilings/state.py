"""Spoilings that keep something from one call to the next."""

import torch
from torch.utils._pytree import tree_map_only

from manual_backprop.judge.result import flat
from tests.spoilings.wrap import inputs, wrapper


def _key(arguments):
    return tuple(
        (n, tuple(v.shape), v.dtype, v.device.type) for n, v in arguments.items()
        if isinstance(v, torch.Tensor)
    )  # fmt: skip


def remembers_the_inputs_by_shape(backward, op):
    seen = {}

    def remembered(call, arguments, op):
        copies = {name: tensor.clone() for name, tensor in inputs(arguments).items()}
        return call({**arguments, **seen.setdefault(_key(arguments), copies)})

    return wrapper(remembered)(backward, op)


def remembers_the_inputs_by_identity(backward, op):
    seen = {}

    def remembered(call, arguments, op):
        first = next(iter(inputs(arguments).values()))
        copies = {name: tensor.clone() for name, tensor in inputs(arguments).items()}
        _, copies = seen.setdefault(id(first), (first, copies))  # no other gets its id
        return call({**arguments, **copies})

    return wrapper(remembered)(backward, op)


def keeps_its_result(backward, op):
    kept = {}

    def overwritten(call, arguments, op):
        result = tree_map_only(torch.Tensor, torch.clone, call(arguments))
        place = kept.setdefault((_key(arguments), arguments.get("needs")), result)
        for old, new in zip(flat(place), flat(result), strict=True):
            old.copy_(new)
        return place

    return wrapper(overwritten)(backward, op)


def returns_the_last_result(backward, op):
    last = {}

    def stale(call, arguments, op):
        key = _key(arguments)
        result = call(arguments)
        copies = [g.clone() for g in flat(result)]
        for new, old in zip(flat(result), last.get(key, copies), strict=True):
            new.copy_(old)
        last[key] = copies
        return result

    return wrapper(stale)(backward, op)


def accumulates(backward, op):
    total = {}

    def accumulated(call, arguments, op):
        result = call(arguments)
        sums = total.setdefault(_key(arguments), [torch.zeros_like(g) for g in flat(result)])
        for new, old in zip(flat(result), sums, strict=True):
            new.add_(old)
            old.copy_(new)
        return result

    return wrapper(accumulated)(backward, op)
