"""The mistakes that can be made at one edge of a backward: what flows back in place of what should.

Each function here is one kind of mistake. It is given an edge and yields what would flow there if
it was made, nothing else changed; whether that is what the author's function computed is decided
elsewhere. A mistake with an unknown number in it (a constant factor, a learning rate) yields what
the number multiplies, and the number is solved for.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.edges import MASKS, PLAIN, Fault, Place, among, naming
from manual_backprop.judge.diagnose.exchanged import (
    BY_OUT,
    PRODUCTS,
    already_updated,
    another_gradient,
    another_input,
    difference,
    factor,
    formula_of_another,
    formula_of_another_function,
    rule_for_powers,
    spread,
)
from manual_backprop.judge.diagnose.masks import duplicates, mask, one_row
from manual_backprop.judge.diagnose.normals import normalise_terms, unit_terms
from manual_backprop.judge.diagnose.tape import Tape
from manual_backprop.judge.diagnose.terms import (
    deviation_terms,
    log_softmax_terms,
    logsumexp_terms,
    softmax_terms,
)

ELEMENTWISE = frozenset(
    ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "softmax", "log_softmax", "sin", "cos", "neg",
     "abs", "gelu", "silu", "softplus", "elu", "leaky_relu", "clamp", "clamp_min")
)  # fmt: skip
# What is left of a derivative when one of its factors is forgotten.
PARTS: dict[str, dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "sigmoid": {"(1 - out)": lambda v, _x, o: v * o, "out": lambda v, _x, o: v * (1 - o)},
    "tanh": {"the square": lambda v, _x, o: v * (1 - o), "term 1": lambda v, _x, o: -v * o * o},
    "tan": {"term 1": lambda v, _x, o: v * o * o},
    "silu": {"term x s (1 - s)": lambda v, x, _o: v * x.sigmoid()},
    "special_entr": {"term 1": lambda v, x, _o: -v * x.log()},
    "asin": {"the root": lambda v, x, _o: v / (1 - x * x)},
    "acos": {"the root": lambda v, x, _o: -v / (1 - x * x)},
    "gelu": {"term x φ(x)": lambda v, x, _o: v * (1 + torch.erf(x / 2**0.5)) / 2},
}


def faults(place: Place) -> Iterator[Fault]:
    """Every mistake that can be made at one edge."""
    yield from scaled(place)
    for kind in (*LOCAL, spread, already_updated, another_input, formula_of_another,
                 another_gradient, only_one_use, difference, flipped, factor):  # fmt: skip
        yield from kind(place)


def everywhere(place: Place) -> Iterator[Fault]:
    """Of these, what can be made in the same way at every edge of a kind."""
    for number, what in ((0.0, "what flows back is left out"), (-1.0, "the sign is wrong"),
                         (2.0, "it counts twice"), (0.5, "it counts half")):  # fmt: skip
        code = {0.0: "missing-branch", -1.0: "sign"}.get(number, "factor")
        yield from place.fault(code, 10, ("times", number), what, number * place.right)
    for kind in LOCAL:
        yield from kind(place)
    if (formula := BY_OUT.get(place.name)) is not None:
        what = f"the derivative of {place.called} is written for its output, and got its input"
        flows = formula(place.grad, place.inputs[0])
        yield from place.fault("wrong-argument", 11, "by out of own input", what, flows)
    if place.name == "mm":
        other = place.inputs[1 - place.edge.slot]
        if other.shape[0] == other.shape[1]:
            turned = [*place.inputs]
            turned[1 - place.edge.slot] = other.T
            what = "the other factor of the product is not transposed"
            yield from place.fault(
                "wrong-argument", 11, "turned", what, place.flows(place.grad, turned)
            )
    if place.name in PRODUCTS and (after := _state_after(place)) is not None:
        moved = [*place.inputs]
        moved[1 - place.edge.slot] = after
        what = "the state after the step stands where the one before it belongs"
        flows_after = place.flows(place.grad, moved)
        yield from place.fault("wrong-argument", 12, "state after", what, flows_after)
    if len(place.inputs) == 1 and place.inputs[0].shape == place.out.shape:
        what = f"the derivative of {place.called} is taken at its output, not at its input"
        flows_at_out = place.flows(place.grad, [place.out])
        yield from place.fault("wrong-argument", 17, "at own output", what, flows_at_out)


def _state_after(place: Place) -> Tensor | None:
    """What a loop makes of the other factor: the next activation of its shape that feels it."""
    tape, step = place.tape, place.edge.step
    if len(place.inputs) != 2:
        return None
    shape, feel = place.inputs[1 - place.edge.slot].shape, {step}
    for index in range(step + 1, tape.out + 1):
        later = tape.steps[index]
        if feel & set(later.sources):
            feel.add(index)
            if later.name in ELEMENTWISE and later.value.shape == shape:
                return later.value
    return None


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
        code, what = "mask", f"the gradient passes {place.called} unmasked"
    elif place.name == "mul" and beside:
        other = place.tape.steps[beside[0]].value
        code = "mask" if not bool(other.all()) and len(other.unique()) == 2 else "missing-factor"
        what = f"the factor {naming(place.tape, beside[0])} is missing"
    elif place.name == "abs":
        code, what = "missing-factor", "the sign of the input is left out"
    elif place.name == "cumsum":
        code, what = "missing-branch", "every entry gets its own gradient, and no later one's"
    elif place.called.endswith("softmax") and place.edge.step != place.tape.out and (
        _only_added(place.tape, place.tape.source(place.edge))
    ):  # fmt: skip
        code = "wrong-variable"
        what = f"this is the gradient with respect to what {place.called} gave"
    else:
        code = "missing-factor"
        what = f"the derivative of {_which(place)} is left out"
    yield from place.fault(code, 12, "passed on", what, here.clone())


def _which(place: Place) -> str:
    """The step's name, and which it is of several of that name."""
    number, count = among(place.tape, place.edge.step)
    name = place.called
    return name if count == 1 else f"{name} number {number} of {count} in the forward"


def _only_added(tape: Tape, step: int) -> bool:
    """Whether it is an argument, or the sum of arguments."""
    sources = tape.steps[step].sources
    if not sources or tape.steps[step].name not in PLAIN:
        return step in tape.wrt
    return any(_only_added(tape, source) for source in sources)


def applied_twice(place: Place) -> Iterator[Fault]:
    """The step's derivative multiplies twice."""
    if place.right.shape == place.out.shape and place.name not in MASKS:
        what = f"the derivative of {place.called} is applied twice"
        yield from place.fault("extra-factor", 14, "twice", what, place.flows(place.right))


def part_of_the_derivative(place: Place) -> Iterator[Fault]:
    """One factor of a derivative is forgotten."""
    for missing, formula in PARTS.get(place.name, {}).items():
        what = f"the derivative of {place.called} is not whole: {missing} is missing"
        code = "missing-term" if missing.startswith("term") else "missing-factor"
        flows = formula(place.grad, place.inputs[0], place.out)
        yield from place.fault(code, 13, ("part", missing), what, flows)
    if place.name == "linalg_vector_norm":
        what = "the derivative is that of the sum of squares: 1/(2 norm), the root's, is missing"
        squares = place.flows(2 * place.grad * place.out)
        yield from place.fault("missing-factor", 15, "root", what, squares)
    if place.name in ("sigmoid", "tanh"):
        squared = place.out if place.name == "sigmoid" else 1.0
        what = f"the derivative of {place.called} has a plus, where it has a minus"
        flows = place.grad * (squared + place.out * place.out)
        yield from place.fault("sign", 15, "plus", what, flows)


def only_one_use(place: Place) -> Iterator[Fault]:
    """Of many ways back to one tensor only this one is kept."""
    tape = place.tape
    source = tape.source(place.edge)
    if tape.uses[source] > 2:
        ways = {(tape.steps[e.step].line, tape.steps[e.step].name, e.slot)
                for e in tape.sent if tape.source(e) == source}  # fmt: skip
        name = naming(tape, source)
        what = f"of the {tape.uses[source]} places where {name} is used only one is followed back"
        code = "missing-branch"
        if len(ways) == 1:  # a loop
            code, what = "overwritten", f"{what}: written over, where they are added up"
        rest = tape.adjoints[source] - place.right
        yield from place.fault(code, 13, "only", what, place.right - rest)


def cumulated(place: Place) -> Iterator[Fault]:
    """The gradient of a cumulative sum, summed from the wrong end."""
    if place.name == "cumsum":
        what = "the gradient of a cumulative sum is summed from the start, not from the end"
        dim, grad = place.constant(1), place.grad
        yield from place.fault("flipped", 11, "cumsum", what, grad.cumsum(dim))
        for axis in range(grad.dim()):
            what = f"the sums run along axis {axis}, and in the forward along axis {dim}"
            flows = grad.flip(axis).cumsum(axis).flip(axis)
            yield from place.fault("wrong-axis", 11, ("cumsum axis", axis), what, flows)


def flipped(place: Place) -> Iterator[Fault]:
    """The contribution in reverse order along one or all axes, or transposed."""
    right = place.right
    long = [axis for axis in range(right.dim()) if right.shape[axis] >= 3]
    for axes in [(axis,) for axis in long] + ([tuple(long)] if len(long) > 1 else []):
        what = f"it is flipped along axis {', '.join(map(str, axes))}"
        yield from place.fault("flipped", 19, ("flip", axes), what, right.flip(axes))
    if right.dim() == 2:
        yield from place.fault("transposed", 19, "transposed", "it is transposed", right.T.clone())


def _moves_only(place: Place) -> bool:
    """Whether the step only moves numbers, so that its derivative is nothing to leave out."""
    flows = place.flows(torch.ones_like(place.grad))
    if flows is None:
        return True
    same = place.out.numel() == flows.numel() and bool((flows == 1).all())
    return same and place.name not in MASKS


LOCAL = (
    formula_of_another_function, rule_for_powers,
    passed_on, applied_twice, part_of_the_derivative, mask, one_row, duplicates, cumulated,
    softmax_terms, log_softmax_terms, logsumexp_terms, normalise_terms, unit_terms, deviation_terms,
)  # fmt: skip
