"""Training without autograd: what it learns, from what, and that it repeats."""

import gzip
import hashlib
import re
import shutil
import struct
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from manual_backprop.commands import DTYPES
from manual_backprop.data import data_folder
from manual_backprop.judge.budget import rounding_budget
from manual_backprop.registry import OPS
from manual_backprop.training import digits
from manual_backprop.training.digits import BadData, Digits, fingerprint, subset, whole
from manual_backprop.training.options import LEARNING_RATES, Options
from manual_backprop.training.train import Trainer, draw_weights, generator
from tests.every import long
from tests.runs import SMALL, adam, asked, drawn, momentum, same, sgd


@pytest.fixture
def few():
    """50 images to learn from, so that the last batch is a smaller one, and 30 to test on."""
    return drawn(50), drawn(30, 1)


class Graphs(TorchFunctionMode):
    """Collects the functions of torch whose results belong to a graph."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and (leaf.requires_grad or leaf.grad_fn):
                self.seen.append(func)
        return out


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("gradient", ["hand", "compiled", "composed", "autograd"])
@pytest.mark.usefixtures("uncompiled")
def test_no_graph_is_ever_built_by_hand_and_autograds_is_seen(few, optimizer, gradient):
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    trainer = Trainer(replace(SMALL, optimizer=optimizer, gradient=gradient))
    with Graphs() as graphs, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        assert len(list(trainer.run(*few))) == 3
    assert bool(graphs.seen) is bool(kept) is (gradient == "autograd")
    assert not any(weight.requires_grad for weight in trainer.weights)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(few, optimizer):
    trained = []
    for seed in (0, 0, 1):
        trainer = Trainer(replace(SMALL, optimizer=optimizer, seed=seed))
        history = [replace(epoch, images_per_second=0) for epoch in trainer.run(*few)]
        trained.append((trainer.weights, history))
    assert same(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1] != trained[2][1]
    assert not same(trained[0][0], trained[2][0])


def test_weights_are_kaiming_normal_and_biases_zero():
    w1, b1, w2, b2, w3, b3 = draw_weights(Options(dtype="float64"))
    assert [tuple(w.shape) for w in (w1, w2, w3)] == [(200, 784), (200, 200), (10, 200)]
    for w in (w1, w2, w3):
        n, sigma = w.numel(), (2 / w.shape[1]) ** 0.5
        assert abs(w.mean()) < 5 * sigma / n**0.5  # five standard deviations of the mean,
        assert abs(w.std() / sigma - 1) < 5 / (2 * n) ** 0.5  # and of the standard deviation
    assert not any(b.any() for b in (b1, b2, b3))


def test_an_epoch_meets_every_image_once_in_an_order_of_its_own(few, monkeypatch):
    orders = []
    rows = Digits.rows
    monkeypatch.setattr(
        Digits, "rows", lambda self, index, dtype: orders.append(index) or rows(self, index, dtype)
    )
    trainer = Trainer(SMALL)
    trainer.epoch(few[0], 1)
    trainer.epoch(few[0], 2)
    assert [len(index) for index in orders] == [20, 20, 10] * 2
    first, second = torch.cat(orders[:3]), torch.cat(orders[3:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(50))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("update", "relu_logits"), [(sgd, False), long(momentum, True), long(adam, False)]
)
@pytest.mark.usefixtures("uncompiled")
def test_hand_and_autograd_learn_alike_for_200_steps(few, update, relu_logits):
    options = Options(
        batch_size=10,
        lr=0.001 if update is adam else 0.01,
        optimizer=update.__name__,
        relu_logits=relu_logits,
        dtype="float64",
        hidden=(7, 5),
    )
    batches = [
        few[0].rows(index, torch.float64)
        for number in range(40)
        for index in torch.randperm(50, generator=generator(number)).split(10)
    ]

    def curve(*weights):
        losses, states = [], [{} for _ in weights]
        for x, target in batches:
            leaves = [weight.detach().requires_grad_() for weight in weights]
            loss = OPS["classifier"].oracle(x, *leaves, target, relu_logits=relu_logits)
            grads = torch.autograd.grad(loss, leaves)
            losses.append(loss.detach())
            weights = [
                update(weight, grad, state, options.lr)
                for weight, grad, state in zip(weights, grads, states, strict=True)
            ]
        return torch.stack(losses)

    (budget,) = rounding_budget(curve, draw_weights(options), torch.float64)
    assert budget.judged.all()
    assert budget.settled
    assert budget.truth[-5:].mean() < budget.truth[:5].mean()
    for gradient in ("hand", "compiled", "composed", "autograd"):
        trainer = Trainer(replace(options, gradient=gradient))
        losses = torch.stack([trainer.step(x, target) for x, target in batches])
        assert len(losses) == 200
        assert budget.ratio(losses) <= 1
    off = Trainer(replace(options, lr=options.lr * (1 + 1e-9)))
    assert budget.ratio(torch.stack([off.step(x, target) for x, target in batches])) > 1


def logits_of(data, w1, b1, w2, b2, w3, b3):
    x, target = data.rows(torch.arange(len(data)), w1.dtype)
    return torch.relu(torch.relu(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3, target


def test_losses_are_means_over_samples_also_where_the_last_batch_is_a_smaller_one(few, monkeypatch):
    monkeypatch.setattr("manual_backprop.training.train.TEST_BATCH", 20)  # 30 are 20 and 10
    trainer = Trainer(replace(SMALL, dtype="float64", lr=1e-300))  # moves no weight
    (epoch,) = trainer.run(*few, done=2)
    for loss, data in zip((epoch.train_loss, epoch.test_loss), few, strict=True):
        (budget,) = rounding_budget(
            lambda *weights, data=data: F.cross_entropy(*logits_of(data, *weights)),
            trainer.weights,
            torch.float64,
        )
        assert budget.ratio(torch.tensor(loss, dtype=torch.float64)) <= 1
    logits, target = logits_of(few[1], *trainer.weights)
    assert epoch.accuracy == (logits.argmax(1) == target).double().mean()
    assert set(epoch.never_predicted) == set(range(10)) - set(logits.argmax(1).tolist())


def test_it_learns_digits():
    *_, last = Trainer(Options()).run(*subset())
    assert last.accuracy >= 0.90
    assert last.never_predicted == ()


@pytest.mark.parametrize("optimizer", LEARNING_RATES)
@pytest.mark.parametrize("name", DTYPES)
def test_every_optimizer_learns_in_every_dtype(name, optimizer):
    train, test = subset()
    train = Digits(train.images[:1000], train.labels[:1000])
    options = Options(2, 100, LEARNING_RATES[optimizer], optimizer, dtype=name)
    *_, last = Trainer(options).run(train, test)
    assert last.accuracy > 0.6


IMAGES, LABELS = torch.zeros(3, 28, 28, dtype=torch.uint8), torch.tensor([0, 9, 5])


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES[:2], LABELS, "2 images and 3 labels"),
        (IMAGES[:0], LABELS[:0], "there are no images"),
        (IMAGES, torch.tensor([0, 10, 11]), r"label 10 of image 1 is no digit .*; 2 of 3"),
        (IMAGES, torch.tensor([0, 1, -1]), "label -1 of image 2"),
        (IMAGES.float(), LABELS, r"not \(3, 28, 28\) of float32"),
        (IMAGES.flatten(1), LABELS, r"not \(3, 784\) of uint8"),
        (IMAGES, LABELS.float(), r"labels are .* not \(3,\) of float32"),
    ],
)
def test_bad_data_are_named(images, labels, words):
    with pytest.raises(BadData, match=words):
        Digits(images, labels)


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A copy of the package's files, which is trained on."""
    shutil.copytree(data_folder() / "MNIST/raw", tmp_path / "MNIST/raw")
    monkeypatch.setattr(digits, "data_folder", lambda: tmp_path)
    return tmp_path / "MNIST/raw"


LABELS_FILE = "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("change", "vouched_for", "said"),
    [
        (lambda idx: idx[:-1], False, f"{LABELS_FILE} is damaged or another file"),
        (lambda idx: None, False, f"cannot read .*{LABELS_FILE}: No such file"),
        (lambda idx: idx[:-1] + b"\x0a", True, "label 10 of image 999 is no digit from 0 to 9"),
        (
            lambda idx: struct.pack(">2I", 0x801, 999) + idx[9:],
            True,
            "1,000 images and 999 labels",
        ),
    ],
    ids=["cut short", "missing", "class 10", "one label less"],
)
def test_bad_data_of_the_package_are_exit_2(shipped, monkeypatch, change, vouched_for, said):
    file = shipped / LABELS_FILE
    content = change(file.read_bytes())
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    if vouched_for:
        monkeypatch.setitem(digits.SUBSET, LABELS_FILE, hashlib.sha256(content).hexdigest())
    done = asked("--epochs", 1)
    assert done.exit_code == 2
    assert re.search(said, done.stderr)


def test_files_that_are_there_are_used_without_a_network(monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [])
    with pytest.raises(BadData, match=r"damaged or another file.*delete it"):
        whole(data_folder())  # a part is not the whole
    monkeypatch.setattr(digits, "WHOLE", digits.SUBSET)
    assert fingerprint(*whole(data_folder())) == fingerprint(*subset())


def test_what_cannot_be_fetched_is_exit_2_and_says_which_files_to_bring(monkeypatch, tmp_path):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [f"{(tmp_path / 'nothing').as_uri()}/"])
    done = asked("--data", "full", "--root", tmp_path)
    assert done.exit_code == 2
    assert "without a network, put train-images-idx3-ubyte.gz, " in done.stderr
    assert not any(tmp_path.iterdir())

    torn = tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(gzip.compress(b"idx")[:-4])
    done = asked("--data", "full", "--root", tmp_path)
    assert done.exit_code == 2
    assert "put train-images-idx3-ubyte.gz (what is there is damaged), train-labels" in done.stderr
    assert torn.read_bytes() == gzip.compress(b"idx")[:-4]


def test_options_that_there_are_not_are_refused():
    for wrong, words in (
        ({"optimizer": "rmsprop"}, "no optimizer 'rmsprop'; there are sgd, momentum, adam"),
        ({"gradient": "none"}, "no gradient 'none'; there are hand, onednn, compiled, composed"),
        ({"dtype": "int64"}, "no dtype 'int64'; there are float64, "),
        ({"epochs": 0}, "epochs is 0; it is at least 1"),
        ({"batch_size": -1}, "batch_size is -1; it is at least 1"),
        ({"lr": float("nan")}, "lr is nan; a learning rate is above 0 and at most 1000"),
        ({"seed": -1}, "seed is -1; it is from 0 to 9223372036854775807"),
    ):
        with pytest.raises(ValueError, match=words):
            Options(**wrong)
