"""How a spoiling is put around a backward.

It wraps the function underneath the shape-checking hook, so that the judge finds it and not the
hook.
"""

import inspect
from functools import wraps

import torch
from torch.utils._pytree import tree_map

from manual_backprop.op import is_fused


def wrapper(change):
    """`change(call, arguments)` in place of the backward; `call(arguments)` is the backward."""

    def spoil(backward, op):
        raw = inspect.unwrap(backward)

        outs = []  # of a fused kernel; only its gradients are spoiled

        def call(arguments):
            if not is_fused(raw):
                return raw(**arguments)
            out, grads = raw(**arguments)
            outs.append(out)
            return grads

        @wraps(raw)
        def spoiled(*args, **kwargs):
            bound = inspect.signature(raw).bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            grads = changed(arguments)
            return (outs.pop(), grads) if is_fused(raw) else grads

        def changed(arguments):
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
        return tree_map(lambda g: g if g is None else change(g), call(arguments))

    return wrapper(changed)


def on_grad_out(change):
    """Feeds the backward `change(grad_out)`."""

    @wraps(change)
    def changed(call, arguments, op):
        grad_out = arguments["grad_out"]
        changed_grad = change(grad_out)
        result = call({**arguments, "grad_out": changed_grad})
        return grad_out.copy_(changed_grad) if result is changed_grad else result

    return wrapper(changed)


def inputs(arguments):
    """The tensors among the arguments that are not grad_out, by name."""
    return {
        name: value
        for name, value in arguments.items()
        if name != "grad_out" and isinstance(value, torch.Tensor)
    }
