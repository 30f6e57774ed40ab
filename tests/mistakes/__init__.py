"""Wrong backwards as people write them, and what the judge should call each.

A module of this package is a family: forwards as one writes them outside of this package, each
with a right backward, and backwards that have one mistake. `right` holds backwards that are written
differently and are not wrong, `corruptions` numbers that nobody's mistake explains.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from manual_backprop.judge.codes import CODES
from manual_backprop.op import Op, check_backward

Backward = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """A backward with one mistake.

    Attributes:
        op: whose right backward it differs from.
        backward: the wrong one.
        expected: codes; the first says it best, the others are true of it as well.
        taxonomy: the kind of mistake that people report, as in "T4"; empty where it is of none of
            these.
        reference: where a mistake of this kind, not always of this operator, was made or asked
            about, as in "tsoding/nn.h#18".
    """

    op: Op
    backward: Backward
    expected: tuple[str, ...]
    taxonomy: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        check_backward(self.op, self.backward)
        assert self.expected, f"{self.name}: say by which code it should be called"
        assert set(self.expected) <= set(CODES), f"{self.name}: no code of {self.expected}"

    @property
    def family(self) -> str:
        """The module that it stands in."""
        return str(self.backward.__module__).rpartition(".")[2]

    @property
    def name(self) -> str:
        """As in "linear.back_linear_bias_averaged"."""
        return f"{self.family}.{self.backward.__name__}"


@dataclass(frozen=True)
class Right:
    """A backward that is right, whatever it looks like."""

    op: Op
    backward: Backward

    @property
    def name(self) -> str:
        """As in "right.linear_by_einsum"."""
        return f"{self.backward.__module__.rpartition('.')[2]}.{self.backward.__name__}"


_MISTAKES: list[Mistake] = []
_RIGHTS: list[Right] = []


def mistake(op: Op, *expected: str, of: str = "", seen: str = "") -> Callable[[Backward], Backward]:
    """Declare the function below a wrong backward of `op`.

    >>> @mistake(SIGMOID, "missing-factor", of="T4", seen="tsoding/nn.h#18")
    ... def back_sigmoid_derivative_forgotten(grad_out): ...
    """

    def declared(backward: Backward) -> Backward:
        _MISTAKES.append(Mistake(op, backward, expected, of, seen))
        return backward

    return declared


def alternative(op: Op) -> Callable[[Backward], Backward]:
    """Declare the function below a right backward of `op`."""

    def declared(backward: Backward) -> Backward:
        _RIGHTS.append(Right(op, backward))
        return backward

    return declared


@cache
def _declare_all() -> None:
    for module in iter_modules(__path__, f"{__name__}."):
        import_module(module.name)


def mistakes() -> tuple[Mistake, ...]:
    """Every wrong backward of every family."""
    _declare_all()
    return tuple(_MISTAKES)


def rights() -> tuple[Right, ...]:
    """Every right backward: those of the forwards first, then those of `right`."""
    _declare_all()
    own = [Right(op, backward) for op in ops() for backward in op.backwards]
    return (*own, *_RIGHTS)


def ops() -> tuple[Op, ...]:
    """Every forward that has a mistake in the corpus, once."""
    return tuple(dict.fromkeys(one.op for one in mistakes()))
