"""What a rank does when it is asked: steps, sums or parts of a step, timed.

All are called as `Ranks` calls them, with the rank's world first and on all ranks at once.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from manual_backprop.bench.cases.training_step import LR
from manual_backprop.training.data_parallel import DataParallelStep
from manual_backprop.training.place import Alone
from manual_backprop.training.step import Step
from manual_backprop.training.world import World
from scripts.speed.ladder import STEP

NET = {name: size for name, size in STEP.sizes.items() if name != "n"}
PARTS = ("hidden layers", "loss, layer 3", "layer 2", "layer 1", "update")
HAND, DDP, ONE = "by hand", "DDP, autograd", "by hand, one process"

Learn = Callable[[Tensor, Tensor], Tensor]


def _hand(world: World, weights: list[Tensor], rows: int) -> Learn:
    optimizer = torch.optim.SGD(weights, LR, fused=True)
    return DataParallelStep(weights, rows, optimizer=optimizer, world=world)


def _one(world: World, weights: list[Tensor], rows: int) -> Learn:  # noqa: ARG001
    return Step(weights, rows, lr=LR)


def _ddp(world: World, weights: list[Tensor], rows: int) -> Learn:  # noqa: ARG001
    layers: list[nn.Module] = []
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        linear = nn.Linear(w.shape[1], w.shape[0], device="meta")
        linear.weight, linear.bias = nn.Parameter(w), nn.Parameter(b)
        layers += [linear, nn.ReLU()]
    network = DistributedDataParallel(nn.Sequential(*layers[:-1]), gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(network.parameters(), LR, fused=True)

    def learn(x: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return learn


ENGINES = {HAND: _hand, DDP: _ddp, ONE: _one}


@dataclass(frozen=True)
class _Learner:
    """An engine with its rows of one batch; `fresh` puts its weights back as they were drawn."""

    learn: Callable[[], Tensor]
    fresh: Callable[[], None]
    weights: list[Tensor]


@cache
def _learner(world: World, engine: str, rows: int) -> _Learner:
    x, target, *start = STEP.inputs({"n": rows * world.size, **NET})
    mine = world.part(torch.arange(len(x)))
    x, target = x[mine], target[mine]
    weights = [weight.clone() for weight in start]
    step = ENGINES[engine](world, weights, rows)

    def fresh() -> None:
        with torch.no_grad():
            for weight, first in zip(weights, start, strict=True):
                weight.copy_(first)

    return _Learner(lambda: step(x, target), fresh, weights)


@contextmanager
def _undisturbed(world: World) -> Iterator[None]:
    """All ranks begin together, and nobody's memory is tidied meanwhile."""
    gc.disable()
    try:
        world.sum_(torch.zeros(1))
        yield
    finally:
        gc.enable()


def steps(world: World, engine: str, rows: int, count: int) -> float:
    """Seconds of one step, of so many in a row after one that is not counted.

    Args:
        world: this rank's.
        engine: of ENGINES.
        rows: of each rank.
        count: at least 1.
    """
    learner = _learner(world, engine, rows)
    learner.fresh()
    learner.learn()
    with _undisturbed(world):
        begin = time.perf_counter()
        for _ in range(count):
            learner.learn()
        return (time.perf_counter() - begin) / count


def sums(world: World, size: int, count: int) -> float:
    """Seconds of one all-reduce of so many bytes in float32, of so many in a row."""
    tensor = torch.zeros(size // 4)
    world.sum_(tensor)
    with _undisturbed(world):
        begin = time.perf_counter()
        for _ in range(count):
            world.sum_(tensor)
        return (time.perf_counter() - begin) / count


def learned(world: World, engine: str, rows: int) -> list[Any]:
    """The batch's loss and the six weights after one step, as arrays."""
    learner = _learner(world, engine, rows)
    learner.fresh()
    loss = learner.learn()
    if engine == DDP:
        world.sum_(loss)
        loss /= world.size
    return [loss.numpy(), *(weight.detach().numpy() for weight in learner.weights)]


class _Clock(Alone):
    """A world of one rank, in which a bucket has arrived as soon as it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def add_(self, bucket: Tensor) -> "_Clock":  # noqa: ARG002
        return self

    def wait(self) -> None:
        pass


class _Clocked(DataParallelStep):
    """Tells when the hidden layers are done, and the gradients of each layer found."""

    def _forward(self, layer: int, given: Tensor, out: Tensor) -> None:
        super()._forward(layer, given, out)
        if layer == 1:
            self.world.times.append(time.perf_counter())  # type: ignore[attr-defined]

    def _learn(self, layer: int, delta_t: Tensor, given: Tensor, ones: Tensor) -> None:
        super()._learn(layer, delta_t, given, ones)
        self.world.times.append(time.perf_counter())  # type: ignore[attr-defined]


@cache
def _clocked(rows: int) -> tuple[_Clock, Callable[[], Tensor]]:
    """A step of so many rows whose messages take no time, with its clock."""
    x, target, *weights = STEP.inputs({"n": rows, **NET})
    clock = _Clock()
    optimizer = torch.optim.SGD(weights, LR, fused=True)
    step = _Clocked(weights, rows, optimizer=optimizer, world=clock)  # type: ignore[arg-type]
    return clock, lambda: step(x, target)


def parts(world: World, rows: int, count: int) -> list[float]:
    """Seconds of each of PARTS, the medians of so many steps after one that is not counted."""
    clock, learn = _clocked(rows)
    learn()
    found = []
    with _undisturbed(world):
        for _ in range(count):
            clock.times = [time.perf_counter()]
            learn()
            ends = [*clock.times, time.perf_counter()]
            found.append([end - begin for begin, end in pairwise(ends)])
    return [median(part) for part in zip(*found, strict=True)]


def buckets(world: World) -> list[dict[str, int]]:
    """The layer that fills each bucket, from 1, and its bytes, in the order of sending."""
    _, _, *weights = STEP.inputs({"n": 1, **NET})
    step = DataParallelStep(weights, 1, optimizer=torch.optim.SGD(weights, LR), world=world)
    return [{"layer": n + 1, "bytes": bucket.nbytes} for n, bucket in step.buckets.items()]
