"""
Digits, told by a network that never saw autograd
=================================================

Three layers learn handwritten digits from gradients written by hand, and then once more from those
of autograd. The two losses cannot be told apart, until one looks at their last digits.
"""

import matplotlib.pyplot as plt
import torch

from manual_backprop import classifier_layers, softmax
from manual_backprop.training.digits import subset
from manual_backprop.training.options import Options
from manual_backprop.training.train import Trainer, generator

plt.style.use("manual_backprop.pictures")

# %%
# The network 784-200-200-10 takes 125 steps in batches of 200, five times through the 5000 images.
# Both runs begin with the same weights and meet the same batches; ``gradient`` says who
# differentiates.

training, test = subset()
order = [
    batch
    for epoch in range(1, 6)
    for batch in torch.randperm(len(training), generator=generator(0, epoch)).split(200)
]
losses = {}
for gradient in ("autograd", "hand"):  # the digits below are told by the second
    trainer = Trainer(Options(gradient=gradient, dtype="float64"))
    steps = [trainer.step(*training.rows(batch, torch.float64)) for batch in order]
    losses[gradient] = torch.stack(steps)

# %%
# What the network says of images that it has not seen, and how sure it is: above ten that it tells
# right, below the ten wrong answers that it is surest of. Of some of these one cannot blame it.

x, labels = test.rows(torch.arange(len(test)), torch.float64)
*_, logits = classifier_layers(x, *trainer.weights)
sure, told = softmax(logits).max(1)
right = told == labels
accuracy = float(right.double().mean())
good = [int((right & (labels == digit)).nonzero()[0]) for digit in range(10)]
bad = (sure * ~right).argsort(descending=True)[:10].tolist()

fig, axes = plt.subplots(4, 5, figsize=(8, 7.6))
fig.suptitle(f"{accuracy:.1%} of {len(test):,} images are told right")
for ax, image in zip(axes.flat, good + bad, strict=True):
    ax.imshow(test.images[image].numpy(), cmap="gray_r")
    ax.set_axis_off()
    answer = f"{told[image]}" if right[image] else f"{told[image]}, not {labels[image]}"
    ax.set_title(f"{answer}: {sure[image]:.0%}", color="C0" if right[image] else "C1", loc="center")

# %%
# The loss before each step, by hand and by autograd: one line on the other. Their difference is a
# few units in the last place of a number in float64, the least by which two such numbers can
# differ, or it is nothing at all. Both are right, and round in other places.

difference = (losses["hand"] - losses["autograd"]).abs()
unit = losses["hand"].log2().floor().exp2() * torch.finfo(torch.float64).eps
fig, (loss, apart) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, height_ratios=(1.4, 1))
loss.semilogy(losses["autograd"], "C5", lw=7, alpha=0.6)
loss.semilogy(losses["hand"], "C0", lw=1.5)
loss.text(40, 1, "autograd (band), by hand (line)", color="C0")
loss.set(ylabel="loss")
apart.semilogy(torch.arange(len(order))[difference > 0], difference[difference > 0], "o", ms=4)
apart.semilogy(unit, "0.5", lw=1, drawstyle="steps-mid")
apart.text(2, 2e-18, "line: one unit in the last place of the loss", color="0.3")
same = int((difference == 0).sum())
apart.text(40, 2e-15, f"in {same} of {len(order)} steps no difference at all", color="C0")
apart.set(xlabel="step", ylabel="|difference|", xlim=(0, len(order)), ylim=(1e-18, 1e-14))

plt.show()
