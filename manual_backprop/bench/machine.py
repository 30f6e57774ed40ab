"""What this machine can do at best, as measured now: arithmetic and memory traffic."""

import re
from dataclasses import dataclass

import torch

from manual_backprop.bench.case import Run
from manual_backprop.bench.measure import Work
from manual_backprop.bench.race import Pace, race
from manual_backprop.report.environment import device_name

COPIED = 64 * 10**6  # bytes, beyond most caches
PACE = Pace(turn=0.02, seconds=2.0, least=5, most=21)


@dataclass(frozen=True)
class Machine:
    """What a share of the limit is a share of.

    Attributes:
        name: the processor's.
        blas: what multiplies matrices.
        sgemm: FLOP/s of a square product in float32.
        copy: bytes read and written per second, of a copy of 64 MB.
    """

    name: str
    blas: str
    sgemm: float
    copy: float

    def share(self, work: Work, seconds: float) -> float:
        """The least time that the work takes here, over the time that it took."""
        return max(work.flops / self.sgemm, work.least_bytes / self.copy) / seconds


def measured(device: str, size: int) -> Machine:
    """Multiply (size, size) by (size, size), and copy.

    Raises:
        RuntimeError: the device is not there.
    """
    a, b = (torch.rand(size, size, device=device) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.ones(COPIED // 4, device=device)
    copy = torch.empty_like(source)
    runs = [Run(lambda: torch.mm(a, b, out=product)), Run(lambda: copy.copy_(source))]
    seconds, _ = race(runs, device, PACE)
    multiply, move = (float(column) for column in seconds.min(0))  # the machine at its best
    return Machine(device_name(device), _blas(device), 2 * size**3 / multiply, 2 * COPIED / move)


def _blas(device: str) -> str:
    if torch.device(device).type == "cuda":
        return "cuBLAS"
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return found[1] if found else "unknown"
