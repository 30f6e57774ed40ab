"""
Descent on Himmelblau's function
================================

``f = (x² + y - 11)² + (x + y² - 7)²`` has four minima, all with ``f = 0``. Which one is found
depends on where the descent begins, and how soon on how the steps are made.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap, PowerNorm

from manual_backprop import back_himmelblau, himmelblau
from manual_backprop.data import article_numbers

plt.style.use("manual_backprop.pictures")

# %%
# The gradient is written by hand and put into ``.grad``; ``torch.optim`` makes the step from it,
# with no autograd anywhere. Many descents run side by side, one in each column.


def descend(optimizer_class, starts, steps, **options):
    """The points (2, n), one step after the other, of n descents from `starts`, (2, n)."""
    points = starts.clone()
    optimizer = optimizer_class([points], lr=0.001, **options)
    yield starts
    for _ in range(steps):
        points.grad = torch.stack(back_himmelblau(*points, torch.ones_like(points[0])))
        optimizer.step()
        yield points.clone()


minima = torch.tensor(article_numbers()["D14"]["expected"]["minima"], dtype=torch.float64)
starts = torch.tensor([[0.0, -1.0, -1.0, 1.0], [0.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
paths = torch.stack(list(descend(torch.optim.SGD, starts, 1000)))

# %%
# Plain descent from four starts near the middle comes to all four minima. The tint tells where it
# would come from anywhere else: each minimum has a basin of its own, and at the border between two
# of them a hair's breadth decides.

axis = torch.linspace(-5, 5, 201, dtype=torch.float64)
x, y = torch.meshgrid(axis, axis, indexing="xy")
f = himmelblau(x, y)
for points in descend(torch.optim.SGD, torch.stack([x.flatten(), y.flatten()]), 200):
    ends = points
basins = torch.cdist(ends.T, minima).argmin(1).reshape(x.shape)

fig = plt.figure(figsize=(11, 5))
surface = fig.add_subplot(1, 2, 1, projection="3d", computed_zorder=False)
surface.plot_surface(
    x, y, f, norm=PowerNorm(0.4, 0, 500), cmap="cividis", rcount=201, ccount=201, antialiased=False
)
surface.view_init(elev=45, azim=-120)
surface.set_box_aspect((1, 1, 0.6), zoom=1.05)
surface.set(xlabel="x", ylabel="y", zlabel="f", zticks=(0, 400, 800))

plane = fig.add_subplot(1, 2, 2, aspect="equal", xlabel="x", ylabel="y")
colors = ["C0", "C1", "C2", "C3"]
grid = axis.numpy()
plane.pcolormesh(grid, grid, basins.numpy(), cmap=ListedColormap(colors), alpha=0.25, lw=0)
plane.contour(x, y, f, levels=torch.logspace(0, 3, 13), colors="0.45", linewidths=0.7)
for path, color in zip(paths.unbind(2), colors, strict=True):
    star = {"marker": "*", "color": color, "ms": 16, "mec": "white"}
    surface.plot(*path.T, himmelblau(*path.T), color="white")
    surface.plot(*path[-1], 0, **star)
    plane.plot(*path.T, color)
    plane.plot(*path[0], "o", color=color, mfc="white")
    plane.plot(*path[-1], **star)
    end_x, end_y = path[-1].tolist()
    outside = 0.95 * end_x, end_y + (0.6 if end_y > 0 else -0.6)
    halo = {"fc": "white", "ec": "none", "alpha": 0.7, "pad": 1}
    plane.text(*outside, f"({end_x:.2f}, {end_y:.2f})", ha="center", va="center", bbox=halo)

# %%
# Three ways to make a step, from (0, 0) and with the learning rate 0.001. All come to (3, 2). Plain
# descent slows down as the slope lessens. Momentum 0.9 adds up steps that agree, to ten times their
# size, so it is ahead, and shoots over. Adam divides by the size of the gradient: whether it is
# steep or flat, a step is about 0.001 long. Here that is slow; what it buys is a learning rate that
# need not fit the slope. After the 20,000 steps of the article it is at (3, 2) to the last digits;
# what is below 1e-26 here is left to rounding.

origin = torch.zeros(2, 1, dtype=torch.float64)
ways = {
    "descent": torch.cat(list(descend(torch.optim.SGD, origin, 2000)), 1),
    "momentum": torch.cat(list(descend(torch.optim.SGD, origin, 2000, momentum=0.9)), 1),
    "Adam": torch.cat(list(descend(torch.optim.Adam, origin, 20_000)), 1),
}
fig, (near, loss) = plt.subplots(1, 2, figsize=(11, 4.6))
near.contour(x, y, f, levels=torch.logspace(0, 3, 19), colors="0.75", linewidths=0.7)
places = {"descent": (170, 1e-1), "momentum": (10, 1e-9), "Adam": (2500, 1e2)}
for (name, path), color in zip(ways.items(), colors, strict=False):
    near.plot(*path, color)
    loss.loglog(himmelblau(*path), color)
    loss.text(*places[name], name, color=color)
near.plot(0, 0, "o", color="0.2", mfc="white")
near.plot(3, 2, "*", color="0.2", ms=16, mec="white")
near.set(xlim=(-0.5, 4.5), ylim=(-0.5, 3.5), xlabel="x", ylabel="y")
loss.set(xlabel="steps", ylabel="f", xlim=(1, 3e4), ylim=(1e-31, 1e4))

plt.show()
