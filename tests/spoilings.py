"""Ways to spoil a right backward. Each takes a backward and its operator and returns a wrong one.

A spoiling wraps the function underneath the shape-checking hook, so that the judge finds it and not
the hook.
"""

import inspect
from functools import wraps
from zlib import crc32

import torch

from manual_backprop.judge.trial import flat


def wrapper(change):
    """`change(call, arguments)` in place of the backward; `call(arguments)` is the backward."""

    def spoil(backward, op):
        raw = inspect.unwrap(backward)

        def call(arguments):
            return raw(**arguments)

        @wraps(raw)
        def spoiled(*args, **kwargs):
            bound = inspect.signature(raw).bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            if not any(arguments.get("needs", (True,))):
                return call(arguments)
            if isinstance(arguments.get("grad_out"), float):
                like = next(v for v in arguments.values() if isinstance(v, torch.Tensor))
                arguments["grad_out"] = like.new_tensor(arguments["grad_out"])
            return change(call, arguments, op)

        return spoiled

    spoil.__name__ = change.__name__
    return spoil


def on_result(change):
    """Changes every gradient by `change(gradient)`, in place too where the backward is."""

    @wraps(change)
    def changed(call, arguments, op):
        result = call(arguments)
        many = isinstance(result, tuple)
        results = [g if g is None else change(g) for g in (result if many else (result,))]
        return tuple(results) if many else results[0]

    return wrapper(changed)


def on_grad_out(change):
    """Feeds the backward `change(grad_out)`."""

    @wraps(change)
    def changed(call, arguments, op):
        grad_out = arguments["grad_out"]
        changed_grad = change(grad_out)
        if inplace_result := call({**arguments, "grad_out": changed_grad}) is changed_grad:
            del inplace_result
            return grad_out.copy_(changed_grad)
        return call({**arguments, "grad_out": change(grad_out)})

    return wrapper(changed)


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
        g.view(-1)[g.numel() // 2] = torch.nan
    return g


@on_result
def long_row_unfinished(g):
    for axis, size in enumerate(g.shape):
        if size > 256:
            g.narrow(axis, size // 256 * 256, size % 256).zero_()
    return g


def _inputs(arguments):
    """The tensors among the arguments that are not grad_out."""
    return [
        value
        for name, value in arguments.items()
        if name != "grad_out" and isinstance(value, torch.Tensor)
    ]


@wrapper
def writes_an_input(call, arguments, op):
    result = call(arguments)
    target = _inputs(arguments)[0]
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
    results = result if isinstance(result, tuple) else (result,)
    swapped = [
        next((t.view_as(t) for t in _inputs(arguments) if t.shape == g.shape), g) for g in results
    ]
    return tuple(swapped) if isinstance(result, tuple) else swapped[0]


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
    return torch.where(g.abs() < 1e-4, 0.0, g)


@on_grad_out
def normalised(g):
    return g / g.norm()


@on_grad_out
def ignored(g):
    return torch.ones_like(g)


@on_grad_out
def grad_out_taken_for_contiguous(g):
    return g.as_strided(g.shape, torch.empty(g.shape, device="meta").stride())


def _key(arguments):
    return tuple(
        (n, tuple(v.shape), v.dtype, v.device.type) for n, v in arguments.items()
        if isinstance(v, torch.Tensor)
    )  # fmt: skip


def remembers_the_inputs_by_shape(backward, op):
    seen = {}

    def remembered(call, arguments, op):
        saved = {
            n: v.clone() for n, v in arguments.items()
            if n != "grad_out" and isinstance(v, torch.Tensor)
        }  # fmt: skip
        first = seen.setdefault(_key(arguments), saved)
        return call({**arguments, **first})

    return wrapper(remembered)(backward, op)


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


@wrapper
def right_only_below_eight(call, arguments, op):
    result = call(arguments)
    if not all(arguments.get("needs", (True,))):
        return result
    if any((v.abs() > 8).any() for v in _inputs(arguments) if v.device.type != "meta"):
        for grad in flat(result):
            grad.mul_(1.5)
    return result


@wrapper
def inputs_taken_for_contiguous(call, arguments, op):
    taken = {
        n: v.as_strided(v.shape, torch.empty(v.shape, device="meta").stride())
        if n != "grad_out" and isinstance(v, torch.Tensor)
        else v
        for n, v in arguments.items()
    }
    return call(taken)


# Each with the codes that name it rightly; a spoiling of values may also be seen as another.
VALUES = {"unknown", "layout"}
ALWAYS = {
    sign: VALUES,
    factor: VALUES,
    a_little_too_large: VALUES,
    unreduced: {"not-reduced"},
    keepdim: {"shape", "not-reduced"},
    wrong_dtype: {"dtype"},
    none: {"not-a-tensor"},
    nan_in_one_entry: {"nan"},
    long_row_unfinished: VALUES,
    writes_an_input: {"mutates"},
    absolute: {"not-linear"} | VALUES,
    squared: {"not-linear"} | VALUES,
    clipped: {"not-linear"} | VALUES,
    thresholded: {"not-linear"} | VALUES,
    normalised: {"not-linear", "zero", "ignores-grad-out"} | VALUES,
    ignored: {"ignores-grad-out"} | VALUES,
    remembers_the_inputs_by_shape: {"stateful"} | VALUES,
    returns_the_last_result: {"stateful", "not-linear"} | VALUES,
    accumulates: {"stateful", "not-linear"} | VALUES,
    inputs_taken_for_contiguous: {"layout"},
}
NOT_IN_PLACE = {
    writes_grad_out: {"mutates"},
    returns_an_input: {"aliases"},
    grad_out_taken_for_contiguous: {"layout"},
}


def spoilings(op, backward, sample):
    """Every spoiling that changes what this backward does on this sample or what is made of it."""
    from manual_backprop.judge.draw import axes

    chosen = dict(ALWAYS)
    if not backward.__name__.endswith("_"):
        chosen |= NOT_IN_PLACE
    if not any(name in op.wrt or name == "out" for name in op.saves(backward)):
        chosen.pop(returns_an_input, None)
    if op.name in ("mse", "two_layer"):  # a number has no layout
        chosen.pop(grad_out_taken_for_contiguous, None)
    if set(op.saves(backward)) & set(op.arguments):
        chosen[right_only_below_eight] = VALUES
    if len(axes(op, sample)) >= 2 and op.name != "mse":  # mse's gradient is a column
        chosen[transposed_where_square] = VALUES
    return chosen
