"""
A line that learns
==================

Gradient descent fits ``y = w x + b`` to points of ``y = 3 x + 1``. How far ``w`` and ``b`` are off
is known beforehand, for every step: ``error_k = (I - lr H)^k error_0``.
"""

import matplotlib.pyplot as plt
import torch

from manual_backprop import back_linear_regression
from manual_backprop.data import article_numbers

plt.style.use("manual_backprop.pictures")

# %%
# A hundred points, 3000 steps with the learning rate 0.01, and a gradient written by hand.

given = article_numbers()["B6"]["inputs"]
best = torch.tensor([given["w"], given["b"]], dtype=torch.float64)
x = torch.rand(given["points"], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
target = best[0] * x + best[1]

lines = [torch.zeros(2, dtype=torch.float64)]  # w and b
for _ in range(given["steps"]):
    w, b = lines[-1]
    _, grad_w, grad_b = back_linear_regression(x, w, b, target)
    lines.append(lines[-1] - given["lr"] * torch.stack([grad_w, grad_b]))
errors = torch.stack(lines) - best

# %%
# The loss is a bowl over the plane of ``w`` and ``b``, with the same curvature everywhere, ``H = 2
# [[mean x², mean x], [mean x, 1]]``. So each step multiplies the error by the same matrix, ``I - lr
# H``; and along each axis of the bowl, an eigenvector of ``H``, by a number.

one = torch.ones_like(x)
curvature = 2 * torch.stack([x, one]) @ torch.stack([x, one]).T / len(x)
eigenvalues, eigenvectors = torch.linalg.eigh(curvature)
factors = 1 - given["lr"] * eigenvalues
steps = torch.arange(given["steps"] + 1)
along_axes = factors ** steps[:, None] * (eigenvectors.T @ errors[0])
law = along_axes @ eigenvectors.T

# %%
# After 100 steps the line runs through the middle of the points, but is too flat, and after 3000 it
# still is a little. The error tells why. Along the steep axis of the bowl it is soon gone; along
# the flat one each step takes a thousandth of it. What the steps did and what the law says differ
# by the last digits, which are rounded.

fig, axes = plt.subplot_mosaic(
    [["line", "error"], ["line", "difference"]],
    figsize=(11, 5),
    width_ratios=(1, 1.15),
    height_ratios=(2.3, 1),
)
line, error, difference = axes.values()
line.plot(x, target, "o", color="0.75", ms=7)
shown = (0, 10, 30, 100, 300, 3000)
shades = plt.cm.cividis_r(torch.linspace(0.15, 1, len(shown)).numpy())
for step, shade in zip(shown, shades, strict=True):
    w, b = lines[step].tolist()
    line.plot([0, 1], [b, w + b], color=shade)
    line.text(1.03, w + b, step, color=shade, va="center")
line.text(1.03, 4.4, "step", va="center")
line.set(xlabel="x", ylabel="y", xlim=(0, 1.15), ylim=(-0.2, 4.6), title="Points and the line")

error.semilogy(steps, law.norm(dim=1), "C5", lw=9, alpha=0.5)
error.semilogy(steps, errors.norm(dim=1), "C0")
error.semilogy(steps, along_axes[:, 1].abs(), "0.4", lw=1.2, ls="--")
error.text(
    900, 2, f"descent (line), law (band):\nin the end {1 - factors[0]:.2%} less a step", color="C0"
)
error.text(420, 3e-4, f"steep axis alone: {1 - factors[1]:.2%} less a step", color="0.3")
error.set(ylim=(1e-4, 20), ylabel="error of (w, b)", title="How far off, and the law")
error.tick_params(labelbottom=False)
difference.semilogy(steps, (errors - law).norm(dim=1), "C1", lw=1.2)
difference.set(xlabel="step", ylabel="|error - law|", ylim=(1e-17, 1e-12), xlim=(0, 3000))
difference.set(yticks=(1e-16, 1e-14, 1e-12))
error.sharex(difference)

plt.show()
