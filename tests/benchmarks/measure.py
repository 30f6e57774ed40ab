"""A case of `manual_backprop.bench` as one of pytest-benchmark: what it says beside its time."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from manual_backprop.bench.case import Run
from manual_backprop.bench.measure import Truth, Work, peak_extra_bytes

ROUNDS = 50  # of what writes over its inputs


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
    run: Run,
    *,
    group: str,
    how: str,
    device: str,
    truth: Truth,
    work: Work,
) -> None:
    """Time `run` once its result is right; a speed is never told of a wrong one."""
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"benchmarks do not know how to wait for {device}; give cpu or cuda")
    # pytest-benchmark calibrates on its first call, so the check warms it up as well
    run.fresh()
    results = run.call() if benchmark.enabled else benchmark(run.call)
    near = truth.closeness(results)
    assert near.right, f"{group}: a result of {how} is wrong, so it is not timed"
    del results
    if not benchmark.enabled:
        return
    run.fresh()
    benchmark.group = f"{group} on {device}"
    benchmark.extra_info |= {
        **asdict(work),
        "error": near.error,
        "allowed": near.allowed,
        "peak_extra_bytes": peak_extra_bytes(run.call, device),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if kind == "cuda" else device,
        "torch": str(torch.__version__),
    }
    call = synchronised(run, device) if kind == "cuda" else run.call
    if run.writes:
        benchmark.pedantic(call, setup=lambda: (run.fresh(), None)[1], rounds=ROUNDS)
    else:
        benchmark(call)
    ROWS.append(Row(benchmark.group, how, benchmark.stats.stats.median, benchmark.extra_info))


def synchronised(run: Run, device: str):
    """The call, which ends when the device has done its work."""

    def until_done() -> None:
        run.call()
        torch.cuda.synchronize(device)

    return until_done
