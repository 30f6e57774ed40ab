"""The mistakes that can be made at one edge of a backward: what flows back in place of what should.

Each function here is one kind of mistake. It is given an edge and yields what would flow there if
it was made, nothing else changed; whether that is what the author's function computed is decided
elsewhere. A mistake with an unknown number in it (a constant factor, a learning rate) yields what
the number multiplies, and the number is solved for.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.edges import Fault, Place, naming, others
from manual_backprop.judge.diagnose.terms import log_softmax_terms, softmax_terms

MASKS = frozenset(
    ("relu", "threshold", "clamp", "clamp_min", "clamp_max", "where", "maximum", "minimum", "abs")
    + ("amax", "amin", "max", "min", "leaky_relu", "hardtanh", "masked_fill", "mul_mask")
)
ELEMENTWISE = frozenset(
    ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "softmax", "log_softmax", "sin", "cos")
    + ("neg", "abs", "gelu", "silu", "softplus", "elu", "leaky_relu", "clamp", "clamp_min")
)
PRODUCTS = frozenset(("mm", "addmm", "bmm", "baddbmm", "mv", "dot", "mul", "addmv"))
# Derivatives as functions of the step's own output, which authors give its input to.
BY_OUT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda v, o: v * o * (1 - o),
    "tanh": lambda v, o: v * (1 - o * o),
    "exp": lambda v, o: v * o,
    "sqrt": lambda v, o: v / (2 * o),
    "rsqrt": lambda v, o: -v * o * o * o / 2,
    "reciprocal": lambda v, o: -v * o * o,
    "tan": lambda v, o: v * (1 + o * o),
}
# What is left of a derivative when one of its factors is forgotten.
PARTS: dict[str, dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "sigmoid": {"(1 - out)": lambda v, _x, o: v * o, "out": lambda v, _x, o: v * (1 - o)},
    "tanh": {"the square": lambda v, _x, o: v * (1 - o), "1 -": lambda v, _x, o: -v * o * o},
    "tan": {"1 +": lambda v, _x, o: v * o * o},
}


def faults(place: Place) -> Iterator[Fault]:
    """Every mistake that can be made at one edge."""
    yield from scaled(place)
    for kind in (*LOCAL, spread, already_updated, another_input, formula_of_another,
                 another_gradient, flipped, factor):  # fmt: skip
        yield from kind(place)


def everywhere(place: Place) -> Iterator[Fault]:
    """Of these, what can be made in the same way at every edge of a kind."""
    for number, what in ((0.0, "what flows back is left out"), (-1.0, "the sign is wrong"),
                         (2.0, "it counts twice"), (0.5, "it counts half")):  # fmt: skip
        code = {0.0: "missing-branch", -1.0: "sign"}.get(number, "factor")
        yield from place.fault(code, 10, ("times", number), what, number * place.right)
    for kind in LOCAL:
        yield from kind(place)
    own = [("its input", t) for t in place.inputs[:1]]
    if (formula := BY_OUT.get(place.name)) is not None:
        for _, tensor in own:
            what = f"the derivative of {place.name} is written for its output, and got its input"
            flows = formula(place.grad, tensor)
            yield from place.fault("wrong-argument", 11, "by out of own input", what, flows)
    if len(place.inputs) == 1 and place.inputs[0].shape == place.out.shape:
        what = f"the derivative of {place.name} is taken at its output, not at its input"
        flows_at_out = place.flows(place.grad, [place.out])
        yield from place.fault("wrong-argument", 17, "at own output", what, flows_at_out)


def scaled(place: Place) -> Iterator[Fault]:
    """A constant times the right contribution: 0 leaves it out, -1 turns its sign."""
    yield from place.fault("scale", 10, "scaled", "", torch.zeros_like(place.right), place.right)


def passed_on(place: Place) -> Iterator[Fault]:
    """The gradient that arrives is passed on, without the step's own derivative."""
    grad, shape = place.grad, place.right.shape
    if place.tape.steps[place.edge.step].value.numel() == 0 or _moves_only(place):
        return
    try:
        here = grad.sum_to_size(shape) if grad.dim() >= len(shape) else grad.expand(shape)
    except RuntimeError:
        return
    beside = [source for slot, source in enumerate(place.tape.steps[place.edge.step].sources)
              if slot != place.edge.slot]  # fmt: skip
    if place.name in MASKS:
        code, what = "mask", f"the gradient passes {place.name} unmasked"
    elif place.name == "mul" and beside:
        other = place.tape.steps[beside[0]].value
        code = "mask" if not bool(other.all()) and len(other.unique()) == 2 else "missing-factor"
        what = f"the factor {naming(place.tape, beside[0])} is missing"
    elif place.name in ("_softmax", "_log_softmax") and place.edge.step != place.tape.out:
        code, what = "wrong-variable", "this is the gradient with respect to the output of softmax"
    else:
        code, what = "missing-factor", f"the derivative of {place.name} is left out"
    yield from place.fault(code, 12, "passed on", what, here.clone())


def applied_twice(place: Place) -> Iterator[Fault]:
    """The step's derivative multiplies twice."""
    if place.right.shape == place.out.shape and place.name not in MASKS:
        what = f"the derivative of {place.name} is applied twice"
        yield from place.fault("extra-factor", 14, "twice", what, place.flows(place.right))


def part_of_the_derivative(place: Place) -> Iterator[Fault]:
    """One factor of a derivative is forgotten."""
    for left_out, formula in PARTS.get(place.name, {}).items():
        what = f"the derivative of {place.name} is not whole: {left_out} is missing"
        flows = formula(place.grad, place.inputs[0], place.out)
        yield from place.fault("missing-factor", 15, ("part", left_out), what, flows)


def mask(place: Place) -> Iterator[Fault]:
    """A mask inverted, or taken from the gradient in place of the input."""
    if place.name not in MASKS:
        return
    grad, right = place.grad, place.right
    if grad.shape != right.shape:
        try:
            spread_out = grad.expand_as(right)
        except RuntimeError:
            return
        what = f"the gradient goes to every entry, and only the one that {place.name} took feels it"
        yield from place.fault("mask", 12, "spread", what, spread_out.clone())
        return
    yield from place.fault("mask", 13, "inverted", "the mask is inverted", grad - right)
    positive = (grad > 0).to(grad.dtype) * grad
    yield from place.fault(
        "mask", 13, "by grad", "the mask asks whether the gradient is positive, not the input",
        positive,
    )  # fmt: skip
    yield from place.fault(
        "mask", 13, "both", "the mask also asks whether the gradient is positive",
        right * (grad > 0),
    )  # fmt: skip


def one_row(place: Place) -> Iterator[Fault]:
    """Of a sum over rows, the last or the first only: written over, not added up."""
    grad = place.grad
    for axis in range(grad.dim()):
        size = grad.shape[axis]
        if size < 3 or (place.right.dim() > axis and place.right.shape == grad.shape):
            continue
        for index, which in ((size - 1, "last"), (0, "first")):
            kept = torch.zeros_like(grad)
            kept.select(axis, index).copy_(grad.select(axis, index))
            what = f"only the {which} of {size} rows arrives: written over, where they are added up"
            yield from place.fault("overwritten", 16, ("row", axis, which), what, place.flows(kept))


def duplicates(place: Place) -> Iterator[Fault]:
    """Where an index occurs twice, one contribution is written over the other."""
    if place.edge.slot != 0 or place.name not in ("index", "index_select", "embedding", "gather"):
        return
    counter = torch.arange(1.0, place.right.numel() + 1, dtype=place.right.dtype)
    counter = counter.reshape(place.right.shape)
    took = place.tape.steps[place.edge.step].run([counter, *place.inputs[1:]]).long() - 1
    for which in ("last", "first"):
        flat, grad = took.reshape(-1), place.grad.reshape(-1)
        if which == "first":
            flat, grad = flat.flip(0), grad.flip(0)
        written = torch.zeros(place.right.numel(), dtype=place.right.dtype)
        for at, value in zip(flat.tolist(), grad, strict=True):
            written[at] = value
        what = f"where an index is repeated only the {which} gradient is kept, not their sum"
        yield from place.fault(
            "overwritten", 11, ("duplicates", which), what, written.reshape(place.right.shape)
        )


def spread(place: Place) -> Iterator[Fault]:
    """A sum that should leave axes standing is taken over all of them."""
    grad, right = place.grad, place.right
    if grad.numel() > right.numel() > 1 and _moves_only(place) is False:
        ones = place.flows(torch.ones_like(grad))
        if ones is not None and bool((ones == ones.reshape(-1)[0]).all()):
            what = "every entry is the sum over all axes; sum over the broadcast ones only"
            total = grad.sum().expand_as(right).clone()
            yield from place.fault("wrong-axis", 13, "all axes", what, total)


def already_updated(place: Place) -> Iterator[Fault]:
    """A product with weights that have taken their step of gradient descent already."""
    tape = place.tape
    if place.name not in PRODUCTS:
        return
    for slot, source in enumerate(tape.steps[place.edge.step].sources):
        if slot == place.edge.slot or source not in tape.adjoints:
            continue
        moved = [*place.inputs]
        moved[slot] = tape.adjoints[source]
        times = place.flows(place.grad, moved)
        if times is not None:
            yield from place.fault(
                "stale-weights", 20, ("updated", slot), naming(tape, source), place.right, -times
            )


def another_input(place: Place) -> Iterator[Fault]:
    """The step's derivative is taken at another tensor that was at hand."""
    generator = torch.Generator().manual_seed(0)
    for slot, own in enumerate(place.inputs):
        if not own.is_floating_point() or own.numel() < 1:
            continue
        probe = [*place.inputs]
        probe[slot] = torch.rand(own.shape, generator=generator, dtype=own.dtype) + 0.5
        if (flows := place.flows(place.grad, probe)) is None or torch.equal(flows, place.right):
            continue  # it has no say here
        for name, tensor in others(place, own):
            moved = [*place.inputs]
            moved[slot] = tensor
            meant = naming(place.tape, place.tape.steps[place.edge.step].sources[slot])
            what = f"{name} stands where {meant} belongs"
            yield from place.fault(
                "wrong-argument", 17, ("input", slot, name), what,
                place.flows(place.grad, moved),
            )  # fmt: skip


def formula_of_another(place: Place) -> Iterator[Fault]:
    """A derivative written for the step's output, given another tensor."""
    formula = BY_OUT.get(place.name)
    if formula is None:
        return
    for name, tensor in others(place, place.out):
        what = f"the derivative of {place.name} is written for its output, and got {name}"
        yield from place.fault(
            "wrong-argument", 11, ("by out", name), what, formula(place.grad, tensor)
        )


def another_gradient(place: Place) -> Iterator[Fault]:
    """The gradient of another tensor stands where that of the step's output belongs."""
    for name, tensor in others(place, place.grad):
        what = f"{name} arrives at {place.name}, where the gradient of its output belongs"
        yield from place.fault("wrong-argument", 18, ("grad", name), what, place.flows(tensor))


def cumulated(place: Place) -> Iterator[Fault]:
    """The gradient of a cumulative sum, summed from the wrong end."""
    if place.name == "cumsum":
        what = "the gradient of a cumulative sum is summed from the start, not from the end"
        dim = place.tape.steps[place.edge.step].flat[1]
        yield from place.fault("flipped", 12, "cumsum", what, place.grad.cumsum(dim))


def flipped(place: Place) -> Iterator[Fault]:
    """The contribution in reverse order along one or all axes, or transposed."""
    right = place.right
    long = [axis for axis in range(right.dim()) if right.shape[axis] >= 3]
    for axes in [(axis,) for axis in long] + ([tuple(long)] if len(long) > 1 else []):
        what = f"it is flipped along axis {', '.join(map(str, axes))}"
        yield from place.fault("flipped", 19, ("flip", axes), what, right.flip(axes))
    if right.dim() == 2:
        yield from place.fault("transposed", 19, "transposed", "it is transposed", right.T.clone())


def factor(place: Place) -> Iterator[Fault]:
    """Another tensor multiplies or divides the contribution."""
    for name, tensor in others(place, place.right):
        if not bool(tensor.all()):
            continue  # what holds zeros explains too much
        yield from place.fault(
            "extra-factor", 21, ("times", name), f"it is multiplied by {name}",
            place.right * tensor,
        )  # fmt: skip
        yield from place.fault(
            "missing-factor", 21, ("over", name), f"the factor {name} is missing",
            place.right / tensor,
        )  # fmt: skip


def _moves_only(place: Place) -> bool:
    """Whether the step only moves numbers, so that its derivative is nothing to leave out."""
    ones = torch.ones_like(place.grad)
    flows = place.flows(ones)
    if flows is None:
        return True
    return (
        place.out.numel() == flows.numel()
        and bool((flows == 1).all())
        and (place.name not in MASKS)
    )


LOCAL = (
    passed_on, applied_twice, part_of_the_derivative, mask, one_row, duplicates, cumulated,
    softmax_terms, log_softmax_terms,
)  # fmt: skip
