"""The training steps, in kept memory, as one graph and captured: they learn what PyTorch learns."""

from functools import partial
from itertools import product

import pytest
import torch

from manual_backprop.bench.measure import peak_extra_bytes
from manual_backprop.judge.budget import rounding_budget
from manual_backprop.registry import OPS
from manual_backprop.training.captured import Captured
from manual_backprop.training.one_graph import NotCompiled, OneGraph
from manual_backprop.training.onednn import OneDnnStep
from manual_backprop.training.step import Step
from tests.every import long

SIZES = (13, 7, 5, 3)  # i, h, j, k
compiled = torch.compile
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs run on a GPU")


def one_graph(weights, largest, **how):
    return OneGraph(weights, **how)


every_step = pytest.mark.parametrize("make", [Step, one_graph])


pytestmark = pytest.mark.usefixtures("uncompiled")


def drawn(n, dtype=torch.float64, seed=0, scale=1.0, device="cpu"):
    """Weights and a batch of n rows."""
    rand = torch.Generator().manual_seed(seed)
    i, h, j, k = SIZES
    shapes = (h, i), (h,), (j, h), (j,), (k, j), (k,), (n, i)
    *weights, x = (scale * torch.randn(s, generator=rand, dtype=torch.float64) for s in shapes)
    target = torch.randint(k, (n,), generator=rand)
    weights = [w.to(device, dtype) for w in weights]
    return weights, x.to(device, dtype), target.to(device)


def learned(x, target, *, lr, relu_logits):
    """The loss and the weights after a step, as PyTorch computes them."""

    def after(*weights):
        leaves = [weight.detach().requires_grad_() for weight in weights]
        loss = OPS["classifier"].oracle(x.to(leaves[0].dtype), *leaves, target,
                                        relu_logits=relu_logits)  # fmt: skip
        grads = torch.autograd.grad(loss, leaves)
        return loss.detach(), *(w - lr * g for w, g in zip(weights, grads, strict=True))

    return after


@pytest.mark.parametrize("relu_logits", [False, True])
@pytest.mark.parametrize("n", [1, 2, 11])
@every_step
def test_a_step_is_that_of_the_plain_composition(make, device, dtype, n, relu_logits, seed):
    weights, x, target = drawn(n, dtype, seed)
    budgets = rounding_budget(learned(x, target, lr=0.125, relu_logits=relu_logits), weights, dtype)
    weights, x, target = drawn(n, dtype, seed, device=device)
    step = make(weights, 11, lr=0.125, relu_logits=relu_logits)
    loss = step(x, target)
    for budget, result in zip(budgets, (loss, *weights), strict=True):
        assert budget.ratio(result) <= 1


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="built without oneDNN")
@pytest.mark.parametrize("n", [1, 63, 64, 200])
@pytest.mark.parametrize("relu_logits", [False, True])
def test_the_products_of_onednn_are_the_same_step(n, relu_logits, seed, monkeypatch):
    monkeypatch.setattr("manual_backprop.training.onednn.BLOCK", 1000)  # several blocks
    rand = torch.Generator().manual_seed(seed)
    i, h, j, k = 97, 79, 71, 5
    shapes = (h, i), (h,), (j, h), (j,), (k, j), (k,), (n, i)
    *weights, x = (torch.randn(shape, generator=rand) / 8 for shape in shapes)
    target = torch.randint(k, (n,), generator=rand)
    budgets = rounding_budget(
        learned(x, target, lr=0.125, relu_logits=relu_logits), weights, torch.float32
    )
    loss = OneDnnStep(weights, n, lr=0.125, relu_logits=relu_logits)(x, target)
    for budget, result in zip(budgets, (loss, *weights), strict=True):
        assert budget.ratio(result) <= 1


@pytest.mark.parametrize("relu_logits", [False, True])
def test_batches_of_any_size_in_any_order_leave_nothing_behind(relu_logits):
    weights, *_ = drawn(1)
    alone = [weight.clone() for weight in weights]
    kept = Step(weights, 11, lr=0.1, relu_logits=relu_logits)
    for number, n in enumerate((11, 3, 1, 11, 7, 3)):
        _, x, target = drawn(n, seed=number)
        own = Step(alone, n, lr=0.1, relu_logits=relu_logits)
        for tensor in vars(own).values():
            if isinstance(tensor, torch.Tensor) and tensor is not own.ones is not own.minus:
                tensor.fill_(torch.nan)
        own.minus.fill_(-1)
        own.ones.fill_(1)
        assert torch.equal(kept(x, target), own(x, target))
    assert all(map(torch.equal, weights, alone))


@pytest.mark.parametrize("name", ["momentum", "adam"])
@every_step
def test_an_optimizer_gets_the_gradients(make, name):
    weights, x, target = drawn(11)
    optimizers = {"momentum": lambda w: torch.optim.SGD(w, 0.1, momentum=0.9, fused=True),
                  "adam": lambda w: torch.optim.Adam(w, 0.1, fused=True)}  # fmt: skip
    before = [weight.clone() for weight in weights]
    budgets = rounding_budget(
        lambda *w: learned(x, target, lr=1.0, relu_logits=False)(*w)[1:], before, torch.float64
    )
    optimizer = optimizers[name](weights)
    make(weights, 11, optimizer=optimizer)(x, target)
    for budget, weight, start in zip(budgets, weights, before, strict=True):
        assert budget.ratio(start - weight.grad) <= 1
        assert not torch.equal(weight, start)


@pytest.mark.parametrize("relu_logits", [False, True])
def test_the_steady_state_allocates_nothing(relu_logits):
    weights, x, target = drawn(11, torch.float32)
    step, loss = Step(weights, 11, lr=0.1, relu_logits=relu_logits), torch.empty(())
    step(x, target, loss)
    assert peak_extra_bytes(lambda: step(x, target, loss), "cpu") == 0


@every_step
def test_the_batch_is_left_as_it_is(make):
    weights, x, target = drawn(11)
    kept = x.clone(), target.clone()
    make(weights, 11, lr=0.1)(x, target)
    assert torch.equal(x, kept[0])
    assert torch.equal(target, kept[1])


@every_step
def test_the_loss_is_right_where_a_probability_is_0(make):
    weights, x, target = drawn(11, torch.float32, scale=30.0)
    (budget, *_) = rounding_budget(
        learned(x, target, lr=0.1, relu_logits=False), weights, torch.float32
    )
    assert budget.truth > 110  # beyond which e^-x is 0 in float32
    assert budget.ratio(make(weights, 11, lr=0.1)(x, target)) <= 1


def test_what_it_cannot_do_is_refused():
    weights, x, target = drawn(11)
    with pytest.raises(ValueError, match="give lr for plain gradient descent, or else"):
        Step(weights, 11)
    with pytest.raises(ValueError, match="give lr for plain gradient descent, or else"):
        OneGraph(weights, lr=0.1, optimizer=torch.optim.SGD(weights))
    with pytest.raises(ValueError, match="are on cpu, and CUDA graphs run on a GPU; use Step"):
        Captured(weights, 11, lr=0.1)
    with pytest.raises(ValueError, match=r"a weight is torch\.float64 on cpu, and .*; use Step"):
        OneDnnStep(weights, 11, lr=0.1)
    with pytest.raises(ValueError, match="11 rows, and the largest batch has 10"):
        Step(weights, 10, lr=0.1)(x, target)
    with pytest.raises(RuntimeError, match="out of bounds"):
        Step(weights, 11, lr=0.1)(x, target + 3)


@pytest.mark.parametrize("backend", ["aot_eager", long("inductor")])
@pytest.mark.parametrize("update", ["lr", "optimizer"])
def test_the_whole_step_is_one_graph(update, backend, monkeypatch):
    """Else compiling would fail: a graph that breaks is refused."""
    monkeypatch.setattr(torch, "compile", partial(compiled, backend=backend))
    weights, x, target = drawn(11)
    budgets = rounding_budget(learned(x, target, lr=0.1, relu_logits=False), weights, torch.float64)
    how = {"lr": 0.1} if update == "lr" else {"optimizer": torch.optim.SGD(weights, 0.1)}
    loss = OneGraph(weights, **how)(x, target)
    for budget, result in zip(budgets, (loss, *weights), strict=True):
        assert budget.ratio(result) <= 1


def test_a_compiler_that_fails_is_named(monkeypatch):
    def fails(graph, inputs):
        raise OSError("no compiler here")

    monkeypatch.setattr(torch, "compile", partial(compiled, backend=fails))
    weights, x, target = drawn(11)
    with pytest.raises(NotCompiled, match=r"torch\.compile: OSError: no compiler here"):
        OneGraph(weights, lr=0.1)(x, target)


@on_gpu
def test_a_captured_step_takes_batches_of_any_size_in_any_order():
    for dtype, relu_logits in product((torch.float64, torch.float32), (False, True)):
        weights, *_ = drawn(1, dtype, device="cuda")
        alone = [weight.clone() for weight in weights]
        how = {"lr": 0.1, "relu_logits": relu_logits}
        captured, step = Captured(weights, 11, **how), Step(alone, 11, **how)
        for number, n in enumerate((11, 3, 1, 11, 7, 3)):
            _, x, target = drawn(n, dtype, seed=number, device="cuda")
            assert torch.equal(captured(x, target), step(x, target))
        assert all(map(torch.equal, weights, alone))
