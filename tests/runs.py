"""Small runs of training, and how two of them are compared."""

import torch
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.training.digits import Digits
from manual_backprop.training.options import Options
from manual_backprop.training.train import generator

SMALL = Options(epochs=3, batch_size=20, hidden=(17, 13))


def drawn(n, seed=0):
    """So many images and labels that mean nothing."""
    rand = generator("digits", seed)
    images = torch.randint(256, (n, 28, 28), generator=rand, dtype=torch.uint8)
    return Digits(images, torch.randint(10, (n,), generator=rand))


def asked(*words):
    """What the command line answers."""
    return CliRunner().invoke(main, ["train", "mnist", *map(str, words)])


def kept(folder):
    """The checkpoint in a folder."""
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def weights(folder):
    return list(kept(folder)["weights"].values())


def same(one, other):
    """Whether the tensors are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def sgd(weight, grad, state, lr):
    return weight - lr * grad


def momentum(weight, grad, state, lr):
    state["v"] = 0.9 * state.get("v", 0) + grad
    return weight - lr * state["v"]


def adam(weight, grad, state, lr):
    t = state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * grad
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * grad * grad
    m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
    return weight - lr * m / (v.sqrt() + 1e-8)
