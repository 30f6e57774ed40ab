"""A forward recorded step by step, so that its backward can be replayed with one fault in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from manual_backprop.judge.witnesses import vjp

SHIFTS = ("amax", "amin", "max", "min")  # whose gradient is 0 in all where they only shift


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of the forward, or (without `apply`) a tensor that was there before it.

    Attributes:
        apply: what computes the value from the flat arguments.
        name: ATen's, as in "mm"; an argument's, as in "x"; "" of a constant.
        flat, spec: the arguments, with None where a tensor of the tape stands.
        slots, sources: where those stand in `flat`, and the steps that they are the values of.
        value: of any shape.
        line: the line of the author's file that called it, as in "12: h = x @ w"; may be empty.
    """

    apply: Callable[..., Tensor] | None
    name: str
    value: Tensor
    flat: tuple[Any, ...] = ()
    spec: TreeSpec | None = None
    slots: tuple[int, ...] = ()
    sources: tuple[int, ...] = ()
    line: str = ""

    @property
    def called(self) -> str:
        """The operation as people call it: "softmax" for "_softmax", "entr" for "special_entr"."""
        name = self.name.strip("_")
        for family in ("special_", "linalg_vector_", "linalg_"):
            name = name.removeprefix(family)
        return name

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """The value for other inputs, one for each slot."""
        assert self.apply is not None
        assert self.spec is not None
        flat = list(self.flat)
        for slot, tensor in zip(self.slots, inputs, strict=True):
            flat[slot] = tensor
        if self._is_flat:
            return self.apply(*flat)
        args, kwargs = tree_unflatten(flat, self.spec)
        return self.apply(*args, **kwargs)

    @cached_property
    def _is_flat(self) -> bool:
        """Whether the arguments are no lists and have no names, as nearly always."""
        return self.spec == tree_flatten((self.flat, {}))[1]

    def pull(self, grad: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """The vector-Jacobian product of `grad`, of the value's shape, at these inputs.

        Returns:
            One gradient for each slot, None where nothing floating stands.
        """
        if len(inputs) == 2 and all(t.shape == grad.shape for t in inputs):
            a, b = inputs  # what is done most often, without the detour through autograd
            if self.name == "mul" and a.is_floating_point() and b.is_floating_point():
                return [grad * b, grad * a]
        live = [t.detach().requires_grad_(t.is_floating_point()) for t in inputs]
        with torch.enable_grad():
            out = self.run(live)
        wanted = [t for t in live if t.requires_grad]
        if not out.requires_grad:
            return [None] * len(live)
        grads = iter(vjp(out, wanted, grad))
        return [next(grads) if t.requires_grad else None for t in live]

    def push(self, inputs: Sequence[Tensor], moved: Sequence[Tensor | None]) -> Tensor:
        """How the value moves when the inputs move: the transpose of `pull`, differentiated."""
        live = [t.detach().requires_grad_(t.is_floating_point()) for t in inputs]
        with torch.enable_grad():
            out = self.run(live)
            if not out.requires_grad:
                return torch.zeros_like(out)
            grad = torch.zeros_like(out).requires_grad_()
            along = [(t, m) for t, m in zip(live, moved, strict=True) if m is not None]
            grads = vjp(out, [t for t, _ in along], grad, create_graph=True)
            felt = sum(
                (g * m).sum() for g, (_, m) in zip(grads, along, strict=True) if g is not None
            )
        if not isinstance(felt, Tensor) or not felt.requires_grad:
            return torch.zeros_like(out)
        return torch.autograd.grad(felt, grad)[0]


@dataclass(frozen=True)
class Edge:
    """The way of a gradient from a step back to one of its inputs."""

    step: int
    slot: int  # which of the step's sources


@dataclass(eq=False)
class Tape:
    """The steps of one forward, and its backward.

    Attributes:
        steps: in the order in which they ran; the arguments' tensors come first.
        out: the step whose value is the result.
        wrt: the steps of the tensors that get a gradient.
        cut: steps that send nothing back.
        grad_out: of the result's shape.
    """

    steps: list[Step]
    out: int
    wrt: list[int]
    grad_out: Tensor
    cut: frozenset[int] = frozenset()

    @cached_property
    def operations(self) -> frozenset[str]:
        """ATen's names of all steps."""
        return frozenset(step.name for step in self.steps if step.apply is not None)

    def inputs(self, step: int) -> list[Tensor]:
        """The values that a step was computed from."""
        return [self.steps[source].value for source in self.steps[step].sources]

    @cached_property
    def _reverse(self) -> tuple[dict[int, Tensor], dict[Edge, Tensor]]:
        return vars(self.replay(lambda _tape, _edge: None))["_reverse"]  # type: ignore[no-any-return]

    def replay(self, fault: Callable[["Tape", Edge], Tensor | None]) -> "Tape":
        """The tape with another backward.

        Args:
            fault: of the tape so far and an edge, what flows along it instead; None to leave it.
        """
        adjoints = {self.out: self.grad_out}
        sent: dict[Edge, Tensor] = {}
        other = replace(self)
        vars(other)["_reverse"] = adjoints, sent
        for index in range(self.out, -1, -1):
            if index not in adjoints or self.steps[index].apply is None or index in self.cut:
                continue
            step = self.steps[index]
            for slot, grad in enumerate(self.flows(index, adjoints[index], self.inputs(index))):
                if grad is not None:
                    edge = Edge(index, slot)
                    sent[edge] = grad
                    instead = fault(other, edge)
                    flows = grad if instead is None else instead
                    known = adjoints.get(step.sources[slot])
                    adjoints[step.sources[slot]] = flows if known is None else known + flows
        return other

    def flows(self, step: int, grad: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """As `Step.pull`, with all that flows to one source in its first slot, as for x x."""
        sources = self.steps[step].sources
        grads = self.steps[step].pull(grad, inputs)
        for slot, source in enumerate(sources):
            first = sources.index(source)
            if first < slot and (extra := grads[slot]) is not None:
                known = grads[first]
                grads[first] = extra if known is None else known + extra
                grads[slot] = None
        return grads

    @property
    def adjoints(self) -> dict[int, Tensor]:
        """Of every step that feels the loss, the gradient with respect to its value."""
        return self._reverse[0]

    @property
    def sent(self) -> dict[Edge, Tensor]:
        """What every edge contributes to the gradient of its source."""
        return self._reverse[1]

    @cached_property
    def uses(self) -> dict[int, int]:
        """How many edges lead back to each step."""
        count: dict[int, int] = {}
        for edge in self.sent:
            source = self.source(edge)
            count[source] = count.get(source, 0) + 1
        return count

    @cached_property
    def divisors(self) -> frozenset[int]:
        """The steps whose value divides, as it is or spread over a shape."""
        found: set[int] = set()
        for index in range(self.out, -1, -1):
            step = self.steps[index]
            if step.name == "div" and len(step.sources) == 2:
                found.add(step.sources[1])
            if index in found and step.name in ("expand", "unsqueeze", "view", "clamp_min"):
                found.add(step.sources[0])
        return frozenset(found)

    def source(self, edge: Edge) -> int:
        """The step that an edge leads back to."""
        return self.steps[edge.step].sources[edge.slot]

    def leaf_grads(self) -> list[Tensor]:
        """The gradients of `wrt`."""
        return [
            self.adjoints.get(leaf, torch.zeros_like(self.steps[leaf].value)) for leaf in self.wrt
        ]

    def arriving(self, at: int, change: Tensor) -> list[Tensor]:
        """What a change of the gradient of one step does to the gradients of `wrt`."""
        moved = {at: change}
        for index in range(at, -1, -1):
            step = self.steps[index]
            if index not in moved or step.apply is None or index in self.cut:
                continue
            for source, grad in zip(
                step.sources, step.pull(moved[index], self.inputs(index)), strict=True
            ):
                if grad is not None:
                    moved[source] = moved[source] + grad if source in moved else grad
        return [moved.get(leaf, torch.zeros_like(self.steps[leaf].value)) for leaf in self.wrt]

    def tangents(self, leaf: int, direction: Tensor) -> dict[int, Tensor]:
        """How every value moves when one argument moves along a direction of its shape."""
        moved = {leaf: direction}
        for index in sorted(set(self.adjoints) - {leaf}):
            step = self.steps[index]
            if step.apply is None or index in self.cut or not moved.keys() & set(step.sources):
                continue
            moved[index] = step.push(
                self.inputs(index), [moved.get(source) for source in step.sources]
            )
        return moved

    def rerun(self, changed: dict[int, Callable[[list[Tensor]], Tensor]]) -> list[Tensor]:
        """The gradients of `wrt` of another forward: some steps or arguments are something else.

        Raises:
            RuntimeError: shapes no longer fit.
        """
        values: dict[int, Tensor] = {}
        for index, step in enumerate(self.steps):
            if step.apply is None:
                values[index] = changed[index]([step.value]) if index in changed else step.value
                values[index] = values[index].detach()
                if index in self.wrt:
                    values[index].requires_grad_()
        with torch.enable_grad():
            for index, step in enumerate(self.steps[: self.out + 1]):
                if step.apply is not None:
                    inputs = [values[source] for source in step.sources]
                    values[index] = changed.get(index, step.run)(inputs)
                    if index in self.cut:
                        values[index] = values[index].detach()
        out = values[self.out]
        if out.shape != self.grad_out.shape:
            raise RuntimeError(f"the result is {tuple(out.shape)}")
        leaves = [values[leaf] for leaf in self.wrt]
        grads = vjp(out, leaves, self.grad_out)
        return [
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(leaves, grads, strict=True)
        ]


def without_shifts(tape: Tape) -> Tape | None:
    """The same tape with nothing sent back through a largest entry; None where there is none."""
    cut = {i for i, s in enumerate(tape.steps) if s.apply is not None and s.name in SHIFTS}
    return (
        Tape(tape.steps, tape.out, tape.wrt, tape.grad_out, tape.cut | cut)
        if cut & tape.adjoints.keys()
        else None
    )
