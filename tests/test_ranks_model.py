"""The model of a data-parallel step: what holds for any computation and any network."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manual_backprop.bench.show import engineering, times
from scripts.ranks.model import (
    Network,
    Work,
    all_reduce,
    fastest,
    fitted,
    messages,
    step,
    turning_point,
)

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = st.fractions(0, 100, max_denominator=97)  # exact, so that nothing need be allowed for
above_0 = st.fractions(Fraction(1, 97), 100, max_denominator=97)


def work_of(number):
    """Of one to five buckets."""

    def several(k):
        return st.lists(number, min_size=k, max_size=k)

    return st.integers(1, 5).flatmap(lambda k: st.builds(Work, several(k), several(k), number))


works, whole_works = work_of(some), work_of(st.integers(0, 100))
networks = st.builds(Network, st.just("any"), some, above_0)
several = st.integers(1, 40)
FREE = Network("free", 0, math.inf)


@UNHURRIED
@given(works, networks)
def test_one_rank_sends_nothing(work, network):
    for hidden in (False, True):
        assert step(work, 1, network, hidden=hidden) == work.seconds


@UNHURRIED
@given(whole_works, several)
def test_a_network_that_takes_no_time_leaves_the_computation(work, ranks):
    assert messages(work, ranks, FREE) == 0
    for hidden in (False, True):
        assert step(work, ranks, FREE, hidden=hidden) == work.seconds


@UNHURRIED
@given(works, several, networks)
def test_a_step_takes_as_long_as_computation_and_as_messages(work, ranks, network):
    found = step(work, ranks, network)
    assert found >= max(work.seconds, messages(work, ranks, network) + work.update)
    assert found <= step(work, ranks, network, hidden=False)


@UNHURRIED
@given(works, several, networks)
def test_with_nothing_hidden_all_is_added(work, ranks, network):
    found = step(work, ranks, network, hidden=False)
    assert found == work.seconds + messages(work, ranks, network)


@UNHURRIED
@given(works, several, networks, above_0, above_0)
def test_a_worse_network_is_never_faster(work, ranks, network, more, less):
    late = replace(network, latency=network.latency + more)
    narrow = replace(network, bandwidth=network.bandwidth / (1 + less))
    for hidden in (False, True):
        here = step(work, ranks, network, hidden=hidden)
        assert step(work, ranks, late, hidden=hidden) >= here
        assert step(work, ranks, narrow, hidden=hidden) >= here


@UNHURRIED
@given(works, networks, several)
def test_a_bucket_that_is_ready_earlier_is_never_a_loss(work, network, ranks):
    """The same computation with all of it before the first bucket hides nothing."""
    first = Work([sum(work.until), *[0] * (len(work.until) - 1)], work.sizes, work.update)
    assert step(work, ranks, network) <= step(first, ranks, network)


@UNHURRIED
@given(above_0, networks)
def test_a_ring_sends_nearly_twice_the_bytes_in_as_many_turns_as_there_are_ranks(size, network):
    assert all_reduce(size, 2, network) == 2 * network.latency + size / network.bandwidth
    late = replace(network, bandwidth=math.inf)
    assert all_reduce(size, 9, late) == float(16 * network.latency)
    wide = replace(network, latency=0)
    for ranks in range(2, 9):
        assert all_reduce(size, ranks, wide) < 2 * size / network.bandwidth
        assert all_reduce(size, ranks, wide) < all_reduce(size, ranks + 1, wide)


@UNHURRIED
@given(above_0, st.integers(1, 500), st.lists(some, min_size=1, max_size=4), networks)
def test_the_formula_tells_where_the_step_is_the_shortest(per_row, rows, sizes, network):
    network = replace(network, latency=network.latency + Fraction(1, 97))

    def seconds(ranks):
        until = [per_row * rows / ranks, *[0] * (len(sizes) - 1)]
        return step(Work(until, sizes, 0), ranks, network, hidden=False)

    turn = turning_point(per_row, rows, sizes, network)
    near = {math.floor(turn), math.ceil(turn)}
    best = fastest(seconds, math.ceil(turn) + 50)
    assert min(map(seconds, near)) == seconds(best)


def test_without_latency_more_ranks_always_pay_or_never():
    assert turning_point(1.0, 10, [1.0], Network("wide", 0.0, 1.0)) == math.inf
    assert turning_point(1.0, 10, [6.0], Network("narrow", 0.0, 1.0)) == 1


def test_of_equal_numbers_of_ranks_the_fewest_are_the_fastest():
    assert fastest(lambda ranks: max(2, 7 - ranks), 20) == 5


SIZES = [4 * 4**p for p in range(10)]


@pytest.mark.parametrize("ranks", [2, 3, 64])
def test_a_network_is_found_again_from_its_all_reduces(ranks):
    network = Network("known", 31e-6, 2.7e9)
    seconds = [all_reduce(size, ranks, network) for size in SIZES]
    found, ratios = fitted(SIZES, seconds, ranks, "known")
    assert engineering(found.latency, "s") == engineering(network.latency, "s")
    assert engineering(found.bandwidth, "B/s") == engineering(network.bandwidth, "B/s")
    assert {times(ratio) for ratio in ratios} == {"1.00"}


def test_no_network_nearby_fits_better():
    rand = np.random.default_rng(0)
    true = Network("known", 31e-6, 2.7e9)
    seconds = [all_reduce(size, 4, true) * rand.uniform(0.7, 1.4) for size in SIZES]
    found, ratios = fitted(SIZES, seconds, 4, "found")

    def off(network):
        pairs = zip(SIZES, seconds, strict=True)
        return sum((all_reduce(size, 4, network) / t - 1) ** 2 for size, t in pairs)

    for change in (0.9, 1.1):
        assert off(found) < off(replace(found, latency=found.latency * change))
        assert off(found) < off(replace(found, bandwidth=found.bandwidth * change))
    first = all_reduce(SIZES[0], 4, found) / seconds[0]
    assert times(ratios[0]) == times(first)


def test_neither_latency_nor_bandwidth_is_fitted_below_zero():
    falling, _ = fitted([4, 4000], [2.0, 1.0], 2, "falling")
    assert falling.latency > 0
    assert falling.bandwidth == math.inf
    steep, _ = fitted([1, 2], [1.0, 9.0], 2, "steep")
    assert steep.latency == 0
    assert 0 < steep.bandwidth < math.inf
