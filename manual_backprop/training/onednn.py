"""The training step of `step.py` by the matrix products of oneDNN, on a CPU.

Where MKL leaves AVX-512 unused they are up to twice as fast from some sixty rows on; with fewer
rows this is `Step`. They allocate their results, so a weight gradient is made and applied in blocks
of rows, which keeps it small.

Source: as `step.py`
"""

from collections.abc import Sequence

from torch import Tensor

from manual_backprop.onednn import linear, multiplies
from manual_backprop.training.step import Step

FEW = 64  # rows, below which its calls cost more than they spare
BLOCK = 10**5  # numbers of a weight gradient that are made at a time


class OneDnnStep(Step):
    """As `Step`, with plain gradient descent, for float32 on a CPU.

    Args:
        weights: as those of `Step`, float32 on the CPU.
        largest: the most rows that a batch has.
        lr: the learning rate.
        relu_logits: whether a relu comes after the logits.

    Raises:
        ValueError: weights of another dtype or device, or a PyTorch without oneDNN.
    """

    def __init__(
        self, weights: Sequence[Tensor], largest: int, *, lr: float, relu_logits: bool = False
    ) -> None:
        for weight in weights:
            if not multiplies(weight):
                raise ValueError(
                    f"OneDnnStep: a weight is {weight.dtype} on {weight.device}, and oneDNN, where "
                    "PyTorch is built with it, multiplies float32 on the CPU; use Step"
                )
        super().__init__(weights, largest, lr=lr, relu_logits=relu_logits)

    def _forward(self, layer: int, given: Tensor, out: Tensor) -> None:
        """As `Step`'s."""
        if len(given) < FEW:
            super()._forward(layer, given, out)
            return
        w, b = self.weights[2 * layer], self.weights[2 * layer + 1]
        out.copy_(linear(given, w, b, then="relu"))

    def _back(self, layer: int, delta: Tensor, out: Tensor) -> None:
        """As `Step`'s."""
        if len(delta) < FEW:
            super()._back(layer, delta, out)
            return
        out.copy_(linear(delta, self.transposed[layer]))

    def _learn(self, layer: int, delta_t: Tensor, given: Tensor, ones: Tensor) -> None:
        """As `Step`'s."""
        if min(len(given), len(delta_t)) < FEW:
            super()._learn(layer, delta_t, given, ones)
            return
        assert self.lr is not None
        w, b = self.weights[2 * layer], self.weights[2 * layer + 1]
        blocks = -(-w.numel() // BLOCK)
        for rows, deltas in zip(w.chunk(blocks), delta_t.chunk(blocks), strict=True):
            rows.sub_(linear(deltas, given.T), alpha=self.lr)
        b.addmv_(delta_t, ones, alpha=-self.lr)
