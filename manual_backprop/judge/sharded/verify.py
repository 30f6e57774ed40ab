"""The door to the judge on a device mesh."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from manual_backprop.judge import asked
from manual_backprop.judge.draw import ARTICLE, Variant
from manual_backprop.judge.draw import axes as axes_of
from manual_backprop.judge.point import check_size
from manual_backprop.judge.sharded.call import Call, perform
from manual_backprop.judge.sharded.lead import Lead
from manual_backprop.judge.sharded.ranks import MeshError, Ranks, start_mesh
from manual_backprop.judge.trial import Backward, plain_ones
from manual_backprop.judge.verdict import Verdict
from manual_backprop.judge.verify import DTYPES, exact_products, fixed_order
from manual_backprop.op import BadOp, Op, check_backward

DAY = 86400.0
MOST = 32  # ranks, each a process with a torch of its own
PATIENCE = 15.0  # seconds that one rank may keep the others waiting


def verify_sharded(
    op: Op,
    backward: Backward | None = None,
    *,
    mesh: DeviceMesh | int = 2,
    dtypes: Sequence[torch.dtype] | torch.dtype = DTYPES,
    device: str | torch.device = "cpu",
    seeds: Sequence[int] | int = (0,),
    samples: Sequence[str] | str | None = None,
    axes: Sequence[str] | str | None = None,
    causes: bool = True,
    timeout: float = PATIENCE,
    progress: Callable[[], None] = lambda: None,
) -> Verdict:
    """Hold a backward on sharded DTensors to the dense float64 gradient.

    Each axis of each sample in turn is sharded over the ranks, at lengths that give uneven shares,
    even ones, and some ranks none: what has this axis is `Shard` along it and everything else
    `Replicate`. Of `lin`, with x (n, i) and w (i, o), that makes n data-parallel, o column and i
    row sharding. The gradients have to be DTensors on that mesh, of the arguments' shapes and
    dtypes; each rank has to hold what the placement says, whole after `full_tensor()` and within
    the budget of rounding; and nothing given may be written to.

    Args:
        op: the operator.
        backward: one function in place of the first of `op.backwards` that writes in no place.
        mesh: a DeviceMesh of one dimension: then every rank of it has to call this alike, and gets
            the same verdict. Or a number of ranks: in a process group of so many, all of them; else
            so many processes are started on this machine, and what they need of `op` is sent there.
        dtypes: floating dtypes of the inputs, or one.
        device: "cpu" or "cuda", where `mesh` is a number.
        seeds: each draws every sample anew; or one.
        samples: names of the operator's samples, or one; all but "article" by default.
        axes: names of the axes to shard, or one; all by default.
        causes: whether to look for the reduction that is missing or too much.
        timeout: in seconds; so long a rank may keep the others waiting in a collective.
        progress: called on the first rank after each sample x axis x length x dtype.

    Raises:
        BadOp: the operator or the backward cannot be judged as it is written.
        ValueError: an argument names something that is not there.
        MeshError: the ranks could not be started, or lost each other.

    >>> verify_sharded(OP, mesh=2).ok
    True
    """
    if not isinstance(op, Op):
        raise BadOp(f"verify_sharded takes an Op, not {type(op).__name__}")
    if backward is not None:
        check_backward(op, backward)
    backward = plain(op, backward)
    device = asked.single("verify_sharded", "device", device, asked.device)
    grid: dict[str, Any] = {
        "dtypes": asked.several("verify_sharded", "dtypes", dtypes, asked.dtype),
        "seeds": asked.several("verify_sharded", "seeds", seeds, asked.seed),
        "samples": _samples(op, samples), "axes": _axes(op, axes), "causes": causes,
    }  # fmt: skip
    for what in ("dtypes", "seeds", "samples", "axes"):
        if grid[what] == ():
            raise ValueError(f"verify_sharded: {what} is empty, so there is nothing to judge")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= DAY:
        raise ValueError(f"verify_sharded: timeout is {timeout!r}; give seconds, {DAY:g} at most")
    check_mesh(mesh, device)
    if isinstance(mesh, int):
        if not dist.is_initialized():
            from manual_backprop.judge.sharded.start import judged

            (verdict,) = judged(
                [(op, backward)], mesh, device=device, timeout=timeout, progress=progress, **grid
            )
            return verdict
        mesh = start_mesh(device, mesh)
    return on_ranks(op, backward, mesh, timeout=timeout, progress=progress, **grid)


def on_ranks(
    op: Op,
    backward: Backward | None,
    mesh: DeviceMesh,
    *,
    dtypes: Sequence[torch.dtype],
    seeds: Sequence[int],
    samples: Sequence[str],
    axes: Sequence[str] | None = None,
    causes: bool = True,
    timeout: float,
    progress: Callable[[], None],
) -> Verdict:
    """`verify_sharded` on every rank of a mesh, once what it was given is checked.

    Raises:
        BadOp, MeshError: as `verify_sharded`.
    """
    backward = plain(op, backward)
    ranks = Ranks(mesh, timeout)
    try:
        with exact_products(), fixed_order(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not ranks.leads:
                return _follow(backward, ranks)
            end: Verdict | Exception
            try:
                lead = Lead(op, backward, ranks, causes=causes)
                end = lead.walk(samples, axes, dtypes, seeds, progress)
            except MeshError:
                raise
            except Exception as error:
                end = error
            ranks.told(end)
            if isinstance(end, Exception):
                raise end
            return end
    finally:
        ranks.close()


def _follow(backward: Backward, ranks: Ranks) -> Verdict:
    """What every rank but the first does: it calls when it is told to, until the verdict comes."""
    while isinstance(told := ranks.told(), Call):
        perform(backward, told, ranks)
    if isinstance(told, Exception):
        raise told
    return told  # type: ignore[no-any-return]


def plain(op: Op, backward: Backward | None = None) -> Backward:
    """The backward itself, or else the operator's first that returns tensors of its own.

    Raises:
        BadOp: there is none.
    """
    chosen = op if backward is None else replace(op, backwards=(backward,))
    if found := plain_ones(chosen):
        return found[0]
    names = ", ".join(one.__name__ for one in chosen.backwards)
    raise BadOp(
        f"{op.name}: on a mesh backwards are judged that return tensors of their own, and not "
        f"{names}, which writes into what it is given or computes the forward as well"
    )


def check_mesh(mesh: DeviceMesh | int, device: str) -> None:
    """Refuse a mesh that cannot be judged on.

    Raises:
        ValueError: with what can.
    """
    if not dist.is_available() or not dist.is_gloo_available():
        raise ValueError("a mesh needs torch.distributed with gloo, and this torch is without")
    if isinstance(mesh, DeviceMesh):
        if mesh.ndim != 1:
            raise ValueError(
                f"the mesh has {mesh.ndim} dimensions; give one of them, as in mesh['dp']"
            )
        size, device = mesh.size(), "cpu"  # its GPUs are there, or it would not be
    else:
        size = mesh
    if not isinstance(size, int) or isinstance(size, bool) or size < 2:
        raise ValueError(f"a mesh of {size!r} shards nothing; give 2 ranks or more")
    if size > MOST and not isinstance(mesh, DeviceMesh) and not dist.is_initialized():
        raise ValueError(f"a mesh of {size} would be as many processes; give {MOST} at most")
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"no mesh of {device!r}; there are cpu and cuda")
    if kind == "cuda" and (there := torch.cuda.device_count()) < size:
        raise ValueError(
            f"{size} ranks need {size} GPUs, one each, and there {'is' if there == 1 else 'are'} "
            f"{there}; --device cpu needs none"
        )


def _samples(op: Op, samples: Sequence[str] | str | None) -> tuple[str, ...]:
    if samples is None:
        samples = tuple(s for s in op.samples if s != ARTICLE)
    chosen = asked.several("verify_sharded", "samples", samples, asked.name)
    for name in chosen:
        if name not in op.samples:
            there = ", ".join(op.samples)
            raise ValueError(f"verify_sharded: no sample {name!r}; there are {there}")
        check_size(op, Variant(name))
    return chosen


def _axes(op: Op, axes: Sequence[str] | str | None) -> tuple[str, ...] | None:
    if axes is None:
        return None
    chosen = asked.several("verify_sharded", "axes", axes, asked.name)
    known = dict.fromkeys(axis for sample in op.samples for axis in axes_of(op, sample))
    for axis in chosen:
        if axis not in known:
            there = ", ".join(known) or "none"
            raise ValueError(f"verify_sharded: no axis {axis!r}; there are {there}")
    return chosen
