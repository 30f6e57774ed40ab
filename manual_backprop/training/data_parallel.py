"""The training step shared by several processes, each with its own rows of every batch.

    w̄ = Σ_r w̄_r,  b̄ = Σ_r b̄_r         over the ranks r; w̄_r of its rows, divided by all rows

Every rank has all weights, learns from its part of the batch, and the parts' gradients are summed
by one all-reduce a layer, each in one flat piece of memory. The last layer's gradients are sent
while those of the layers before it are still computed. A part's gradients are divided by the rows
of the whole batch, so parts of unequal size, and empty ones, need no weights of their own.

Source: Li et al., PyTorch Distributed: experiences on accelerating data parallel training (2020)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from manual_backprop.training.step import Step
from manual_backprop.training.world import Sent, World


class DataParallelStep(Step):
    """As `Step`, of which each rank of a world makes its part at the same time.

    Args:
        weights: as those of `Step`, the same on every rank.
        largest: the most rows that this rank has of a batch.
        optimizer: torch.optim's, of these weights.
        world: the ranks.
        relu_logits: whether a relu comes after the logits.

    Attributes:
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
        self.buckets = [self._bucket(layer) for layer in range(3)]
        self.sent: list[Sent] = []

    def _bucket(self, layer: int) -> Tensor:
        """One piece of memory for a layer's gradients, and for the losses with the last layer's."""
        w, b = self.weights[2 * layer : 2 * layer + 2]
        last = self.losses if layer == 2 else self.losses[:0]
        bucket = torch.cat([w.flatten(), b, last])
        grad_w, grad_b, losses = bucket.split([w.numel(), b.numel(), last.numel()])
        w.grad, b.grad = grad_w.view_as(w), grad_b
        if layer == 2:
            self.losses = losses
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
        """As `Step`'s, and send what was found on its way."""
        super()._learn(layer, delta_t, given, ones)
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
