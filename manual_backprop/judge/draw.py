"""Where the judge's numbers come from: random draws, the samples it makes itself, and layouts."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor

from manual_backprop.op import BadOp, Op

LAYOUTS = ("contiguous", "transposed", "strided", "mixed", "expanded")
LONG = (31, 257, 1031, 4099)
ARTICLE = "article"
FEW = 2**16  # numbers that are drawn only to count them
BATCH = "n"  # the axis that the judge makes 0 and 1 long

# How far below the largest entry e^x is 0: ln of half the smallest subnormal, times 1.1.
_EDGE = {torch.float64: 820.0, torch.float32: 114.0, torch.bfloat16: 102.0, torch.float16: 19.0}
_GRAD_OUT_SCALE = {torch.float16: (2.0**-14, 2.0**8)}  # others: 2^-30 and 2^30


@dataclass(frozen=True)
class Variant:
    """A sample, or what the judge makes of it.

    Attributes:
        sample: the operator's sample.
        change: what was changed, for people; empty for the sample itself.
        sizes: axis sizes that replace the sample's defaults.
        numbers: "normal", "magnitudes" (±2^k), "ties" (-2 .. 2 with 0 and -0.0), "edge" (0 or as
            far below as the dtype bears), "repeated" (all indices equal), "ignored" and "half
            ignored" (indices equal to the option `ignore_index`, all or every other), "whole" and
            "halves" (integers, or halves, from -2 to 2 without 0).
        grad_out: "normal", "tiny", "huge", "ones", "whole".
        expanded: the first axis holds one value, as behind stride 0.
    """

    sample: str
    change: str = ""
    sizes: tuple[tuple[str, int], ...] = ()
    numbers: str = "normal"
    grad_out: str = "normal"
    expanded: bool = False

    @property
    def own(self) -> bool:
        """Whether these are the sample's own sizes and distribution."""
        return not self.change

    @property
    def name(self) -> str:
        """As in "rows" and "rows (k = 4099)"."""
        return f"{self.sample} ({self.change})" if self.change else self.sample

    def as_expanded(self) -> "Variant":
        """The same with one value along the first axis."""
        return replace(self, change=f"{self.change}, expanded".lstrip(", "), expanded=True)


def axes(op: Op, sample: str) -> dict[str, int]:
    """The sample's axis sizes by name, as its parameters' defaults have them."""
    parameters = list(signature(op.samples[sample]).parameters.values())[1:]
    return {parameter.name: parameter.default for parameter in parameters}


def resized(op: Op, sample: str, sizes: Mapping[str, int]) -> Variant:
    """The sample with other sizes of those axes that it has."""
    known = axes(op, sample)
    changed = tuple((axis, size) for axis, size in sizes.items() if known.get(axis, size) != size)
    return Variant(sample, ", ".join(f"{axis} = {size}" for axis, size in changed), changed)


def made(op: Op, sample: str) -> Iterator[Variant]:
    """The inputs that the judge makes itself, whatever the sample's own."""
    for numbers, change in (
        ("ties", "integers, zeros and ties"),
        ("magnitudes", "magnitudes 2⁻³⁰ to 2⁹"),
        ("edge", "the edge of what exp bears"),
        ("repeated", "repeated indices"),
    ):
        yield Variant(sample, change, numbers=numbers)
    if "ignore_index" in op.options:
        yield Variant(sample, "all targets ignored", numbers="ignored")
        yield Variant(sample, "every other target ignored", numbers="half ignored")
    yield Variant(sample, "tiny grad_out", grad_out="tiny")
    yield Variant(sample, "huge grad_out", grad_out="huge")
    sizes = axes(op, sample)
    if not sizes:
        return
    if BATCH in sizes:
        for change, size in (("empty", 0), ("single", 1)):
            yield Variant(sample, f"{change}, {BATCH} = {size}", ((BATCH, size),))
    yield Variant(sample, "square, all axes 5", tuple((axis, 5) for axis in sizes))
    for length in LONG:
        for axis in sizes:  # the longest row stands alone: a Jacobian holds its square
            others = {other: 1 if length == max(LONG) else 3 for other in sizes}
            yield Variant(sample, f"{axis} = {length}", tuple({**others, axis: length}.items()))


class Rand:
    """The `rand` that a sample gets: seeded draws on the CPU, rounded to one dtype."""

    def __init__(self, seed: int, dtype: torch.dtype, numbers: str = "normal") -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.numbers = numbers
        self.drew_integers = False

    def __call__(self, *shape: int) -> Tensor:
        """Floating numbers of the given shape."""
        return self._draw(shape).to(self.dtype)

    def integers(self, below: int, *shape: int) -> Tensor:
        """Indices from 0 to `below` - 1, int64.

        Raises:
            ValueError: there is no such index, and some are asked for.
        """
        self.drew_integers = True
        if below < 1 and 0 not in shape:
            raise ValueError(f"no index lies from 0 to {below - 1}")
        below = max(below, 1)
        if self.numbers == "repeated":
            shape_of_one = torch.randint(below, (), generator=self.generator)
            return shape_of_one.expand(shape).clone()
        return torch.randint(below, shape, generator=self.generator)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        normal = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        if self.numbers == "magnitudes":
            even = torch.linspace(9, -30, max(normal.numel(), 1), dtype=torch.float64).round()
            order = torch.randperm(normal.numel(), generator=self.generator)
            return normal.sign() * torch.exp2(even[order].reshape(shape))
        if self.numbers == "ties":
            whole = torch.randint(0, 3, shape, generator=self.generator)
            return whole * normal.sign()
        if self.numbers == "edge":
            return torch.where(normal > 0, 0.0, -_EDGE.get(self.dtype, 19.0))
        if self.numbers in ("whole", "halves"):
            return _small(normal, self.generator, 1 if self.numbers == "whole" else 2)
        return normal


class Measure(Rand):
    """A `rand` that counts what it is asked for.

    On the CPU it draws up to FEW numbers and raises OverflowError where more are asked for; on the
    meta device it draws none. (What a sample does to a meta tensor may import PyTorch's compiler.)
    """

    def __init__(self, device: str = "meta") -> None:
        super().__init__(0, torch.float64)
        self.device = device
        self.count = 0

    def __call__(self, *shape: int) -> Tensor:
        """Numbers of the given shape, or an empty tensor on the meta device."""
        return super().__call__(*shape) if self._few(shape) else self._empty(shape, torch.float64)

    def integers(self, below: int, *shape: int) -> Tensor:
        """Indices of the given shape, or an empty tensor on the meta device."""
        return super().integers(below, *shape) if self._few(shape) else self._empty(shape)

    def _few(self, shape: tuple[int, ...]) -> bool:
        self.count += prod(shape)
        if self.device != "meta" and self.count > FEW:
            raise OverflowError
        return self.device != "meta"

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.empty(shape, device="meta", dtype=dtype)


def seed_of(op: Op, variant: Variant, seed: int, attempt: int) -> int:
    """One number for one draw, the same in every process and on every machine."""
    return zlib.crc32(f"{op.name}/{variant.name}/{seed}/{attempt}".encode())


def draw(
    op: Op, variant: Variant, rand: Rand
) -> tuple[dict[str, Tensor | tuple[Tensor, ...]], dict[str, Any]]:
    """The forward's arguments by name, of the shapes that the sample gives them, and its options.

    Raises:
        BadOp: the sample returns something else than a value for each of the forward's arguments.
        Exception: whatever the sample raises.
    """
    drawn = op.samples[variant.sample](rand, **dict(variant.sizes))
    options: dict[str, Any] = {}
    if isinstance(drawn, tuple) and len(drawn) == 2 and isinstance(drawn[1], dict):
        drawn, options = drawn
    if isinstance(drawn, Tensor):
        drawn = (drawn,)
    if not isinstance(drawn, tuple | list) or len(drawn) != len(op.arguments):
        raise BadOp(
            f"{op.name}: sample {variant.name!r} does not return one value for each of "
            f"{op.name}({', '.join(op.arguments)})"
        )
    inputs = dict(zip(op.arguments, drawn, strict=True))
    if variant.numbers in ("ignored", "half ignored"):
        ignored = {**op.options, **options}["ignore_index"]
        step = 1 if variant.numbers == "ignored" else 2
        inputs = {
            name: each(value, lambda t: _ignored(t, ignored, step))
            for name, value in inputs.items()
        }
    return inputs, options


def floating(op: Op) -> tuple[str, ...]:
    """The arguments that the first sample draws as floating numbers: those that can get a gradient.

    Raises:
        Exception: as `draw`.
    """
    inputs, _ = draw(op, Variant(next(iter(op.samples))), Rand(0, torch.float64))
    return tuple(
        name
        for name, value in inputs.items()
        if all(
            isinstance(t, Tensor) and t.is_floating_point()
            for t in (value if isinstance(value, tuple) else (value,))
        )
    )


def _ignored(value: Tensor, ignored: int, step: int) -> Tensor:
    """Of a tensor of indices, each `step`-th along the first axis replaced."""
    if value.is_floating_point() or value.dtype is torch.bool or not value.dim():
        return value
    value = value.clone()
    value[::step] = ignored
    return value


def draw_grad_out(shape: torch.Size, dtype: torch.dtype, kind: str, rand: Rand) -> Tensor:
    """A grad_out of the output's shape, random and not uniform.

    With a grad_out of ones, softmax's true gradient is 0. A single number is kept off 0 and 1: near
    0, all that is wrong with a loss's gradient is small.
    """
    tiny, huge = _GRAD_OUT_SCALE.get(dtype, (2.0**-30, 2.0**30))
    normal = torch.randn(shape, generator=rand.generator, dtype=torch.float64)
    if kind == "ones":
        return torch.ones(shape, dtype=dtype)
    if kind == "whole":
        return _small(normal, rand.generator, 1).to(dtype)
    scale = {"normal": 1.0, "tiny": tiny, "huge": huge}[kind]
    if normal.numel() == 1:
        normal += 1.5 * normal.sign()
    return (normal * scale).to(dtype)


def _small(signs: Tensor, generator: torch.Generator, parts: int) -> Tensor:
    """Parts of 1 up to 2, of the shape and signs of `signs`: never 0, where many kinks are."""
    return torch.randint(1, 2 * parts + 1, signs.shape, generator=generator) * signs.sign() / parts


def each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The change applied to a tensor of any shape, or to each tensor of a tuple."""
    return tuple(map(change, value)) if isinstance(value, tuple) else change(value)


def arranged(value: Tensor, layout: str) -> Tensor:
    """The same numbers, of any shape, in other memory, sharing none with the original.

    "contiguous"; "transposed": axes in reverse order in memory; "strided": every other number of a
    wider tensor, whose gaps hold NaN, or an index that is out of range; "expanded": stride 0 along
    every axis that holds one value repeated (as `.sum()` sends it back).
    """
    if layout == "transposed" and value.dim() >= 2:
        order = tuple(reversed(range(value.dim())))
        return value.permute(order).clone(memory_format=torch.contiguous_format).permute(order)
    if layout == "strided" or (layout == "transposed" and value.dim() == 1):
        if value.is_floating_point():
            gap = torch.nan
        else:
            gap = value.dtype is torch.bool or torch.iinfo(value.dtype).max
        wide = torch.full((*value.shape, 2), gap, dtype=value.dtype, device=value.device)
        wide[..., 1] = value
        return wide[..., 1]
    if layout == "expanded":
        one = value
        for axis in range(value.dim()):
            first = one.narrow(axis, 0, min(1, one.shape[axis]))
            if bool((first == one).all()):
                one = first
        return one.clone().expand(value.shape)
    return value.clone(memory_format=torch.contiguous_format)
