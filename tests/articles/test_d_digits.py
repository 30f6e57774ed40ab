"""Article D: the digits' classifier, as functions and as modules."""

from dataclasses import replace

import pytest
import torch

from manual_backprop import OPS, back_classifier, classifier, rounding_budget
from manual_backprop.networks.classifier import classifier_layers
from manual_backprop.training.command import ROOT
from manual_backprop.training.digits import RAW, WHOLE, Digits, subset, whole
from manual_backprop.training.options import ARTICLE
from manual_backprop.training.train import NAMES, Trainer, draw_weights
from tests.articles.case import Row, case, drawn
from tests.printed import assert_printed


@case("D9-network")
def test_the_articles_options_are_the_articles(row):
    given = row["inputs"]
    asked = (ARTICLE.lr, ARTICLE.batch_size, ARTICLE.epochs, ARTICLE.optimizer)
    assert asked == (given["lr"], given["batch"], given["epochs"], "sgd")
    assert ARTICLE.relu_logits
    weights = draw_weights(ARTICLE)
    assert [[*weight.shape] for weight in weights] == [row["shapes"][name] for name in NAMES]
    assert [weights[0].shape[1], *(len(bias) for bias in weights[1::2])] == given["layers"]


@case("D9-normalised-pixels", "pixel_mean", "pixel_std")
def test_pixels_are_normalised_by_the_articles_numbers(row):
    images = torch.stack([torch.zeros(28, 28), torch.full((28, 28), 255)]).to(torch.uint8)
    rows, _ = Digits(images, torch.zeros(2, dtype=torch.int64)).rows(torch.arange(2), torch.float64)
    black, white = rows[:, 0]
    assert_printed(row, "pixel_std", 1 / (white - black))
    assert_printed(row, "pixel_mean", -black / (white - black))


@case("D9-classes-die")
def test_a_class_dies_by_the_relu_on_the_logits_and_none_without_it(row):
    options = replace(ARTICLE, seed=1)
    *_, dead = Trainer(options).run(*subset())
    *_, alive = Trainer(replace(options, relu_logits=False)).run(*subset())
    assert dead.never_predicted
    assert alive.never_predicted == ()
    assert 0.6 < dead.accuracy < alive.accuracy


@case("D9-no-gradient-revives-a-dead-class")
def test_a_class_whose_logit_is_negative_everywhere_has_no_gradient(row, seed):
    x, *weights = draw_network(row, seed)
    target, dead = torch.arange(len(x)), 3
    weights[5][dead] = -1e3
    _, *reluless = back_classifier(x, *weights, target)
    _, *grads = back_classifier(x, *weights, target, relu_logits=True)
    assert not grads[4][dead].any()
    assert grads[5][dead] == 0
    assert reluless[5][dead] != 0
    assert grads[5].count_nonzero() > 0


@case("D9-loss-200-times-too-small", "loss_too_small_by")
def test_batch_means_over_the_number_of_samples_are_no_mean(row):
    _, test = subset()
    trainer = Trainer(replace(ARTICLE, dtype="float64"))
    right, *_ = trainer.test(test)
    batches = torch.arange(len(test)).split(row["inputs"]["batch"])
    article = 0.0
    for index in batches:
        x, target = test.rows(index, torch.float64)
        article += classifier(x, *trainer.weights, target, relu_logits=True) / len(test)
    assert_printed(row, "loss_too_small_by", right / article)


@pytest.fixture
def all_digits(request):
    asked = request.config.getoption("--mnist")
    root = (asked or ROOT).expanduser()
    if not all(any((root / RAW).glob(f"{name}*")) for name in WHOLE):
        say = pytest.fail if asked else pytest.skip
        say(f"the whole of MNIST is not in {root / RAW}: name a folder with --mnist that has it")
    return whole(root)


def trained(row, digits, **options):
    return [
        list(Trainer(replace(ARTICLE, seed=s, **options)).run(*digits))[-1]
        for s in row["inputs"]["seeds"]
    ]


@pytest.mark.slow
@case("D9-whole-set-with-relu", "accuracy", "never_predicted")
def test_on_the_whole_set_some_seeds_lose_a_class(row, all_digits):
    ends = trained(row, all_digits)
    assert_printed(row, "accuracy", [end.accuracy for end in ends])
    assert_printed(row, "never_predicted", [len(end.never_predicted) for end in ends])


@pytest.mark.slow
@case("D9-whole-set-without-relu", "accuracy_without_relu_on_logits")
def test_on_the_whole_set_no_seed_loses_a_class_without_the_relu(row, all_digits):
    ends = trained(row, all_digits, relu_logits=False)
    assert_printed(row, "accuracy_without_relu_on_logits", [end.accuracy for end in ends])
    assert not any(end.never_predicted for end in ends)


@pytest.mark.slow
@case("D9-whole-set-pixels", "pixel_mean", "pixel_std")
def test_the_pixels_of_the_whole_set_have_this_mean_and_spread(row, all_digits):
    pixels = all_digits[0].images.double() / 255
    assert_printed(row, "pixel_mean", pixels.mean())
    assert_printed(row, "pixel_std", pixels.std())


def draw_network(row, seed, n=7, dtype=torch.float64):
    """x (n, 784), and weights w1 to b3 of the article's shapes that keep the numbers' size."""
    shapes = row["shapes"]
    x, *weights = drawn(seed, (n, shapes["x"][1]), *(shapes[name] for name in NAMES), dtype=dtype)
    return x, *(weight / max(weight.shape) ** 0.5 for weight in weights)


def modules(weights, *, relu_logits):
    """The article's modules, relu in place, with these weights."""
    layers = []
    for w in weights[::2]:
        layers += [torch.nn.Linear(*w.shape[::-1], dtype=w.dtype), torch.nn.ReLU(inplace=True)]
    model = torch.nn.Sequential(*(layers if relu_logits else layers[:-1]))
    with torch.no_grad():
        for own, given in zip(model.parameters(), weights, strict=True):
            own.copy_(given)
    return model


@case("D10-shapes")
def test_one_image_passes_three_layers_of_these_shapes(row):
    x, *weights = draw_network(Row("D9"), 0, n=1)
    printed = [row["shapes"][f"layer{k}"] for k in (1, 2, 3)]
    assert [[*layer.shape] for layer in classifier_layers(x, *weights)] == printed
    seen = []
    for layer in modules(weights, relu_logits=True):
        x = layer(x)
        seen.append([*x.shape])
    assert seen[1::2] == printed


@case("D10-relu-in-place")
def test_relu_in_place_writes_over_the_layer_before_it(row):
    x, *weights = draw_network(Row("D9"), 0, n=1)
    first, in_place, *_ = modules(weights, relu_logits=True)
    with torch.no_grad():
        z = first(x)
        negative = z < 0
        assert in_place(z).data_ptr() == z.data_ptr()
    assert negative.any()
    assert z[negative].eq(0).all()
    h1, _, _ = classifier_layers(x, *weights)
    assert h1.sign().equal(z.sign())


@pytest.mark.parametrize("relu_logits", [True, False], ids=["relu", "no-relu"])
@case("D10-identical-gradients")
def test_modules_with_the_same_weights_have_the_same_gradients(row, relu_logits, dtype, seed):
    x, *weights = draw_network(Row("D9"), seed, dtype=dtype)
    target = torch.arange(len(x))
    model = modules(weights, relu_logits=relu_logits)
    logits = model(x)
    loss = torch.nn.functional.cross_entropy(logits, target)
    loss.backward()

    def by_oracle(x, *rest):
        leaves = [t.detach().requires_grad_() for t in rest[:6]]
        value = OPS["classifier"].oracle(x, *leaves, rest[6], relu_logits=relu_logits)
        return value.detach(), *torch.autograd.grad(value, leaves)

    budgets = rounding_budget(by_oracle, (x, *weights, target), dtype)
    hand = classifier(x, *weights, target, relu_logits=relu_logits)
    _, *grads = back_classifier(x, *weights, target, relu_logits=relu_logits)
    by_modules = (loss, *(weight.grad for weight in model.parameters()))
    for budget, ours, theirs in zip(budgets, (hand, *grads), by_modules, strict=True):
        assert budget.ratio(ours) <= 1
        assert budget.ratio(theirs) <= 1
