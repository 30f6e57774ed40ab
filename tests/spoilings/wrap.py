"""How a spoiling is put around a backward.

It wraps the function underneath the shape-checking hook, so that the judge finds it and not the
hook.
"""

import inspect
from functools import wraps

import torch
from torch.utils._pytree import tree_map


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
        return tree_map(lambda g: g if g is None else change(g), call(arguments))

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


def inputs(arguments):
    """The tensors among the arguments that are not grad_out, by name."""
    return {
        name: value
        for name, value in arguments.items()
        if name != "grad_out" and isinstance(value, torch.Tensor)
    }
