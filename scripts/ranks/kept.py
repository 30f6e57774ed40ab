"""The numbers in `docs/ranks`, read again, and what the model makes of them."""

import json
import math
from functools import cached_property
from pathlib import Path

import numpy as np

from manual_backprop.commands import Mistake
from scripts.ranks.model import Network, Work, fastest, fitted, step, turning_point
from scripts.speed.results import Measured, Report

COMMAND = "uv run python -m scripts.ranks"
FILE = "docs/ranks/ranks.json"
LAYERS = 3  # of the classifier
MOST = 4096  # ranks that are looked at


def _ethernet(gigabits: float, latency: float) -> Network:
    return Network(f"{gigabits:g} Gbit Ethernet", latency, gigabits * 1e9 / 8)


# What is usual, not measured. Ethernet through the kernel's TCP: 20 µs between two programs at
# 10 Gbit is measured by Hurwitz & Feng, Initial end-to-end performance evaluation of 10-Gigabit
# Ethernet (2003). NVLink, 18 links of 25 GB/s each way at an H100, and InfiniBand: the latencies of
# a ring's turn by the protocol LL128 with which NCCL chooses its algorithms, src/graph/tuning.cc.
NETWORKS = (
    _ethernet(1, 50e-6),
    _ethernet(10, 20e-6),
    _ethernet(100, 10e-6),
    Network("400 Gbit InfiniBand", 4e-6, 50e9),
    Network("NVLink", 1.9e-6, 450e9),
)


class Kept:
    """What was measured on one machine.

    Args:
        root: of a repository, with the numbers in it.

    Raises:
        Mistake: nothing was measured there, or it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.fields = json.loads((root / FILE).read_text("utf-8"))
            self.buckets = [int(bucket["bytes"]) for bucket in self.fields["buckets"]]
            self.filled_by = [int(bucket["layer"]) for bucket in self.fields["buckets"]]
            self.report = Report(self.fields)
            self.cases = list(self.report.cases.values())
        except OSError as error:
            raise Mistake(f"{root} has no {FILE}; `{COMMAND}` measures it") from error
        except (KeyError, TypeError, ValueError) as error:
            raise Mistake(f"{root / FILE} is damaged; `{COMMAND}` measures it anew") from error

    @cached_property
    def computed(self) -> list[Measured]:
        """The computation of a step, the fewest rows first."""
        return self.at_once[1]

    @cached_property
    def at_once(self) -> dict[int, list[Measured]]:
        """The same by the number of ranks that compute at the same time on one machine."""
        sizes = dict.fromkeys(case.sizes["ranks"] for case in self.cases)
        return {size: self.report.group(f"computation {size}") for size in sizes}

    @cached_property
    def races(self) -> dict[str, list[Measured]]:
        """Measured steps by what stays the same, each by the number of ranks."""
        groups = dict.fromkeys(str(case.fields["group"]) for case in self.cases)
        return {name: self.report.group(name) for name in groups if name.startswith("same ")}

    @cached_property
    def loopback(self) -> dict[int, tuple[Network, list[float]]]:
        """By the number of ranks: what lies between them, and model / measured by bytes."""
        found = {}
        for size in self.at_once:
            if not (cases := self.report.group(f"all-reduce {size}")):
                continue  # one rank has nobody to tell
            seconds = [case.opponents["gloo"].seconds for case in cases]
            sizes = [case.sizes["bytes"] for case in cases]
            found[size] = fitted(sizes, seconds, size, f"loopback, {size} ranks")
        return found

    def _curves(self, at_once: int) -> tuple[list[int], list[list[float]]]:
        cases = self.at_once[at_once]
        parts = zip(*([p.seconds for p in c.timed] for c in cases), strict=True)
        return [case.sizes["n"] for case in cases], [list(part) for part in parts]

    def work(self, rows: int, faster: float = 1.0, *, at_once: int = 1) -> Work:
        """Of a rank with so many rows: between those that were measured along straight lines.

        Args:
            rows: at least 1; beyond the most that were measured the time grows with them.
            faster: how many times as fast a rank computes as the core that was measured.
            at_once: how many ranks compute on one machine, of those numbers that were measured.
        """
        measured, curves = self._curves(at_once)
        beyond = max(1.0, rows / measured[-1])
        *before, update = (float(np.interp(rows, measured, curve)) / faster for curve in curves)
        hidden_layers, *layers = (beyond * seconds for seconds in before)
        known = [hidden_layers + sum(layers[: LAYERS + 1 - layer]) for layer in self.filled_by]
        return Work(tuple(np.diff(known, prepend=0.0).tolist()), self.buckets, update)

    def same_rows(self, rows: int, ranks: int, network: Network, faster: float = 1.0) -> float:
        """Seconds of a step in which every rank has so many rows and a core of its own."""
        return step(self.work(rows, faster), ranks, network)

    def same_batch(self, rows: int, ranks: int, network: Network, faster: float = 1.0) -> float:
        """Seconds of a step whose rows are shared by all ranks, each with a core of its own."""
        return step(self.work(math.ceil(rows / ranks), faster), ranks, network)

    def best(self, rows: int, network: Network, faster: float = 1.0) -> int:
        """The number of ranks, at most `MOST`, with which a batch's step is the shortest."""
        most = min(rows, MOST)
        return fastest(lambda ranks: self.same_batch(rows, ranks, network, faster), most)

    def turning_point(self, rows: int, network: Network) -> float:
        """By the formula, with nothing hidden."""
        per_row = sum(self.work(rows).until) / rows
        return turning_point(per_row, rows, self.buckets, network)

    def here(self, case: Measured, *, hidden: bool) -> float:
        """Seconds that the model gives for a step that was measured, all ranks on one machine."""
        ranks = case.sizes["ranks"]
        if ranks not in self.loopback:  # one, that sends nothing
            network = Network("none", 0.0, math.inf)
        else:
            network, _ = self.loopback[ranks]
        work = self.work(case.sizes["n"], at_once=ranks)
        return step(work, ranks, network, hidden=hidden)
