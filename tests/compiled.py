"""Operators of the house under torch.compile: `python -m tests.compiled lin relu`.

A program of its own, since torch.compile cannot look through the checks of shapes that the tests
switch on.
"""

import sys

import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from manual_backprop import OPS, as_custom_op, as_function, rounding_budget
from manual_backprop.judge.draw import ARTICLE, Variant
from manual_backprop.judge.point import point


def drawn(op, seed=0):
    """Arguments that autograd records, as leaves, their structure, and options; float64."""
    (sample, *_) = (name for name in op.samples if name != ARTICLE)
    here = point(op, Variant(sample), torch.float64, seed)
    arguments = {
        name: tree_map(lambda t: t.clone().requires_grad_(name in op.wrt), value)  # noqa: B023
        for name, value in here.inputs.items()
    }
    leaves, spec = tree_flatten(tuple(arguments.values()))
    return leaves, spec, here.options, here


def of_leaves(function, spec, options):
    return lambda *leaves: function(*tree_unflatten(list(leaves), spec), **options)


def is_right(op, function):
    """Whether the compiled gradient is the same function's uncompiled, but for rounding."""
    torch._dynamo.reset()
    leaves, spec, options, _ = drawn(op)
    inner = of_leaves(function, spec, options)

    def loss(*t):
        return inner(*t).sin().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(compiled(*leaves), [leaf for leaf in leaves if leaf.requires_grad])

    def gradients(*t):
        t = [new.requires_grad_(old.requires_grad) for new, old in zip(t, leaves, strict=True)]
        return torch.autograd.grad(loss(*t), [leaf for leaf in t if leaf.requires_grad])

    budgets = rounding_budget(gradients, leaves, torch.float64)
    return all(b.ratio(grad) <= 1 for b, grad in zip(budgets, got, strict=True))


def main(names):
    torch.set_num_threads(1)
    for name in names:
        op = OPS[name]
        for how, function in (
            ("", as_function(op)),
            (" in torch.library", as_custom_op(f"manual_backprop_compiled::{name}", op)),
        ):
            said = "right" if is_right(op, function) else "wrong"
            sys.stdout.write(f"{name}{how}: {said}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
