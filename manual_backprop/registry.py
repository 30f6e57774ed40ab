"""The registry is a folder listing: each file of `ops/` and `networks/` ends in `OP = Op(...)`."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import manual_backprop.networks
import manual_backprop.ops
from manual_backprop.op import BadOp, Op


def load(package: str, name: str) -> Op:
    """The operator in one file.

    Raises:
        BadOp: the file has no `OP`, or one of another name.
    """
    file = f"{package.replace('.', '/')}/{name}.py"
    try:
        op = getattr(import_module(f"{package}.{name}"), "OP", None)
    except BadOp as error:
        raise BadOp(f"{file}: {error}") from error
    except Exception as error:
        raise BadOp(f"{file}: {type(error).__name__}: {error}") from error
    if not isinstance(op, Op):
        raise BadOp(f"{file} has no operator; end it with OP = Op(forward={name}, ...)")
    if op.name != name:
        raise BadOp(f"{file} holds {op.name!r}; name the file {op.name}.py or the forward {name}")
    return op


OPS: dict[str, Op] = {
    name: load(package.__name__, name)
    for package in (manual_backprop.ops, manual_backprop.networks)
    for _, name, _ in sorted(iter_modules(package.__path__), key=lambda module: module.name)
}


def public_functions() -> dict[str, Any]:
    """Every operator, backward and other public function of the operators' files, by name."""
    return {
        name: value
        for op in OPS.values()
        for name, value in vars(import_module(op.forward.__module__)).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == op.forward.__module__
        and hasattr(value, "__code__")
    }
