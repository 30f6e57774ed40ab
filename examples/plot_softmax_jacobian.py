"""
The Jacobian of softmax
=======================

Softmax turns a row of numbers into a row of probabilities. Each probability depends on all of the
numbers, so its derivative is a matrix: ``J_ij = ∂p_i/∂x_j = p_i ([i = j] - p_j)``.
"""

import matplotlib.pyplot as plt
import torch

from manual_backprop import back_softmax, softmax, softmax_jacobian
from manual_backprop.data import article_numbers

plt.style.use("manual_backprop.pictures")

# %%
# Three probabilities and the Jacobian at them, on the left. The diagonal is positive: a larger
# number makes its own probability larger. The rest is negative, for the others pay for it. The
# matrix is symmetric, and each row sums to 0: a constant that is added to all numbers changes no
# probability.
#
# With ten classes, on the right, one sees who competes with whom: the likely classes do. The row of
# an unlikely one is nearly white, its probability hardly moves, and a loss that reads it alone
# hardly has a gradient.

p = torch.tensor(article_numbers()["D4"]["inputs"]["p"], dtype=torch.float64)
jacobian = softmax_jacobian(p)
many = softmax(torch.linspace(3, -1.5, 10, dtype=torch.float64))
large = softmax_jacobian(many)

fig, (three, ten) = plt.subplots(1, 2, figsize=(11, 4.8), width_ratios=(1.04, 1))
for ax, matrix in ((three, jacobian), (ten, large)):
    image = ax.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-0.25, vmax=0.25)
    k = len(matrix)
    ax.set(title=f"∂p/∂x of {k} classes", xticks=range(k), yticks=range(k))
    ax.hlines(torch.arange(k + 1) - 0.5, -0.5, k - 0.5, color="white", lw=1.5)
    ax.vlines(torch.arange(k + 1) - 0.5, -0.5, k - 0.5, color="white", lw=1.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
for i, row in enumerate(jacobian.tolist()):
    for j, entry in enumerate(row):
        color = "white" if i == j else "black"
        three.text(j, i, f"{entry:+.4f}", color=color, size=15, ha="center", va="center")
    three.text(2.6, i, f"Σ = {sum(row):z.4f}", va="center")
three.set_xticklabels(["x₀", "x₁", "x₂"])
three.set_yticklabels([f"p{'₀₁₂'[i]} = {p[i]:.4f}" for i in range(3)])
ten.set(xlabel="number", ylabel="probability, the largest above")
bar = fig.colorbar(image, ax=ten, shrink=0.9, label="∂p/∂x", ticks=(-0.2, -0.1, 0, 0.1, 0.2))

# %%
# A backward needs no matrix, only its product with the gradient of the output: ``Jᵀ p̄`` is ``p (p̄
# - ⟨p, p̄⟩)``, k numbers where the matrix has k². Here for the loss ``-ln p₁``, with class 1 the
# right one. Either way gives ``p``, less 1 at class 1: descent lifts the right number and lowers
# each of the others by as much as its probability is too large.

right = 1
grad_out = torch.zeros_like(many)
grad_out[right] = -1 / many[right]
by_matrix = large.T @ grad_out
by_formula = back_softmax(many, grad_out)

fig, ax = plt.subplots()
ax.bar(range(10), by_matrix.numpy(), color="C5")
ax.plot(range(10), by_formula, "o", color="C1", ms=9)
ax.axhline(0, color="0.3", lw=1)
ax.text(1.7, -0.40, "bars: Jᵀ p̄, with the matrix", color="C0")
ax.text(1.7, -0.52, "dots: back_softmax, without it", color="C1")
ax.set(xticks=range(10), xlabel="number", ylabel="gradient of -ln p₁")

plt.show()
