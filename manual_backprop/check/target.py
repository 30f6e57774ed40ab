"""What there is to judge in a file: its functions, each with the operator that it is held to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import isfunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from manual_backprop.check.load import Refused, load
from manual_backprop.commands import program
from manual_backprop.judge.draw import floating
from manual_backprop.judge.verdict import error_at
from manual_backprop.op import BadOp, Op, check_backward
from manual_backprop.registry import OPS


@dataclass(frozen=True)
class Target:
    """A function to judge.

    Attributes:
        op: the operator that it is held to.
        backward: the learner's function.
        own: whether the operator is the learner's, with samples that all count.
        forward: whose intermediates are its steps: the learner's own of that name, or the op's.
    """

    op: Op
    backward: Callable[..., Any]
    own: bool
    forward: Callable[..., Any]


def targets(file: Path, function: str | None, of: str | None) -> tuple[list[Target], list[str]]:
    """The functions to judge, in the order in which the file defines them.

    Args:
        file: a Python file.
        function: one function's name; None for all that it is plain how to judge.
        of: the operator of this house to hold it to; None to go by the function's name.

    Returns:
        The functions, and a sentence for each that is called back_... and cannot be judged.

    Raises:
        Refused: the file cannot be imported, or holds nothing that can be judged.
    """
    module = load(file)
    own = {
        name: f
        for name, f in vars(module).items()
        if isfunction(f) and f.__module__ == module.__name__
    }
    for name, f in own.items():
        if name.startswith("back_") and f.__name__ not in own:  # a lambda, or a decorator's
            f.__name__ = name
    listed = vars(module).get("OP")
    if isinstance(listed, Op) and of is None:
        known = {backward.__name__: backward for backward in listed.backwards}
        chosen = (
            [known.get(function) or _named(own, function, file)] if function else listed.backwards
        )
        return [_checked(Target(listed, f, True, listed.forward)) for f in chosen], []
    if function:
        return [_target(module, own, _named(own, function, file), of)], []
    functions = [f for name, f in own.items() if name.startswith("back_")]
    if of:
        functions = [f for f in functions if f.__name__.startswith(f"back_{of}")] or functions
        if not functions and len(own) == 1:
            functions = list(own.values())
    found, skipped = [], []
    for f in functions:
        try:
            found.append(_target(module, own, f, of))
        except _Unknown as error:
            skipped.append(str(error))
    if not found:
        there = f"it defines {', '.join(own)}" if own else "it defines no function"
        raise Refused(
            skipped[0]
            if skipped
            else f"nothing in {file.name} is called back_<operator>; {there}. "
            f"Call your function back_lin to have it held to lin, or name it and the operator: "
            f"{file.name}::your_function --of lin"
        )
    return found, skipped


class _Unknown(Refused):
    """No operator is known that the function is a backward of."""


def _named(own: dict[str, Any], function: str, file: Path) -> Callable[..., Any]:
    if function in own:
        return own[function]  # type: ignore[no-any-return]
    close = get_close_matches(function, own, n=1, cutoff=0.5)
    there = f"it defines {', '.join(own)}" if own else "it defines no function"
    hint = f"did you mean {close[0]}?" if close else there
    raise Refused(f"no function {function!r} in {file.name}; {hint}")


def _target(
    module: ModuleType, own: dict[str, Any], function: Callable[..., Any], of: str | None
) -> Target:
    name = function.__name__
    if of is not None:
        return _checked(Target(OPS[of], function, False, _forward(own, OPS[of])))
    samples = vars(module).get("samples")
    for stem in _stems(name):
        if samples is not None and stem in own:
            op = _own_operator(module, own[stem], function, samples)
            return _checked(Target(op, function, True, op.forward))
        if (found := OPS.get(stem)) is not None:
            return _checked(Target(found, function, False, _forward(own, found)))
    stem = name.removeprefix("back_")
    numbers = 'samples = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}'
    if stem in own:
        raise _Unknown(f"{stem} is there; what is missing is inputs to try it on: {numbers}")
    close = get_close_matches(stem, OPS, n=1, cutoff=0.6)
    hint = f"Did you mean back_{close[0]}? Or give" if close else "Give"
    raise _Unknown(
        f"{name} is the backward of no operator that is known. {hint} --of with one of "
        f"`{program()} list`, or put its forward beside it, def {stem}(x): ..., and inputs to "
        f"try it on: {numbers}"
    )


def _stems(name: str) -> list[str]:
    """What a function may be the backward of: its name without back_, then word by word shorter."""
    parts = name.removeprefix("back_").rstrip("_").split("_")
    return ["_".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _checked(target: Target) -> Target:
    try:
        check_backward(target.op, target.backward)
    except BadOp as error:
        raise Refused(str(error)) from error
    return target


def _forward(own: dict[str, Any], op: Op) -> Callable[..., Any]:
    """The learner's own forward of an operator's name, if it takes the same arguments."""
    forward = own.get(op.name)
    if forward is not None and list(signature(forward).parameters)[: len(op.arguments)] == list(
        op.arguments
    ):
        return forward  # type: ignore[no-any-return]
    return op.forward


def _own_operator(
    module: ModuleType, forward: Callable[..., Any], backward: Callable[..., Any], samples: Any
) -> Op:
    names = tuple(signature(forward).parameters)
    if not names:
        raise Refused(f"{forward.__name__} takes no argument, so there is nothing to derive by")
    given = vars(module)
    wrt, oracle = given.get("wrt"), given.get("oracle")
    if wrt is not None:
        several = isinstance(wrt, Iterable) and not isinstance(wrt, str)
        wrt = tuple(wrt) if several else (wrt,)
    try:
        op = Op(forward, (backward,), samples, wrt or names[:1], oracle)
        return op if wrt else Op(forward, (backward,), samples, _floating(op) or op.wrt, oracle)
    except BadOp as error:
        raise Refused(str(error)) from error


def _floating(op: Op) -> tuple[str, ...]:
    """The arguments that the first sample draws as floating numbers: those that get a gradient."""
    name = next(iter(op.samples))
    try:
        return floating(op)
    except BadOp:
        raise
    except Exception as error:
        raise Refused(f"sample {name!r} raised {error_at(error, op.samples[name])}") from error
