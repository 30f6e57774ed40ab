"""`Step` on a GPU, recorded as a CUDA graph for each batch size, and replayed.

A step of this network is some twenty kernels, most of which run for less time than the processor
takes to launch one. A graph launches all of them at once. Nothing else is needed for it than what
`Step` already keeps to: the same memory at each step, and no decision that hangs on a number.

Source: PyTorch's documentation, CUDA semantics, "CUDA Graphs", on warming up beside the stream that
    records, and on batches that are copied to where the recorded kernels read
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manual_backprop.training.step import Step

WARM_UPS = 3  # libraries take their workspaces in the first calls, which a graph must not record


@dataclass(frozen=True)
class _Recorded:
    """A graph, and the tensors that its kernels read and write: x (n, i), target (n), loss ()."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    target: Tensor
    loss: Tensor


class Captured:
    """One step of plain gradient descent after the other, each launched at once.

    Args:
        weights: the six of `Step`, on a GPU, which it changes.
        largest: the most rows that a batch has.
        lr: the learning rate, the same in all steps.
        relu_logits: whether a relu comes after the logits.

    Raises:
        ValueError: weights that are not on a GPU.
    """

    def __init__(
        self, weights: Sequence[Tensor], largest: int, *, lr: float, relu_logits: bool = False
    ) -> None:
        for weight in weights:
            if not weight.is_cuda:
                raise ValueError(
                    f"Captured: weights are on {weight.device}, and CUDA graphs run on a GPU; "
                    f"use Step"
                )
        self.step = Step(weights, largest, lr=lr, relu_logits=relu_logits)
        self.largest = largest
        self._recorded: dict[int, _Recorded] = {}

    @torch.no_grad()
    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Learn from rows x (n, i) with class indices (n); the first time of each n is slow.

        Returns:
            The mean loss of the rows before the step.

        Raises:
            ValueError: more rows than the largest batch, or another shape, dtype or device than
                in the first batch of so many rows.
        """
        kept = self._recorded.get(len(x))
        if kept is None:
            kept = self._recorded[len(x)] = self._record(x, target)
        for name, new, first in (("x", x, kept.x), ("target", target, kept.target)):
            if (new.shape, new.dtype, new.device) != (first.shape, first.dtype, first.device):
                raise ValueError(
                    f"Captured: {name} is {tuple(new.shape)} {new.dtype} on {new.device}, and was "
                    f"{tuple(first.shape)} {first.dtype} on {first.device} when it was recorded"
                )
        kept.x.copy_(x)
        kept.target.copy_(target)
        kept.graph.replay()
        return kept.loss.clone()

    def _record(self, x: Tensor, target: Tensor) -> _Recorded:
        """Leaves the weights as they were: what is recorded does not run."""
        kept = _Recorded(torch.cuda.CUDAGraph(), x.clone(), target.clone(), x.new_empty(()))
        before = [weight.clone() for weight in self.step.weights]
        beside = torch.cuda.Stream(x.device)
        beside.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self.step(kept.x, kept.target, kept.loss)
            for weight, start in zip(self.step.weights, before, strict=True):
                weight.copy_(start)
        torch.cuda.current_stream(x.device).wait_stream(beside)
        with torch.cuda.graph(
            kept.graph, stream=beside
        ):  # of the weights' GPU, not the current one
            self.step(kept.x, kept.target, kept.loss)
        return kept
