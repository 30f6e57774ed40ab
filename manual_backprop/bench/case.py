"""A case of the benchmark is a value: inputs, the opponents that are given them, and the truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manual_backprop.bench.measure import Work
from manual_backprop.judge.draw import Rand

Sizes = Mapping[str, int]
Results = Tensor | tuple[Tensor, ...]


def _nothing() -> None:
    """What is left as it is needs nothing put back."""


@dataclass(frozen=True)
class Run:
    """An opponent with the inputs that it is timed on.

    Attributes:
        call: computes once.
        fresh: for what writes over its inputs, puts them back as they were; called before each
            round and not timed.
    """

    call: Callable[[], Results]
    fresh: Callable[[], object] = _nothing

    @property
    def writes(self) -> bool:
        """Whether it writes over its inputs."""
        return self.fresh is not _nothing


@dataclass(frozen=True)
class Opponent:
    """One way to compute the results of a case.

    Attributes:
        name: as the table calls it.
        prepare: the inputs, on their device -> a Run, or only the call where nothing is written
            over. What it does is not timed.
        compiled: whether it needs a compiler, and seconds of one.
        ours: whether it is another hand-written form, which decides nothing between the first and
            the best of the others.
        only_on: the type of device that it is for, as in "cuda"; all where it is empty.
    """

    name: str
    prepare: Callable[..., Run | Callable[[], Results]]
    compiled: bool = False
    ours: bool = False
    only_on: str = ""

    def run(self, inputs: Sequence[Tensor]) -> Run:
        """Prepare it.

        Raises:
            Exception: whatever `prepare` raises, as without a compiler.
        """
        prepared = self.prepare(*inputs)
        return prepared if isinstance(prepared, Run) else Run(prepared)


@dataclass(frozen=True)
class Case:
    """What is timed, at which sizes, and what the results should be.

    Attributes:
        name: of this case alone.
        group: of the cases that differ in their sizes; asking for it asks for all of them.
        shapes: the sizes in words, to be filled in: "x ({n}, {i})".
        sizes: of the whole run; quick: with --quick; small: of the tests.
        draw: rand and sizes -> the inputs, float32 and int64, on the CPU.
        truth: sizes -> a function of the inputs, raised to float64, whose results are the truth.
        work: sizes -> what the formula asks for.
        opponents: the first is the one that all others are compared with.
        rows: where the rows of the inputs do not depend on each other, how many are held to the
            truth at a time, which is the faster the less it is; results of one number are then
            sums over all rows. 0: all at once.
        remark: what has to be known to read the numbers.
    """

    name: str
    group: str
    shapes: str
    sizes: Sizes
    quick: Sizes
    small: Sizes
    draw: Callable[..., tuple[Tensor, ...]]
    truth: Callable[[Sizes], Callable[..., Any]]
    work: Callable[..., Work]
    opponents: tuple[Opponent, ...]
    rows: int = 0
    remark: str = ""

    def described(self, sizes: Sizes) -> str:
        """Shapes and sizes in words, as in "x (1,000, 50)"."""
        return self.shapes.format(**{name: f"{size:,}" for name, size in sizes.items()})

    def inputs(self, sizes: Sizes) -> tuple[Tensor, ...]:
        """The same numbers at each call."""
        return self.draw(Rand(0, torch.float32), **sizes)


def by_hand(
    backward: Callable[..., Results], name: str = "by hand", *, ours: bool = False
) -> Opponent:
    """A function of the inputs as they are."""
    return Opponent(name, lambda *inputs: lambda: backward(*inputs), ours=ours)


def in_place(
    kernel: Callable[..., Results],
    over: int,
    name: str = "by hand",
    saved: Callable[..., tuple[Tensor, ...]] = lambda *inputs: inputs,
) -> Opponent:
    """A function that writes over one of its arguments, which it gets anew before each round.

    Within a round it goes on with what it wrote: as many numbers, and none of them nan.

    Args:
        kernel: what is called.
        over: the place of that argument.
        name: as the table calls it.
        saved: the inputs -> the arguments.
    """

    def prepare(*inputs: Tensor) -> Run:
        arguments = list(saved(*inputs))
        given, arguments[over] = arguments[over], arguments[over].clone()
        return Run(lambda: kernel(*arguments), lambda: arguments[over].copy_(given))

    return Opponent(name, prepare)


def product_by_autograd(forward: Callable[..., Tensor], count: int) -> Opponent:
    """The backward pass alone: the forward, of the first `count` inputs, is not timed.

    The input behind them is grad_out.
    """

    def prepare(*inputs: Tensor) -> Callable[[], Results]:
        leaves = [t.detach().requires_grad_() for t in inputs[:count]]
        out = forward(*leaves)
        return lambda: torch.autograd.grad(out, leaves, inputs[count], retain_graph=True)

    return Opponent("autograd", prepare)


def loss_by_autograd(
    forward: Callable[..., Tensor], count: int, *, by_compiler: bool = False, name: str = ""
) -> Opponent:
    """The loss and its gradients with respect to the first `count` inputs, forward included."""

    def prepare(*inputs: Tensor) -> Callable[[], Results]:
        leaves = [t.detach().requires_grad_() for t in inputs[:count]]
        loss_of = compiled(forward) if by_compiler else forward

        return lambda: _with_gradients(loss_of(*leaves, *inputs[count:]), leaves)

    usual = "torch.compile" if by_compiler else "autograd"
    return Opponent(name or usual, prepare, by_compiler)


def compiled(function: Callable[..., Any], mode: str = "default") -> Callable[..., Any]:
    """For these shapes alone, which makes it fastest; compiled when it is first called."""
    return torch.compile(function, fullgraph=True, dynamic=False, mode=mode)


def loss_and_gradients(
    forward: Callable[..., Tensor], count: int
) -> Callable[..., tuple[Tensor, ...]]:
    """The truth for `loss_by_autograd`."""

    def function(*inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = [t.requires_grad_() for t in inputs[:count]]
        return _with_gradients(forward(*leaves, *inputs[count:]), leaves)

    return function


def _with_gradients(loss: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (loss.detach(), *torch.autograd.grad(loss, leaves))


def vector_jacobian_product(
    forward: Callable[..., Tensor], count: int
) -> Callable[..., tuple[Tensor, ...]]:
    """The truth for `product_by_autograd`."""

    def function(*inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = [t.requires_grad_() for t in inputs[:count]]
        return torch.autograd.grad(forward(*leaves), leaves, inputs[count])

    return function
