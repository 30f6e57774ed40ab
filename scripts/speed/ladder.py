"""The training step of the MNIST classifier as a ladder: each rung adds one technique.

    rung 0   the house's plain backwards, composed, and w -= lr g
    rung 7   `training.step.Step`
    rung 8   `training.onednn.OneDnnStep`

All rungs compute what the case mnist-step of the benchmark computes, are held to its truth, and
take turns in one race, so that what a rung gains over the one before it is a paired ratio.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from manual_backprop.bench.case import Case, Opponent, Run
from manual_backprop.bench.cases import CASES
from manual_backprop.bench.cases.training_step import LR, learning
from manual_backprop.networks.classifier import (
    ALL,
    Needs,
    back_classifier_layers,
    classifier_layers,
)
from manual_backprop.ops.cross_entropy import cross_entropy, cross_entropy_and_grad_
from manual_backprop.ops.lin import back_lin
from manual_backprop.ops.relu import back_relu, back_relu_
from manual_backprop.training.train import WEIGHTS_ONLY

STEP = CASES["mnist-step-1"]
BATCHES, QUICK_BATCHES = (1, 8, 32, 200, 2000), (1, 8)
Weights = Sequence[Tensor]
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Rung:
    """One technique more than the rung before.

    Attributes:
        name: as tables and pictures call it.
        step: weights, which it changes, x and target -> the loss.
    """

    name: str
    step: Callable[[Weights, Tensor, Tensor], Tensor]


def plain(weights: Weights, x: Tensor, target: Tensor, *, needs: Needs = ALL) -> Tensor:
    """Forward, backward and update, each step by the operator's own function."""
    w1, _, w2, _, w3, _ = weights
    layers = classifier_layers(x, *weights)
    loss = cross_entropy(layers[-1], target)
    _, *grads = back_classifier_layers(x, w1, w2, w3, layers, target, needs=needs)
    _descend(weights, grads)
    return loss


def one_pass(weights: Weights, x: Tensor, target: Tensor) -> Tensor:
    """δ3 is written over the logits, and the loss is had on the way."""
    return _by_layers(weights, x, target, cross_entropy_and_grad_)


def five_kernels(weights: Weights, x: Tensor, target: Tensor) -> Tensor:
    """The same for few classes, where a kernel's start costs more than its work."""
    return _by_layers(weights, x, target, loss_and_delta_)


def loss_and_delta_(z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """L = -mean ln p_t, and δ3 = (p - onehot(t)) / n over the logits z (n, k)."""
    n, index = len(z), target[:, None]
    torch.log_softmax(z, 1, out=z)
    loss = -z.gather(1, index).mean()
    return loss, z.exp_().scatter_add_(1, index, z.new_full((n, 1), -1.0)).mul_(1 / n)


def _by_layers(weights: Weights, x: Tensor, target: Tensor, loss_of: Loss) -> Tensor:
    w1, _, w2, _, w3, _ = weights
    h1, h2, z = classifier_layers(x, *weights)
    loss, delta3 = loss_of(z, target)
    grad_h2, grad_w3, grad_b3 = back_lin(h2, w3.T, delta3)
    grad_h1, grad_w2, grad_b2 = back_lin(h1, w2.T, back_relu(h2, grad_h2))
    _, grad_w1, grad_b1 = back_lin(x, w1.T, back_relu(h1, grad_h1), (False, True, True))
    assert grad_w1 is not None
    assert grad_b1 is not None
    _descend(weights, (grad_w1.T, grad_b1, grad_w2.T, grad_b2, grad_w3.T, grad_b3))
    return loss


def _descend(weights: Weights, grads: Sequence[Tensor | None]) -> None:
    for w, grad in zip(weights, grads, strict=True):
        assert grad is not None
        w -= LR * grad


def bias_inside(weights: Weights, x: Tensor, target: Tensor) -> Tensor:
    """y = x wᵀ + b in one call."""
    w1, b1, w2, b2, w3, b3 = weights
    h1 = torch.addmm(b1, x, w1.T).clamp_min(0)
    h2 = torch.addmm(b2, h1, w2.T).clamp_min(0)
    loss, delta3 = loss_and_delta_(torch.addmm(b3, h2, w3.T), target)
    delta2 = back_relu(h2, delta3 @ w3)
    delta1 = back_relu(h1, delta2 @ w2)
    _descend(weights, _products((x, delta1), (h1, delta2), (h2, delta3)))
    return loss


def relu_in_place(weights: Weights, x: Tensor, target: Tensor) -> Tensor:
    """The positive part over what it is the positive part of, and δ over the h̄ that it masks."""
    loss, layers = _backward_in_place(weights, x, target)
    _descend(weights, _products(*layers))
    return loss


def update_inside(weights: Weights, x: Tensor, target: Tensor) -> Tensor:
    """w ← w - lr δᵀ h in one call: the gradient is never there."""
    loss, layers = _backward_in_place(weights, x, target)
    ones = x.new_ones(len(x))
    for layer, (given, delta) in enumerate(layers):
        weights[2 * layer].addmm_(delta.T, given, alpha=-LR)
        weights[2 * layer + 1].addmv_(delta.T, ones, alpha=-LR)
    return loss


def _backward_in_place(
    weights: Weights, x: Tensor, target: Tensor
) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
    """The loss, and of each layer what it was given and its δ."""
    w1, b1, w2, b2, w3, b3 = weights
    h1 = torch.addmm(b1, x, w1.T).relu_()
    h2 = torch.addmm(b2, h1, w2.T).relu_()
    loss, delta3 = loss_and_delta_(torch.addmm(b3, h2, w3.T), target)
    delta2 = back_relu_(h2, delta3 @ w3)
    delta1 = back_relu_(h1, delta2 @ w2)
    return loss, ((x, delta1), (h1, delta2), (h2, delta3))


def _products(*layers: tuple[Tensor, Tensor]) -> list[Tensor]:
    """w̄ = δᵀ h and b̄ = δᵀ 1 of each layer."""
    return [grad for given, delta in layers for grad in (delta.T @ given, delta.sum(0))]


RUNGS = (
    Rung("plain", plain),
    Rung("x̄ skipped", partial(plain, needs=WEIGHTS_ONLY)),
    Rung("loss in one pass", one_pass),
    Rung("loss in five kernels", five_kernels),
    Rung("bias inside", bias_inside),
    Rung("relu in place", relu_in_place),
    Rung("update inside", update_inside),
)
KEPT, ONEDNN = "memory kept", "oneDNN"  # the last rungs: Step and OneDnnStep
NAMES = (*(rung.name for rung in RUNGS), KEPT, ONEDNN)
BESIDE = ("autograd", "fused SGD")


def _opponent(rung: Rung) -> Opponent:
    def prepare(x: Tensor, target: Tensor, *start: Tensor) -> Run:
        weights = [w.clone() for w in start]
        return learning(weights, start, lambda: rung.step(weights, x, target))

    return Opponent(rung.name, prepare, ours=True)


def opponents() -> tuple[Opponent, ...]:
    """All rungs from the lowest, then autograd and what is compiled."""
    known = {opponent.name: opponent for opponent in STEP.opponents}
    found = [*map(_opponent, RUNGS), replace(known["by hand"], name=KEPT, ours=True)]
    found.append(replace(known["by hand, oneDNN"], name=ONEDNN))
    found += [known[name] for name in BESIDE]
    return (*found, replace(known["by hand, compiled"], name="one graph"))


def case(n: int) -> Case:
    """The ladder at a batch of n rows."""
    sizes = {**STEP.sizes, "n": n}
    return replace(
        STEP,
        name=f"ladder-{n}",
        group="ladder",
        sizes=sizes,
        quick=sizes,
        small={**STEP.small, "n": n},
        opponents=opponents(),
    )
