"""The whole house on a mesh, and four ranks, some of them without a part."""

import pytest
import torch

from manual_backprop.judge.sharded.start import judged
from manual_backprop.registry import OPS
from tests import across_ranks as ranks
from tests import mean_over_ranks as means
from tests.test_sharded import ASKED, NAMED, codes, verdicts_on

pytestmark = pytest.mark.slow


def test_on_four_ranks_some_of_them_without_a_part_the_names_are_the_same(subtests):
    chosen = (
        ranks.back_left_partial, ranks.back_never_reduced, ranks.back_reduced_twice,
        ranks.back_averaged, ranks.back_reduced_to_the_first, means.back_mean_to_the_first,
        means.back_mean_over_equal_parts, means.back_mean_over_all, means.back_sum_of_means,
        means.back_mean_of_means,
    )  # fmt: skip
    for function, verdict in verdicts_on(4, chosen).items():
        with subtests.test(function.__name__):
            due = NAMED[function]
            assert codes(verdict) == ({due} if due else set()), str(verdict)


@pytest.mark.parametrize("size", [2, 4])
def test_the_whole_house_is_right_on_a_mesh(size):
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    jobs = [(op, None) for op in OPS.values()]
    for verdict in judged(jobs, size, timeout=15.0, **{**ASKED, "dtypes": dtypes}):
        assert verdict.ok, str(verdict)
        assert all(verdict.cases(name) for name in verdict.saves), str(verdict)
