"""A gradient that is wrong on few and plain numbers, and the test that says so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.point import Point
from manual_backprop.judge.result import flat_named
from manual_backprop.judge.trial import Backward
from manual_backprop.judge.verdict import dtype_name
from manual_backprop.op import is_fused

WIDTH = 88  # columns of a test
PLAIN = (torch.int64, torch.bool)  # dtypes that a list of numbers gets by itself


@dataclass(frozen=True, eq=False)
class Small:
    """A gradient that is wrong on few and plain numbers.

    Attributes:
        point: the numbers, and what is right for them.
        backward: what is wrong.
        gradient: which of its gradients, as in "grad_w" or "grad_weights[1]".
        got: what came, float64, of the shape of `expected`.
    """

    point: Point
    backward: Backward
    gradient: str
    got: Tensor

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The forward's arguments by name."""
        return self.point.inputs

    @property
    def options(self) -> Mapping[str, Any]:
        """What the forward is told besides."""
        return self.point.options

    @property
    def grad_out(self) -> Tensor:
        """Of the output's shape."""
        return self.point.grad_out

    @property
    def expected(self) -> Tensor:
        """The right gradient, float64."""
        return self.point.grads[self._which].truth

    @property
    def _which(self) -> int:
        return self.point.labels.index(self.gradient)

    def as_test(self) -> str:
        """A test that fails as long as the gradient is wrong."""
        op, name = self.point.op, name_of(self.backward)
        house = op.forward.__module__.startswith("manual_backprop.")
        theirs = {self.backward.__module__: [name]}
        if not house:
            theirs.setdefault(op.forward.__module__, []).append(op.name)
        ours = sorted([*([op.name] if house else []), "rounding_budget"])
        leaves = {_leaf(n): t for n, t in flat_named({**self.inputs, "grad_out": self.grad_out})}
        label = _leaf(self.gradient)
        by, dtype = label.removeprefix("grad_"), f"torch.{dtype_name(self.point.dtype)}"
        out = f"{op.name}({', '.join([*map(self._given, op.arguments), *self._options()])})"
        result = f"grad_{self.gradient.removeprefix('grad_').partition('[')[0]}"
        results = ", ".join(f"grad_{name}" if f"grad_{name}" == result else "_" for name in op.wrt)
        if is_fused(self.backward):
            results = f"_, ({results})"
        said = f"# {self.gradient} is {_brief(self.got)}, should be {_brief(self.expected)}"
        body = [said] if 4 + len(said) <= WIDTH else []
        body += [f"{leaf} = {_tensor(value, 7 + len(leaf))}" for leaf, value in leaves.items()]
        body += [
            "",
            f"def by_autograd({', '.join(leaves)}):",
            f"    {by} = {by}.detach().requires_grad_()",
            f"    return torch.autograd.grad({out}, {by}, grad_out)",
            "",
            f"(budget,) = rounding_budget(by_autograd, ({', '.join(leaves)}), {dtype})",
            *([f"out = {out}"] if "out" in signature(self.backward).parameters else []),
            f"{results} = {name}({', '.join(self._asked())})",
            f"assert budget.ratio({self.gradient}) <= 1, (",
            f'    f"it is {{{self.gradient}}}, should be {{budget.truth}}"',
            ")",
        ]
        lines = [
            "import torch",
            f"from manual_backprop import {', '.join(ours)}",
            *(_import(module, names) for module, names in theirs.items()),
            "",
            "",
            f"def test_{label}_of_{name}():",
            *(f"    {line}".rstrip() for text in body for line in text.split("\n")),
        ]
        return "\n".join(lines) + "\n"

    def _given(self, name: str) -> str:
        """An argument as it is written in a call."""
        parts = self.inputs[name]
        if not isinstance(parts, tuple):
            return name
        names = [f"{name}_{i}" for i in range(len(parts))]
        return f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"

    def _options(self) -> list[str]:
        return [f"{name}={_option(value)}" for name, value in self.options.items()]

    def _asked(self) -> Iterator[str]:
        """What the backward asks for, as it is written in a call."""
        plain = True
        for name, parameter in signature(self.backward).parameters.items():
            if name == "into" or (name in self.point.op.options and name not in self.options):
                plain = False
                continue
            if name in self.inputs:
                value = self._given(name)
            elif name in self.options:
                value = _option(self.options[name])
            elif name == "needs":
                value = str((True,) * len(self.point.op.wrt))
            elif name == "steps":
                value = "lambda _, gradient: gradient"
            else:
                value = "grad_out.clone()" if name == "grad_out" and self._in_place else name
            plain = plain and parameter.kind is not parameter.KEYWORD_ONLY
            yield value if plain else f"{name}={value}"

    @property
    def _in_place(self) -> bool:
        return name_of(self.backward).endswith("_")


def _import(module: str, names: Sequence[str]) -> str:
    """How a test gets at the functions of a module, whose file may be called 01_lin."""
    if all(part.isidentifier() for part in module.split(".")):
        return f"from {module} import {', '.join(names)}"
    lines = [f'{name} = import_module("{module}").{name}' for name in names]
    return "\n".join(["from importlib import import_module", "", *lines])


def name_of(function: Any) -> str:
    """What a function is called, if it is called anything."""
    return str(getattr(function, "__name__", function))


def _leaf(name: str) -> str:
    """As in "weights_1" of "weights[1]"."""
    return name.replace("[", "_").replace("]", "")


def _option(value: Any) -> str:
    if isinstance(value, Tensor):
        return _tensor(value, WIDTH)
    return _number(value) if isinstance(value, float) else repr(value)


def _tensor(value: Tensor, before: int) -> str:
    """As it is written in Python, row by row where one line does not hold it."""
    numbers, dtype = value.tolist(), f", dtype={value.dtype}" if value.dtype not in PLAIN else ""
    line = f"torch.tensor({_nested(numbers)}{dtype})"
    if value.dim() < 2 or before + len(line) <= WIDTH:
        return line
    rows = "".join(f"    {_nested(row)},\n" for row in numbers)
    return f"torch.tensor([\n{rows}]{dtype})"


def _brief(value: Tensor) -> str:
    """Its numbers to six digits, for people."""
    if value.dim():
        return f"[{', '.join(map(_brief, value))}]"
    return f"{float(value):.6g}"


def _nested(numbers: Any) -> str:
    if isinstance(numbers, list):
        return f"[{', '.join(map(_nested, numbers))}]"
    return _number(numbers) if isinstance(numbers, float) else repr(numbers)


def _number(value: float) -> str:
    return repr(value) if isfinite(value) else f'float("{value}")'
