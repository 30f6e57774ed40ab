"""Noisy runs that repeat recorded calls give the bits of those that run the function itself."""

import pytest
import torch

from manual_backprop.judge import budget
from manual_backprop.judge.budget import rounding_budget
from manual_backprop.judge.draw import ARTICLE, Variant
from manual_backprop.judge.noise import Kinks
from manual_backprop.judge.point import draw_point
from manual_backprop.judge.recording import Recording
from tests.every import every_op


@pytest.fixture
def played(monkeypatch):
    """Counts the runs that were played to their end."""
    count = [0]
    play = Recording.play

    def counted(self, *args):
        results = play(self, *args)
        count[0] += 1
        return results

    monkeypatch.setattr(Recording, "play", counted)
    return count


def live(monkeypatch):
    """From here on every run is of the function itself."""
    results = budget._Runs.results

    def unrecorded(self, noise):
        self.several = False
        return results(self, noise)

    monkeypatch.setattr(budget._Runs, "results", unrecorded)


def same_bits(one, other):
    return all(
        torch.equal(a.truth.view(torch.int64), b.truth.view(torch.int64))
        and torch.equal(a.allowed.view(torch.int64), b.allowed.view(torch.int64))
        and a.settled == b.settled
        for a, b in zip(one, other, strict=True)
    )


@every_op
@pytest.mark.parametrize("change", [{}, {"numbers": "ties"}])
def test_of_the_house_every_run_is_repeated_to_the_bit(op, change, dtype, played, monkeypatch):
    sample = next(name for name in op.samples if name != ARTICLE)
    here = draw_point(op, Variant(sample, **change), dtype, 0)
    assert played[0] >= 7
    live(monkeypatch)
    again = draw_point(op, Variant(sample, **change), dtype, 0)
    assert same_bits((here.out, *here.grads), (again.out, *again.grads))


def branches(x):
    return (2 * x if bool(x.sum() > BETWEEN) else 3 * x).sum()


def selects(x):
    return x[x > 0].exp().mean()


def measures(x):
    return x * float(x.abs().max())


def in_place(x):
    out = x.exp()
    out.mul_(3).sub_(1)
    return torch.sin(out, out=torch.empty_like(out))


def listed(x):
    return torch.cat([x, x.exp(), x.sin()]).sum()


def of_a_constant(x):
    return (x * CONSTANT).sum()


def writes_outside(x):
    return (x + KEPT.add_(x)).sum()


def draws(x):
    torch.manual_seed(0)
    return torch.nn.functional.dropout(x.exp(), 0.5).sum()


X = torch.linspace(-1, 1, 11, dtype=torch.float64).exp() - 1
BETWEEN = float(X.sum())
CONSTANT, KEPT = torch.arange(11.0).double(), torch.zeros(11).double()


@pytest.mark.parametrize(
    ("function", "repeats"),
    [(branches, True), (selects, True), (measures, False), (in_place, True), (listed, True),
     (of_a_constant, True), (writes_outside, False), (draws, False)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["float64", "float16"])
def test_whatever_a_function_does_the_budget_is_that_of_its_own_runs(
    function, repeats, name, played, monkeypatch
):
    KEPT.zero_()
    found = rounding_budget(function, [X], getattr(torch, name))
    assert bool(played[0]) is repeats
    live(monkeypatch)
    KEPT.zero_()
    assert same_bits(found, rounding_budget(function, [X], getattr(torch, name)))


def test_a_selection_that_noise_changes_is_run_itself(played, monkeypatch):
    """Rounding carries the middle one across 0, so that now five and now six are selected."""
    x = torch.tensor([1.0, 2.0, 1e-9, -1.0, 3.0], dtype=torch.float64)
    shifted = lambda x: selects(x + 1e3 - 1e3)  # noqa: E731
    found = rounding_budget(shifted, [x], torch.float32)
    live(monkeypatch)
    assert same_bits(found, rounding_budget(shifted, [x], torch.float32))


def test_numbers_that_round_absolutely_are_seen_also_where_they_are_written_over():
    for function, relative in (
        (lambda x: x * 2, True),
        (lambda x: x * 1e-7, False),
        (lambda x: (x * 1e-7).mul_(1e7), False),
    ):
        kinks = Kinks(torch.float16, [X.abs() + 1])
        with kinks:
            function(X.abs() + 1)
        assert kinks.relative is relative
