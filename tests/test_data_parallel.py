"""Hand-written gradients shared by several processes: they learn what one process learns."""

from dataclasses import replace

import pytest
import torch

from manual_backprop.judge.budget import rounding_budget
from manual_backprop.registry import OPS
from manual_backprop.training.data_parallel import DataParallelStep, first_without_number
from manual_backprop.training.place import Alone
from manual_backprop.training.train import Trainer, draw_weights, generator
from tests.ranks import Ranks
from tests.runs import SMALL, adam, drawn, momentum, sgd


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request):
    several = Ranks(request.param)
    yield several
    several.end()


def learn(world, options, images, batches):
    """Losses (batches) and the six weights after them, this rank's part of each batch seen here."""
    trainer = Trainer(options, world)
    dtype = trainer.weights[0].dtype
    losses = [
        trainer.step(*images.rows(world.part(index), dtype), of=len(index)).sum()
        for index in batches
    ]
    return [torch.stack(losses).double().numpy(), *(w.double().numpy() for w in trainer.weights)]


def batches_of(images, size, epochs):
    return [
        index
        for number in range(epochs)
        for index in torch.randperm(len(images), generator=generator(number)).split(size)
    ]


def alone(options, images, batches, update=sgd):
    """The same by autograd, as a function of the weights."""

    def learned(*weights):
        losses, states = [], [{} for _ in weights]
        for index in batches:
            x, target = images.rows(index, weights[0].dtype)
            leaves = [weight.detach().requires_grad_() for weight in weights]
            loss = OPS["classifier"].oracle(x, *leaves, target)
            grads = torch.autograd.grad(loss, leaves)
            losses.append(loss.detach())
            moved = zip(weights, grads, states, strict=True)
            weights = [update(*each, options.lr) for each in moved]
        return torch.stack(losses), *weights

    return learned


def ratios(budgets, found, dtype):
    found = [torch.from_numpy(array).to(dtype) for array in found]
    return [budget.ratio(tensor) for budget, tensor in zip(budgets, found, strict=True)]


@pytest.mark.process
def test_200_steps_end_with_the_weights_of_one_process(ranks):
    options = replace(SMALL, dtype="float64", lr=0.01, hidden=(7, 5))
    images = drawn(41)
    batches = batches_of(images, 10, 40)  # the last of five has one row: none for most ranks
    budgets = rounding_budget(alone(options, images, batches), draw_weights(options), torch.float64)
    found = ranks.run(learn, options, images, batches)
    assert len(batches) == len(found[0][0]) == 200
    assert max(ratios(budgets, found[0], torch.float64)) <= 1
    for other in found[1:]:
        assert all((mine == theirs).all() for mine, theirs in zip(found[0], other, strict=True))
    again = ranks.run(learn, options, images, batches)
    assert all((one == two).all() for one, two in zip(found[0], again[0], strict=True))


@pytest.mark.process
@pytest.mark.parametrize("rows", [1, 2, 11])
def test_a_step_is_that_of_one_process_in_every_dtype(ranks, dtype, rows):
    name = str(dtype).removeprefix("torch.")
    options = replace(SMALL, dtype=name, lr=0.1)
    images = drawn(rows)
    batches = [torch.arange(rows)]
    budgets = rounding_budget(alone(options, images, batches), draw_weights(options), dtype)
    found = ranks.run(learn, options, images, batches)
    assert max(ratios(budgets, found[0], dtype)) <= 1


@pytest.mark.process
@pytest.mark.parametrize("update", [momentum, adam])
def test_every_optimizer_learns_as_it_does_alone(ranks, update):
    options = replace(SMALL, dtype="float64", optimizer=update.__name__, lr=0.001)
    images = drawn(50)
    batches = batches_of(images, 20, 3)
    function = alone(options, images, batches, update)
    budgets = rounding_budget(function, draw_weights(options), torch.float64)
    found = ranks.run(learn, options, images, batches)
    assert max(ratios(budgets, found[0], torch.float64)) <= 1


@pytest.mark.process
def test_all_ranks_tell_the_same_of_a_run_and_tell_it_again(ranks):
    shared = ranks.run(epochs, SMALL, drawn(50))
    assert all(told == shared[0] for told in shared)
    assert shared == ranks.run(epochs, SMALL, drawn(50))


def epochs(world, options, images):
    """What a run tells, without its speed."""
    run = Trainer(options, world).run(images, drawn(30, 1))
    return [replace(epoch, images_per_second=0) for epoch in run]


@pytest.mark.process
def test_the_test_images_are_shared_and_tell_the_same_bits_as_to_one_process(ranks):
    assert ranks.run(accuracy_of) == [accuracy_of(Alone())] * len(ranks.pipes)


def accuracy_of(world):
    return Trainer(SMALL, world).test(drawn(3500))


class Watched(Alone):
    """A world that tells which gradients were there when a bucket was sent."""

    def __init__(self, size):
        super().__init__()
        self.size, self.found = size, []

    def add_(self, bucket):
        sent = [weight.grad.untyped_storage() for weight in self.weights]
        there = [not weight.grad.isnan().any() for weight in self.weights]
        mine = [storage.data_ptr() == bucket.untyped_storage().data_ptr() for storage in sent]
        self.found.append((mine, there))
        return self

    def wait(self):
        pass


def sent(hidden):
    """For each message, in order: which of the six gradients it holds, and which are known."""
    options = replace(SMALL, hidden=hidden)
    world = Watched(2)
    weights = world.weights = draw_weights(options)
    step = DataParallelStep(weights, 20, optimizer=torch.optim.SGD(weights, 0.1), world=world)
    for bucket in step.buckets.values():
        bucket.fill_(torch.nan)
    step(*drawn(20).rows(torch.arange(20), torch.float32))
    assert sum(bucket.numel() for bucket in step.buckets.values()) == 2 + sum(
        weight.numel() for weight in weights
    )
    return [[[bool(one) for one in row] for row in pair] for pair in world.found]


no, yes = False, True


def test_a_layers_gradients_are_sent_while_those_before_it_are_still_to_be_found():
    last, both, first = [no] * 4 + [yes] * 2, [no] * 2 + [yes] * 4, [yes] * 2 + [no] * 4
    middle = [no, no, yes, yes, no, no]
    assert sent((200, 200)) == [[both, both], [first, [yes] * 6]]
    assert sent((20, 2000)) == [[last, last], [middle, both], [first, [yes] * 6]]


def test_small_layers_are_sent_together():
    assert sent((7, 5)) == [[[yes] * 6, [yes] * 6]]


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("losses", "ranks"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], []),
        ([[1.0, 1.0], [1.0, nan], [nan, nan]], [1]),
        ([[1.0, 1.0, 1.0], [inf, 1.0, nan]], [0, 2]),
        ([[1.0, 1.0], [nan, nan]], []),
    ],
)
def test_who_met_nan_first_is_named(losses, ranks):
    assert first_without_number(torch.tensor(losses)) == ranks
