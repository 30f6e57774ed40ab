"""The time of a data-parallel step: what a rank computes, and what of its messages is not hidden.

    all-reduce  t(m) = 2 (p - 1) α + 2 (p - 1) / p · m / β      m bytes over a ring of p ranks
    arrived     s_k = max(s_{k-1}, r_k) + t(m_k)                bucket k is ready at r_k
    step        T = max(s_K, r_K) + update

A ring sends p - 1 pieces of m / p bytes while it sums, and as many while it tells the sums; a piece
takes the latency α and its bytes at the bandwidth β. Buckets go one after the other, each while the
next layer's gradients are computed; the update waits for all.

Source: Thakur, Rabenseifner & Gropp, Optimization of collective communication operations in MPICH
    (2005), section 2 on the cost of a message; Patarasu & Yuan, Bandwidth optimal all-reduce
    algorithms for clusters of workstations (2009), on the ring
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """What lies between the ranks; each sends and receives at the same time.

    Attributes:
        name: as tables call it.
        latency: seconds of a message without bytes, α.
        bandwidth: bytes per second, β.
    """

    name: str
    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Work:
    """What one rank does in a step.

    Attributes:
        until: seconds of computation until each bucket is ready, each counted from the one before.
        sizes: bytes of each bucket, in the order of sending.
        update: seconds that the update takes.
    """

    until: Sequence[float]
    sizes: Sequence[float]
    update: float

    @property
    def seconds(self) -> float:
        """Of computation, with the update."""
        return sum(self.until) + self.update


def all_reduce(size: float, ranks: int, network: Network) -> float:
    """Seconds until every rank has the sum of so many bytes; none for one rank."""
    pieces = 2 * (ranks - 1)
    return pieces * network.latency + pieces * size / ranks / network.bandwidth


def messages(work: Work, ranks: int, network: Network) -> float:
    """Seconds of all buckets' sums, one after the other."""
    return sum(all_reduce(size, ranks, network) for size in work.sizes)


def step(work: Work, ranks: int, network: Network, *, hidden: bool = True) -> float:
    """Seconds of one step.

    Args:
        work: of the rank that has the most rows.
        ranks: how many share the batch.
        network: between them.
        hidden: whether messages travel while the rank computes, as over a network card that needs
            no core. Else the first is sent after the last gradient is found.
    """
    now: float = 0
    arrived = 0 if hidden else sum(work.until)
    for seconds, size in zip(work.until, work.sizes, strict=True):
        now += seconds
        arrived = max(arrived, now) + all_reduce(size, ranks, network)
    return max(now, arrived) + work.update


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """The number of ranks, from 1 to `most`, whose step is the shortest; of equal ones the fewest.

    Args:
        seconds: ranks -> the seconds of a step.
        most: a number of ranks.
    """
    return min(range(1, most + 1), key=seconds)


def turning_point(per_row: float, rows: int, sizes: Sequence[float], network: Network) -> float:
    """The number of ranks beyond which a batch's step grows again, where nothing is hidden.

        T(p) = c N / p + 2 K (p - 1) α + 2 (p - 1) / p · M / β + const,   dT/dp = 0
        p* = √((c N - 2 M / β) / (2 K α))

    Args:
        per_row: c, seconds of computation for each row.
        rows: N, of the whole batch.
        sizes: bytes of the K buckets, M together.
        network: between the ranks.

    Returns:
        p*, at least 1: where the bytes take longer than the computation, one rank is the fastest.
    """
    left = per_row * rows - 2 * sum(sizes) / network.bandwidth
    if left <= 0:
        return 1.0
    turns = 2 * len(sizes) * network.latency
    return max(1.0, math.sqrt(left / turns)) if turns else math.inf


def fitted(
    sizes: Sequence[float], seconds: Sequence[float], ranks: int, name: str
) -> tuple[Network, list[float]]:
    """The network whose all-reduce is nearest to what was measured, in ratio.

    Least squares of measured / model - 1 to first order, which are those of its logarithm:
    minimise Σ ((a 2(p-1) + b 2(p-1)/p m - t) / t)² over a = α and b = 1/β, neither below 0.

    Args:
        sizes: bytes, at least two different numbers of them.
        seconds: measured for each.
        ranks: at least 2.
        name: of the network.

    Returns:
        The network, and model / measured for each size.
    """
    import numpy as np

    turns = 2.0 * (ranks - 1)
    t = np.asarray(seconds)
    columns = np.stack([np.full(len(t), turns) / t, turns / ranks * np.asarray(sizes) / t], 1)
    found, *_ = np.linalg.lstsq(columns, np.ones(len(t)), rcond=None)
    for one, other in ((0, 1), (1, 0)):
        if found[one] < 0:  # then the best that is not has it at 0, and the other alone is fitted
            alone = columns[:, other]
            found[one], found[other] = 0.0, alone.sum() / (alone @ alone)
    latency, per_byte = map(float, found)
    network = Network(name, latency, 1 / per_byte if per_byte else math.inf)
    model = [all_reduce(size, ranks, network) for size in sizes]
    return network, [found / taken for found, taken in zip(model, seconds, strict=True)]
