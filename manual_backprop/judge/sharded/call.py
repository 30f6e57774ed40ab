"""One call of a backward on every rank of a mesh, and what each rank holds afterwards."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_leaves

from manual_backprop.judge.memory import memory
from manual_backprop.judge.result import flat_named
from manual_backprop.judge.sharded.by_hand import by_hand, kernels_own, unsupported, waited
from manual_backprop.judge.sharded.cut import Cut, share
from manual_backprop.judge.sharded.ranks import Ranks
from manual_backprop.judge.trial import passed_on
from manual_backprop.judge.verdict import error_at


@dataclass(frozen=True)
class Call:
    """What to call a backward with: whole tensors on the CPU, and how to cut them.

    Attributes:
        given: every argument by name, `out` and `grad_out`, of the point's shapes.
        options: the forward's, of this sample.
        cut: how the tensors are sharded.
        device: of the mesh, as in "cuda".
        wrt: how many arguments get a gradient.
        alone: whether each rank calls it alone, on a mesh of its own.
    """

    given: dict[str, Any]
    options: dict[str, Any]
    cut: Cut
    device: str
    wrt: int
    alone: bool = False


@dataclass(frozen=True)
class Head:
    """What one rank says of one result; equal on all ranks where they agree.

    Attributes:
        kind: "DTensor", or the type that it is in its place.
        placements: as DTensor writes them.
        shape: of the whole tensor.
        dtype: its name.
        own_mesh: whether it lies on the mesh of the arguments.
    """

    kind: str
    placements: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    own_mesh: bool = True


@dataclass(frozen=True)
class Report:
    """What one rank tells of its call.

    Attributes:
        error: what it raised, with the line; empty where it did not.
        inside: whether torch raised it in a backward that works on DTensors throughout.
        unsupported: whether DTensor says that it cannot do this, or has lost a shape by itself.
        waited: whether it waited for another rank in vain.
        heads: of its results.
        misfits: for each result what is wrong with the shape of this rank's part, or nothing.
        changed: names of the arguments that were written to.
        parts, wholes: this rank's part of each gradient, and what `full_tensor()` makes of all
            parts; none where the ranks do not agree.
    """

    error: str = ""
    inside: bool = False
    unsupported: bool = False
    waited: bool = False
    heads: tuple[Head, ...] = ()
    misfits: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    parts: tuple[Tensor, ...] = ()
    wholes: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came of a call: each rank's report, and the result itself on this rank."""

    reports: list[Report]
    result: Any = None

    @property
    def sound(self) -> bool:
        """Whether every rank holds the parts of the same DTensors."""
        return _sound(self.reports)

    @property
    def alike(self) -> bool:
        """Whether all ranks or none raised, and none waited for another in vain."""
        return len({bool(report.error) for report in self.reports}) == 1 and not any(
            report.waited for report in self.reports
        )

    @property
    def culprit(self) -> int:
        """The first rank that raised something of its own, or else the first that raised."""
        raised = [rank for rank, report in enumerate(self.reports) if report.error]
        return next((rank for rank in raised if not self.reports[rank].waited), raised[0])

    @property
    def refused(self) -> str:
        """What DTensor does not support, where that and not the backward is at fault."""
        if any(report.error for report in self.reports):
            report = self.reports[self.culprit]
            own = report.unsupported or (report.inside and not (self.alike or report.waited))
            return report.error if own else ""
        misfits = [said for report in self.reports if report.unsupported for said in report.misfits]
        lost = next(filter(None, misfits), "")
        return f"a tensor that it computed itself fits no placement, for {lost}" if lost else ""


def perform(backward: Callable[..., Any], call: Call, ranks: Ranks) -> Answer:
    """Call a backward on all ranks; each of them has to call this.

    Raises:
        MeshError: a rank did not come in time, or is gone.
    """
    with ranks.alone() if call.alone else ranks.apart() as mesh:
        rank = 0 if call.alone else ranks.rank
        mine, result = _called(backward, call, mesh, rank)
        heads = [mine] if call.alone else ranks.all(mine)
        results = tree_leaves(result)
        if _sound(heads):
            wholes, error = _whole(results)
            parts = tuple(_cpu(result.to_local()) for result in results)
            mine = replace(mine, error=error, parts=parts, wholes=wholes)
            heads = [mine] if call.alone else ranks.all(mine)
    answer = Answer(heads, result)
    if not answer.alike:
        ranks.renew()
    return answer


def _called(
    backward: Callable[..., Any], call: Call, mesh: DeviceMesh, rank: int
) -> tuple[Report, Any]:
    given = {name: _laid_out(name, value, call, mesh) for name, value in call.given.items()}
    needs = (True,) * call.wrt
    arguments = {"steps": passed_on, "needs": needs, **given, **call.options}
    asked = signature(backward).parameters
    before = _memories(given)
    try:
        with torch.no_grad(), by_hand(backward) as parts:
            result = backward(**{n: value for n, value in arguments.items() if n in asked})
    except Exception as error:
        return Report(
            error_at(error, backward),
            inside=not parts and kernels_own(error),
            unsupported=unsupported(error),
            waited=waited(error),
        ), None
    after = _memories(given)
    changed = tuple(name for name in before if after[name] != before[name])
    leaves = tree_leaves(result)
    heads = tuple(_head(leaf, mesh) for leaf in leaves)
    misfits = tuple(_misfit(leaf, mesh, rank) for leaf in leaves)
    own = any(misfits) and not parts
    return Report(heads=heads, misfits=misfits, changed=changed, unsupported=own), result


def _laid_out(name: str, value: Any, call: Call, mesh: DeviceMesh) -> Any:
    def one(tensor: Tensor, dim: int | None) -> DTensor:
        here = tensor.to(call.device).clone()
        # Every rank was given the same whole tensor, so nothing has to be sent.
        return distribute_tensor(here, mesh, [call.cut.placement(dim)], src_data_rank=None)

    dims = call.cut.dims[name]
    return tuple(map(one, value, dims)) if isinstance(value, tuple) else one(value, dims)


def _memories(given: dict[str, Any]) -> dict[str, Any]:
    return {name: memory(tensor.to_local()) for name, tensor in flat_named(given)}  # type: ignore[attr-defined]


def _head(value: Any, mesh: DeviceMesh) -> Head:
    if not isinstance(value, DTensor):
        return Head("Tensor" if isinstance(value, Tensor) else type(value).__name__)
    shape, dtype = tuple(value.shape), str(value.dtype)
    return Head("DTensor", str(value.placements), shape, dtype, value.device_mesh == mesh)


def _misfit(value: Any, mesh: DeviceMesh, rank: int) -> str:
    """What is wrong with the shape of this rank's part, as its placement has it."""
    if not isinstance(value, DTensor) or value.device_mesh != mesh:
        return ""
    (placement,) = value.placements
    due, has = tuple(value.shape), tuple(value.to_local().shape)
    if placement.is_shard():
        shape = torch.empty(due, device="meta")
        with suppress(AttributeError, IndexError):
            due = tuple(share(shape, placement.dim, mesh.size(), rank).shape)  # type: ignore[attr-defined]
    return "" if has == due else f"rank {rank} holds {has} of a {tuple(value.shape)}, not {due}"


def _sound(reports: list[Report]) -> bool:
    first = reports[0]
    return (
        not any(report.error or any(report.misfits) for report in reports)
        and all(report.heads == first.heads for report in reports)
        and all(head.kind == "DTensor" and head.own_mesh for head in first.heads)
    )


def _whole(results: list[Any]) -> tuple[tuple[Tensor, ...], str]:
    try:
        return tuple(_cpu(result.full_tensor()) for result in results), ""
    except Exception as error:
        return (), f"full_tensor() raised {error_at(error, _whole)}"


def _cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone()
