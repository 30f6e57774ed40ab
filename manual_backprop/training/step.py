"""The classifier's training step in kept memory: forward, backward and update of six weights.

    h1 = relu(x w1ᵀ + b1),  h2 = relu(h1 w2ᵀ + b2),  z = h2 w3ᵀ + b3,  L = cross_entropy(z, t)
    δ3 = (softmax(z) - onehot(t)) / n,  δ2 = [h2 > 0] δ3 w3,  δ1 = [h1 > 0] δ2 w2
    w_k ← w_k - lr δ_kᵀ h_{k-1},  b_k ← b_k - lr Σ_n δ_k           h_0 = x

What makes it fast: nothing is allocated, every result is written into a tensor kept for it; δ3 is
written over the logits, and δ1 over h2, which nobody needs any more; the gradient of x is not
computed; and with plain gradient descent w̄ is never there, since w ← w - lr δᵀ h is one call that
multiplies and adds. Each δ is found from the next layer's weights before these move.

Source: the derivation is `networks/classifier.py`'s; on updates within the product: Karpathy,
    llm.c (2024), where gradients are added up in place
"""

from collections.abc import Sequence

import torch
from torch import Tensor

mask_ = torch.ops.aten.threshold_backward.grad_input


class _Kept:
    """The tensors of n rows, a batch's share of `of`; views of the largest batch's.

    Attributes:
        h1, h2: (n, h) and (n, j).
        z: logits (n, k), then δ3.
        top: logits (n, k) kept beside, where a relu comes after them; else none.
        g1, g2: δ1 (n, h), in h2's memory, and δ2 (n, j).
        picked: ln p of the targets (n, 1), and row, the same memory as (1, n).
        ones, minus, mean: (n) of 1, (n, 1) of -1, and (n) of -1/of; of_th is 1/of. Numbers of
            Python would become tensors at each call.
    """

    def __init__(self, step: "Step", n: int, of: int) -> None:
        self.h1, self.z = step.h1[:n], step.z[:n]
        self.top = step.top[:n]
        h, j = step.sizes
        self.h2 = step.shared[: n * j].view(n, j)
        self.g1 = step.shared[: n * h].view(n, h)
        self.g2 = step.g2[:n]
        self.picked, self.row = step.picked[:n], step.picked[:n].T
        self.ones, self.minus = step.ones[:n], step.minus[:n]
        self.mean = step.ones.new_full((n,), -1 / of)
        self.of_th = step.ones.new_full((), 1 / of)
        self.transposed = self.z.T, self.g2.T, self.g1.T


class Step:
    """One step of gradient descent after the other, each on a batch of at most `largest` rows.

    Args:
        weights: w1 (h, i), b1 (h), w2 (j, h), b2 (j), w3 (k, j), b3 (k), which it changes.
        largest: the most rows that a batch has.
        lr: the learning rate of plain gradient descent; None leaves the update to `optimizer`.
        optimizer: torch.optim's, of these weights. Their gradients are kept as their `.grad`.
        relu_logits: whether a relu comes after the logits.

    Raises:
        ValueError: neither or both of lr and optimizer.

    >>> step = Step(weights, largest=200, lr=0.1)
    >>> for x, target in batches:
    ...     loss = step(x, target)
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        largest: int,
        *,
        lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        relu_logits: bool = False,
    ) -> None:
        if (lr is None) is (optimizer is None):
            raise ValueError("Step: give lr for plain gradient descent, or else an optimizer")
        w1, b1, w2, b2, w3, b3 = self.weights = tuple(weights)
        self.lr, self.optimizer, self.relu_logits = lr, optimizer, relu_logits
        self.largest, self.sizes = largest, (len(b1), len(b2))
        self.h1 = w1.new_empty(largest, len(b1))
        self.shared = w1.new_empty(largest * max(self.sizes))  # h2, and δ1 after it
        self.g2 = w1.new_empty(largest, len(b2))
        self.z = w1.new_empty(largest, len(b3))
        self.top = w1.new_empty(largest if relu_logits else 0, len(b3))
        self.picked, self.minus = w1.new_empty(largest, 1), w1.new_full((largest, 1), -1.0)
        self.ones = w1.new_ones(largest)
        self.transposed = w1.T, w2.T, w3.T
        self.kept: dict[tuple[int, int], _Kept] = {}
        if optimizer is not None:
            for weight in self.weights:
                weight.grad = torch.empty_like(weight)

    def __call__(
        self, x: Tensor, target: Tensor, loss: Tensor | None = None, of: int | None = None
    ) -> Tensor:
        """Learn from rows x (n, i) with class indices (n).

        Args:
            x: of the weights' dtype and device.
            target: int64, from 0 below k.
            loss: one number, to write the loss into; a new one is made where it is None.
            of: the rows of the whole batch, where these are a share of it; then the loss and the
                gradients are what these rows add to the batch's. n where it is None.

        Returns:
            The loss before the step: the rows' sum, divided by `of`.

        Raises:
            ValueError: more rows than the largest batch.
            RuntimeError: shapes that do not fit, or a class that there is not.
        """
        n = len(x)
        size = (n, of or n)
        if (kept := self.kept.get(size)) is None:
            if n > self.largest:
                raise ValueError(f"Step: {n} rows, and the largest batch has {self.largest}")
            kept = self.kept[size] = _Kept(self, *size)
        loss = x.new_empty(()) if loss is None else loss
        with torch.inference_mode():  # as no_grad, and each call is spared a look at autograd
            self._run(x, target, loss, kept)
        self._update()
        return loss

    def _update(self) -> None:
        """Move the weights by their gradients, where `_learn` has not."""
        if self.optimizer is not None:
            self.optimizer.step()

    def _run(self, x: Tensor, target: Tensor, loss: Tensor, kept: _Kept) -> None:
        """Write the loss, and update the weights or find their gradients."""
        *_, w3, b3 = self.weights
        h1, h2, z, g1, g2 = kept.h1, kept.h2, kept.z, kept.g1, kept.g2
        z_t, g2_t, g1_t = kept.transposed
        index = target.unsqueeze(1)

        self._forward(0, x, h1)
        self._forward(1, h1, h2)
        torch.addmm(b3, h2, self.transposed[2], out=z)
        if self.relu_logits:
            kept.top.copy_(z.relu_())
        torch.log_softmax(z, 1, out=z)
        torch.gather(z, 1, index, out=kept.picked)
        torch.mv(kept.row, kept.mean, out=loss.view(1))

        z.exp_().scatter_add_(1, index, kept.minus).mul_(kept.of_th)
        if self.relu_logits:
            mask_(z, kept.top, 0, grad_input=z)
        torch.mm(z, w3, out=g2)
        mask_(g2, h2, 0, grad_input=g2)
        self._learn(2, z_t, h2, kept.ones)
        self._back(1, g2, g1)
        mask_(g1, h1, 0, grad_input=g1)
        self._learn(1, g2_t, h1, kept.ones)
        self._learn(0, g1_t, x, kept.ones)

    def _forward(self, layer: int, given: Tensor, out: Tensor) -> None:
        """A hidden layer of what it is given (n, in), into out (n, out)."""
        torch.addmm(self.weights[2 * layer + 1], given, self.transposed[layer], out=out).relu_()

    def _back(self, layer: int, delta: Tensor, out: Tensor) -> None:
        """δ (n, out) times the layer's weights, into out (n, in)."""
        torch.mm(delta, self.weights[2 * layer], out=out)

    def _learn(self, layer: int, delta_t: Tensor, given: Tensor, ones: Tensor) -> None:
        """Update a layer, or find its gradients: δᵀ (out, n) times what it was given (n, in)."""
        w, b = self.weights[2 * layer], self.weights[2 * layer + 1]
        if self.lr is not None:
            w.addmm_(delta_t, given, alpha=-self.lr)
            b.addmv_(delta_t, ones, alpha=-self.lr)
        else:
            torch.mm(delta_t, given, out=w.grad)
            torch.mv(delta_t, ones, out=b.grad)
