"""
Bowls, valleys and saddles
==========================

Where gradient descent comes to rest depends on the landscape, on where it starts, and on how long
its steps are. The gradient tells the slope underfoot and nothing else.
"""

import matplotlib.pyplot as plt
import torch

from manual_backprop import back_power

plt.style.use("manual_backprop.pictures")

# %%
# Three landscapes, and their gradients from the hand-written slope of a power. A convex bowl has
# one lowest point. The second has two valleys, of which one is deeper. The saddle falls to two
# sides.


def slope(x, a):
    """The slope of x to the power a."""
    return back_power(x, torch.ones_like(x), a=a)


def valleys(x):
    """A curve with two minima, the deeper one on the left."""
    return x**4 - 3 * x**2 + x


def valleys_slope(x):
    """Its slope."""
    return slope(x, 4.0) - 3 * slope(x, 2.0) + 1


heights = {
    "convex bowl": lambda x, y: x**2 + y**2,
    "two valleys": lambda x, y: valleys(x) + y**2,
    "saddle": lambda x, y: x**2 - y**2,
}
gradients = {
    "convex bowl": lambda x, y: (slope(x, 2.0), slope(y, 2.0)),
    "two valleys": lambda x, y: (valleys_slope(x), slope(y, 2.0)),
    "saddle": lambda x, y: (slope(x, 2.0), -slope(y, 2.0)),
}


def descend(gradient, start, steps, lr=0.02, momentum=0.0):
    """All points on the way, one column each."""
    point = torch.tensor(start, dtype=torch.float64)
    velocity = torch.zeros_like(point)
    path = [point]
    for _ in range(steps):
        velocity = momentum * velocity - lr * torch.stack(gradient(*point))
        point = point + velocity
        path.append(point)
    return torch.stack(path, 1)


# %%
# In the bowl every start ends at the bottom. With two valleys the start decides, and the right one
# stays in the shallow valley, a *local minimum*: downhill is the only way descent knows. On the
# ridge of the saddle, ``y = 0``, descent comes to rest where the gradient is 0, and that is no
# minimum at all; a start one thousandth beside the ridge lingers there as well, and then leaves.

runs = {
    "convex bowl": [((1.0, 1.6), 300), ((-1.6, 0.2), 300)],
    "two valleys": [((0.25, 1.6), 200), ((0.1, 1.6), 200)],
    "saddle": [((1.6, 0.0), 300), ((-1.6, -0.001), 184)],
}
axis = torch.linspace(-1.7, 1.7, 69, dtype=torch.float64)
x, y = torch.meshgrid(axis, axis, indexing="xy")
fig, axes = plt.subplots(1, 3, figsize=(12, 4.4), subplot_kw={"projection": "3d"})
ends = {}
for ax, (name, height) in zip(axes, heights.items(), strict=True):
    ax.computed_zorder = False
    ax.plot_surface(x, y, height(x, y), cmap="Greys_r", alpha=0.75, rcount=69, ccount=69)
    paths = [descend(gradients[name], start, steps) for start, steps in runs[name]]
    ends[name] = [path[:, -1] for path in paths]
    for path, color, size in zip(paths, ("C0", "C1"), (19, 10), strict=True):
        z = height(*path)
        ax.plot(*path, z, color)
        ax.plot(*path[:, 0], z[0], "o", color=color, mfc="white")
        ax.plot(*path[:, -1], z[-1], "*", color=color, ms=size, mec="white")
    ax.view_init(elev=46, azim=-62)
    ax.set(title=name, xlabel="x", ylabel="y")
    ax.set_zlabel("height", labelpad=-10)
    ax.set_box_aspect(None, zoom=0.88)  # the label beside the box would else be cut off
    ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=())

# %%
# Start, learning rate and momentum, each alone.
#
# *Start*: two that differ by 0.15 roll down on either side of the hill.
#
# *Learning rate*: on ``x²`` a step multiplies x by ``1 - 2 lr``. Near 1/2 that is close to 0 and
# all is done at once; a small rate creeps; beyond 1 each step ends farther away than it began.
#
# *Momentum*: in a trough that is twenty times steeper across than along, plain descent zigzags.
# With momentum the steps across cancel and those along add up.

fig, (start, rate, trough) = plt.subplots(1, 3, figsize=(12, 4.2))
start.plot(axis, valleys(axis), "0.6")
for x0, color in ((0.1, "C1"), (0.25, "C0")):
    (walk,) = descend(lambda x: (valleys_slope(x),), [x0], 60)
    start.plot(walk, valleys(walk), "o", color=color, ms=5, mec="white", mew=0.5)
    start.plot(walk[0], valleys(walk[0]), "o", color=color, mfc="white", ms=8)
start.set(xlabel="x", ylabel="f", title="start", ylim=(-4, 2))

for lr, color in ((0.02, "C0"), (0.1, "C2"), (0.4, "C3"), (1.05, "C1")):
    (walk,) = descend(lambda x: (slope(x, 2.0),), [1.0], 30, lr=lr)
    rate.semilogy(walk.abs(), color=color)
    seen = walk.abs()[walk.abs() > 1e-6]
    rate.text(len(seen) - 0.3, seen[-1], lr, color=color, va="center")
rate.set(xlabel="step", ylabel="distance from the minimum", title="learning rate, on x²")
rate.set(xlim=(0, 34), ylim=(1e-6, 1e2))


def steep(x, y):
    """The gradient of x²/2 + 10 y²."""
    return slope(x, 2.0) / 2, 10 * slope(y, 2.0)


x, y = torch.meshgrid(torch.linspace(-10, 2, 61), torch.linspace(-2, 2, 61), indexing="xy")
trough.contour(x, y, x**2 / 2 + 10 * y**2, levels=8, colors="0.75", linewidths=0.8)
for momentum, color in ((0.0, "C1"), (0.6, "C0")):
    path = descend(steep, (-9.0, 1.5), 25, lr=0.09, momentum=momentum)
    trough.plot(*path, "o-", color=color, ms=4, lw=1.5)
white = {"fc": "white", "ec": "none", "pad": 1}
trough.text(-3.5, 1.7, "without", color="C1", bbox=white)
trough.text(-3.5, 1.4, "with 0.6", color="C0", bbox=white)
trough.plot(0, 0, "*", color="0.2", ms=15, mec="white")
trough.set(xlabel="x", ylabel="y", title="momentum")

plt.show()
