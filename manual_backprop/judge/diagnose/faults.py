"""The mistakes that can be made at one edge of a backward: what flows back in place of what should.

Each function here is one kind of mistake. It is given an edge and yields what would flow there if
it was made, nothing else changed; whether that is what the author's function computed is decided
elsewhere. A mistake with an unknown number in it (a constant factor, a learning rate) yields what
the number multiplies, and the number is solved for.
"""

from collections.abc import Callable, Iterator
from itertools import permutations

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.edges import (
    Fault,
    Known,
    Place,
    at_hand,
    left_out,
    naming,
    others,
    widened,
)
from manual_backprop.judge.diagnose.terms import (
    deviation_terms,
    log_softmax_terms,
    logsumexp_terms,
    normalise_terms,
    softmax_terms,
)

MASKS = frozenset(
    ("relu", "threshold", "clamp", "clamp_min", "clamp_max", "where", "maximum", "minimum")
    + ("amax", "amin", "max", "min", "leaky_relu", "hardtanh", "masked_fill", "mul_mask")
)
ELEMENTWISE = frozenset(
    ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "softmax", "log_softmax", "sin", "cos")
    + ("neg", "abs", "gelu", "silu", "softplus", "elu", "leaky_relu", "clamp", "clamp_min")
)
INDEXING = frozenset(
    ("index", "index_select", "embedding", "gather", "take", "unfold", "im2col", "as_strided")
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
    "tanh": {"the square": lambda v, _x, o: v * (1 - o), "term 1": lambda v, _x, o: -v * o * o},
    "tan": {"term 1": lambda v, _x, o: v * o * o},
    "silu": {"term x s (1 - s)": lambda v, x, _o: v * x.sigmoid()},
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
    elif place.name == "abs":
        code, what = "sign", "the sign of the input is left out"
    elif place.name == "cumsum":
        code, what = "missing-branch", "every entry gets its own gradient, and no later one's"
    elif place.name.strip("_").endswith("softmax") and place.edge.step != place.tape.out and (
        place.tape.source(place.edge) in place.tape.wrt
    ):  # fmt: skip
        code = "wrong-variable"
        what = f"this is the gradient with respect to what {place.name.strip('_')} gave"
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
    for missing, formula in PARTS.get(place.name, {}).items():
        what = f"the derivative of {place.name} is not whole: {missing} is missing"
        code = "missing-term" if missing.startswith("term") else "missing-factor"
        flows = formula(place.grad, place.inputs[0], place.out)
        yield from place.fault(code, 15, ("part", missing), what, flows)
    if place.name in ("sigmoid", "tanh"):
        squared = place.out if place.name == "sigmoid" else 1.0
        what = f"the derivative of {place.name} has a plus, where it has a minus"
        flows = place.grad * (squared + place.out * place.out)
        yield from place.fault("sign", 15, "plus", what, flows)


def mask(place: Place) -> Iterator[Fault]:
    """A mask inverted, one-sided, of another entry, or taken from the gradient."""
    if place.name not in MASKS:
        return
    grad, right, x = place.grad, place.right, place.inputs[place.edge.slot]
    if grad.shape != right.shape:
        spread_out = widened(grad, right)
        if spread_out is None:
            return
        share = spread_out * grad.numel() / max(right.numel(), 1)
        smallest = place.flows(grad, [-t if t is x else t for t in place.inputs])
        for kind, what, flows in (
            ("spread", "the gradient goes to every entry, and only the one that was taken feels it",
             spread_out),
            ("share", "every entry gets its share, and only the one that was taken feels it", share),
            ("other end", "the gradient goes to the entry at the other end", smallest),
        ):  # fmt: skip
            yield from place.fault("mask", 12, kind, what, flows)
        for axis in range(right.dim()):
            what = f"the largest entries are those along axis {axis}, not along the forward's axis"
            largest = (x == x.amax(axis, keepdim=True)).to(grad.dtype)
            yield from place.fault(
                "wrong-axis", 12, ("mask axis", axis), what, largest * spread_out
            )
        return
    positive = (grad > 0).to(grad.dtype)
    for kind, what, flows in (
        ("inverted", "the mask is inverted", grad - right),
        ("by grad", "the mask asks whether the gradient is positive, not the input",
         grad * positive),
        ("both", "the mask also asks whether the gradient is positive", right * positive),
    ):  # fmt: skip
        yield from place.fault("mask", 13, kind, what, flows)
    for bound in place.tape.steps[place.edge.step].flat[1:3]:
        if isinstance(bound, (int, float)) and place.name in ("clamp", "hardtanh"):
            for kind, inside in (("above", x >= bound), ("below", x <= bound)):
                what = f"the mask has only one side, {kind} {bound:g}"
                yield from place.fault("mask", 13, ("one side", kind, bound), what, grad * inside)


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
    if place.edge.slot != 0 or place.name not in INDEXING:
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
    times = torch.zeros(place.right.numel(), dtype=place.right.dtype)
    times.index_add_(0, took.reshape(-1), torch.ones(took.numel(), dtype=times.dtype))
    what = "where an index is repeated the gradients are averaged, not added up"
    mean = place.right / times.clamp(min=1).reshape(place.right.shape)
    yield from place.fault("mean-for-sum", 11, "mean of duplicates", what, mean)


def spread(place: Place) -> Iterator[Fault]:
    """A sum that should leave axes standing is taken over all of them; a factor is left out of it."""
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
    inverse = place.name in ("log", "reciprocal", "sqrt", "rsqrt")
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
            if known.is_value and (lacks := left_out(place.tape, sources[slot], known.step)):
                code, what = "missing-term", f"{lacks} is left out of {meant}"
            yield from place.fault(
                code, 17, ("input", slot, known.name), what, place.flows(place.grad, moved)
            )


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
    after = {edge.step for edge in place.tape.sent if place.tape.source(edge) == place.edge.step}
    skipped = {f"the gradient of {naming(place.tape, step)}": step for step in after}
    for name, tensor in others(place, place.grad):
        code, rank = "wrong-argument", 18
        what = f"{name} arrives at {place.name}, where the gradient of its output belongs"
        if name in skipped:
            step = place.tape.steps[skipped[name]]
            masks = step.name in MASKS
            code, rank = ("mask" if masks else "missing-factor"), 12
            what = f"the {'mask' if masks else 'derivative'} of {step.name.strip('_')} is left out"
            what += f" on the way to {naming(place.tape, place.tape.source(place.edge))}"
        yield from place.fault(code, rank, ("grad", name), what, place.flows(tensor))
    for axis in range(place.grad.dim()):
        if place.grad.shape[axis] >= 3:
            first = place.grad.narrow(axis, 0, 1).expand_as(place.grad)
            what = f"the first entry of the gradient along axis {axis} is taken for all"
            yield from place.fault("wrong-argument", 15, ("first", axis), what, place.flows(first))


def difference(place: Place) -> Iterator[Fault]:
    """Where the gradient is c (a - b), as of so many losses: another a or b, a sum, one of both."""
    right = place.right
    known = [k for k in at_hand(place.tape).get(right.shape, []) if "gradient of" not in k.name]
    if right.numel() < 3 or len(known) > 16:
        return
    for one, other in permutations(known, 2):
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


def factor(place: Place) -> Iterator[Fault]:
    """Another tensor multiplies or divides the contribution."""
    known = [
        k for k in at_hand(place.tape).get(place.right.shape, []) if k.tensor is not place.right
    ]
    for one in [*known]:
        p = one.tensor
        if bool(((p > 0) & (p < 1)).all()):  # probabilities
            known.append(Known(f"{one.name} (1 - {one.name})", p * (1 - p), -1, False))
    for name, tensor, step, _ in known:
        if not bool(tensor.all()):
            continue  # what holds zeros explains too much
        near = any(tensor is t for t in (*place.inputs, place.out))
        for code, what, flows in _factors(place, name, tensor, place.right, step):
            yield from place.fault(code, 16 if near else 21, ("factor", what), what, flows)


def _moves_only(place: Place) -> bool:
    """Whether the step only moves numbers, so that its derivative is nothing to leave out."""
    flows = place.flows(torch.ones_like(place.grad))
    if flows is None:
        return True
    same = place.out.numel() == flows.numel() and bool((flows == 1).all())
    return same and place.name not in MASKS


LOCAL = (
    passed_on, applied_twice, part_of_the_derivative, mask, one_row, duplicates, cumulated,
    softmax_terms, log_softmax_terms, logsumexp_terms, normalise_terms, deviation_terms,
)  # fmt: skip
