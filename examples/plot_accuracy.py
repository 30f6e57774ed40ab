"""
Why accuracy is not a loss
==========================

Accuracy is what one wants: how many samples are told right. One trains on the cross-entropy all the
same, since accuracy has no gradient that leads anywhere.
"""

import matplotlib.pyplot as plt
import torch

from manual_backprop import back_bce, back_logistic_regression, bce, logistic_regression, sigmoid
from manual_backprop.data import article_numbers

plt.style.use("manual_backprop.pictures")

# %%
# Five samples, each 1 or 0, and the probabilities of 1 that some model gives them. Three are told
# right and one is told wrong; ``p``, that of the last one, is what we turn.

target = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64)


def five(p):
    """The probabilities (5), the last of them p."""
    return torch.tensor([0.9, 0.2, 0.7, 0.6, p], dtype=torch.float64)


def accuracy(p, target):
    """How many are told right, from 0 to 1."""
    return float(((p > 0.5) == (target > 0.5)).double().mean())


# %%
# From 0.4 to 0.45 the model gets better, and accuracy does not notice: its slope is 0, as nearly
# everywhere. From 0.499 to 0.501 nearly nothing happens, and accuracy jumps from 0.6 to 0.8: there
# it has no slope. The cross-entropy falls all the way. Its slope is drawn at a few points, as
# ``back_bce`` finds it: the worse the prediction, the steeper.

moves = [article_numbers()["D15"]["inputs"][k] for k in ("within_a_class", "across_the_threshold")]
before, after = ([accuracy(five(p), target) for p in ends] for ends in zip(*moves, strict=True))

fig, (stairs, hill) = plt.subplots(1, 2, figsize=(11, 4.6))
p = torch.linspace(0.04, 0.96, 180, dtype=torch.float64)
for half in (p[p < 0.5], p[p > 0.5]):
    stairs.plot(half, [accuracy(five(float(one)), target) for one in half], "C0")
for (start, end), low, high, place in zip(
    moves, before, after, ((0.07, 0.61), (0.53, 0.69)), strict=True
):
    stairs.plot([start, end], [low, high], "o-", color="C1", ms=7)
    note = f"from {start} to {end}:\naccuracy {low} to {high}"
    stairs.text(*place, note, color="C1")
stairs.text(0.75, 0.805, "slope 0", ha="center", color="0.3")
stairs.set(xlabel="p, where 1 is right", ylabel="accuracy", ylim=(0.55, 0.85), xlim=(0, 1))

hill.set(xlabel="p, where 1 is right", ylabel="cross-entropy", xlim=(0, 1))
hill.plot(p, [bce(five(float(one)), target) for one in p], "C0")
for at in (0.15, 0.4, 0.8):
    slope = float(back_bce(five(at), target)[-1])
    height = float(bce(five(at), target))
    ends = torch.tensor([-0.08, 0.08])
    hill.plot(at + ends, height + slope * ends, "C1", lw=4)
    hill.text(at + 0.04, height + 0.03, f"slope {slope:.2f}", color="C1")

# %%
# Trained on the cross-entropy, a logistic regression gets better at every step. Accuracy follows in
# stairs, rests while much is learned, and now and then goes down.

rand = torch.Generator().manual_seed(3)
labels = torch.arange(60, dtype=torch.float64) % 2
x = torch.randn(60, 2, generator=rand, dtype=torch.float64) + 1.6 * labels[:, None]
w, b = torch.tensor([-0.5, 0.5], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
losses, accuracies = [], []
for _ in range(150):
    losses.append(float(logistic_regression(x, w, b, labels)))
    accuracies.append(accuracy(sigmoid(x @ w + b), labels))
    _, grad_w, grad_b = back_logistic_regression(x, w, b, labels)
    w, b = w - 0.1 * grad_w, b - 0.1 * grad_b

fig, (upper, lower) = plt.subplots(2, 1, figsize=(8, 5), sharex=True)
upper.plot(losses)
upper.set(ylabel="cross-entropy")
lower.step(range(150), accuracies, where="mid")
lower.set(xlabel="step", ylabel="accuracy", xlim=(0, 150))

plt.show()
