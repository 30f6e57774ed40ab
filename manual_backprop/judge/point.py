"""One set of numbers to judge at: inputs, the truth in float64, what rounding may do to it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from manual_backprop.judge.budget import Budget, budgets
from manual_backprop.judge.draw import (
    ARTICLE,
    FEW,
    Measure,
    Rand,
    Variant,
    draw,
    draw_grad_out,
    each,
    seed_of,
)
from manual_backprop.judge.verdict import error_at, first_line
from manual_backprop.judge.witnesses import autograd
from manual_backprop.op import BadOp, Op

ATTEMPTS = 20
LARGEST = 2**22  # numbers in a sample that is tried on the whole grid
REMEMBERED = 512  # points of one operator
LARGEST_ARTICLE = 2**26  # numbers in a sample that is judged for values only


class Unjudgeable(Exception):  # noqa: N818 -- not an error of the judge's
    """The forward or the oracle failed on a sample; the message says how."""


@dataclass(frozen=True, eq=False)
class Point:
    """A sample drawn in one dtype, with what every backward should make of it.

    Attributes:
        inputs: the forward's arguments by name, on the CPU.
        out: the reference's output and its allowance.
        grad_out: the output's shape, in `dtype` on the CPU.
        grads: for each tensor that gets a gradient, the gradient and its allowance, of its shape.
        labels: their names, as in "grad_w" or "grad_weights[1]".
    """

    op: Op
    variant: Variant
    dtype: torch.dtype
    seed: int
    inputs: dict[str, Any]
    options: dict[str, Any]
    grad_out: Tensor
    out: Budget
    grads: tuple[Budget, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The gradients' names, one per tensor."""
        names = []
        for name in self.op.wrt:
            value = self.inputs[name]
            if isinstance(value, tuple):
                names += [f"grad_{name}[{i}]" for i in range(len(value))]
            else:
                names.append(f"grad_{name}")
        return tuple(names)

    @cached_property
    def raised(self) -> list[Tensor]:
        """All input tensors, those of tuples in their place, raised to float64."""
        return [t.double() if t.is_floating_point() else t for t in self._leaves]

    @cached_property
    def places(self) -> list[int]:
        """Where the tensors that get a gradient stand in `raised`, one for each label."""
        return _places(self.op, self.inputs)

    @cached_property
    def _leaves(self) -> list[Tensor]:
        return tree_flatten(tuple(self.inputs.values()))[0]

    def own_forward(self, *leaves: Tensor) -> Tensor:
        """The operator's own forward of all input tensors, those of tuples in their place.

        Raises:
            Exception: whatever the forward raises.
        """
        with torch.no_grad():
            return self._apply(self.op.forward, *leaves)

    def reference(self, grad_out: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The reference's output and gradients computed in `dtype`, for another grad_out.

        Args:
            grad_out: the output's shape, any dtype and device.
            dtype: a floating one.

        Raises:
            RuntimeError: PyTorch does not compute the reference in that dtype.
        """
        return self.derivative(self.op.oracle or self.op.forward, grad_out, dtype)

    def derivative(
        self, function: Callable[..., Tensor], grad_out: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, ...]:
        """As `reference`, of any function of the forward's arguments."""
        cast = [t.to(dtype) if t.is_floating_point() else t for t in self._leaves]
        applied = partial(self._apply, function)
        return autograd(applied, cast, self.places, grad_out.cpu().to(dtype))

    def _apply(self, function: Any, *leaves: Tensor) -> Tensor:
        _, spec = tree_flatten(tuple(self.inputs.values()))
        return function(*tree_unflatten(list(leaves), spec), **self.options)  # type: ignore[no-any-return]


def point(op: Op, variant: Variant, dtype: torch.dtype, seed: int) -> Point:
    """`draw_point`, remembered on the operator, so that it is forgotten with it.

    Raises:
        BadOp, Unjudgeable: as `draw_point`.
    """
    known: dict[Any, Point] = vars(op).setdefault("_points", {})
    key = variant, dtype, seed
    if key not in known:
        if len(known) >= REMEMBERED:
            known.clear()
        known[key] = draw_point(op, variant, dtype, seed)
    return known[key]


def draw_point(op: Op, variant: Variant, dtype: torch.dtype, seed: int) -> Point:
    """Draw a sample, find the truth, and how far rounding may carry it.

    Draws are repeated, up to ATTEMPTS times, until no intermediate lies within rounding of a kink
    and, for the operator's own samples, no gradient is all zero.

    Raises:
        BadOp: the sample does not fit the operator, or has a gradient that is always zero.
        Unjudgeable: the forward or the oracle raised.
    """
    zero = ""
    attempts = ATTEMPTS if variant.sample != ARTICLE else 3
    for attempt in range(attempts):
        rand = Rand(seed_of(op, variant, seed, attempt), dtype, variant.numbers)
        last = attempt == attempts - 1
        found = _draw_point(op, variant, dtype, seed, rand, last)
        dead = [
            label
            for label, budget in zip(found.labels, found.grads, strict=True)
            if budget.truth.numel() and not budget.truth.any()
        ]
        zero = dead[0] if dead and variant.own else ""
        if zero and not last:
            continue
        if found.out.settled or last:
            break
    if zero:
        raise BadOp(
            f"{op.name}: sample {variant.sample!r} has a {zero} that is all zero, so any multiple "
            "of it would pass; draw numbers that move the loss"
        )
    return found


def _draw_point(
    op: Op, variant: Variant, dtype: torch.dtype, seed: int, rand: Rand, last: bool
) -> Point:
    inputs, options = checked_draw(op, variant, rand)
    if variant.expanded:
        inputs = {name: each(value, _first_row) for name, value in inputs.items()}
    leaves, spec = tree_flatten(tuple(inputs.values()))
    raised = [t.double() if t.is_floating_point() else t for t in leaves]
    forward = _reference(op, options, spec)
    places = _places(op, inputs)
    try:
        with torch.no_grad():
            shape = forward(*raised).shape
        grad_out = draw_grad_out(shape, dtype, variant.grad_out, rand)
        if variant.expanded:
            grad_out = _grad_out_of_a_sum(forward, raised, places, grad_out)
        out, *grads = budgets(
            lambda *tensors: autograd(forward, tensors[:-1], places, tensors[-1]),
            [*raised, grad_out.double()],
            dtype,
            sides=last,
        )
    except Exception as error:
        culprit = "the oracle" if op.oracle else "the forward, differentiated by autograd,"
        raise Unjudgeable(
            f"{culprit} raised on sample {variant.name!r} in float64: "
            f"{error_at(error, op.oracle or op.forward)}; mend it or the sample"
        ) from error
    return Point(op, variant, dtype, seed, inputs, options, grad_out, out, tuple(grads))


def checked_draw(op: Op, variant: Variant, rand: Rand) -> tuple[dict[str, Any], dict[str, Any]]:
    """`draw`, with every way in which a sample may not fit its operator answered by a sentence.

    Raises:
        BadOp: too few or many arguments, an integer tensor that should get a gradient, tensors of
            another dtype or device, an option that the forward does not have.
    """
    where = f"{op.name}: sample {variant.name!r}"
    raised = "cannot be drawn at these sizes: it raised" if variant.sizes else "raised"
    try:
        inputs, options = draw(op, variant, rand)
    except BadOp:
        raise
    except ValueError as error:
        raise BadOp(f"{where} {raised} ValueError: {first_line(error)}") from error
    except Exception as error:
        raise BadOp(f"{where} {raised} {error_at(error, op.samples[variant.sample])}") from error
    if unknown := set(options) - set(op.options):
        raise BadOp(
            f"{where} sets {sorted(unknown)[0]!r}, which is no keyword-only argument of {op.name}"
        )
    for name, value in inputs.items():
        for tensor in value if isinstance(value, tuple) else (value,):
            if not isinstance(tensor, Tensor):
                raise BadOp(
                    f"{where}: {name} is {type(tensor).__name__}, not a tensor; "
                    "numbers that are not differentiated are keyword-only options"
                )
            if name in op.wrt and not tensor.is_floating_point():
                raise BadOp(
                    f"{where}: {name} is {tensor.dtype} and is to get a gradient; "
                    f"draw it with rand(...), or take {name!r} out of wrt"
                )
            if tensor.is_floating_point() and tensor.dtype is not rand.dtype:
                raise BadOp(
                    f"{where}: {name} is {tensor.dtype} where {rand.dtype} is judged; draw it "
                    "with rand(...), not torch.randn or its like, or end it in .to(rand.dtype)"
                )
            if tensor.device.type != "cpu":
                raise BadOp(
                    f"{where}: {name} lies on {tensor.device}; draw every tensor from rand, "
                    "the judge moves them all to the device under test"
                )
    return inputs, options


def check_size(op: Op, variant: Variant) -> None:
    """Refuse a sample on which the grid would not end, before anything is drawn.

    Raises:
        BadOp: it holds more than LARGEST numbers, or LARGEST_ARTICLE where it is named "article".
    """
    for rand in (Measure("cpu"), Measure()):
        with suppress(Exception):  # what does not run without numbers is found when it is drawn
            op.samples[variant.sample](rand, **dict(variant.sizes))
        if rand.count <= FEW:
            return
    limit = LARGEST_ARTICLE if variant.sample == ARTICLE else LARGEST
    if rand.count > limit:
        raise BadOp(
            f"{op.name}: sample {variant.name!r} holds {rand.count:.1e} numbers and the grid, "
            f"which repeats it hundreds of times, takes up to {limit:.1e}; make its axes smaller"
            + ("" if variant.sample == ARTICLE else ", or name it 'article' to have it judged once")
        )


def _reference(op: Op, options: dict[str, Any], spec: TreeSpec) -> Any:
    function = op.oracle or op.forward
    return lambda *leaves: function(*tree_unflatten(list(leaves), spec), **options)


def _places(op: Op, inputs: dict[str, Any]) -> list[int]:
    """Where the tensors that get a gradient stand among all tensors, in the order of wrt."""
    where: dict[str, list[int]] = {}
    count = 0
    for name, value in inputs.items():
        size = len(value) if isinstance(value, tuple) else 1
        where[name] = list(range(count, count + size))
        count += size
    return [place for name in op.wrt for place in where[name]]


def _first_row(tensor: Tensor) -> Tensor:
    """Every row like the first."""
    return tensor[:1].expand_as(tensor).clone() if tensor.dim() and len(tensor) else tensor


def _grad_out_of_a_sum(
    forward: Any, inputs: list[Tensor], places: list[int], grad_out: Tensor
) -> Tensor:
    """One number everywhere, as `.sum()` sends it back; one row where that has no gradient."""
    if grad_out.numel() == 0:
        return grad_out
    one = grad_out.reshape(-1)[:1].expand(grad_out.numel()).reshape(grad_out.shape).clone()
    _, *grads = autograd(forward, inputs, places, one.double())
    if all(float(grad.abs().max()) > 1e-9 for grad in grads if grad.numel()):
        return one
    return _first_row(grad_out)
