"""The training step shared by several processes, each with its own rows of every batch.

    w̄ = Σ_r w̄_r,  b̄ = Σ_r b̄_r         over the ranks r; w̄_r of its rows, divided by all rows

Every rank has all weights, learns from its part of the batch, and the parts' gradients are summed
by all-reduces of flat pieces of memory. The last layers' gradients are sent while those of the
layers before them are still computed; a small layer waits for the one before it, since a message
has a latency however short it is. A part's gradients are divided by the rows of the whole batch, so
parts of unequal size, and empty ones, need no weights of their own.

Source: Li et al., PyTorch Distributed: experiences on accelerating data parallel training (2020)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from manual_backprop.training.step import Step
from manual_backprop.training.world import Sent, World

ENOUGH = 2**16  # bytes that are worth a message of their own


class DataParallelStep(Step):
    """As `Step`, of which each rank of a world makes its part at the same time.

    Args:
        weights: as those of `Step`, the same on every rank.
        largest: the most rows that this rank has of a batch.
        optimizer: torch.optim's, of these weights.
        world: the ranks.
        relu_logits: whether a relu comes after the logits.

    Attributes:
        buckets: a layer's number -> the gradients that are sent once those of this layer are found:
            its own, and those of smaller layers behind it. In the order of sending.
        losses: (ranks) what each rank's rows added to the last batch's loss; the same on all ranks.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        largest: int,
        *,
        optimizer: torch.optim.Optimizer,
        world: World,
        relu_logits: bool = False,
    ) -> None:
        super().__init__(weights, largest, optimizer=optimizer, relu_logits=relu_logits)
        self.world = world
        self.losses = self.weights[0].new_zeros(world.size)
        self.buckets: dict[int, Tensor] = {}
        self.sent: list[Sent] = []
        together: list[int] = []
        for layer in (2, 1, 0):
            together.append(layer)
            if layer == 0 or sum(self._of(one).nbytes for one in together) >= ENOUGH:
                self.buckets[layer] = self._bucket(together)
                together = []

    def _of(self, layer: int) -> Tensor:
        """All numbers of a layer, in one row; with the losses behind the last layer's."""
        w, b = self.weights[2 * layer : 2 * layer + 2]
        return torch.cat([w.flatten(), b, self.losses if layer == 2 else self.losses[:0]])

    def _bucket(self, layers: Sequence[int]) -> Tensor:
        """One piece of memory for the gradients of these layers."""
        pieces = [self._of(layer) for layer in layers]
        bucket = torch.cat(pieces)
        for layer, piece in zip(layers, bucket.split(list(map(len, pieces))), strict=True):
            w, b = self.weights[2 * layer : 2 * layer + 2]
            w.grad = piece[: w.numel()].view_as(w)
            b.grad = piece[w.numel() : w.numel() + b.numel()]
            if layer == 2:
                self.losses = piece[w.numel() + b.numel() :]
        return bucket

    def __call__(
        self, x: Tensor, target: Tensor, loss: Tensor | None = None, of: int | None = None
    ) -> Tensor:
        """Learn from this rank's rows x (n, i), n from 0, with class indices (n).

        Args:
            x: of the weights' dtype and device.
            target: int64, from 0 below k.
            loss: one number, to write the batch's loss into; a new one is made where it is None.
            of: the rows that all ranks have together, the same on every rank; n times the ranks
                where it is None.

        Returns:
            The mean loss of the whole batch before the step, the same on every rank.

        Raises:
            Lost: another rank does not answer.
            ValueError: more rows than the largest part.
            RuntimeError: shapes that do not fit, or a class that there is not.
        """
        self.losses.zero_()
        mine = self.losses[self.world.rank]
        super().__call__(x, target, mine, len(x) * self.world.size if of is None else of)
        return torch.sum(self.losses, 0, out=x.new_empty(()) if loss is None else loss)

    def _learn(self, layer: int, delta_t: Tensor, given: Tensor, ones: Tensor) -> None:
        """As `Step`'s, and send the bucket that this fills."""
        super()._learn(layer, delta_t, given, ones)
        if layer in self.buckets:
            self.sent.append(self.world.add_(self.buckets[layer]))

    def _update(self) -> None:
        """As `Step`'s, once all have arrived."""
        while self.sent:
            self.sent.pop(0).wait()
        super()._update()


def first_without_number(losses: Tensor) -> list[int]:
    """The ranks where a loss was nan or infinite before it was so everywhere.

    Args:
        losses: each rank's part of the loss of one batch after the other (batches, ranks).

    Returns:
        Those ranks; none where all losses are numbers, or all ranks met it in the same batch.
    """
    bad = ~losses.isfinite()
    first = bad[int(bad.any(1).int().argmax())]
    return [] if first.all() else first.nonzero().flatten().tolist()
