"""The lines that docs/ladder.md shows of each rung compute what the rung stands for."""

import pytest
import torch

from manual_backprop import rounding_budget
from manual_backprop.networks.classifier import back_classifier_layers, classifier_layers
from manual_backprop.ops.cross_entropy import (
    back_cross_entropy,
    cross_entropy,
    cross_entropy_and_grad_,
)
from manual_backprop.ops.relu import back_relu
from scripts.speed.ladder import LR, NAMES, RUNGS
from tests.blocks import LADDER, blocks_of

SHOWN = dict(zip(NAMES, (b.text for b in blocks_of(LADDER) if b.language == "py"), strict=True))
SIZES = {"w1": (7, 13), "b1": (7,), "w2": (5, 7), "b2": (5,), "w3": (3, 5), "b3": (3,)}


@pytest.fixture
def names(request):
    """All names that the lines use, at one step of a small classifier."""
    rand = torch.Generator().manual_seed(request.config.getoption("--seed"))
    given = {name: torch.randn(shape, generator=rand) for name, shape in SIZES.items()}
    given["weights"] = [given[name] for name in SIZES]
    given["x"] = torch.randn(11, 13, generator=rand)
    target = torch.randint(3, (11,), generator=rand)
    h1, h2, z = classifier_layers(given["x"], *given["weights"])
    given |= {"h1": h1, "h2": h2, "z": z, "target": target, "lr": LR, "n": 11, "torch": torch}
    given |= {"index": target[:, None], "minus_one": torch.full((11, 1), -1.0)}
    given |= {"ones": torch.ones(11), "w1_t": given["w1"].T, "h": h1}
    given["delta1"], given["grad_h"] = torch.randn(2, 11, 7, generator=rand)
    given["threshold_backward"] = torch.ops.aten.threshold_backward
    for function in (classifier_layers, back_classifier_layers, cross_entropy,
                     cross_entropy_and_grad_):  # fmt: skip
        given[function.__name__] = function
    return given


def run(rung, names):
    exec(compile(SHOWN[rung], "ladder.md", "exec"), names)


def right(f, inputs, *got):
    """Whether what was got is f(*inputs), but for rounding."""
    budgets = rounding_budget(f, inputs, torch.float32)
    return all(budget.ratio(one) <= 1 for budget, one in zip(budgets, got, strict=True))


def hidden(x, w1, b1):
    return ((x @ w1.T + b1).relu(),)


def test_plain_is_the_lowest_rung(names):
    weights = [w.clone() for w in names["weights"]]
    loss = RUNGS[0].step(weights, names["x"], names["target"])
    run("plain", names)
    assert torch.equal(names["loss"], loss)
    assert all(map(torch.equal, names["weights"], weights))


def test_what_is_skipped_is_only_the_gradient_of_x(names):
    layers = tuple(names[h] for h in ("h1", "h2", "z"))
    weights = [names[w] for w in ("w1", "w2", "w3")]
    whole = back_classifier_layers(names["x"], *weights, layers, names["target"])
    run("x̄ skipped", names)
    assert names["_"] is None
    assert all(map(torch.equal, names["grads"], whole[1:]))


@pytest.mark.parametrize("rung", ["loss in one pass", "loss in five kernels"])
def test_loss_and_delta_are_those_of_cross_entropy(rung, names):
    z, target = names["z"].clone(), names["target"]
    run(rung, names)
    delta = names["delta3"]

    def both(z):
        return cross_entropy(z, target), back_cross_entropy(z, target)

    assert right(both, [z], names["loss"], delta)


@pytest.mark.parametrize("rung", ["bias inside", "relu in place", "memory kept", "oneDNN"])
def test_the_hidden_layer_is_the_same(rung, names):
    if rung == "oneDNN" and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    before = [names[name].clone() for name in ("x", "w1", "b1")]
    names["h1"] = torch.full_like(names["h1"], torch.nan)
    grad_h = names["grad_h"].clone()
    run(rung, names)
    assert right(hidden, before, names["h1"])
    if rung == "relu in place":
        assert torch.equal(names["grad_h"], back_relu(names["h"], grad_h))


def test_the_update_inside_is_the_update(names):
    inputs = [names[name].clone() for name in ("w1", "b1", "delta1", "x")]

    def updated(w1, b1, delta1, x):
        return w1 - LR * delta1.T @ x, b1 - LR * delta1.sum(0)

    run("update inside", names)
    assert right(updated, inputs, names["w1"], names["b1"])
