"""The judge's one door: every backward of an operator, on the whole grid."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import index
from textwrap import shorten
from typing import Any, Literal

import torch

from manual_backprop.judge import asked
from manual_backprop.judge.draw import LAYOUTS, axes, resized
from manual_backprop.judge.exercised import watched
from manual_backprop.judge.point import check_size
from manual_backprop.judge.trial import Backward
from manual_backprop.judge.verdict import Verdict, first_line
from manual_backprop.judge.walk import Walk
from manual_backprop.op import BadOp, Op, check_backward

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SEEDS = (0, 1)
PARTS = ("forward", "slopes", "values", "promises", "meta", "made")
TRIES = ("values", "promises", "made")  # the parts that together call a backward in every way


def verify(
    op: Op,
    backward: Backward | None = None,
    *,
    dtypes: Sequence[torch.dtype] | torch.dtype = DTYPES,
    devices: Sequence[str | torch.device] | str | torch.device = ("cpu",),
    seeds: Sequence[int] | int = SEEDS,
    kinks: Literal["note", "reject"] = "note",
    samples: Sequence[str] | str | None = None,
    sizes: Mapping[str, int] | None = None,
    layouts: Sequence[str] | str = LAYOUTS,
    parts: Sequence[str] | str = PARTS,
    causes: bool = True,
    progress: Callable[[], None] = lambda: None,
) -> Verdict:
    """Hold an operator's backwards to the truth and to all that a backward promises.

    Args:
        op: the operator.
        backward: one function in place of `op.backwards`; it may be one that the operator does
            not list.
        dtypes: floating dtypes of the inputs, or one.
        devices: as in "cpu" and "cuda", or one; the truth is always computed on the CPU.
        seeds: each draws every sample anew; or one.
        kinks: what another slope than PyTorch's exactly on a kink is. For the operators of this
            package, and where the oracle is a function of PyTorch, it is wrong in any case.
        samples: names of the operator's samples, or one; all of them by default.
        sizes: axis sizes, 0 and 1 included, in place of the samples' own; each sample takes those
            of its axes. What the judge makes itself (the part "made") keeps its sizes. A size that
            the oracle refuses accuses nobody: a note says that nothing was judged there.
        layouts: of LAYOUTS, one or several, how the tensors lie in memory.
        parts: of PARTS, one or several: the forward against the oracle; slopes against autograd;
            values in every layout; promises; shapes on meta tensors, which have no numbers; values
            on inputs that the judge makes itself.
        causes: whether to look for the cause of a wrong value; quicker without, and its code is
            then "unknown", or "kink" where it is on one.
        progress: called after each backward x sample x dtype x device.

    Raises:
        BadOp: the operator or the backward cannot be judged as it is written.
        ValueError: an argument names something that is not there.

    >>> verify(OP).ok
    True
    """
    if not isinstance(op, Op):
        raise BadOp(f"verify takes an Op, not {type(op).__name__}; wrap the functions in Op(...)")
    if backward is not None:
        check_backward(op, backward)
    walk = Walk(op, op.backwards if backward is None else (backward,), kinks, causes=causes)
    names = {
        what: asked.several("verify", what, given, asked.name)
        for what, given in (
            ("samples", tuple(op.samples) if samples is None else samples),
            ("layouts", layouts),
            ("parts", parts),
        )
    }
    chosen, layouts, parts = names["samples"], names["layouts"], names["parts"]
    for what, wanted, known in (
        ("sample", chosen, tuple(op.samples)),
        ("layout", layouts, LAYOUTS),
        ("part", parts, PARTS),
        ("kinks", (kinks,), ("note", "reject")),
    ):
        if not wanted:
            raise ValueError(f"verify: no {what} is given; there are {', '.join(known)}")
        for name in wanted:
            if name not in known:
                raise ValueError(f"verify: no {what} {name!r}; there are {', '.join(known)}")
    dtypes, devices, seeds = checked_grid("verify", dtypes, devices, seeds)
    asked_sizes = _checked_sizes(op, chosen, {} if sizes is None else sizes)
    variants = [resized(op, sample, asked_sizes) for sample in chosen]
    for variant in variants:
        check_size(op, variant)
    house = "manual_backprop."  # which its own tests watch
    own = {b.__name__: b for b in walk.backwards if not str(b.__module__).startswith(house)}
    whole = {*op.samples} == {*chosen} and not asked_sizes and {*TRIES} <= {*parts}
    with (
        watched(own if whole else {}) as exercised,
        exact_products(),
        fixed_order(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of an empty batch, say, which the author did not ask for
        for variant in variants:
            for dtype in dtypes:
                for device in devices:
                    walk.sample(variant, dtype, device, seeds, layouts, parts, progress)
    walk.verdict.notes += [n for n in exercised.notes() if not walk.verdict.of(n.backward)]
    return walk.verdict


def _checked_sizes(op: Op, samples: Sequence[str], sizes: Any) -> dict[str, int]:
    if not isinstance(sizes, Mapping):
        raise ValueError(
            f"verify: sizes is {sizes!r}, not a mapping of axes to sizes; as in sizes={{'n': 3}}"
        )
    known = dict.fromkeys(axis for sample in samples for axis in axes(op, sample))
    checked = {}
    for axis, size in sizes.items():
        if axis not in known:
            raise ValueError(f"verify: no axis {axis!r}; there are {', '.join(known) or 'none'}")
        whole = hasattr(size, "__index__") and not isinstance(size, bool)
        if not whole or index(size) < 0:
            raise ValueError(
                f"verify: the axis {axis!r} cannot be {size!r} long; give 0, 1, 2, ..."
            )
        checked[axis] = index(size)
    return checked


def checked_grid(
    door: str, dtypes: Any, devices: Any, seeds: Any
) -> tuple[tuple[torch.dtype, ...], tuple[str, ...], tuple[int, ...]]:
    """Dtypes, devices that are there, and seeds: each as a tuple that is not empty.

    Raises:
        ValueError: one is nothing of the kind, or not there.
    """
    grid = (
        asked.several(door, "dtypes", dtypes, asked.dtype),
        asked.several(door, "devices", devices, asked.device),
        asked.several(door, "seeds", seeds, asked.seed),
    )
    for what, given in zip(("dtypes", "devices", "seeds"), grid, strict=True):
        if not given:
            raise ValueError(f"{door}: {what} is empty, so there is nothing to judge")
    for device in grid[1]:
        check_device(device)
    return grid


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        ValueError: with what is there.
    """
    try:
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        there = ", ".join(available_devices())
        raise ValueError(
            f"device {device!r} is not there ({shorten(first_line(error), 200)}); there is {there}"
        ) from error


def available_devices() -> tuple[str, ...]:
    """The devices that join the grid by themselves."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


@contextmanager
def exact_products() -> Iterator[None]:
    """TF32 and reduced-precision sums off; afterwards as they were."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    switches: list[tuple[Any, str, Any]] = [
        (matmul, "allow_fp16_reduced_precision_reduction", False),
        (matmul, "allow_bf16_reduced_precision_reduction", False),
    ]
    # PyTorch refuses to have its older switches for TF32 mixed in.
    owners = (matmul, getattr(cudnn, "conv", None))
    switches += [(o, "fp32_precision", "ieee") for o in owners if hasattr(o, "fp32_precision")]
    before = [getattr(owner, name) for owner, name, _ in switches]
    for owner, name, off in switches:
        setattr(owner, name, off)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


@contextmanager
def fixed_order() -> Iterator[None]:
    """PyTorch's own sums in one order, where it has such a kernel; afterwards as it was.

    On a GPU, and on the CPU in several threads, index_add_ and its like otherwise add up in the
    order in which threads come by, and no call would be the same to the bit as the one before.
    """
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")  # what torch.use_deterministic_algorithms does,
    try:  # without importing its compiler (3 s)
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
