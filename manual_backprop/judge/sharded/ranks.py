"""The ranks of a mesh: what they tell each other beside the collectives that are judged."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from manual_backprop.judge.verdict import first_line

COUNT = count()
THINKING = 3600.0  # seconds that the first rank may take over a call before it orders the next


class MeshError(RuntimeError):
    """The ranks of a mesh could not be started, or lost each other; the message says how."""


class Ranks:
    """The ranks of a mesh with one dimension; the first of them leads.

    They talk in groups of their own on the CPU, so that a backward which calls a collective on
    some ranks only cannot take the judge's words for the answer.

    Args:
        mesh: of this process's group.
        timeout: in seconds; so long a rank may keep the others waiting.
    """

    def __init__(self, mesh: DeviceMesh, timeout: float) -> None:
        self.mesh = mesh
        self.members = [int(rank) for rank in mesh.mesh.flatten()]
        self.size = len(self.members)
        self.rank = self.members.index(dist.get_rank())
        self.timeout = timeout
        self.made: list[dist.ProcessGroup] = []
        self.orders = self._group(self.members, max(timeout, THINKING), "gloo")
        # Who waits in a collective that another does not call tells so in time.
        self.reports = self._group(self.members, 3 * timeout, "gloo")
        # A backward that leaves a collective unfinished does so in no group of anybody else.
        self.renew()

    @property
    def leads(self) -> bool:
        """Whether this process is the first rank."""
        return self.rank == 0

    def told(self, what: Any = None) -> Any:
        """What the first rank says, on every rank.

        Raises:
            MeshError: a rank did not come in time, or is gone.
        """
        box = [what]
        with self._lost():
            dist.broadcast_object_list(box, src=self.members[0], group=self.orders)
        return box[0]

    def all(self, mine: Any) -> list[Any]:
        """What each rank says, on every rank, in their order.

        Raises:
            MeshError: as `told`.
        """
        said = [None] * self.size
        with self._lost():
            dist.all_gather_object(said, mine, group=self.reports)
        return said

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise MeshError(
                f"rank {self.rank} of {self.size} lost the others, or waited {self.timeout:g} s "
                f"for one that hangs or is gone ({first_line(error)}); look for a collective that "
                "not every rank calls, and for a loop that does not end"
            ) from error

    @cached_property
    def _alone(self) -> tuple[dist.ProcessGroup, DeviceMesh]:
        me = self.members[self.rank]
        group = self._group([me], self.timeout)
        return group, self._mesh_of(group)

    @contextmanager
    def alone(self) -> Iterator[DeviceMesh]:
        """A mesh of this rank alone, which is meanwhile all the world."""
        group, mesh = self._alone
        with _world(group):
            yield mesh

    @contextmanager
    def apart(self) -> Iterator[DeviceMesh]:
        """The mesh; where it has all the processes, it is meanwhile all the world."""
        with _world(self.mesh.get_group() if dist.get_world_size() == self.size else None):
            yield self.mesh

    def renew(self) -> None:
        """Another group for the mesh: in the one before, a collective was not finished."""
        self.mesh = self._mesh_of(self._group(self.members, self.timeout))

    def _mesh_of(self, group: dist.ProcessGroup) -> DeviceMesh:
        return DeviceMesh.from_group(group, self.mesh.device_type, mesh_dim_names=(_new_name(),))

    def close(self) -> None:
        """Give the groups back that were made here."""
        for group in self.made:
            with suppress(RuntimeError, ValueError, AssertionError):
                dist.destroy_process_group(group)

    def _group(
        self, members: list[int], timeout: float, backend: str | None = None
    ) -> dist.ProcessGroup:
        """A group that only its members have to ask for."""
        group: Any = dist.new_group(
            members, timedelta(seconds=timeout), backend, use_local_synchronization=True
        )
        self.made.append(group)
        return group  # type: ignore[no-any-return]


@contextmanager
def _world(group: dist.ProcessGroup | None) -> Iterator[None]:
    """Another group in place of all processes, where one is given."""
    holder: Any = dist.distributed_c10d.GroupMember
    world = holder.WORLD
    holder.WORLD = group or world
    try:
        yield
    finally:
        holder.WORLD = world


def start_mesh(device: str, size: int) -> DeviceMesh:
    """A mesh of all ranks of this process's group.

    Raises:
        ValueError: the group has another number of ranks.
    """
    world = dist.get_world_size()
    if world != size:
        raise ValueError(
            f"mesh is {size}, and this process is one of a group of {world}; give mesh={world}, "
            "or the DeviceMesh itself"
        )
    return DeviceMesh(torch.device(device).type, list(range(size)), mesh_dim_names=(_new_name(),))


def _new_name() -> str:
    """DTensor takes meshes of equal ranks and names for one, and remembers the first."""
    return f"made_{next(COUNT)}"
