"""One value where a list is meant too, and what the judge's doors say of another type."""

import math

import pytest
import torch

from manual_backprop import verify, verify_function, verify_sharded
from manual_backprop.judge.sharded import start
from tests import functions as f
from tests.squares import op

FLOAT64, CPU = torch.float64, torch.device("cpu")


def double(logits):
    return 2 * logits


def by_verify(**given):
    return verify(op(), **given)


def by_function(**given):
    return verify_function(double, double, samples=f.rows, **given)


def by_mesh(**given):
    return verify_sharded(op(), **given)


DOORS = [by_verify, by_function, by_mesh]


def cells(verdict):
    return {key: (t.cases, t.error, t.allowed) for key, t in verdict.cells.items()}


@pytest.mark.parametrize(
    ("one", "listed"),
    [
        ({"devices": "cpu"}, {"devices": ["cpu"]}),
        ({"devices": CPU}, {"devices": ("cpu",)}),
        ({"devices": [CPU]}, {"devices": ("cpu",)}),
        ({"seeds": 3}, {"seeds": (3,)}),
        ({"dtypes": FLOAT64}, {"dtypes": [FLOAT64]}),
        ({"layouts": "contiguous"}, {"layouts": ["contiguous"]}),
        ({"parts": "values"}, {"parts": ["values"]}),
        ({"samples": "rows"}, {"samples": ["rows"]}),
    ],
    ids=str,
)
def test_one_is_a_list_of_one(one, listed):
    assert cells(by_verify(**one)) == cells(by_verify(**listed)) != {}


def test_one_is_a_list_of_one_for_a_function():
    one = by_function(devices=CPU, seeds=3, dtypes=FLOAT64, wrt="logits")
    listed = by_function(devices=["cpu"], seeds=[3], dtypes=[FLOAT64], wrt=["logits"])
    assert cells(one) == cells(listed) != {}
    assert one.ok, one


def test_one_is_a_list_of_one_on_a_mesh(monkeypatch):
    seen = []
    monkeypatch.setattr(start, "judged", lambda jobs, size, **asked: seen.append(asked) or [None])
    by_mesh(seeds=3, samples="rows", axes="n", device=CPU, dtypes=FLOAT64)
    by_mesh(seeds=[3], samples=["rows"], axes=["n"], device="cpu", dtypes=[FLOAT64])
    one, listed = ({k: v for k, v in each.items() if k != "progress"} for each in seen)
    assert one == listed


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", [1.5, [1.5], True, "3", ["3"], None, [None], math.nan, b"3"])
def test_a_seed_of_another_type_is_refused_with_a_sentence(door, wrong):
    with pytest.raises(ValueError, match=r"seeds: .* is no whole number"):
        door(seeds=wrong)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", ["float64", ["float64"], 64, None, torch.tensor(1.0)])
def test_a_dtype_of_another_type_is_refused_with_a_sentence(door, wrong):
    with pytest.raises(ValueError, match=r"dtypes: .* is no dtype to judge in"):
        door(dtypes=wrong)


@pytest.mark.parametrize("wrong", [0, [0], None, [None], b"cpu"])
def test_a_device_of_another_type_is_refused_with_a_sentence(wrong):
    for door in (by_verify, by_function):
        with pytest.raises(ValueError, match=r"devices: .* is no device"):
            door(devices=wrong)
    with pytest.raises(ValueError, match=r"device: .* is no device"):
        by_mesh(device=wrong)


@pytest.mark.parametrize("wrong", [0, [0], [None], b"rows", True])
@pytest.mark.parametrize(
    ("door", "what"),
    [(by_verify, "samples"), (by_verify, "layouts"), (by_verify, "parts"), (by_function, "wrt"),
     (by_mesh, "samples"), (by_mesh, "axes")],
)  # fmt: skip
def test_a_name_of_another_type_is_refused_with_a_sentence(door, what, wrong):
    with pytest.raises(ValueError, match=f"{what}: .* is no name"):
        door(**{what: wrong})


@pytest.mark.parametrize(
    ("door", "given", "said"),
    [
        (by_verify, {"samples": "rowz"}, "no sample 'rowz'"),
        (by_mesh, {"samples": "rowz"}, "no sample 'rowz'"),
        (by_mesh, {"axes": "nn"}, "no axis 'nn'"),
        (by_verify, {"devices": "toaster"}, "device 'toaster' is not there"),
        (by_function, {"devices": "toaster"}, "device 'toaster' is not there"),
    ],
)
def test_a_name_that_is_not_there_is_told_whole(door, given, said):
    with pytest.raises(ValueError, match=said):
        door(**given)
