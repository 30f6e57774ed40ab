"""What there is to judge in a file: its functions, each with the operator that it is held to."""

import importlib.util
import sys
from collections.abc import Callable
from difflib import get_close_matches
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from manual_backprop.judge.draw import Rand
from manual_backprop.judge.verdict import error_at, first_line
from manual_backprop.op import BadOp, Op
from manual_backprop.registry import OPS


class Refused(Exception):  # noqa: N818 -- a sentence for the author of the file
    """The file cannot be judged; the message says what to mend."""


def targets(
    file: Path, function: str | None, of: str | None
) -> list[tuple[Op, Callable[..., Any]]]:
    """The functions to judge, in the order in which the file defines them.

    Args:
        file: a Python file.
        function: one function's name; None for all that it is plain how to judge.
        of: the operator of this house to hold it to; None to go by the function's name.

    Raises:
        Refused: the file cannot be imported, or holds nothing that can be judged.
    """
    module = _imported(file)
    own = {name: f for name, f in vars(module).items()
           if isfunction(f) and f.__module__ == module.__name__}  # fmt: skip
    listed = vars(module).get("OP")
    if isinstance(listed, Op) and of is None:
        known = {backward.__name__: backward for backward in listed.backwards}
        if function is None:
            return [(listed, backward) for backward in listed.backwards]
        return [(listed, known.get(function) or _named(own, function, file))]
    chosen = [_named(own, function, file)] if function else [
        f for name, f in own.items() if name.startswith("back_") or (of and len(own) == 1)
    ]  # fmt: skip
    if of and len(chosen) > 1:
        named = [f for f in chosen if f.__name__.startswith(f"back_{of}")]
        chosen = named or chosen
    if not chosen:
        there = ", ".join(own) or "no function"
        raise Refused(
            f"nothing in {file.name} is called back_<operator>; it defines {there}. Call your "
            f"function back_lin to have it held to lin, or say {file.name}::your_function --of lin"
        )
    return [(_operator(module, own, f, of), f) for f in chosen]


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise Refused(f"{file.name} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise Refused(f"{file.name}:{error.lineno}: {error.msg}") from error
    except SystemExit as error:
        raise Refused(f"{file.name} calls exit() while it is imported; leave that out") from error
    except BadOp as error:
        raise Refused(str(error)) from error
    except Exception as error:
        lines = [frame.lineno for frame in _frames(error) if frame.filename == str(file)]
        at = f":{lines[-1]}" if lines else ""
        raise Refused(
            f"{file.name}{at}: {type(error).__name__}: {first_line(error)}, while it is imported"
        ) from error
    return module


def _frames(error: Exception) -> Any:
    import traceback

    return traceback.extract_tb(error.__traceback__)


def _named(own: dict[str, Any], function: str, file: Path) -> Callable[..., Any]:
    if function in own:
        return own[function]  # type: ignore[no-any-return]
    close = get_close_matches(function, own, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"it defines {', '.join(own) or 'none'}"
    raise Refused(f"no function {function!r} in {file.name}; {hint}")


def _operator(
    module: ModuleType, own: dict[str, Any], function: Callable[..., Any], of: str | None
) -> Op:
    name = function.__name__
    if of is not None:
        return OPS[of]
    forward = own.get(name.removeprefix("back_"))
    samples = vars(module).get("samples")
    if forward is not None and samples is not None:
        return _own_operator(module, forward, function, samples)
    parts = name.removeprefix("back_").rstrip("_").split("_")
    for count in range(len(parts), 0, -1):
        if (op := OPS.get("_".join(parts[:count]))) is not None:
            return op
    close = get_close_matches("_".join(parts), OPS, n=1, cutoff=0.5)
    hint = f"; did you mean back_{close[0]}?" if close else ""
    raise Refused(
        f"{name} is the backward of nothing known{hint} Give --of with an operator of "
        "`manual-backprop list`, or put the forward beside it, "
        f"{name.removeprefix('back_')}, and samples = "
        "{'rows': lambda rand, n=11, i=7: (rand(n, i),)}"
    )


def _own_operator(
    module: ModuleType, forward: Callable[..., Any], backward: Callable[..., Any], samples: Any
) -> Op:
    wrt = vars(module).get("wrt")
    try:
        op = Op(forward, (backward,), samples, wrt or (next(iter(_arguments(forward))),))
    except BadOp as error:
        raise Refused(str(error)) from error
    if wrt is not None:
        return op
    return Op(forward, (backward,), samples, _floating(op) or op.wrt)


def _arguments(forward: Callable[..., Any]) -> tuple[str, ...]:
    from inspect import signature

    names = tuple(signature(forward).parameters)
    if not names:
        raise Refused(f"{forward.__name__} takes no argument, so there is nothing to derive by")
    return names


def _floating(op: Op) -> tuple[str, ...]:
    """The arguments that the first sample draws as floating numbers: those that get a gradient."""
    import torch

    from manual_backprop.judge.draw import Variant, draw

    name = next(iter(op.samples))
    try:
        inputs, _ = draw(op, Variant(name), Rand(0, torch.float64))
    except Exception as error:
        raise Refused(f"sample {name!r} raised {error_at(error, op.samples[name])}") from error
    floating = []
    for argument, value in inputs.items():
        tensors = value if isinstance(value, tuple) else (value,)
        if tensors and all(tensor.is_floating_point() for tensor in tensors):
            floating.append(argument)
    return tuple(floating)
