"""The registry is a folder listing: each file of `ops/` and `networks/` ends in `OP = Op(...)`."""

import re
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
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


def read_first(op: Op) -> tuple[str, ...]:
    """The operators to know before this one: those whose functions its file uses, and those that
    stand behind "Read first:" in its docstring.

    Raises:
        BadOp: a name there is no operator.
    """
    module = import_module(op.forward.__module__)
    named = re.search(r"^Read first: (.*)$", module.__doc__ or "", re.MULTILINE)
    names = named[1].split(", ") if named else []
    homes = {other.forward.__module__: name for name, other in OPS.items()}
    used = [homes.get(getattr(value, "__module__", "")) for value in vars(module).values()]
    for name in names:
        if name not in OPS:
            close = get_close_matches(name, OPS.keys() - {op.name}, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(OPS)}"
            file = f"{op.forward.__module__.replace('.', '/')}.py"
            raise BadOp(f'{file}: "Read first:" names {name!r}, which is no operator; {hint}')
    return tuple(dict.fromkeys(name for name in (*names, *used) if name and name != op.name))


def learning_order() -> list[Op]:
    """All operators, each after those to read first; networks after operators of the same depth.

    Raises:
        BadOp: what to read first runs in a circle, or is no operator.
    """
    graph = TopologicalSorter({name: read_first(op) for name, op in OPS.items()})
    try:
        graph.prepare()
    except CycleError as error:
        raise BadOp(f"what to read first runs in a circle: {' -> '.join(error.args[1])}") from error
    order: list[Op] = []
    while graph.is_active():
        ready = graph.get_ready()
        order += sorted((OPS[name] for name in ready), key=lambda op: (is_network(op), op.name))
        graph.done(*ready)
    return order


def is_network(op: Op) -> bool:
    """Whether it is composed of operators, and its file one of `networks/`."""
    return bool(op.forward.__module__.startswith(manual_backprop.networks.__name__))
