"""What a benchmark says beside its time: values held to the budget, work, and memory."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from manual_backprop.judge.budget import Budget


@dataclass(frozen=True)
class Work:
    """What the formula asks for, however it is computed.

    Attributes:
        flops: additions and multiplications; of matrix products alone, where there are any.
        least_bytes: every operand read once, every result written once.
    """

    flops: int
    least_bytes: int


@dataclass(frozen=True)
class Row:
    """One timed case: its group, which opponent it is, seconds, and what was said beside."""

    group: str
    how: str
    median: float
    info: dict[str, Any]


ROWS: list[Row] = []  # what the summary at the end of the run shows


def timed(
    benchmark,
    call: Callable[[], Tensor | tuple[Tensor, ...]],
    *,
    group: str,
    how: str,
    device: str,
    truth: Sequence[Budget],
    work: Work,
) -> None:
    """Time `call` once its result is right; a speed is never told of a wrong one."""
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"benchmarks do not know how to wait for {device}; give cpu or cuda")
    # pytest-benchmark calibrates on its first call, so the check warms it up as well
    results = call() if benchmark.enabled else benchmark(call)
    results = (results,) if isinstance(results, Tensor) else results
    for result, budget in zip(results, truth, strict=True):
        assert budget.ratio(result) <= 1, f"{group}: a gradient is wrong, so it is not timed"
    if not benchmark.enabled:
        return
    benchmark.group = f"{group} on {device}"
    benchmark.extra_info |= {
        **asdict(work),
        **_closest(results, truth),
        "peak_extra_bytes": peak_extra_bytes(call, device),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if kind == "cuda" else device,
        "torch": str(torch.__version__),
    }
    del results
    benchmark(synchronised(call, device) if kind == "cuda" else call)
    ROWS.append(Row(benchmark.group, how, benchmark.stats.stats.median, benchmark.extra_info))


def compiled(function: Callable[..., Tensor], benchmark) -> Callable[..., Tensor]:
    """The function compiled where it is timed; a plain run need not wait for a compiler."""
    return torch.compile(function) if benchmark.enabled else function


def loss_and_gradients(
    loss: Callable[..., Tensor], leaves: Sequence[Tensor], *rest: Tensor
) -> tuple[Tensor, ...]:
    """A loss of leaves and of the rest, one number, and by autograd its gradients of the leaves."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    out = loss(*leaves, *rest)
    return out.detach(), *torch.autograd.grad(out, leaves)


def synchronised(call: Callable[[], object], device: str) -> Callable[[], None]:
    """`call`, which ends when the device has done its work."""

    def until_done() -> None:
        call()
        torch.cuda.synchronize(device)

    return until_done


def peak_extra_bytes(call: Callable[[], object], device: str) -> int:
    """The most memory that tensors take at once during `call`, beyond what was taken before.

    On the CPU this is the running sum of the allocator's events: exact, and the same each time.
    Scratch memory that a BLAS library keeps for itself is not in it.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as seen:  # else 2.11 warns
        call()
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == MEMORY]
    taken = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        taken += change.nbytes()
        peak = max(peak, taken)
    return peak


MEMORY = "[memory]"  # the profiler's name for a change of allocated memory


def _closest(results: Sequence[Tensor], truth: Sequence[Budget]) -> dict[str, float]:
    """Error and allowance of the gradient that comes closest to its allowance.

    Both at the entry with the largest error, relative to the gradient's largest entry.
    """
    result, budget = max(zip(results, truth, strict=True), key=lambda pair: pair[1].ratio(pair[0]))
    error = (result.detach().cpu().double() - budget.truth).abs()
    ratio = torch.where(budget.judged, error / budget.allowed, 0.0)
    worst, size = int(ratio.argmax()), float(budget.truth.abs().max())
    return {
        "error": float(error.reshape(-1)[worst]) / size,
        "allowed": float(budget.allowed.reshape(-1)[worst]) / size,
    }
