"""Opponents take turns, and of paired times a ratio with its interval is made."""

import numpy as np
import pytest
import torch

from manual_backprop.bench.case import Run
from manual_backprop.bench.race import Pace, Ratio, interleaved, outcome, race, ratio


def test_turns_rotate_and_each_round_has_everybody_once():
    seen = []
    turns = [lambda i=i: seen.append(i) or float(i) for i in range(3)]
    seconds = interleaved(turns, Pace(0.0, seconds=0.0, least=4, most=9))
    assert seen == [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]
    assert np.array_equal(seconds, [[0.0, 1.0, 2.0]] * 4)


def test_rounds_end_when_there_are_enough_and_go_on_while_there_is_time():
    turns = [lambda: 0.0]
    assert len(interleaved(turns, Pace(0.0, seconds=0.0, least=5, most=9))) == 5
    assert len(interleaved(turns, Pace(0.0, seconds=1e9, least=5, most=9))) == 9


def test_what_writes_over_its_inputs_gets_them_anew_before_each_round(seed):
    buffer, log = torch.ones(3), []

    def fresh():
        log.append(float(buffer[0]))
        buffer.fill_(1)

    _, calls = race(
        [Run(lambda: buffer.mul_(2), fresh)], "cpu", Pace(0.0, seconds=0.0, least=2, most=2)
    )
    assert calls == [1]
    assert log[-1] == 2.0  # one call since the round before


def test_an_interval_holds_the_ratio_that_the_times_were_drawn_with(seed):
    rng, held = np.random.default_rng(seed), 0
    for _ in range(100):
        slow = rng.lognormal(sigma=1.0, size=31)  # both are slowed alike
        ours = slow * rng.lognormal(sigma=0.05, size=31)
        found = ratio(1.2 * slow * rng.lognormal(sigma=0.05, size=31), ours)
        assert found.low <= found.median <= found.high
        assert found.high - found.low < 0.2
        held += found.low <= 1.2 <= found.high
    assert held >= 85  # of 100 intervals of 95 %: fewer once in a thousand seeds


def test_the_same_times_give_the_same_interval_and_equal_ones_parity():
    ours = np.linspace(1, 2, 15)
    assert ratio(ours, ours) == Ratio(1.0, 1.0, 1.0)
    assert ratio(ours[::-1], ours) == ratio(ours[::-1], ours)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (1.01, 1.2, "wins"),
        (1.031, 1.032, "wins"),
        (1.01, 1.03, "parity"),
        (0.97, 0.99, "parity"),
        (0.5, 2.0, "parity"),
        (1.0, 1.2, "parity"),
        (0.96, 0.99, "loses"),
        (0.5, 0.6, "loses"),
    ],
)
def test_an_outcome_is_what_the_interval_says(low, high, word):
    assert outcome(Ratio((low + high) / 2, low, high)) == word
