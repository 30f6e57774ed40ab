"""One backward at one point: the call, and what every such call promises."""

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.draw import arranged, each
from manual_backprop.judge.point import Point
from manual_backprop.judge.verdict import Finding, dtype_name, first_line

Backward = Callable[..., Any]


class Broken(Exception):  # noqa: N818 -- carries a finding out of a call
    """A call broke a promise; nothing further can be judged."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class Trial:
    """A backward, a point, a device and a layout; the tensors lie ready.

    Attributes:
        given: every argument by name, and `out` and `grad_out`, in memory of the trial's own.
        grads: what the first call returned, one tensor per label of the point.
    """

    def __init__(self, backward: Backward, point: Point, device: str, layout: str) -> None:
        self.backward = backward
        self.name = getattr(backward, "__name__", repr(backward))
        self.in_place = self.name.endswith("_")
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

    def _out(self) -> Tensor:
        """The forward's own output.

        Raises:
            Broken: with a finding against the forward, where it raised or is not finite.
        """
        point = self.point
        try:
            out: Tensor = forward_out(point, self.given)
        except Exception as error:
            said = f"the forward raised {type(error).__name__}: {first_line(error)}"
            raise Broken(self.finding("raises", said, of=point.op.name)) from error
        lost = point.out.judged & ~out.cpu().isfinite()
        if lost.any() and (lost & point.reference(point.grad_out, point.dtype)[0].isfinite()).any():
            said = "the forward is not finite where the oracle is"
            raise Broken(self.finding("forward", said, of=point.op.name))
        return out

    def call(self, grad_out: Tensor | None = None, **extra: Any) -> Any:
        """What the backward returns, as it returns it; in place on a copy of grad_out.

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
        try:
            with torch.no_grad():
                return self.backward(**{n: v for n, v in arguments.items() if n in self.parameters})
        except Exception as error:
            code = "raises" if self.layout == "contiguous" else "layout"
            said = f"raised {type(error).__name__}: {first_line(error)}"
            raise Broken(self.finding(code, said)) from error

    def gradients(
        self, grad_out: Tensor | None = None, *, copy: bool = False
    ) -> tuple[Tensor, ...]:
        """The gradients of one more call, one per label, in float64 on the CPU.

        Without `copy` they may be overwritten by the next call.

        Raises:
            Broken: it raised, or returned something else than gradients.
        """
        grads = self._formed(self.call(grad_out))
        return tuple(grad.detach().to("cpu", torch.float64, copy=copy) for grad in grads)

    def gradients_by_default(self) -> tuple[Tensor, ...]:
        """`gradients` of a call that leaves grad_out out."""
        grads = self._formed(self._called({**self.given, **self.point.options}))
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
        self.grads = self._formed(self._call_with(passed))
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

    def needed(self, result: Any, needs: tuple[bool, ...]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Of a call with `needs`: label, gradient and the first call's, where it is needed.

        Raises:
            Broken: it is not one tensor or None for each argument, as `needs` has it.
        """
        wrt = self.point.op.wrt
        results = result if len(wrt) > 1 else (result,)
        if not isinstance(results, (tuple, list)) or len(results) != len(wrt):
            said = f"did not return {len(wrt)} values for needs={needs}; None where nobody needs it"
            raise Broken(self.finding("arity", said))
        full = iter(zip(self.point.labels, self.grads, self.point.grads, strict=True))
        for name, need, value in zip(wrt, needs, results, strict=True):
            parts = self.point.inputs[name]
            values = value if isinstance(parts, tuple) and need else (value,) * len(flat(parts))
            if not need and value is not None:
                raise Broken(
                    self.finding("arity", f"is not None for needs={needs}", f"grad_{name}")
                )
            for part, (label, grad, budget) in zip(values, full, strict=False):
                if need:
                    self._like(label, part, budget.truth)
                    yield label, part, grad

    def _watched(self) -> list[tuple[str, Tensor]]:
        named = flat_named(self.given)
        return named if self.in_place else [*named, ("grad_out", self.grad_out)]

    def _formed(self, result: Any) -> tuple[Tensor, ...]:
        wrt = self.point.op.wrt
        many = len(wrt) > 1 and isinstance(result, (tuple, list))
        results = tuple(result) if many else (result,)
        if len(results) != len(wrt):
            raise Broken(
                self.finding(
                    "arity",
                    f"returned {len(results)} gradients, and wrt asks for {len(wrt)}: "
                    f"{', '.join('grad_' + name for name in wrt)}",
                )
            )
        flat_results: list[Any] = []
        for name, value in zip(wrt, results, strict=True):
            parts = self.point.inputs[name]
            if isinstance(parts, tuple):
                if not isinstance(value, (tuple, list)) or len(value) != len(parts):
                    raise Broken(
                        self.finding(
                            "arity",
                            f"{name} is a tuple of {len(parts)} tensors; "
                            "return as many gradients, in a tuple",
                            f"grad_{name}",
                        )
                    )
                flat_results += value
            else:
                flat_results.append(value)
        for label, value, budget in zip(
            self.point.labels, flat_results, self.point.grads, strict=True
        ):
            self._like(label, value, budget.truth)
        return tuple(flat_results)

    def _like(self, label: str, value: Any, truth: Tensor) -> None:
        if not isinstance(value, Tensor):
            what = "None" if value is None else f"a {type(value).__name__}"
            remedy = "; return the tensor itself" if isinstance(value, tuple) else ""
            raise Broken(self.finding("not-a-tensor", f"is {what}, not a tensor{remedy}", label))
        if value.shape != truth.shape:
            code, remedy = _shape_code(value.shape, truth.shape)
            raise Broken(
                self.finding(
                    code, f"has shape {tuple(value.shape)}, not {tuple(truth.shape)}{remedy}", label
                )
            )
        if value.dtype is not self.point.dtype:
            raise Broken(
                self.finding(
                    "dtype",
                    f"is {dtype_name(value.dtype)}, and what it is the gradient of is "
                    f"{dtype_name(self.point.dtype)}",
                    label,
                )
            )
        if value.device.type != torch.device(self.device).type:
            raise Broken(
                self.finding("device", f"lies on {value.device}, not on {self.device}", label)
            )

    def _aliases(self, grad_out: Tensor) -> Iterator[Finding]:
        if self.in_place:
            if len(self.grads) != 1 or self.grads[0] is not grad_out:
                raise Broken(
                    self.finding(
                        "aliases",
                        "returned another tensor than grad_out; a name that ends in an underscore "
                        "promises to write into grad_out and to return it",
                    )
                )
            return
        for i, (label, grad) in enumerate(zip(self.point.labels, self.grads, strict=True)):
            for name, value in self._watched():
                if overlap(grad, value):
                    message = f"shares memory with {name}"
                    if name == "grad_out":
                        yield self.finding("aliases", message, label)
                    else:
                        raise Broken(
                            self.finding("aliases", f"{message}; return a tensor of its own", label)
                        )
            for other, earlier in zip(self.point.labels[:i], self.grads[:i], strict=True):
                if overlap(grad, earlier) and not overlap(grad, grad_out):
                    raise Broken(
                        self.finding(
                            "aliases",
                            f"shares memory with {other}; return a tensor of its own",
                            label,
                        )
                    )


def forward_out(point: Point, given: dict[str, Any]) -> Any:
    """The operator's own forward on tensors that lie ready.

    Raises:
        Exception: whatever the forward raises.
    """
    with torch.no_grad():
        return point.op.forward(*(given[name] for name in point.op.arguments), **point.options)


def flat_named(given: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """Every tensor with its name, those of a tuple as in "weights[0]"."""
    named: list[tuple[str, Tensor]] = []
    for name, value in given.items():
        if isinstance(value, tuple):
            named += [(f"{name}[{i}]", tensor) for i, tensor in enumerate(value)]
        else:
            named.append((name, value))
    return named


def flat(result: Any) -> list[Tensor]:
    """The tensors of a backward's result, in order."""
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def memory(tensor: Tensor) -> bytes | int:
    """All of the memory behind a tensor, gaps included, in a form that compares by bits."""
    if tensor.device.type == "meta" or not tensor.numel():
        return 0
    raw = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
    return raw.cpu().numpy().tobytes()


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have a byte in common."""
    if not a.numel() or not b.numel() or a.device != b.device or a.device.type == "meta":
        return False
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    reach_a, reach_b = _reach(a), _reach(b)
    return reach_a[0] < reach_b[1] and reach_b[0] < reach_a[1]


def _reach(tensor: Tensor) -> tuple[int, int]:
    start = int(tensor.storage_offset()) * tensor.element_size()
    last = sum((n - 1) * int(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (last + 1) * tensor.element_size()


def _shape_code(got: torch.Size, expected: torch.Size) -> tuple[str, str]:
    if len(got) >= 2 and tuple(reversed(got)) == tuple(expected):
        return "transposed", ": it is transposed"
    lead = len(got) - len(expected)
    squeezed = tuple(size for size in got if size != 1)
    if squeezed == tuple(size for size in expected if size != 1):
        return "shape", "; the numbers are as many, an axis of 1 is too many or missing"
    if lead >= 0 and all(e in (g, 1) for g, e in zip(got[lead:], expected, strict=True)):
        return "not-reduced", (
            ": it was lent to every row by broadcasting, so its gradient is summed over the rows"
        )
    return "shape", ""
