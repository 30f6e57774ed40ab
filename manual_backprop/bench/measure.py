"""What a benchmark says beside its time: values held to the budget, work, and memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from manual_backprop.judge.budget import Budget, rounding_budget

MEMORY = "[memory]"  # the profiler's name for a change of allocated memory


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
class Closeness:
    """How near the results came to what rounding allows.

    Attributes:
        error, allowed: at the entry that came nearest to its allowance, relative to the largest
            entry of its tensor.
        right: whether every entry of every result is within its allowance.
    """

    error: float
    allowed: float
    right: bool


UNLIKE = Closeness(math.inf, 0.0, right=False)  # another number of results, or another shape


class Truth:
    """What the results should be, and how far rounding may carry them.

    Args:
        function: float64 CPU tensors of the inputs' shapes -> the results.
        inputs: on the CPU.
        rows: how many rows of the inputs are taken at a time; 0 is all at once. The function must
            then give for some rows those rows of its results, or a number which is summed.
    """

    def __init__(
        self, function: Callable[..., object], inputs: Sequence[Tensor], rows: int = 0
    ) -> None:
        n = len(inputs[0])
        self.parts: list[tuple[slice, tuple[Budget, ...]]] = []
        for start in range(0, n, rows or n):
            part = slice(start, start + (rows or n))
            some = [t[part] for t in inputs] if rows else inputs
            self.parts.append((part, rounding_budget(function, some, torch.float32)))
        self.whole, self.rows = not rows, n

    def closeness(self, results: Tensor | Sequence[Tensor]) -> Closeness:
        """Hold results, on any device, to the truth; `UNLIKE` where their shapes are others."""
        results = [results] if isinstance(results, Tensor) else list(results)
        if len(results) != len(self.parts[0][1]):
            return UNLIKE
        pairs: list[tuple[Tensor, Budget]] = []
        for column, result in enumerate(results):
            budgets = [(part, found[column]) for part, found in self.parts]
            if not self.whole and budgets[0][1].truth.ndim == 0:
                truth = torch.stack([b.truth for _, b in budgets]).sum()
                allowed = torch.stack([b.allowed for _, b in budgets]).sum()
                pairs.append((result, Budget(truth, allowed)))
            elif not self.whole and result.shape[:1] != (self.rows,):
                return UNLIKE
            else:
                pairs += [(result if self.whole else result[part], b) for part, b in budgets]
        return _closeness(pairs)


def _closeness(pairs: Sequence[tuple[Tensor, Budget]]) -> Closeness:
    """Hold each result to its budget."""
    if any(result.shape != budget.truth.shape for result, budget in pairs):
        return UNLIKE
    ratios = [budget.ratio(result) for result, budget in pairs]
    result, budget = pairs[max(range(len(ratios)), key=ratios.__getitem__)]
    error = (result.detach().cpu().double() - budget.truth).abs()
    ratio = torch.where(budget.judged, error / budget.allowed, 0.0).nan_to_num(torch.inf)
    worst, size = int(ratio.argmax()), float(budget.truth.abs().max()) or 1.0
    return Closeness(
        float(error.reshape(-1)[worst]) / size,
        float(budget.allowed.reshape(-1)[worst]) / size,
        right=max(ratios) <= 1,
    )


@dataclass(frozen=True)
class Memory:
    """What a call asked the allocator for.

    Attributes:
        peak_extra_bytes: the most that tensors take at once, beyond what was taken before.
        allocated_bytes: all that was asked for, also what was given back meanwhile.
    """

    peak_extra_bytes: int
    allocated_bytes: int


def peak_extra_bytes(call: Callable[[], object], device: str) -> int:
    """The most memory that tensors take at once during `call`, beyond what was taken before."""
    return memory(call, device).peak_extra_bytes


def memory(call: Callable[[], object], device: str) -> Memory:
    """Count the bytes of one call.

    On the CPU these are sums over the allocator's events: exact, and the same each time. Scratch
    memory that a BLAS library keeps for itself is not in them.
    """
    if torch.device(device).type == "cuda":
        return _memory_on_cuda(call, device)
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as seen:  # else 2.11 warns
        call()
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == MEMORY]
    taken = peak = allocated = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        taken += change.nbytes()
        peak = max(peak, taken)
        allocated += max(change.nbytes(), 0)
    return Memory(peak, allocated)


def _memory_on_cuda(call: Callable[[], object], device: str) -> Memory:
    def allocated() -> int:
        return int(torch.cuda.memory_stats(device).get("allocated_bytes.all.allocated", 0))

    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    taken, asked = torch.cuda.memory_allocated(device), allocated()
    call()
    torch.cuda.synchronize(device)
    return Memory(torch.cuda.max_memory_allocated(device) - taken, allocated() - asked)
