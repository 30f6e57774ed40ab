"""Another tensor where the right one belongs: an input, a gradient, a factor, a difference."""

import math
from collections.abc import Callable, Iterator
from itertools import permutations
from math import isclose
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.edges import (
    MASKS,
    MOVES,
    PLAIN,
    TURNS,
    Fault,
    Known,
    Place,
    at_hand,
    left_out,
    naming,
    others,
)
from manual_backprop.judge.diagnose.tape import Tape

PRODUCTS = frozenset(("mm", "bmm", "mv", "dot", "mul"))
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
# Slopes that are taken for each other: of functions that one learns together.
ALIKE: tuple[dict[str, Callable[[Tensor], Tensor]], ...] = (
    {"sin": torch.cos, "cos": lambda x: -x.sin(), "tan": lambda x: 1 + x.tan() ** 2,
     "sinh": torch.cosh, "cosh": torch.sinh},
    {"asin": lambda x: (1 - x * x).rsqrt(), "acos": lambda x: -(1 - x * x).rsqrt(),
     "atan": lambda x: 1 / (1 + x * x), "asinh": lambda x: (1 + x * x).rsqrt(),
     "acosh": lambda x: (x * x - 1).rsqrt(), "atanh": lambda x: 1 / (1 - x * x)},
)  # fmt: skip


def spread(place: Place) -> Iterator[Fault]:
    """A sum that should leave axes standing is taken over all, or lacks a factor of its terms."""
    found = place.unreduced()
    if found is None or place.right.numel() < 1:
        return
    flows, wide = found
    if place.right.numel() > 1:
        what = "every entry is the sum over all axes; sum over the broadcast ones only"
        total = flows.sum().expand_as(place.right).clone()
        yield from place.fault("wrong-axis", 13, "all axes", what, total)
    for slot, tensor in enumerate(wide):
        if tensor.is_floating_point() and bool(tensor.all()):
            source = place.tape.steps[place.edge.step].sources[slot]
            name = naming(place.tape, source)
            for code, what, under in _factors(place, name, tensor, flows, source):
                shrunk = under.sum_to_size(place.right.shape)
                yield from place.fault(code, 16, ("under the sum", what), what, shrunk)


def _factors(
    place: Place, name: str, tensor: Tensor, flows: Tensor, step: int
) -> Iterator[tuple[str, str, Tensor]]:
    """A factor too much and one too few; of what divides, times it is one too few."""
    name = "grad_out" if name == "the gradient of out" else name
    inverse = place.name in ("log", "reciprocal", "sqrt", "rsqrt") or (
        "norm" in place.name and tensor.shape == place.out.shape and torch.equal(tensor, place.out)
    )
    if "norm" in place.tape.steps[step].name and place.tape.steps[place.edge.step].apply:
        inverse |= place.tape.source(place.edge) == step  # whose derivative divides by it
    if step in place.tape.divisors or inverse:
        yield "missing-factor", f"the factor 1/{name} is missing", flows * tensor
        yield "extra-factor", f"it is divided by {name} once too often", flows / tensor
    else:
        yield "extra-factor", f"it is multiplied by {name}", flows * tensor
        yield "missing-factor", f"the factor {name} is missing", flows / tensor


def already_updated(place: Place) -> Iterator[Fault]:
    """A product with weights that have taken their step of gradient descent already."""
    tape = place.tape
    if place.name not in PRODUCTS:
        return
    for slot, source in enumerate(tape.steps[place.edge.step].sources):
        if slot == place.edge.slot or not _weights(tape, source):
            continue
        moved = [*place.inputs]
        moved[slot] = tape.adjoints[source]
        times = place.flows(place.grad, moved)
        if times is not None:
            yield from place.fault(
                "stale-weights", 20, ("updated", slot), naming(tape, source), place.right, -times
            )


def _weights(tape: Tape, source: int) -> bool:
    """Whether it is an argument that gets a gradient, as it is or turned."""
    step = tape.steps[source]
    if step.name in TURNS:
        return _weights(tape, step.sources[0])
    return source in tape.wrt


def another_input(place: Place) -> Iterator[Fault]:
    """The step's derivative is taken at another tensor that was at hand."""
    generator = torch.Generator().manual_seed(0)
    sources = place.tape.steps[place.edge.step].sources
    for slot, own in enumerate(place.inputs):
        if not own.is_floating_point() or own.numel() < 1:
            continue
        probe = [*place.inputs]
        probe[slot] = torch.rand(own.shape, generator=generator, dtype=own.dtype) + 0.5
        if (flows := place.flows(place.grad, probe)) is None or torch.equal(flows, place.right):
            continue  # it has no say here
        meant = naming(place.tape, sources[slot])
        shapes = {own.shape, *([place.out.shape] if place.name in ("mul", "div") else [])}
        for known in [k for shape in shapes for k in at_hand(place.tape).get(shape, [])]:
            if known.tensor is own or torch.equal(known.tensor, own):
                continue
            moved = [*place.inputs]
            moved[slot] = known.tensor
            code, what = "wrong-argument", f"{known.name} stands where {meant} belongs"
            if place.name in MASKS and own.shape == place.out.shape:
                code, what = "mask", f"the mask is that of {known.name}, and belongs to {meant}"
            elif known.is_value and (lacks := left_out(place.tape, sources[slot], known.step)):
                code, what = "missing-term", f"{lacks} is left out of {meant}"
            yield from place.fault(
                code, 17, ("input", slot, known.name), what, place.flows(place.grad, moved)
            )


def formula_of_another_function(place: Place) -> Iterator[Fault]:
    """The derivative of another activation."""
    if place.name in BY_OUT or place.name == "relu":
        for name in ("sigmoid", "tanh"):
            if name == place.name:
                continue
            what = f"the derivative is that of {name}, and the forward has {place.called}"
            flows = BY_OUT[name](place.grad, place.out)
            yield from place.fault("wrong-argument", 15, ("as of", name), what, flows)
            flows = BY_OUT[name](place.grad, getattr(torch, name)(place.inputs[0]))
            yield from place.fault("wrong-argument", 15, ("as of in", name), what, flows)
    for slopes in ALIKE:
        for name, slope in slopes.items() if place.name in slopes else ():
            what = f"the derivative is that of {name}, and the forward has {place.called}"
            flows = place.grad * slope(place.inputs[0])
            if not torch.equal(flows, -place.right):  # which is a sign
                yield from place.fault("wrong-argument", 15, ("as of", name), what, flows)
    if any(place.name in slopes for slopes in ALIKE):
        what = f"{place.called} stands where its derivative belongs"
        flows = place.grad * place.out
        yield from place.fault("wrong-argument", 15, "itself", what, flows)


def rule_for_powers(place: Place) -> Iterator[Fault]:
    """The derivative of aˣ as if x were the base."""
    base: Any = None
    if place.name == "exp":
        base = math.e
    elif place.name == "pow" and len(place.inputs) == 1:  # else a tensor to a number, or to another
        base = place.constant(0)
    if isinstance(base, (int, float)):
        what = "the rule for powers is taken of an exponential: x aˣ⁻¹ stands where aˣ ln a belongs"
        flows = place.grad * place.inputs[0] * base ** (place.inputs[0] - 1)
        yield from place.fault("wrong-argument", 15, "power", what, flows)


def formula_of_another(place: Place) -> Iterator[Fault]:
    """A derivative written for the step's output, given another tensor."""
    formula = BY_OUT.get(place.name)
    if formula is None:
        return
    for name, tensor in others(place, place.out):
        what = f"the derivative of {place.called} is written for its output, and got {name}"
        yield from place.fault(
            "wrong-argument", 11, ("by out", name), what, formula(place.grad, tensor)
        )


def another_gradient(place: Place) -> Iterator[Fault]:
    """The gradient of another tensor stands where that of the step's output belongs."""
    after = {
        f"the gradient of {naming(place.tape, edge.step)}": edge.step
        for edge in place.tape.sent
        if place.tape.source(edge) == place.edge.step
        and place.tape.steps[edge.step].name not in MOVES
    }
    deeper = {
        f"the gradient of {naming(place.tape, further)}": sibling
        for sibling in place.tape.steps[place.edge.step].sources
        if place.tape.steps[sibling].name not in PLAIN
        for further in place.tape.steps[sibling].sources
    }
    for name, tensor in others(place, place.grad):
        code, rank = "wrong-argument", 18
        what = f"{name} arrives at {place.called}, where the gradient of its output belongs"
        if name in after:
            step = place.tape.steps[after[name]]
            masks = step.name in MASKS
            code, rank = ("mask" if masks else "missing-factor"), 12
            what = f"the {'mask' if masks else 'derivative'} of {step.called} is left out"
            what += f" on the way to {naming(place.tape, place.tape.source(place.edge))}"
        elif (sibling := deeper.get(name)) is not None:
            code = "extra-factor"
            what = f"the derivative of {naming(place.tape, sibling)} multiplies it too"
        yield from place.fault(code, rank, ("grad", name), what, place.flows(tensor))
    for axis in range(place.grad.dim() if place.edge.step == place.tape.out else 0):
        if place.grad.shape[axis] >= 3:
            first = place.grad.narrow(axis, 0, 1).expand_as(place.grad)
            what = f"the first entry of the gradient along axis {axis} is taken for all"
            yield from place.fault("wrong-argument", 15, ("first", axis), what, place.flows(first))


def difference(place: Place) -> Iterator[Fault]:
    """Where the gradient is c (a - b), as of so many losses: another a or b, a sum, one of both."""
    right = place.right
    known = [k for k in at_hand(place.tape).get(right.shape, []) if "gradient of" not in k.name]
    if right.numel() < 3 or len(known) > 24:
        return
    probes = [tensor.flatten()[:2].tolist() for tensor in (right, *(k.tensor for k in known))]
    (g, h), *at = probes  # two entries of each turn down nearly every pair
    for (i, one), (j, other) in permutations(enumerate(known), 2):
        (a0, a1), (b0, b1) = at[i], at[j]
        if not isclose(g * (a1 - b1), h * (a0 - b0), rel_tol=1e-9, abs_tol=1e-15):
            continue
        gap = one.tensor - other.tensor
        largest = gap.abs().argmax()
        if float(gap.flatten()[largest]) == 0:
            continue
        times = right.flatten()[largest] / gap.flatten()[largest]
        if float((times * gap - right).abs().max()) > 1e-12 * float(right.abs().max()):
            continue
        a, b = one.name, other.name
        minus = f"{a} - {b}"
        added = times * (one.tensor + other.tensor)
        what = f"{a} + {b} stands where {minus} belongs"
        yield from place.fault("sign", 16, ("plus", a, b), what, added)
        what = f"only {a} is there of {minus}"
        yield from place.fault("missing-term", 16, ("only", a, b), what, times * one.tensor)
        for third in known:
            code, what = "wrong-argument", f"{third.name} stands where {a} belongs in {minus}"
            if third.is_value and (lacks := left_out(place.tape, one.step, third.step)):
                code, what = "missing-term", f"{lacks} is left out of {a} in {minus}"
            yield from place.fault(
                code, 18, ("for", a, b, third.name), what, times * (third.tensor - other.tensor)
            )


def factor(place: Place) -> Iterator[Fault]:
    """Another tensor multiplies or divides the contribution."""
    for base, (name, tensor, step, _) in _multipliers(place.tape, place.right.shape):
        if base is place.right:
            continue
        near = any(tensor is t for t in (*place.inputs, place.out))
        for code, what, flows in _factors(place, name, tensor, place.right, step):
            yield from place.fault(code, 16 if near else 21, ("factor", what), what, flows)


def _multipliers(tape: Tape, shape: torch.Size) -> list[tuple[Tensor, Known]]:
    """Tensors at hand of a shape, and p (1 - p) of probabilities p, each with what it is made of.

    Without those that hold zeros: they would explain too much.
    """
    made: dict[torch.Size, list[tuple[Tensor, Known]]] = vars(tape).setdefault("_multipliers", {})
    if shape not in made:
        both = [(one.tensor, one) for one in at_hand(tape).get(shape, [])]
        for p, one in [*both]:
            if bool(((p > 0) & (p < 1)).all()):
                both.append((p, Known(f"{one.name} (1 - {one.name})", p * (1 - p), -1, False)))
        made[shape] = [pair for pair in both if bool(pair[1].tensor.all())]
    return made[shape]
