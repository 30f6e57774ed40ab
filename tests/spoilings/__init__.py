"""Ways to spoil a right backward: each takes one and its operator and returns a wrong one."""

import torch
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.draw import Variant, axes
from manual_backprop.judge.point import point
from tests.spoilings.given import (
    absolute,
    clipped,
    grad_out_taken_for_contiguous,
    ignored,
    inputs_taken_for_contiguous,
    normalised,
    returns_an_input,
    squared,
    thresholded,
    writes_an_input,
    writes_grad_out,
)
from tests.spoilings.results import (
    a_little_too_large,
    factor,
    keepdim,
    long_row_unfinished,
    nan_in_one_entry,
    none,
    right_only_below_eight,
    sign,
    transposed_where_square,
    unreduced,
    wrong_dtype,
)
from tests.spoilings.state import (
    accumulates,
    keeps_its_result,
    remembers_the_inputs_by_identity,
    remembers_the_inputs_by_shape,
    returns_the_last_result,
)

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
    keeps_its_result: {"stateful"},
}


def _reaches_eight(op, sample):
    """Whether a number above 8 is ever met: not where all are probabilities."""
    wide = point(op, Variant(sample, "wide", numbers="magnitudes"), torch.float64, 0)
    return any((value.abs() > 8).any() for value in tree_leaves(wide.inputs))


def spoilings(op, backward, sample):
    """Every spoiling that changes what this backward does on this sample or what is made of it."""
    chosen = dict(ALWAYS)
    if not backward.__name__.endswith("_"):
        chosen |= NOT_IN_PLACE
    if not any(name in op.wrt or name == "out" for name in op.saves(backward)):
        chosen.pop(returns_an_input, None)
    if not point(op, Variant(sample), torch.float64, 0).grad_out.dim():  # a number has no layout
        chosen.pop(grad_out_taken_for_contiguous, None)
    if op.saves(backward):
        chosen[remembers_the_inputs_by_identity] = {"stateful"}
    if set(op.saves(backward)) & set(op.arguments) and _reaches_eight(op, sample):
        chosen[right_only_below_eight] = VALUES
    if len(axes(op, sample)) >= 2 and op.name != "mse":  # mse's gradient is a column
        chosen[transposed_where_square] = VALUES
    return chosen
