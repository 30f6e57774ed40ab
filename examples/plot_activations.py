"""
Activations and their slopes
============================

A network learns through the slopes of its activations: on its way back, a gradient is multiplied by
one of them at every unit it passes. Where the slope is 0, nothing gets through.
"""

import matplotlib.pyplot as plt
import torch

from manual_backprop import (
    back_relu,
    back_sigmoid,
    back_sigmoid_from_x,
    back_tanh,
    back_tanh_from_x,
    relu,
    sigmoid,
    tanh,
)

plt.style.use("manual_backprop.pictures")

# %%
# A backward turns the gradient of the output into the gradient of the input. Handed ones, it
# returns the slope itself. The step has no backward: on both sides of 0 its slope is 0, and at 0
# there is none.

x = torch.arange(-400, 401, dtype=torch.float64) / 50
ones = torch.ones_like(x)
curves = {
    "step": ((x > 0).double(), torch.zeros_like(x)),
    "sigmoid": (sigmoid(x), back_sigmoid(sigmoid(x), ones)),
    "tanh": (tanh(x), back_tanh(tanh(x), ones)),
    "relu": (relu(x), back_relu(x, ones)),
}

# %%
# Shaded is where the slope is below one hundredth, and a gradient that passes is all but lost. For
# the step that is everywhere, so a network of steps cannot learn by its gradient. In sigmoid and
# tanh it is far from 0, where a unit is *saturated*: there the gradient vanishes. In relu it is all
# of the left, where nothing passes at all; on the right a gradient passes as it is.
#
# Of what reaches a sigmoid, a quarter passes at best. Of what reaches ten of them one behind the
# other, a millionth does.

VANISHING = 0.01
notes = {"step": "0, and none at 0", "sigmoid": "at most ¼", "tanh": "at most 1", "relu": "0 or 1"}
fig, axes = plt.subplots(2, 4, figsize=(11, 5), sharex=True, sharey="row")
(step, *_), (step_slope, _, _, relu_slope) = axes
step.text(0, 1.6, "shaded: slope\nless than 0.01", ha="center", va="center")
step.plot([0, 0], [0, 1], "o", color="C0", mfc="white", zorder=3)
step_slope.plot(0, 0, "o", color="C1", mfc="white", zorder=3)
relu_slope.plot(0, 1, "o", color="C1", mfc="white", zorder=3)
relu_slope.plot(0, 0, "o", color="C1")
step.set(ylim=(-1.3, 2.1), ylabel="value", yticks=(-1, 0, 1, 2), xticks=(-5, 0, 5))
step_slope.set(ylim=(-0.1, 1.75), ylabel="slope", yticks=(0, 0.25, 1), yticklabels=(0, "¼", 1))
for (above, below), (name, (value, slope)) in zip(axes.T, curves.items(), strict=True):
    for half in (x <= 0, x > 0):  # drawn apart, so that no line bridges a jump
        above.plot(x[half], value[half], "C0")
        below.plot(x[half], slope[half], "C1")
    for ax in (above, below):
        band = ax.get_xaxis_transform()
        ax.fill_between(x, 0, 1, where=slope < VANISHING, transform=band, color="0.9", lw=0)
    above.set_title(name)
    below.text(0, 1.5, notes[name], ha="center", va="center")
    below.set_xlabel("x")

# %%
# Rounding takes slopes away as well. ``back_sigmoid`` knows the output ``s`` alone. In float32 that
# is rounded to 1 soon after x = 16, and ``s (1 - s)`` is 0; shortly before, the slope comes in
# stairs, since few digits of ``1 - s`` are left. ``back_sigmoid_from_x`` begins with the input and
# keeps the tail. Such a slope is small and yet not nothing: Adam divides by the size of the
# gradient, and can still learn from it.

x = torch.linspace(0, 30, 3001)
ones = torch.ones_like(x)
tails = {
    "sigmoid": (back_sigmoid(sigmoid(x), ones), back_sigmoid_from_x(x, ones)),
    "tanh": (back_tanh(tanh(x), ones), back_tanh_from_x(x, ones)),
}
fig, ax = plt.subplots(figsize=(9, 4.8))
for (name, (from_out, from_x)), color in zip(tails.items(), ("C0", "C1"), strict=True):
    there = from_out > 0
    last = x[there][-1]
    ax.semilogy(x, from_x, color, lw=7, alpha=0.35)
    ax.semilogy(x[there], from_out[there], color)
    ax.semilogy(last, from_out[there][-1], "X", color=color, ms=10)
    ax.text(30.4, from_x[-1], f"{name}\nfrom its input", color=color, va="center")
    place = (last + 0.5, 2e-6) if name == "sigmoid" else (last + 0.3, 2e-13)
    note = f"{name} from its output:\n0 beyond x = {last:.1f}"
    ax.text(*place, note, color=color, ha="left" if name == "sigmoid" else "right")
ax.set(xlabel="x", ylabel="slope in float32", xlim=(0, 30), ylim=(1e-27, 10))

plt.show()
