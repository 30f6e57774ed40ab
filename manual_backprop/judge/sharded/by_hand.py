"""Whose mistake an error on a mesh is: the backward's, or of DTensor, which is at its end."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dis import opmap
from inspect import unwrap
from pathlib import Path
from types import CodeType, FunctionType
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
    return isinstance(error, RuntimeError) and any(words in said for words in WAITED)


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
    """What a function and those that it calls by name look up, torch's own left out."""
    names: set[str] = set()
    seen: set[CodeType] = set()

    def look(code: CodeType, known: dict[str, Any]) -> None:
        if code in seen or code.co_filename.startswith(TORCH):
            return
        seen.add(code)
        names.update(code.co_names)
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                look(inner, known)
        for name in code.co_names:
            called = known.get(name)
            if isinstance(called, FunctionType):
                look(called.__code__, called.__globals__)

    plain: Any = unwrap(function)
    if isinstance(plain, FunctionType):
        look(plain.__code__, plain.__globals__)
    return names
