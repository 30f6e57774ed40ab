"""The training step in kept memory: it learns what PyTorch learns, and allocates nothing."""

import pytest
import torch

from manual_backprop.bench.measure import peak_extra_bytes
from manual_backprop.judge.budget import rounding_budget
from manual_backprop.registry import OPS
from manual_backprop.training.step import Step

SIZES = (13, 7, 5, 3)  # i, h, j, k


def drawn(n, dtype=torch.float64, seed=0, scale=1.0):
    """Weights and a batch of n rows."""
    rand = torch.Generator().manual_seed(seed)
    i, h, j, k = SIZES
    shapes = (h, i), (h,), (j, h), (j,), (k, j), (k,), (n, i)
    *weights, x = (scale * torch.randn(s, generator=rand, dtype=torch.float64) for s in shapes)
    target = torch.randint(k, (n,), generator=rand)
    return [w.to(dtype) for w in weights], x.to(dtype), target


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
def test_a_step_is_that_of_the_plain_composition(dtype, n, relu_logits, seed):
    weights, x, target = drawn(n, dtype, seed)
    budgets = rounding_budget(learned(x, target, lr=0.125, relu_logits=relu_logits), weights, dtype)
    step = Step(weights, 11, lr=0.125, relu_logits=relu_logits)
    loss = step(x, target)
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
def test_an_optimizer_gets_the_gradients(name):
    weights, x, target = drawn(11)
    optimizers = {"momentum": lambda w: torch.optim.SGD(w, 0.1, momentum=0.9, fused=True),
                  "adam": lambda w: torch.optim.Adam(w, 0.1, fused=True)}  # fmt: skip
    before = [weight.clone() for weight in weights]
    budgets = rounding_budget(
        lambda *w: learned(x, target, lr=1.0, relu_logits=False)(*w)[1:], before, torch.float64
    )
    optimizer = optimizers[name](weights)
    Step(weights, 11, optimizer=optimizer)(x, target)
    for budget, weight, start in zip(budgets, weights, before, strict=True):
        assert budget.ratio(start - weight.grad) <= 1
        assert not torch.equal(weight, start)


@pytest.mark.parametrize("relu_logits", [False, True])
def test_the_steady_state_allocates_nothing(relu_logits):
    weights, x, target = drawn(11, torch.float32)
    step, loss = Step(weights, 11, lr=0.1, relu_logits=relu_logits), torch.empty(())
    step(x, target, loss)
    assert peak_extra_bytes(lambda: step(x, target, loss), "cpu") == 0


def test_the_batch_is_left_as_it_is():
    weights, x, target = drawn(11)
    kept = x.clone(), target.clone()
    Step(weights, 11, lr=0.1)(x, target)
    assert torch.equal(x, kept[0])
    assert torch.equal(target, kept[1])


def test_the_loss_is_right_where_a_probability_is_0():
    weights, x, target = drawn(11, torch.float32, scale=30.0)
    (budget, *_) = rounding_budget(
        learned(x, target, lr=0.1, relu_logits=False), weights, torch.float32
    )
    assert budget.truth > 110  # beyond which e^-x is 0 in float32
    assert budget.ratio(Step(weights, 11, lr=0.1)(x, target)) <= 1


def test_what_it_cannot_do_is_refused():
    weights, x, target = drawn(11)
    with pytest.raises(ValueError, match="give lr for plain gradient descent, or else"):
        Step(weights, 11)
    with pytest.raises(ValueError, match="11 rows, and the largest batch has 10"):
        Step(weights, 10, lr=0.1)(x, target)
    with pytest.raises(RuntimeError, match="out of bounds"):
        Step(weights, 11, lr=0.1)(x, target + 3)
