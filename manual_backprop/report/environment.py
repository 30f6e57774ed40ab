"""What the numbers of a report depend on."""

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import manual_backprop


def environment(devices: tuple[str, ...]) -> dict[str, Any]:
    """Versions, devices by name, threads and precision switches, ready for JSON.

    Raises:
        RuntimeError: one of the devices is not there.
    """
    return {
        "manual_backprop": manual_backprop.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "devices": {name: device_name(name) for name in devices},
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "tf32_while_judging": False,
        "reduced_precision_sums_while_judging": False,
    }


def device_name(device: str) -> str:
    """As its maker calls it.

    Raises:
        RuntimeError: it is no device, or not there.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError, StopIteration):  # Linux; there, platform knows the architecture alone
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    return platform.processor() or platform.machine()
