"""The processes that train together: what they tell each other, and who does not answer.

Before training they talk through a key-value store, where each leaves what the others wait for;
then gradients are summed by torch.distributed, gloo on CPUs and NCCL on GPUs. Whoever ends early
leaves a sentence in the store, so that the others can say why they end too.
"""

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from manual_backprop.judge.verdict import first_line
from manual_backprop.training.place import Alone, BadWorld, Lost, Place
from manual_backprop.training.store import GRACE, open_store, within

LEFT = "left"
LAUNCH = "launch"
STOPPED = "stopped"  # by a signal, which torchrun sends to all once one has ended
LOOK = 0.5  # seconds after which one who waits looks whether others have ended
TURN = 0.02  # seconds between two looks into the store
FAREWELL = 3.0  # seconds at most that one who ends waits to hear who else does


class Sent:
    """A sum over all ranks that is on its way."""

    def __init__(self, world: "World", work: Any, *, on_gpu: bool) -> None:
        self.world, self.work, self.on_gpu = world, work, on_gpu

    def wait(self) -> None:
        """Until the tensor holds the sum; on a GPU until what is launched after this sees it.

        Raises:
            Lost: another rank has ended, or did not take part in time.
        """
        if self.on_gpu:
            _or_lost(self.work.wait)
            return
        end = time.monotonic() + self.world.timeout
        while True:
            try:
                self.work.wait(timedelta(seconds=LOOK))
                return
            except RuntimeError as error:
                late = time.monotonic() > end
                if late or self.work.is_completed() or self.world.has_lost():
                    raise Lost(str(error)) from error


def _or_lost(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except RuntimeError as error:  # what gloo and NCCL raise, and nothing more precise
        raise Lost(str(error)) from error


class World(Alone):
    """One rank among several, that can reach the others.

    Args:
        place: which rank, and where the store is.
        timeout: seconds that it waits for another rank.

    Attributes:
        rank, size, attempt: as in the place.
        launch: what all attempts of one torchrun have in common, and no other has.
        started: whether tensors can be summed.

    Raises:
        BadWorld: nobody keeps a store at the place's address, or it cannot be kept there.
    """

    def __init__(self, place: Place, timeout: float) -> None:
        self.place, self.timeout = place, timeout
        self.rank, self.size = place.rank, place.size
        self.attempt = place.attempt
        self.started = False
        ours = PrefixStore("manual_backprop", open_store(place, timeout))
        self.launch = ""
        self.store = PrefixStore(str(place.attempt), ours)
        try:
            within(timeout + GRACE, lambda: self._join(ours))
        except RuntimeError as error:
            raise self._missing([0]) from error

    def _join(self, ours: Any) -> None:
        if self.store.add(f"rank {self.rank}", 1) > 1:
            raise BadWorld(
                f"two processes say that they are rank {self.rank} of {self.size}: give each a "
                "RANK of its own, or another MASTER_PORT where they are of two runs"
            )
        if self.rank == 0:
            if not self.attempt:
                ours.set(LAUNCH, uuid4().hex)  # torchrun's store keeps it for later attempts
            self.store.set("size", str(self.size))
        size = int(self.store.get("size"))
        if size != self.size:
            raise BadWorld(
                f"WORLD_SIZE is {self.size} here and {size} at rank 0: give all the same"
            )
        self.launch = ours.get(LAUNCH).decode()

    def exchange(self, name: str, value: Any) -> list[Any]:
        """What every rank gives under a name, in their order; it is JSON's, and asked for once.

        Raises:
            BadWorld: a rank does not come in time.
            Lost: a rank has ended.
        """
        limit = self.timeout + FAREWELL
        return _or_lost(lambda: within(limit, lambda: self._exchanged(name, value)))  # type: ignore[no-any-return]

    def _exchanged(self, name: str, value: Any) -> list[Any]:
        self.store.set(f"{name} {self.rank}", json.dumps(value))
        end = time.monotonic() + self.timeout
        while missing := self._silent(name):
            if ended := self._farewells():
                raise Lost(_told(ended))
            if time.monotonic() > end:
                raise self._missing(missing)
            time.sleep(TURN)
        return [json.loads(self.store.get(f"{name} {rank}")) for rank in range(self.size)]

    def _missing(self, ranks: Sequence[int]) -> BadWorld:
        return BadWorld(
            f"{named(ranks)} of {self.size} did not come within {self.timeout:g} s: start all of "
            "them with the same MASTER_ADDR, MASTER_PORT and WORLD_SIZE; --timeout SECONDS waits "
            "longer"
        )

    def _silent(self, name: str) -> list[int]:
        """The ranks that gave nothing under a name yet."""
        if self.store.check([f"{name} {rank}" for rank in range(self.size)]):
            return []
        return [r for r in range(self.size) if not self.store.check([f"{name} {r}"])]

    def _farewells(self) -> dict[int, str]:
        """Why other ranks ended, of those that could say so."""
        ended = {}
        for rank in range(self.size):
            if rank != self.rank and self.store.check([f"{LEFT} {rank}"]):
                ended[rank] = self.store.get(f"{LEFT} {rank}").decode()
        return ended

    def has_lost(self) -> bool:
        """Whether another rank has said that it ends."""
        try:
            return bool(within(FAREWELL, self._farewells))
        except RuntimeError:
            return True

    def start(self, device: str) -> None:
        """Make ready for `sum_`, `add_` and `from_first` with tensors of a device.

        Raises:
            BadWorld: the ranks cannot connect, or this one has no GPU of its own.
        """
        if device != "cpu":
            there, mine = torch.cuda.device_count(), self.place.local_rank
            if mine >= there:
                raise BadWorld(
                    f"no GPU is left for it, the machine has {there}: start one process for each "
                    "GPU, each with its LOCAL_RANK, or --device cpu"
                )
            torch.cuda.set_device(mine)
        try:
            dist.init_process_group(
                "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
                store=self.store,
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=self.timeout),
            )
        except RuntimeError as error:
            raise BadWorld(
                f"the ranks cannot connect with each other: {first_line(error)}; "
                "GLOO_SOCKET_IFNAME names the network interface to use"
            ) from error
        self.started = True

    def part(self, index: Tensor) -> Tensor:
        """Of row numbers (n), those of this rank: consecutive, and nearly as many as another's."""
        return index.tensor_split(self.size)[self.rank]

    def sum_(self, tensor: Tensor) -> None:
        """Put the sum over all ranks in the tensor's place, on every rank.

        Raises:
            Lost: another rank did not take part in time.
        """
        self.add_(tensor).wait()

    def add_(self, tensor: Tensor) -> Sent:
        """As `sum_`, while this process goes on; the tensor is to be left alone until it waited.

        Raises:
            Lost: another rank did not take part in time.
        """
        work = _or_lost(lambda: dist.all_reduce(tensor, async_op=True))
        return Sent(self, work, on_gpu=tensor.is_cuda)

    def from_first(self, value: Any) -> Any:
        """What rank 0 gives, on every rank; with tensors on the CPU.

        Raises:
            Lost: another rank did not take part in time.
        """
        values = [value]
        _or_lost(lambda: dist.broadcast_object_list(values, src=0, device=torch.device("cpu")))
        return values[0]

    def end(self) -> None:
        """Wait until every rank is done.

        Raises:
            Lost: another rank did not take part in time.
        """
        self.sum_(torch.zeros(1))
        self.started = False
        dist.destroy_process_group()

    def leave(self, why: str) -> str:
        """End early, and tell the others.

        Args:
            why: a sentence for them; empty for one who ends only since others do.

        Returns:
            Why others ended, or else who does not answer; empty where all end alike.
        """
        try:
            told, silent = within(2 * FAREWELL, lambda: self._left(why))
        except RuntimeError:  # who kept the store is gone with it
            if self.place.kept_by_agent:
                return "torchrun does not answer any more"
            told, silent = "", [0]
        return told or (_unanswered(silent) if silent else "")

    def _left(self, why: str) -> tuple[str, list[int]]:
        """What others told, and who told nothing."""
        self.store.set(f"{LEFT} {self.rank}", why)
        end = time.monotonic() + min(FAREWELL, self.timeout)
        while (silent := self._silent(LEFT)) and time.monotonic() < end:
            time.sleep(TURN)
        ended = self._farewells()
        told = _told({rank: said for rank, said in ended.items() if said not in (why, STOPPED)})
        if why != STOPPED and not silent and not told:
            told = _told(ended)
        if self.place.rank == 0 and not self.place.kept_by_agent:
            time.sleep(LOOK)  # the others read this as well
        return told, silent


def named(ranks: Sequence[int]) -> str:
    """As in "rank 1" and "ranks 0, 2"."""
    names = ", ".join(map(str, ranks))
    return f"rank {names}" if len(ranks) == 1 else f"ranks {names}"


def _told(ended: dict[int, str]) -> str:
    return "; ".join(f"rank {rank} ended: {why}" for rank, why in ended.items() if why)


def _unanswered(ranks: Sequence[int]) -> str:
    return f"{named(ranks)} {'does' if len(ranks) == 1 else 'do'} not answer"
