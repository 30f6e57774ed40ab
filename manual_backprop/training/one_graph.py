"""The same training step as plain formulas, which torch.compile makes one graph of.

    h1 = relu(x w1ᵀ + b1),  h2 = relu(h1 w2ᵀ + b2),  z = h2 w3ᵀ + b3,  L = cross_entropy(z, t)
    δ3 = (softmax(z) - onehot(t)) / n,  δ2 = [h2 > 0] δ3 w3,  δ1 = [h1 > 0] δ2 w2
    w_k ← w_k - lr δ_kᵀ h_{k-1},  b_k ← b_k - lr Σ_n δ_k           h_0 = x

Since nothing is left to autograd, forward, backward and update are one graph without a break: one
call, whose kernels between the matrix products are fused, and whose memory is planned as a whole.

Source: as `step.py`; on what becomes of such a graph: Ansel et al., PyTorch 2 (2024), 4
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from manual_backprop.judge.verdict import reason

Grads = tuple[Tensor, ...]


def loss_and_grads(
    weights: Sequence[Tensor], x: Tensor, target: Tensor, *, relu_logits: bool = False
) -> tuple[Tensor, Grads]:
    """The mean loss of rows x (n, i) with class indices (n), and the gradients of six weights.

    Args:
        weights: w1 (h, i), b1 (h), w2 (j, h), b2 (j), w3 (k, j), b3 (k).
        x: of the weights' dtype and device.
        target: int64, from 0 below k.
        relu_logits: whether a relu comes after the logits.
    """
    w1, b1, w2, b2, w3, b3 = weights
    index = target.unsqueeze(1)
    h1 = torch.addmm(b1, x, w1.T).relu()
    h2 = torch.addmm(b2, h1, w2.T).relu()
    z = torch.addmm(b3, h2, w3.T)
    if relu_logits:
        z = z.relu()
    ln_p = torch.log_softmax(z, 1)
    loss = -ln_p.gather(1, index).mean()

    classes = torch.arange(z.shape[1], device=z.device)
    d3 = (ln_p.exp() - (classes == index).to(z.dtype)) / len(x)
    if relu_logits:
        d3 = torch.where(z > 0, d3, 0.0)
    d2 = torch.where(h2 > 0, d3 @ w3, 0.0)
    d1 = torch.where(h1 > 0, d2 @ w2, 0.0)
    return loss, (d1.T @ x, d1.sum(0), d2.T @ h1, d2.sum(0), d3.T @ h2, d3.sum(0))


class NotCompiled(RuntimeError):  # noqa: N818 -- says what became of the step
    """torch.compile could make nothing of it, as where there is no C++ compiler."""


class OneGraph:
    """One step of gradient descent after the other, compiled when a batch size is first seen.

    Args:
        weights: the six of `loss_and_grads`, which it changes.
        lr: the learning rate of plain gradient descent; None leaves the update to `optimizer`.
        optimizer: torch.optim's, of these weights; its update is not part of the graph.
        relu_logits: whether a relu comes after the logits.

    Attributes:
        largest: rows of the largest batch that it takes, as `Step` has it; there is no limit.

    Raises:
        ValueError: neither or both of lr and optimizer.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        *,
        lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        relu_logits: bool = False,
    ) -> None:
        if (lr is None) is (optimizer is None):
            raise ValueError("OneGraph: give lr for plain gradient descent, or else an optimizer")
        self.weights, self.optimizer = tuple(weights), optimizer
        self.largest = math.inf

        def learn(weights: Sequence[Tensor], x: Tensor, target: Tensor) -> Tensor:
            loss, grads = loss_and_grads(weights, x, target, relu_logits=relu_logits)
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(grad, alpha=lr)
            return loss

        def find(weights: Sequence[Tensor], x: Tensor, target: Tensor) -> tuple[Tensor, Grads]:
            return loss_and_grads(weights, x, target, relu_logits=relu_logits)

        self._graph: Callable[..., Tensor | tuple[Tensor, Grads]] = torch.compile(
            find if lr is None else learn, fullgraph=True, dynamic=False
        )

    @torch.no_grad()
    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Learn from rows x (n, i) with class indices (n).

        Returns:
            The mean loss of the rows before the step.

        Raises:
            NotCompiled: there is no C++ compiler, it failed, or this process has compiled the step
                for more batch sizes than PyTorch keeps (8).
        """
        try:
            done = self._graph(self.weights, x, target)
        except Exception as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            raise NotCompiled(f"torch.compile: {reason(error)}") from error
        if isinstance(done, Tensor):
            return done
        loss, grads = done
        assert self.optimizer is not None
        for weight, grad in zip(self.weights, grads, strict=True):
            weight.grad = grad
        self.optimizer.step()
        return loss
