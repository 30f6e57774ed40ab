"""What the judge's doors are asked for: one value where a list is meant too, and sentences."""

from collections.abc import Callable
from operator import index
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def dtype(given: Any) -> torch.dtype:
    """A floating dtype.

    Raises:
        TypeError: it is none.
    """
    if isinstance(given, torch.dtype) and given.is_floating_point:
        return given
    raise TypeError(f"{given!r} is no dtype to judge in; give a floating one, as torch.float64")


def device(given: Any) -> str:
    """The name of a device, as "cuda:1" of `torch.device("cuda", 1)`.

    Raises:
        TypeError: it is none.
    """
    if isinstance(given, str | torch.device):
        return str(given)
    raise TypeError(f"{given!r} is no device, as 'cpu' is one")


def seed(given: Any) -> int:
    """A whole number of any kind.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(given, bool):
        try:
            return index(given)
        except TypeError:
            pass  # as is told below
    raise TypeError(f"{given!r} is no whole number")


def name(given: Any) -> str:
    """A name, which nobody has looked up yet.

    Raises:
        TypeError: it is none.
    """
    if isinstance(given, str):
        return given
    raise TypeError(f"{given!r} is no name")


def several(door: str, what: str, given: Any, one: Callable[[Any], T]) -> tuple[T, ...]:
    """What was given as a tuple; one value is a tuple of it.

    Args:
        door: the function that was called.
        what: its argument.
        given: the value of that.
        one: of this module, what each has to be.

    Raises:
        ValueError: something in it is nothing of the kind.
    """
    try:
        return (one(given),)
    except TypeError:
        pass  # it is a list, or nothing that can be used
    try:
        values = (given,) if isinstance(given, str | bytes) else tuple(given)
    except TypeError:
        values = (given,)
    return tuple(single(door, what, value, one) for value in values)


def single(door: str, what: str, given: Any, one: Callable[[Any], T]) -> T:
    """What was given, if it is something of the kind; arguments as `several`.

    Raises:
        ValueError: it is not.
    """
    try:
        return one(given)
    except TypeError as error:
        raise ValueError(f"{door}: {what}: {error}") from None
