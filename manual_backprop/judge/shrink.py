"""A wrong gradient on the smallest shapes and plainest numbers that still show it, as a test.

Axes go first: all of them 1, 2 or 3 long, then each by itself as short as it can be. Then the
numbers: small integers and a grad_out of ones, or what comes next to that and still fails.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from keyword import iskeyword
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from manual_backprop.judge.draw import Measure, Variant, axes, made
from manual_backprop.judge.point import Point, Unjudgeable, point
from manual_backprop.judge.result import flat_named
from manual_backprop.judge.trial import Backward, Trial
from manual_backprop.judge.verdict import Broken, Finding, dtype_name
from manual_backprop.op import BadOp, Op

SIZES = (1, 2, 3)
SEEDS = range(4)  # at a size of 1 even a wrong mask is right every other time
KINDS = (  # of inputs and of grad_out, the plainest first
    ("whole", "ones"),
    ("whole", "whole"),
    ("halves", "ones"),
    ("halves", "whole"),
)
LARGEST = 64  # numbers in a test that somebody is to read
LARGEST_START = 2**14  # numbers in a sample that is tried at its own size
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

    def as_test(self, import_line: str = "") -> str:
        """A test that fails as long as the gradient is wrong.

        Args:
            import_line: where the backward is from, and the forward where it is none of this
                package's; by default the modules that define them.
        """
        op, name = self.point.op, _name(self.backward)
        house = op.forward.__module__.startswith("manual_backprop.")
        if not import_line:
            import_line = f"from {self.backward.__module__} import {name}"
            if not house:
                import_line += f"\nfrom {op.forward.__module__} import {op.name}"
        ours = sorted([*([op.name] if house else []), "rounding_budget"])
        leaves = {_leaf(n): t for n, t in flat_named({**self.inputs, "grad_out": self.grad_out})}
        label = _leaf(self.gradient)
        by, dtype = label.removeprefix("grad_"), f"torch.{dtype_name(self.point.dtype)}"
        out = f"{op.name}({', '.join([*map(self._given, op.arguments), *self._options()])})"
        result = f"grad_{self.gradient.removeprefix('grad_').partition('[')[0]}"
        results = ", ".join(f"grad_{name}" if f"grad_{name}" == result else "_" for name in op.wrt)
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
            f"assert budget.ratio({self.gradient}) <= 1, {self.gradient}",
        ]
        lines = [
            "import torch",
            f"from manual_backprop import {', '.join(ours)}",
            import_line,
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
            if name in self.point.op.options and name not in self.options:
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
        return _name(self.backward).endswith("_")


def shrink(op: Op, backward: Backward, finding: Finding) -> Small | None:
    """The wrong gradient of a finding on as few and plain numbers as still show it.

    Args:
        op: the operator.
        backward: the function that is wrong.
        finding: as `verify` gives it for that function.

    Returns:
        None where values are not what is wrong, or nothing small fails or can be written down.
    """
    names = (op.name, _name(backward))
    if not all(name.isidentifier() and not iskeyword(name) for name in names):
        return None
    samples = [name for name in op.samples if f"{finding.sample} (".startswith(f"{name} (")]
    if not finding.gradient or not samples or op.name in op.arguments:
        return None
    sample = max(samples, key=len)
    starts = [Variant(sample)]
    starts += [
        variant
        for variant in made(op, sample)
        if variant.name == finding.sample and not variant.sizes
    ]
    for dtype in dict.fromkeys((torch.float64, getattr(torch, finding.dtype, torch.float64))):
        for start in starts:
            search = _Search(op, backward, finding.gradient, start, dtype)
            if (found := search.smallest()) and _can_be_written(found):
                return found
    return None


class _Search:
    """From one variant in one dtype downwards."""

    def __init__(
        self, op: Op, backward: Backward, gradient: str, start: Variant, dtype: torch.dtype
    ) -> None:
        self.op = op
        self.backward = backward
        self.gradient = gradient
        self.start = start
        self.dtype = dtype

    def smallest(self) -> Small | None:
        own = axes(self.op, self.start.sample)
        tried = [{axis: min(size, length) for axis, length in own.items()} for size in SIZES]
        if self._numbers() <= LARGEST_START:
            tried.append(own)
        for sizes in tried:
            if found := self._at(sizes):
                break
        else:
            return None
        for axis in own:
            for size in (size for size in SIZES if size < sizes[axis]):
                if smaller := self._at({**sizes, axis: size}):
                    found, sizes = smaller, {**sizes, axis: size}
                    break
        if sum(tensor.numel() for _, tensor in flat_named(dict(found.inputs))) > LARGEST:
            return None
        own_numbers = self.start.numbers
        for kinds in (*KINDS, (own_numbers, "ones"), (own_numbers, "whole")):
            if plainer := self._at(sizes, *kinds):
                return plainer
        return found

    def _numbers(self) -> int:
        """How many numbers the sample draws."""
        rand = Measure()
        try:
            self.op.samples[self.start.sample](rand)
        except Exception:  # one that does not run without numbers
            return LARGEST_START if rand.count < LARGEST_START else rand.count
        return rand.count

    def _at(self, sizes: dict[str, int], numbers: str = "", grad_out: str = "") -> Small | None:
        """The first draw at which the gradient is wrong."""
        variant = replace(
            self.start,
            change=", ".join(("small", *(f"{axis} = {size}" for axis, size in sizes.items()))),
            sizes=tuple(sizes.items()),
            numbers=numbers or self.start.numbers,
            grad_out=grad_out or self.start.grad_out,
        )
        for seed in SEEDS:
            try:
                here = point(self.op, variant, self.dtype, seed)
                got = Trial(self.backward, here, "cpu", "contiguous").gradients(copy=True)
            except (Broken, BadOp, Unjudgeable):
                return None
            if self.gradient not in here.labels or not here.out.settled:
                continue
            which = here.labels.index(self.gradient)
            if not here.grads[which].ratio(got[which]) <= 1:
                return Small(here, self.backward, self.gradient, got[which])
        return None


def _can_be_written(small: Small) -> bool:
    """Whether autograd of the forward, which a test goes by, gives the right gradient here."""
    here, which = small.point, small.point.labels.index(small.gradient)
    try:
        _, *grads = here.derivative(here.op.forward, here.grad_out, torch.float64)
    except Exception:  # whatever a learner's forward raises
        return False
    return here.grads[which].ratio(grads[which]) <= 1


def _name(function: Any) -> str:
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
