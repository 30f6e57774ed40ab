"""Gradient descent on the classifier, with no graph: the gradients are written by hand.

    w ← w - lr w̄        for every weight and bias w, batch by batch; momentum and adam on request

`Step` does all of it in kept memory, `Captured` launches it at once on a GPU, and
`DataParallelStep` shares it with other processes. To compare with,
`gradient="onednn"` multiplies by another library, "compiled" has torch.compile make one graph of
the same formulas, "composed" puts the gradients together from the operators' own backwards, and
"autograd" lets torch.autograd find them from the same forward.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 8.3; on the weights that it begins
    with: He, Zhang, Ren, Sun, Delving deep into rectifiers (2015), 2.2
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from manual_backprop.networks.classifier import (
    back_classifier_layers,
    classifier,
    classifier_layers,
)
from manual_backprop.ops.cross_entropy import cross_entropy
from manual_backprop.training.captured import Captured
from manual_backprop.training.data_parallel import DataParallelStep, first_without_number
from manual_backprop.training.digits import CLASSES, PIXELS, Digits
from manual_backprop.training.one_graph import OneGraph
from manual_backprop.training.onednn import OneDnnStep
from manual_backprop.training.options import Options
from manual_backprop.training.place import Alone
from manual_backprop.training.step import Step
from manual_backprop.training.world import World, named

NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")
WEIGHTS_ONLY = (False, True, True, True, True, True, True)  # nobody asks for the images' gradient
TEST_BATCH = 1000
ALONE = Alone()


class Diverged(ArithmeticError):  # noqa: N818 -- says what the run did
    """A loss that is no number any more."""


@dataclass(frozen=True)
class Epoch:
    """One row of the history.

    Attributes:
        epoch: from 1.
        train_loss: mean over the training images, each seen before the update that it took part in.
        test_loss: mean over the test images.
        accuracy: how many of the test images are told right, from 0 to 1.
        never_predicted: the digits that no test image is taken for.
        images_per_second: while training.
    """

    epoch: int
    train_loss: float
    test_loss: float
    accuracy: float
    never_predicted: tuple[int, ...]
    images_per_second: float


def generator(*words: object) -> torch.Generator:
    """Numbers on the CPU that depend on the words alone, such as a seed and an epoch."""
    return torch.Generator().manual_seed(Random(repr(words)).getrandbits(63))


def draw_weights(options: Options) -> list[Tensor]:
    """w1 (h, 784), b1 (h), w2 (j, h), b2 (j), w3 (10, j), b3 (10): Kaiming-normal, and zeros.

    They are drawn on the CPU, so the same seed draws the same bits for every device.

    Raises:
        RuntimeError: the device is not there.
    """
    rand = generator(options.seed, "weights")
    sizes = (PIXELS, *options.hidden, CLASSES)
    dtype = getattr(torch, options.dtype)
    weights = []
    for size_in, size_out in pairwise(sizes):
        normal = torch.randn(size_out, size_in, generator=rand, dtype=torch.float64)
        weights.append((normal * math.sqrt(2 / size_in)).to(options.device, dtype))
        weights.append(torch.zeros(size_out, device=options.device, dtype=dtype))
    return weights


def composed(
    x: Tensor, weights: Sequence[Tensor], target: Tensor, *, relu_logits: bool
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The loss of rows x (n, 784), and its six gradients by the operators' backwards."""
    w1, b1, w2, b2, w3, b3 = weights
    layers = classifier_layers(x, w1, b1, w2, b2, w3, b3, relu_logits=relu_logits)
    _, *grads = back_classifier_layers(
        x, w1, w2, w3, layers, target, needs=WEIGHTS_ONLY, relu_logits=relu_logits
    )
    return cross_entropy(layers[-1], target), grads


def by_autograd(
    x: Tensor, weights: Sequence[Tensor], target: Tensor, *, relu_logits: bool
) -> tuple[Tensor, Sequence[Tensor]]:
    """The same of the same forward, as torch.autograd finds them."""
    with torch.enable_grad():
        leaves = [weight.detach().requires_grad_() for weight in weights]
        w1, b1, w2, b2, w3, b3 = leaves
        loss = classifier(x, w1, b1, w2, b2, w3, b3, target, relu_logits=relu_logits)
        return loss.detach(), torch.autograd.grad(loss, leaves)


class Trainer:
    """Weights, and the optimizer that moves them.

    Args:
        options: with several ranks, the gradient is by hand.
        world: the ranks that train the same weights, each on its part of every batch.

    Attributes:
        weights: the six of `draw_weights`; none of them requires a gradient.
        optimizer: torch.optim's, of these weights.
    """

    def __init__(self, options: Options, world: Alone = ALONE) -> None:
        """Raises RuntimeError where the device is not there."""
        self.options, self.world = options, world
        self.weights = draw_weights(options)
        self.optimizer: torch.optim.Optimizer
        # The fused kernels take a gradient for laid out as its weight is, which only `Step`'s are.
        fused = options.gradient == "hand" or None
        if options.optimizer == "adam":
            eps = 1e-4 if options.dtype == "float16" else 1e-8  # 1e-8 is 0 there, and 0 / 0 nan
            self.optimizer = torch.optim.Adam(self.weights, options.lr, eps=eps, fused=fused)
        else:
            momentum = 0.9 if options.optimizer == "momentum" else 0.0
            in_16_bits = options.dtype in ("float16", "bfloat16")  # PyTorch 2.11 learns nothing so
            self.optimizer = torch.optim.SGD(
                self.weights, options.lr, momentum=momentum, fused=None if in_16_bits else fused
            )
        self._kept: Step | Captured | OneGraph | None = None

    def step(self, x: Tensor, target: Tensor, of: int | None = None) -> Tensor:
        """Learn from rows x (n, 784) with class indices (n); the loss is that before.

        With several ranks these are this rank's part of a batch of `of` rows, and what comes back
        is each rank's part of the loss (ranks).
        """
        if self.options.gradient in ("hand", "onednn", "compiled"):
            if self._kept is None or self._kept.largest < len(x):
                self._kept = self._by_hand(len(x))
            if isinstance(self._kept, DataParallelStep):
                self._kept(x, target, of=of)
                return self._kept.losses.clone()
            return self._kept(x, target)
        find = composed if self.options.gradient == "composed" else by_autograd
        with torch.no_grad():
            loss, grads = find(x, self.weights, target, relu_logits=self.options.relu_logits)
            for weight, grad in zip(self.weights, grads, strict=True):
                weight.grad = grad
            self.optimizer.step()
        return loss

    def _by_hand(self, largest: int) -> Step | Captured | OneGraph:
        """For batches of at most so many rows."""
        plain = self.options.optimizer == "sgd"
        update: dict[str, Any] = {"relu_logits": self.options.relu_logits}
        if isinstance(self.world, World):
            update |= {"optimizer": self.optimizer, "world": self.world}
            return DataParallelStep(self.weights, largest, **update)
        update |= {"lr": self.options.lr} if plain else {"optimizer": self.optimizer}
        if self.options.gradient == "compiled":
            return OneGraph(self.weights, **update)
        if self.options.gradient == "onednn":
            return OneDnnStep(self.weights, largest, **update)
        on_gpu = all(weight.is_cuda for weight in self.weights)
        return (Captured if plain and on_gpu else Step)(self.weights, largest, **update)

    def epoch(
        self, digits: Digits, number: int, progress: Callable[[], None] = lambda: None
    ) -> float:
        """Learn from all digits once, in an order that seed and epoch number tell; the mean loss.

        Args:
            digits: on the device of the weights.
            number: from 1.
            progress: called after each batch.

        Raises:
            Diverged: some ranks met a loss that is no number, and others not.
            Lost: another rank does not answer.
        """
        dtype = self.weights[0].dtype
        order = torch.randperm(len(digits), generator=generator(self.options.seed, number))
        losses = []
        size = min(self.options.batch_size, len(digits))  # split takes no number of any size
        for index in order.to(self.options.device).split(size):
            mine = digits.rows(self.world.part(index), dtype)
            losses.append(self.step(*mine, of=len(index)).double() * len(index))
            progress()
        each = torch.stack(losses)
        if isinstance(self._kept, DataParallelStep) and (ranks := first_without_number(each)):
            raise Diverged(
                f"{named(ranks)} met a loss that is no number in epoch {number} before the others "
                "did: the steps may be too large, or its data, memory or processor wrong; try a "
                f"smaller --lr than {self.options.lr:g}"
            )
        return float(each.sum()) / len(digits)

    def test(self, digits: Digits) -> tuple[float, float, tuple[int, ...]]:
        """Of digits on the device: mean loss, accuracy from 0 to 1, and digits never predicted."""
        w1, b1, w2, b2, w3, b3 = self.weights
        batches = torch.arange(len(digits), device=self.options.device).split(TEST_BATCH)
        found = torch.zeros(len(batches), 2 + CLASSES, dtype=torch.float64)  # each row of one rank
        with torch.no_grad():
            for batch in range(self.world.rank, len(batches), self.world.size):
                x, target = digits.rows(batches[batch], w1.dtype)
                *_, logits = classifier_layers(
                    x, w1, b1, w2, b2, w3, b3, relu_logits=self.options.relu_logits
                )
                told = logits.argmax(1)
                found[batch, 0] = float(cross_entropy(logits, target)) * len(x)
                found[batch, 1] = int((told == target).sum())
                found[batch, 2:] = told.bincount(minlength=CLASSES)
        self.world.sum_(found)
        total, right, *predicted = map(sum, zip(*found.tolist(), strict=True))
        never = tuple(digit for digit, times in enumerate(predicted) if not times)
        return total / len(digits), right / len(digits), never

    def run(
        self,
        training: Digits,
        test: Digits,
        *,
        done: int = 0,
        progress: Callable[[], None] = lambda: None,
    ) -> Iterator[Epoch]:
        """Train, epoch by epoch, from the one after `done` to the last of the options.

        Raises:
            Diverged: a loss is nan or infinite; the weights are lost.
            RuntimeError: the device is not there, or its memory does not suffice.
        """
        training, test = training.to(self.options.device), test.to(self.options.device)
        for number in range(done + 1, self.options.epochs + 1):
            start = time.perf_counter()
            train_loss = self.epoch(training, number, progress)
            seconds = time.perf_counter() - start
            test_loss, accuracy, never = self.test(test)
            if not math.isfinite(train_loss + test_loss):
                raise Diverged(
                    f"the loss is {train_loss + test_loss} in epoch {number}: the steps are too "
                    f"large for this network; try a smaller --lr than {self.options.lr:g}"
                )
            speed = len(training) / seconds
            yield Epoch(number, train_loss, test_loss, accuracy, never, speed)

    def state(self) -> dict[str, Any]:
        """Copies on the CPU of all that changes while training."""
        weights = {
            name: weight.to("cpu", copy=True)
            for name, weight in zip(NAMES, self.weights, strict=True)
        }
        moved = tree_map_only(Tensor, lambda t: t.to("cpu", copy=True), self.optimizer.state_dict())
        return {"weights": weights, "optimizer": moved}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it is of another network or optimizer.
        """
        for name, weight in zip(NAMES, self.weights, strict=True):
            kept = state["weights"].get(name)
            if not isinstance(kept, Tensor) or (kept.shape, kept.dtype) != (
                weight.shape,
                weight.dtype,
            ):
                raise ValueError(f"it has no {name} of {tuple(weight.shape)} {weight.dtype}")
            weight.copy_(kept)
        self.optimizer.load_state_dict(state["optimizer"])
