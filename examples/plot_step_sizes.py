"""
Step sizes, and a loss that has a floor
=======================================

A network of eight weights, written in plain Python, learns one example with four step sizes. Each
time the loss falls, and never below 0.00245.
"""

import matplotlib.pyplot as plt

from manual_backprop import back_scalar_net, scalar_net, scalar_net_units
from manual_backprop.data import article_numbers

plt.style.use("manual_backprop.pictures")

# %%
# Two inputs, two hidden units, two outputs, all of them sigmoids. The targets are 0.23 and -0.07.
# No sigmoid is ever below 0, so the second output can come near 0, and its error near 0.07; the
# loss, half the sum of squares, near ``1/2 · 0.07² = 0.00245``.

article = article_numbers()
x, y, weights = (article["E1"]["inputs"][name] for name in ("x", "y", "w"))
sizes, updates = (article["E7"]["inputs"][name] for name in ("lr", "updates"))
floor = y[1] ** 2 / 2

losses = {size: [] for size in sizes}
outputs = {size: [] for size in sizes}
for size in sizes:
    w = weights
    for _ in range(updates + 1):
        losses[size].append(scalar_net(*x, *y, *w))
        outputs[size].append(scalar_net_units(*x, *w)[2:])
        _, _, *grads = back_scalar_net(*x, *y, *w)
        w = [old - size * grad for old, grad in zip(w, grads, strict=True)]

# %%
# Here a step ten times as large is about ten times as fast. What is left falls ever more slowly: as
# the second output comes near 0, so does its slope ``o (1 - o)``, and the gradient with it. The
# right half shows both outputs, with step size 10.

iterations = range(1, updates + 2)
white = {"fc": "white", "ec": "none", "pad": 1}
fig, (loss, output) = plt.subplots(1, 2, figsize=(11, 4.8), width_ratios=(1.35, 1))
last = loss.inset_axes((0.58, 0.49, 0.29, 0.47))
for size, color in zip(sizes, ("C3", "C2", "C0", "C1"), strict=True):
    loss.loglog(iterations, losses[size], color)
    last.semilogx(iterations, losses[size], color)
    last.text(
        1100, losses[size][-1], f"{losses[size][-1]:.6f}", color=color, va="center", size=10.5
    )
    middle = next(n for n, value in enumerate(losses[size]) if value < 0.04)
    loss.text(middle + 1, 0.04, size, color=color, ha="center", va="center", bbox=white)
for ax in (loss, last):
    ax.axhline(floor, color="0.3", lw=1.2, ls="--")
loss.text(1, 0.0026, "floor 1/2 · 0.07² = 0.00245", color="0.3")
loss.text(1, 0.04, "step size", va="center")
loss.set(xlabel="iteration", ylabel="loss")
last.set(xlim=(100, 1000), ylim=(0.0024, 0.00328), xticks=(1000,), yticks=(), title="the end")
last.tick_params(which="minor", labelbottom=False)

for color, target, values in zip(("C0", "C1"), y, zip(*outputs[10], strict=True), strict=True):
    output.semilogx(iterations, values, color)
    output.axhline(target, color=color, lw=1.2, ls="--")
    output.text(1000, target + 0.01, f"its target {target}", color=color, ha="right")
output.text(4, 0.34, "first output", color="C0")
output.text(6, 0.13, "second output", color="C1")
output.axhline(0, color="0.3", lw=1)
output.set(xlabel="iteration", ylabel="output", ylim=(-0.1, 0.56))

plt.show()
