"""What a verdict rests on: the entry that came closest to its allowance, and the picture of all."""

import jsonschema
import pytest
import torch

from manual_backprop.judge.evidence import COLUMNS, LEVELS, ROWS, picture
from manual_backprop.judge.verify import verify
from manual_backprop.registry import OPS
from manual_backprop.report import as_json
from tests import reports


@pytest.mark.parametrize("name", ["lin", "softmax", "mse", "himmelblau", "add_constant"])
def test_every_tally_has_the_entry_that_it_is_of(name):
    verdict = verify(OPS[name], dtypes=(torch.float64, torch.float16))
    fields = as_json.report([verdict], ("cpu",), ("float64", "float16"), (0, 1))
    jsonschema.validate(fields, as_json.schema())

    assert len(verdict.cells) == 2 * len(OPS[name].backwards)
    for tally in verdict.cells.values():
        near = tally.closest
        assert near.error == abs(near.got - near.expected)
        assert near.error * tally.allowed == pytest.approx(near.allowed * tally.error, rel=1e-14)
        assert len(near.picture.index) == len(near.picture.shape)
        worst = max("".join(near.picture.levels))
        assert worst <= "5"
        assert LEVELS[int(worst)] >= tally.ratio
        assert worst == "0" or LEVELS[int(worst) - 1] < tally.ratio


def test_on_two_devices_a_tally_is_of_both_and_a_cell_of_one():
    verdict = verify(OPS["relu"], dtypes=torch.float32)
    both = [("back_relu", "float32", device) for device in ("cpu", "cuda")]
    verdict.cells[both[0]] = reports.one_case(0, close=0.1)
    verdict.cells[both[1]] = reports.one_case(0, close=0.9)
    tally = verdict.tallies["back_relu", "float32"]
    assert tally.cases == sum(verdict.cells[each].cases for each in both)
    assert tally.ratio == verdict.cells[both[1]].ratio


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (4099,), (11, 7), (3, 11, 7), (31, 257), (97, 2), (1, 1, 5)]
)
def test_a_picture_shows_the_worst_of_each_block(shape, seed):
    rand = torch.Generator().manual_seed(seed)
    truth, share = (torch.rand(shape, generator=rand, dtype=torch.float64) for _ in range(2))
    allowed = torch.full_like(truth, 0.5)
    ratio = 10 ** (8 * share - 4)
    judged = torch.rand(shape, generator=rand) < 0.9
    judged.view(-1)[0] = True
    seen = picture(truth + allowed * ratio, truth, allowed, judged)

    rows = ratio.where(judged, -1.0).reshape(-1, shape[-1] if shape else 1)
    assert rows.max() == ratio.where(judged, -1.0)[seen.index]
    assert len(seen.levels) <= ROWS
    assert len(seen.levels[0]) <= COLUMNS
    high, wide = seen.block
    for r, row in enumerate(seen.levels):
        for c, level in enumerate(row):
            worst = rows[r * high : (r + 1) * high, c * wide : (c + 1) * wide].max()
            expected = sum(worst > most for most in LEVELS) if worst >= 0 else "-"
            assert level == str(int(expected) if worst >= 0 else expected)


def test_nan_and_what_is_not_judged_are_seen_in_a_picture():
    truth = torch.zeros(2, 2, dtype=torch.float64)
    got = torch.tensor([[float("nan"), 0.0], [float("inf"), 1.0]])
    judged = torch.tensor([[True, True], [False, True]])
    seen = picture(got, truth, torch.full_like(truth, 0.5), judged)
    assert seen.levels == ("90", "-6")
    assert seen.index == (0, 0)
