"""Ways to spoil a right backward: each takes one and its operator and returns a wrong one."""

from inspect import signature

import torch
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.draw import Rand, Variant, axes, draw
from manual_backprop.judge.point import point
from manual_backprop.op import is_fused
from tests.spoilings.fused import (
    adds_to_what_lies_there,
    gradients_alone,
    out_in_a_gradients_memory,
    out_of_another_dtype,
    out_off,
    returns_a_copy,
    writes_what_it_may_not,
)
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
    sign: {"sign"},
    factor: {"factor"},
    a_little_too_large: {"factor"},
    unreduced: {"not-reduced"},
    keepdim: {"shape", "not-reduced"},
    wrong_dtype: {"dtype"},
    none: {"not-a-tensor"},
    nan_in_one_entry: {"nan"},
    long_row_unfinished: VALUES,
    absolute: {"not-linear"} | VALUES,
    squared: {"not-linear"} | VALUES,
    clipped: {"not-linear"} | VALUES,
    thresholded: {"not-linear"} | VALUES,
    normalised: {"not-linear", "zero", "ignores-grad-out"} | VALUES,
    ignored: {"ignores-grad-out", "zero"} | VALUES,
    returns_the_last_result: {"stateful", "not-linear"} | VALUES,
    accumulates: {"stateful", "not-linear"} | VALUES,
}
OF_INPUTS = {
    writes_an_input: {"mutates"},
    remembers_the_inputs_by_shape: {"stateful"} | VALUES,
    remembers_the_inputs_by_identity: {"stateful"},
    inputs_taken_for_contiguous: {"layout"},
}
NOT_IN_PLACE = {
    writes_grad_out: {"mutates"},
    returns_an_input: {"aliases"},
    grad_out_taken_for_contiguous: {"layout"},
    keeps_its_result: {"stateful"},
}
INTO = {adds_to_what_lies_there: {"nan"}, returns_a_copy: {"aliases"}}
FUSED = {
    out_off: {"forward"},
    out_of_another_dtype: {"forward"},
    out_in_a_gradients_memory: {"aliases"},
    gradients_alone: {"arity", "forward"},  # a pair of gradients is one of (out, grads) by form
}
OVERWRITING = {returns_a_copy: {"aliases"}, writes_what_it_may_not: {"mutates"}}


def spoilings(op, backward, sample):
    """Every spoiling that changes what this backward does on this sample or what is made of it."""
    chosen = dict(ALWAYS)
    asked = signature(backward).parameters
    saved = [name for name in (*op.arguments, "out") if name in asked]
    in_place = backward.__name__.endswith("_")
    if not in_place:
        chosen |= NOT_IN_PLACE
    if "into" in asked:
        chosen |= INTO
        chosen.pop(keeps_its_result)
    if is_fused(backward):
        chosen |= FUSED | (OVERWRITING if in_place else {})
    if not any(name in op.wrt or name == "out" for name in saved):
        chosen.pop(returns_an_input, None)
    if not point(op, Variant(sample), torch.float64, 0).grad_out.dim():  # a number has no layout
        chosen.pop(grad_out_taken_for_contiguous, None)
    if saved and not (in_place and is_fused(backward)):  # whose inputs are its own
        of_other_inputs = {"forward"} if is_fused(backward) else set()
        chosen |= {spoil: codes | of_other_inputs for spoil, codes in OF_INPUTS.items()}
    if _reaches(8, op, sample, set(saved) & set(op.arguments)):
        chosen[right_only_below_eight] = VALUES
    if len(axes(op, sample)) >= 2 and op.name != "mse":  # mse's gradient is a column
        chosen[transposed_where_square] = VALUES
    return chosen


def _reaches(size, op, sample, names):
    """Whether an argument grows beyond `size`; a sample may keep to a domain such as [-1, 1]."""
    inputs, _ = draw(op, Variant(sample), Rand(0, torch.float64, "magnitudes"))
    return any((t.abs() > size).any() for name in names for t in tree_leaves(inputs[name]))
