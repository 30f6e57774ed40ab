"""An edge of a backward, what is at hand there, and a fault that can be made there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.tape import Edge, Step, Tape

MASKS = frozenset(
    ("relu", "threshold", "clamp", "clamp_min", "clamp_max", "where", "maximum", "minimum", "amax",
     "amin", "max", "min", "leaky_relu", "hardtanh", "masked_fill")
)  # fmt: skip
# Steps that only move numbers, and with sums what nobody derives wrongly.
TURNS = frozenset(("t", "permute", "transpose"))
MOVES = TURNS | {"view", "reshape", "unsqueeze", "squeeze", "expand"}
PLAIN = MOVES | {"add", "sub"}
NOUNS = {
    "add": "sum", "sub": "difference", "mul": "product", "div": "quotient", "pow": "power",
    "mm": "matrix product", "bmm": "matrix product", "mv": "matrix product",
}  # fmt: skip
UNARY = frozenset(("silu", "gelu", "tanh", "relu", "exp", "log", "softplus", "elu"))


@dataclass(frozen=True, eq=False)
class Fault:
    """One mistake at one edge.

    Attributes:
        code: of CODES; "scale" where it depends on the number that is solved for.
        rank: the smaller, the sooner it is named when several explain the same.
        key: the same for the same mistake on another tape of the same forward.
        what: a sentence about it.
        flows: what flows back in place of the right contribution, of its shape.
        times: what an unknown number multiplies, to be added to `flows`; None where all is known.
    """

    code: str
    rank: int
    key: tuple[Any, ...]
    what: str
    flows: Tensor
    times: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """An edge with what is at hand there."""

    tape: Tape
    edge: Edge

    @property
    def name(self) -> str:
        """The step's operation by ATen's name, as in "_softmax"."""
        return self.tape.steps[self.edge.step].name

    @property
    def called(self) -> str:
        """The same as people call it."""
        return self.tape.steps[self.edge.step].called

    @property
    def grad(self) -> Tensor:
        """The gradient that arrives at the step."""
        return self.tape.adjoints[self.edge.step]

    @property
    def right(self) -> Tensor:
        """What rightly flows on to the source."""
        return self.tape.sent[self.edge]

    @property
    def out(self) -> Tensor:
        """The step's value."""
        return self.tape.steps[self.edge.step].value

    @property
    def inputs(self) -> list[Tensor]:
        """What the step was computed from."""
        return self.tape.inputs(self.edge.step)

    def constant(self, position: int) -> Any:
        """A plain argument of the step."""
        return self.tape.steps[self.edge.step].flat[position]

    def keywords(self) -> dict[str, Any]:
        """The plain arguments of a step that was seen by its value."""
        return dict(self.tape.steps[self.edge.step].apply.keywords)  # type: ignore[union-attr]

    def flows(self, grad: Tensor, inputs: list[Tensor] | None = None) -> Tensor | None:
        """What flows on when another gradient arrives, or the step saw other inputs."""
        seen = self.inputs if inputs is None else inputs
        try:
            return self.tape.flows(self.edge.step, grad, seen)[self.edge.slot]
        except (RuntimeError, IndexError):  # another tensor's shape or index does not serve here
            return None

    def unreduced(self) -> tuple[Tensor, list[Tensor]] | None:
        """What flows to an input that was broadcast before it is summed, and all inputs so."""
        if self.right.shape == self.out.shape or self.right.dim() > self.out.dim():
            return None
        try:
            wide = [t.expand(self.out.shape) if t.is_floating_point() else t for t in self.inputs]
        except RuntimeError:
            return None
        flows = self.flows(self.grad, wide)
        if flows is None or flows.shape != self.out.shape:
            return None
        summed = flows.sum_to_size(self.right.shape)
        return (flows, wide) if torch.allclose(summed, self.right, 1e-9, 1e-12) else None

    def fault(
        self,
        code: str,
        rank: int,
        kind: Any,
        what: str,
        flows: Tensor | None,
        times: Tensor | None = None,
    ) -> Iterator[Fault]:
        """A fault here, if it has the right shape and is a fault."""
        if flows is None or flows.shape != self.right.shape:
            return
        if times is None and torch.equal(flows, self.right):
            return
        yield Fault(code, rank, (self.edge, kind), what, flows, times)


def widened(grad: Tensor, like: Tensor) -> Tensor | None:
    """A gradient of what was reduced, repeated over the axes that the reduction took away.

    Returns:
        It in the shape of `like`; None where it does not fit in one way.
    """
    if grad.dim() < like.dim():
        for axis in range(like.dim()):
            if (
                grad.dim() == like.dim() - 1
                and grad.shape == like.shape[:axis] + like.shape[axis + 1 :]
            ):
                grad = grad.unsqueeze(axis)
                break
    try:
        return grad.expand_as(like).clone()
    except RuntimeError:
        return None


class Known(NamedTuple):
    """A tensor at hand: its name, the step that it is of, and whether it is that step's value."""

    name: str
    tensor: Tensor
    step: int
    is_value: bool


def others(place: Place, like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """All tensors at hand of a shape, each with its name: values, and gradients of values."""
    for known in at_hand(place.tape).get(like.shape, []):
        if known.tensor is not like and not torch.equal(known.tensor, like):
            yield known.name, known.tensor


def at_hand(tape: Tape) -> dict[torch.Size, list[Known]]:
    """By shape: every distinct value and gradient of a tape, matrices also transposed."""
    known: dict[torch.Size, list[Known]] | None = vars(tape).get("_at_hand")
    if known is not None:
        return known
    known = {}
    for index, step in enumerate(tape.steps):
        name = naming(tape, index)
        here = [Known(name, step.value, index, True)]
        if index in tape.adjoints and (step.apply is not None or step.name):
            here.append(Known(f"the gradient of {name}", tape.adjoints[index], index, False))
        here += (Known(said, value, index, False) for said, value in _derived(tape, index))
        for one in here:
            if not one.tensor.is_floating_point():
                continue
            both = [one]
            if one.tensor.dim() == 2:
                both.append(one._replace(name=_transposed(one.name), tensor=one.tensor.T))
            for each in both:
                alike = known.setdefault(each.tensor.shape, [])
                if not any(torch.equal(each.tensor, other.tensor) for other in alike):
                    alike.append(each)
    vars(tape)["_at_hand"] = known
    return known


def left_out(tape: Tape, meant: int, instead: int) -> str:
    """What a sum (or difference) lacks when one of its terms stands in its place; else nothing."""
    step = tape.steps[meant]
    if step.name != "add" or instead not in step.sources or len(step.sources) != 2:
        return ""
    return naming(tape, step.sources[1 - step.sources.index(instead)])


def naming(tape: Tape, index: int) -> str:
    """What people call a step's value: an argument's name, "out", or what computed it."""
    step = tape.steps[index]
    if step.apply is None:
        return step.name or "a constant"
    if index == tape.out:
        return "out"
    if step.name in MOVES and len(step.sources) == 1:
        moved = naming(tape, step.sources[0])
        return _transposed(moved) if step.name in TURNS else moved
    name = _noun(tape, step)
    if line := step.line.partition(":")[0]:
        return f"{name} (line {line})"
    number, count = among(tape, index)
    return f"the {name}" if count == 1 else f"{name} number {number}"


def _noun(tape: Tape, step: Step) -> str:
    """What an operation gives, as people call it, unless another step's value is called so too."""
    noun = NOUNS.get(step.name, step.called)
    alike = {name for name in tape.operations if NOUNS.get(name, name) == noun}
    return noun if alike <= {step.name} else step.called


def among(tape: Tape, index: int) -> tuple[int, int]:
    """Which a step is of those with its name, from 1, and how many there are."""
    name = tape.steps[index].name
    alike = [i for i, s in enumerate(tape.steps) if s.apply is not None and s.name == name]
    return alike.index(index) + 1, len(alike)


def _transposed(name: str) -> str:
    suffix = ", transposed,"
    return name.removesuffix(suffix) if name.endswith(suffix) else name + suffix


def _derived(tape: Tape, index: int) -> list[tuple[str, Tensor]]:
    """What people compute from a value: probabilities of logits, rows with a 1 at the index."""
    step = tape.steps[index]
    name, value = naming(tape, index), step.value
    if step.name == "_log_softmax":
        return [(f"softmax of {naming(tape, step.sources[0])}", value.exp())]
    if step.name == "binary_cross_entropy_with_logits":
        logits = step.sources[0]
        return [(f"sigmoid of {naming(tape, logits)}", tape.steps[logits].value.sigmoid())]
    if step.name in ("_softmax", "sigmoid"):
        again = value.sigmoid() if step.name == "sigmoid" else step.run([value])
        return [(f"{step.name.strip('_')} of {name}", again)]
    if index in tape.wrt and value.dim():
        s, p = value.sigmoid(), value.softmax(-1)
        return [
            (f"sigmoid of {name}", s),
            (f"softmax of {name}", p),
            (f"sigmoid of sigmoid of {name}", s.sigmoid()),
            (f"softmax of softmax of {name}", p.softmax(-1)),
        ]
    if step.name in UNARY and len(step.sources) == 1:
        alike = [(i, s.value) for i, s in enumerate(tape.steps) if s.value.shape == value.shape]
        return [
            (f"{step.name} of {naming(tape, i)}", step.run([other]))
            for i, other in alike[:8] if other.is_floating_point()
        ]  # fmt: skip
    if step.apply is None and value.dtype is torch.int64 and value.dim() == 1 and len(value):
        widths = {s.value.shape[-1] for s in tape.steps if s.value.dim() == 2
                  and len(s.value) == len(value)}  # fmt: skip
        return [
            (f"1 at {name}", torch.nn.functional.one_hot(value, width).double())
            for width in sorted(widths) if int(value.min()) >= 0 and int(value.max()) < width
        ]  # fmt: skip
    return []
