"""One backward at one point: the call, and what every such call promises."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.draw import arranged, each
from manual_backprop.judge.exercised import traced
from manual_backprop.judge.memory import memory, overlap
from manual_backprop.judge.operands import meant
from manual_backprop.judge.point import Point
from manual_backprop.judge.result import flat_named, formed, grads_of_fused, itself
from manual_backprop.judge.verdict import Broken, Finding, dtype_name, error_at
from manual_backprop.op import Op, is_fused

Backward = Callable[..., Any]


class Trial:
    """A backward, a point, a device and a layout; the tensors lie ready.

    Attributes:
        given: every argument by name, and `out` and `grad_out`, in memory of the trial's own.
        grads: what the first call returned, one tensor per label of the point.
        watch: entered for the backward alone, and not for what the judge does around it.
        places: the tensors that the last call was to write its gradients into, by name; else empty.
    """

    def __init__(self, backward: Backward, point: Point, device: str, layout: str) -> None:
        self.backward = backward
        self.name = getattr(backward, "__name__", repr(backward))
        self.fused = is_fused(backward)
        self.overwrites = point.op.wrt if self.fused and self.name.endswith("_") else ()
        self.in_place = self.name.endswith("_") and not self.fused
        self.point = point
        self.device = device
        self.layout = layout
        self.parameters = signature(backward).parameters
        inputs = "contiguous" if layout == "mixed" else layout
        other = "transposed" if layout == "mixed" else layout
        self.given: dict[str, Any] = {
            name: each(value, lambda tensor: arranged(tensor.to(device), inputs))
            for name, value in point.inputs.items()
        }
        if "out" in self.parameters:
            self.given["out"] = arranged(self._out(), other)
        self.grad_out = arranged(point.grad_out.to(device), other)
        self.grads: tuple[Tensor, ...] = ()
        self.watch: AbstractContextManager[Any] = nullcontext()
        self.places: list[tuple[str, Tensor]] = []

    def _out(self) -> Tensor:
        """The forward's own output.

        Raises:
            Broken: with a finding against the forward, where it raised or is not finite.
        """
        point = self.point
        try:
            out: Tensor = forward_out(point, self.given)
        except Exception as error:
            said = f"the forward raised {error_at(error, point.op.forward)}"
            raise Broken(self.finding("raises", said, of=point.op.name)) from error
        lost = point.out.judged & ~out.cpu().isfinite()
        if lost.any() and (lost & point.reference(point.grad_out, point.dtype)[0].isfinite()).any():
            said = "the forward is not finite where the oracle is"
            raise Broken(self.finding("forward", said, of=point.op.name))
        return out

    def call(self, grad_out: Tensor | None = None, **extra: Any) -> Any:
        """What the backward returns, as it returns it; in place on a copy of grad_out.

        Args:
            grad_out: the output's shape; the trial's own by default.
            extra: arguments in place of the trial's.

        Raises:
            Broken: it raised.
        """
        grad_out = self.grad_out if grad_out is None else grad_out
        return self._call_with(grad_out.clone() if self.in_place else grad_out, **extra)

    def _call_with(self, grad_out: Tensor, **extra: Any) -> Any:
        everything = (True,) * len(self.point.op.wrt)
        arguments = {"needs": everything, **self.given, **self.point.options, **extra}
        return self._called({**arguments, "grad_out": grad_out})

    def _called(self, arguments: dict[str, Any]) -> Any:
        if "steps" not in self.point.op.options:
            arguments = {"steps": passed_on, **arguments}
        arguments = self._with_places(arguments)
        call = partial(
            self.backward, **{n: v for n, v in arguments.items() if n in self.parameters}
        )
        try:
            with torch.no_grad(), traced(), self.watch:
                result = call()
        except Exception as error:
            code = "raises" if self.layout == "contiguous" else "layout"
            names = {id(tensor): name for name, tensor in self.tensors()}
            said = f"raised {error_at(error, self.backward)}{meant(call, error, names)}"
            raise Broken(self.finding(code, said)) from error
        return grads_of_fused(self, result, arguments) if self.fused else result

    def _with_places(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, with tensors of their own where the backward is to write its gradients."""
        if self.in_place:
            self.places = flat_named({"grad_out": arguments["grad_out"]})
        elif self.overwrites:
            copies = {name: each(arguments[name], Tensor.clone) for name in self.overwrites}
            self.places = flat_named(copies)
            return {**arguments, **copies}
        elif "into" in self.parameters:
            into = tuple(each(arguments[name], _poisoned) for name in self.point.op.wrt)
            self.places = flat_named({"into": into} if len(into) > 1 else {"into": (into,)})
            return {**arguments, "into": into}
        return arguments

    def result(self, grad_out: Tensor | None = None) -> tuple[Tensor, ...]:
        """The gradients of one more call as they are, one per label, of the truth's shapes.

        Raises:
            Broken: it raised, or returned something else than gradients.
        """
        return formed(self, self.call(grad_out))

    def gradients(
        self, grad_out: Tensor | None = None, *, copy: bool = False
    ) -> tuple[Tensor, ...]:
        """`result` in float64 on the CPU; without `copy` the next call may overwrite them.

        Raises:
            Broken: it raised, or returned something else than gradients.
        """
        grads = self.result(grad_out)
        return tuple(grad.detach().to("cpu", torch.float64, copy=copy) for grad in grads)

    def gradients_by_default(self) -> tuple[Tensor, ...]:
        """`gradients` of a call that leaves grad_out out.

        Raises:
            Broken: it raised, or returned something else than gradients.
        """
        grads = formed(self, self._called({**self.given, **self.point.options}))
        return tuple(grad.detach().to("cpu", torch.float64) for grad in grads)

    def finding(
        self, code: str, message: str, gradient: str = "", *, of: str = "", **numbers: Any
    ) -> Finding:
        """A finding of this trial, against the backward or, with `of`, another function."""
        return Finding(
            backward=of or self.name,
            gradient=gradient,
            code=code,
            message=message,
            sample=self.point.variant.name,
            dtype=dtype_name(self.point.dtype),
            device=self.device,
            layout=self.layout,
            **numbers,
        )

    def first_call(self) -> Iterator[Finding]:
        """Call once and hold the result to all that needs no truth: count, type, shape, memory.

        Yields notes.

        Raises:
            Broken: a promise is broken.
        """
        before = self.snapshot()
        passed = self.grad_out.clone() if self.in_place else self.grad_out
        self.grads = formed(self, self._call_with(passed))
        self.unchanged(before)
        yield from self._aliases(passed)

    def snapshot(self) -> dict[str, Any]:
        """The memory of all that was given, to be held to `unchanged`."""
        return {name: memory(value) for name, value in self._watched()}

    def unchanged(self, before: dict[str, Any]) -> None:
        """Nothing that was given has been written to.

        Raises:
            Broken: something has.
        """
        for name, value in self._watched():
            if memory(value) != before[name]:
                remedy = f", or call it {self.name}_" if name == "grad_out" else ""
                said = f"{name} was written to; work on a copy{remedy}"
                raise Broken(self.finding("mutates", said))

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Everything that is given, by name."""
        return [*flat_named(self.given), ("grad_out", self.grad_out)]

    def _watched(self) -> list[tuple[str, Tensor]]:
        return flat_named(self.given) if self.in_place else self.tensors()

    def _aliases(self, grad_out: Tensor) -> Iterator[Finding]:
        if self.places:
            names, places = zip(*self.places, strict=True)
            if [*map(id, self.grads)] != [*map(id, places)]:
                what = "`into`" if "into" in self.parameters else "a name that ends in _"
                said = (
                    f"returned another tensor than {' and '.join(names)}; {what} promises that "
                    "the gradient is written there and that very tensor returned"
                )
                raise Broken(self.finding("aliases", said))
            return
        for i, (label, grad) in enumerate(zip(self.point.labels, self.grads, strict=True)):
            for name, value in self._watched():
                if overlap(grad, value):
                    message = f"shares memory with {name}"
                    if name == "grad_out":
                        yield self.finding("aliases", message, label)
                    else:
                        remedy = "; return a tensor of its own"
                        if (whole := itself(grad, {name: value})) and self._is_wrong(i):
                            remedy = (
                                f": it is {whole} itself; if that is the local slope, multiply it "
                                "by grad_out"
                            )
                        raise Broken(self.finding("aliases", message + remedy, label))
            for other, earlier in zip(self.point.labels[:i], self.grads[:i], strict=True):
                if overlap(grad, earlier) and not overlap(grad, grad_out):
                    raise Broken(
                        self.finding(
                            "aliases",
                            f"shares memory with {other}; return a tensor of its own",
                            label,
                        )
                    )

    def _is_wrong(self, which: int) -> bool:
        return self.point.grads[which].ratio(self.grads[which]) > 1


def _poisoned(tensor: Tensor) -> Tensor:
    """Dense memory of a tensor's shape, any, that nobody has written a number into."""
    return torch.full_like(tensor, torch.nan, memory_format=torch.contiguous_format)


def plain_ones(op: Op) -> list[Backward]:
    """The operator's backwards that return tensors of their own and nothing else."""
    return [
        backward
        for backward in op.backwards
        if not (
            is_fused(backward)
            or backward.__name__.endswith("_")
            or "into" in signature(backward).parameters
        )
    ]


def passed_on(name: str, gradient: Any) -> Any:  # noqa: ARG001
    """The `steps` of a backward that nobody watches: the gradient as it is, of any shape."""
    return gradient


def forward_out(point: Point, given: dict[str, Any]) -> Any:
    """The operator's own forward on tensors that lie ready, of the point's shapes.

    Raises:
        Exception: whatever the forward raises.
    """
    with torch.no_grad():
        return point.op.forward(*(given[name] for name in point.op.arguments), **point.options)
