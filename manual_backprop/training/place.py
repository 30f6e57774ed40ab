"""Where a process stands among those that train together, as torchrun tells it in the environment.

Importing it does not import torch.

Source: the variables are torchrun's, https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ATTEMPT = "TORCHELASTIC_RESTART_COUNT"
LAUNCH = "torchrun --nproc-per-node=2 -m manual_backprop train mnist"


class BadWorld(ValueError):  # noqa: N818 -- says what it is of
    """Processes that cannot train together, and why."""


class Lost(RuntimeError):  # noqa: N818 -- says what happened
    """Another rank does not answer, or has ended; training cannot go on."""


@dataclass(frozen=True)
class Place:
    """One of the processes that train together.

    Attributes:
        rank: its number, from 0, below size.
        size: how many there are.
        local_rank: its number among those on its machine.
        address, port: where rank 0's machine keeps what all may read.
        attempt: how often torchrun started all of them anew.
        kept_by_agent: whether torchrun serves that address, or else rank 0 has to.
    """

    rank: int
    size: int
    local_rank: int
    address: str
    port: int
    attempt: int = 0
    kept_by_agent: bool = False


class Alone:
    """A process that trains by itself.

    Attributes:
        rank, size: 0 of 1.
        attempt: as that of `Place`.
        launch: nothing.
    """

    rank, size = 0, 1
    attempt, launch = 0, ""

    def exchange(self, name: str, value: Any) -> list[Any]:  # noqa: ARG002
        """What every rank gives under a name."""
        return [value]

    def start(self, device: str) -> None:
        """Make ready for training with tensors of a device."""

    def from_first(self, value: Any) -> Any:
        """What rank 0 gives."""
        return value

    def part(self, index: "Tensor") -> "Tensor":
        """Of row numbers (n), those of this rank."""
        return index

    def sum_(self, tensor: "Tensor") -> None:
        """Put the sum over all ranks in the tensor's place, on every rank."""

    def end(self) -> None:
        """Wait until every rank is done."""


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place that the environment tells; None where it tells of none.

    Raises:
        BadWorld: something is missing, or is no such number.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return None
    if environment.get("WORLD_SIZE") == "1" and "MASTER_ADDR" not in environment:
        return None
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        there = "RANK" if "RANK" in environment else "WORLD_SIZE"
        raise BadWorld(
            f"{there} is set in the environment, as for one of several processes, and "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not: start all of "
            f"them with `{LAUNCH}`, or unset {there} to train in one process"
        )
    size = _number(environment, "WORLD_SIZE", 1)
    rank = _number(environment, "RANK", 0)
    if rank >= size:
        raise BadWorld(f"RANK is {rank} and WORLD_SIZE {size}; ranks are from 0 to {size - 1}")
    port = _number(environment, "MASTER_PORT", 1)
    if port > 65535:
        raise BadWorld(f"MASTER_PORT is {port}; the last port is 65535")
    by_agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Place(
        rank,
        size,
        _number(environment, "LOCAL_RANK", 0) if "LOCAL_RANK" in environment else rank,
        environment["MASTER_ADDR"],
        port,
        _number(
            {"TORCHELASTIC_RESTART_COUNT": "0", **environment}, "TORCHELASTIC_RESTART_COUNT", 0
        ),
        by_agent,
    )


def _number(environment: Mapping[str, str], name: str, least: int) -> int:
    written = environment[name]
    if not written.isdecimal() or int(written) < least:
        raise BadWorld(f"{name} is {written!r}; it is a whole number from {least}")
    return int(written)
