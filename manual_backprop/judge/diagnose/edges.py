"""An edge of a backward, what is at hand there, and a fault that can be made there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.diagnose.tape import Edge, Tape


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
    """An edge with what is at hand there.

    Attributes:
        grad: the gradient that arrives at the step.
        right: what rightly flows on to the source.
        name: the step, as in "sigmoid".
    """

    tape: Tape
    edge: Edge

    @property
    def name(self) -> str:
        return self.tape.steps[self.edge.step].name

    @property
    def grad(self) -> Tensor:
        return self.tape.adjoints[self.edge.step]

    @property
    def right(self) -> Tensor:
        return self.tape.sent[self.edge]

    @property
    def out(self) -> Tensor:
        return self.tape.steps[self.edge.step].value

    @property
    def inputs(self) -> list[Tensor]:
        return self.tape.inputs(self.edge.step)

    def flows(self, grad: Tensor, inputs: list[Tensor] | None = None) -> Tensor | None:
        """What flows on when another gradient arrives, or the step saw other inputs."""
        seen = self.inputs if inputs is None else inputs
        try:
            return self.tape.flows(self.edge.step, grad, seen)[self.edge.slot]
        except (RuntimeError, IndexError):  # another tensor's shape or index does not serve here
            return None

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


def others(place: Place, like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """All tensors at hand of a shape, each with its name: values, and gradients of values."""
    for name, tensor in at_hand(place.tape).get(like.shape, []):
        if tensor is not like and not torch.equal(tensor, like):
            yield name, tensor


def at_hand(tape: Tape) -> dict[torch.Size, list[tuple[str, Tensor]]]:
    """By shape: every distinct value and gradient of a tape, matrices also transposed."""
    known: dict[torch.Size, list[tuple[str, Tensor]]] | None = vars(tape).get("_at_hand")
    if known is not None:
        return known
    known = {}
    for index, step in enumerate(tape.steps):
        values = [(naming(tape, index), step.value)]
        if index in tape.adjoints:
            values.append((f"the gradient of {naming(tape, index)}", tape.adjoints[index]))
        if step.name == "_log_softmax":
            values.append((f"softmax of {naming(tape, step.sources[0])}", step.value.exp()))
        for name, value in values:
            if value.is_floating_point():
                turned = [(f"{name}, transposed,", value.T)] if value.dim() == 2 else []
                for called, tensor in [(name, value), *turned]:
                    alike = known.setdefault(tensor.shape, [])
                    if not any(torch.equal(tensor, other) for _, other in alike):
                        alike.append((called, tensor))
    vars(tape)["_at_hand"] = known
    return known


def naming(tape: Tape, index: int) -> str:
    """What people call a step's value: an argument's name, "out", or what computed it."""
    step = tape.steps[index]
    if step.apply is None:
        return step.name or "a constant"
    if index == tape.out:
        return "out"
    number = step.line.split(":")[0]
    return f"{step.name.strip('_')}" + (f" (line {number})" if number else f" (step {index})")
