"""Whose mistake an error on a mesh is: the backward's, or of DTensor, which is at its end."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dis import opmap
from functools import partial
from inspect import unwrap
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch.distributed.tensor import DTensor

# What DTensor says where it, and not the backward, is at its end.
UNSUPPORTED = ("sharding strategy", "unevenly sharded", "redistribut")
OF_LISTS = ("list ", "tuple ", "string ", "range ", "pop ")  # how Python's own IndexErrors begin
# How gloo says that a rank did not come, or came to another collective.
WAITED = ("timed out", "monitoredbarrier", "mismatch between collectives", "closed by peer")
TORCH = str(Path(torch.__file__).parent) + os.sep
WATCHED = ("from_local", "to_local", "full_tensor")
NAMES = {
    "DTensor", "_local_tensor", "distribute_tensor", "local_map",
    "get_rank", "get_local_rank", "get_coordinate",
}  # fmt: skip


def unsupported(error: Exception) -> bool:
    """Whether DTensor says that it cannot do this."""
    return not _by_author(error) and any(words in str(error) for words in UNSUPPORTED)


def kernels_own(error: Exception) -> bool:
    """Whether one of torch's kernels raised it, and neither a raise nor a list of somebody."""
    of_list = type(error) is IndexError and str(error).startswith(OF_LISTS)
    known = isinstance(error, RuntimeError | IndexError)
    return known and not of_list and not _by_author(error)


def waited(error: Exception) -> bool:
    """Whether a collective gave up waiting for another rank."""
    said = str(error).lower()
    known = isinstance(error, RuntimeError) and not _by_author(error)
    return known and any(words in said for words in WAITED)


def _by_author(error: Exception) -> bool:
    """Whether a raise that is not torch's own made it; none is running where a kernel did."""
    last: Any = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    raises = code.co_code[last.tb_lasti] == opmap["RAISE_VARARGS"]
    return raises and not code.co_filename.startswith(TORCH)


@contextmanager
def by_hand(backward: Callable[..., Any]) -> Iterator[list[str]]:
    """A list that is not empty where a backward may do on one rank what it does not on another.

    That is where it asks for its rank, or takes its part out of a DTensor or makes one of a part.
    Without any of it, all ranks run the same code on the same DTensors, and where only some of them
    fail, or one of its shapes is lost, that is DTensor's fault.
    """
    taken = sorted(NAMES & _names(backward))
    holder: Any = DTensor
    originals = {name: vars(DTensor)[name] for name in WATCHED}

    def watched(name: str) -> Any:
        original = getattr(holder, name)

        def function(*given: Any, **named: Any) -> Any:
            taken.append(name)
            return original(*given, **named)

        return staticmethod(function) if name == "from_local" else function

    replaced = {name: watched(name) for name in originals}
    for name, function in replaced.items():
        setattr(holder, name, function)
    try:
        yield taken
    finally:
        for name, original in originals.items():
            setattr(holder, name, original)


def _names(function: Callable[..., Any]) -> set[str]:
    """What a function looks up by name, and all that it calls: functions, methods, those of a
    module or an object that it knows. Torch's own are left out.
    """
    names: set[str] = set()
    seen: set[int] = set()

    def look(value: Any) -> None:
        value = unwrap(getattr(value, "__func__", value))
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, FunctionType):
            inside(value.__code__, {**value.__globals__, **_closure(value)})
        elif isinstance(value, partial):
            look(value.func)
        else:
            for owner in (value if isinstance(value, type) else type(value)).__mro__:
                for member in vars(owner).values():
                    method = getattr(member, "fget", getattr(member, "__func__", member))
                    if isinstance(method, FunctionType):
                        look(method)

    def inside(code: CodeType, known: dict[str, Any]) -> None:
        if code.co_filename.startswith(TORCH):
            return
        names.update(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                inside(constant, known)
        for name in (*code.co_names, *code.co_freevars):
            if isinstance(module := known.get(name), ModuleType):
                for called in code.co_names:
                    if isinstance(one := vars(module).get(called), FunctionType):
                        look(one)
            elif name in known:
                look(known[name])

    look(function)
    return names


def _closure(function: FunctionType) -> dict[str, Any]:
    """What it has from the functions around it, by name."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a cell that is still empty
            found[name] = cell.cell_contents
    return found
