"""How a sample is cut along an axis, and the meshes that are refused; no process is started."""

import math
import threading

import pytest
import torch
from click.testing import CliRunner

from manual_backprop import BadOp, Finding, Op, Verdict, verify_sharded
from manual_backprop.cli import main
from manual_backprop.judge.draw import Variant, axes
from manual_backprop.judge.point import point
from manual_backprop.judge.sharded import start
from manual_backprop.judge.sharded.cut import cut, flat_dims, lengths, share
from manual_backprop.judge.sharded.ranks import MeshError
from manual_backprop.registry import OPS
from tests.every import every_small_sample


@pytest.mark.parametrize(
    ("axis", "dims"),
    [
        ("n", {"x": 0, "w": None, "b": None, "out": 0, "grad_out": 0}),  # data-parallel
        ("i", {"x": 1, "w": 0, "b": None, "out": None, "grad_out": None}),  # by rows
        ("o", {"x": None, "w": 1, "b": 0, "out": 1, "grad_out": 1}),  # by columns
    ],
)
def test_every_tensor_that_has_the_axis_is_sharded_along_it(axis, dims):
    assert cut(OPS["lin"], "rows", axis, 2).dims == dims


def test_the_tensors_of_a_tuple_are_cut_one_by_one():
    here = cut(OPS["sigmoid_mlp"], "two layers", "h", 2)
    assert here.dims == {
        "x": None,
        "weights": (1, 0),
        "target": None,
        "out": None,
        "grad_out": None,
    }


@every_small_sample
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_parts_of_all_ranks_are_the_whole(op, sample, ranks):
    for axis in axes(op, sample):
        here = cut(op, sample, axis, ranks)
        drawn = point(op, Variant(sample), torch.float64, 0)
        for name, value in drawn.inputs.items():
            parts = [here.part(name, value, rank) for rank in range(ranks)]
            values = value if isinstance(value, tuple) else (value,)
            for i, (whole, dim) in enumerate(zip(values, flat_dims(here.dims[name]), strict=True)):
                mine = [part[i] if isinstance(value, tuple) else part for part in parts]
                if dim is None:
                    assert all(torch.equal(part, whole) for part in mine)
                else:
                    assert torch.equal(torch.cat(mine, dim), whole)
                    assert whole.shape[dim] == axes(op, sample)[axis]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 12])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_shares_are_those_of_chunk(size, ranks):
    numbers = torch.arange(size)
    chunks = [*numbers.chunk(ranks), *[numbers[:0]] * ranks][:ranks]
    assert all(torch.equal(share(numbers, 0, ranks, r), c) for r, c in enumerate(chunks))


@pytest.mark.parametrize("own", [1, 2, 3, 5, 11, 12])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_uneven_even_and_too_few_are_tried(own, ranks):
    by_kind = {kind: size for size, kind in lengths(own, ranks).items()}
    assert by_kind["uneven"] % ranks
    assert by_kind["even"] % ranks == 0
    assert by_kind["short"] < ranks


def test_an_axis_that_no_argument_has_is_not_cut():
    def same(x):
        return x

    sample = {"rows": lambda rand, n=11, times=3: (rand(n) * times,)}
    op = Op(same, (lambda grad_out: grad_out,), samples=sample, wrt=("x",))
    assert cut(op, "rows", "times", 2) is None


def square(x):
    return x * x


def back_square(x, grad_out):
    return 2 * x * grad_out


def back_square_(x, grad_out):
    return grad_out.mul_(2 * x)


ROWS = {"rows": lambda rand, n=11: (rand(n),)}
SQUARE = Op(square, (back_square,), ROWS, ("x",))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mesh": 1}, "a mesh of 1 shards nothing; give 2 ranks or more"),
        ({"mesh": True}, "a mesh of True shards nothing"),
        ({"mesh": "2"}, "a mesh of '2' shards nothing"),
        ({"device": "tpu"}, "there are cpu and cuda"),
        ({"samples": ["columns"]}, "no sample 'columns'; there are rows"),
        ({"axes": ["i"]}, "no axis 'i'; there are n"),
        ({"dtypes": torch.int64}, "no dtype to judge in"),
        ({"dtypes": ()}, "dtypes is empty"),
        ({"seeds": ()}, "seeds is empty"),
        ({"samples": ()}, "samples is empty"),
        ({"axes": ()}, "axes is empty"),
        *(({"timeout": t}, "timeout is") for t in (0, -1, math.nan, math.inf, "x", True)),
        ({"mesh": 33}, "32 at most"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_a_sentence(asked, said):
    with pytest.raises(ValueError, match=said):
        verify_sharded(SQUARE, **asked)


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 ranks need 2 GPUs, one each, and there is 1"):
        verify_sharded(SQUARE, device="cuda")


def test_a_backward_in_place_is_refused():
    with pytest.raises(BadOp, match="not back_square_, which writes"):
        verify_sharded(SQUARE, back_square_)
    with pytest.raises(BadOp, match="not back_square_, which writes"):
        verify_sharded(Op(square, (back_square_,), ROWS, ("x",)))


@pytest.mark.parametrize(
    ("names", "judged"),
    [
        (["lin"], ["back_lin"]),
        (["back_lin_einsum", "back_lin_broadcast"], ["back_lin_einsum", "back_lin_broadcast"]),
        (["lin", "back_lin_einsum", "relu"], ["back_lin", "back_lin_einsum", "back_relu"]),
    ],
)
def test_every_backward_that_is_named_is_judged(monkeypatch, names, judged):
    asked = []
    monkeypatch.setattr(start, "judged", lambda jobs, *given, **named: asked.extend(jobs) or [])
    assert CliRunner().invoke(main, ["verify", *names, "--mesh", "2"]).exit_code == 0
    assert [backward.__name__ for _, backward in asked] == judged


def test_what_cannot_be_sent_is_told():
    lock = threading.Lock()

    def back_locked(x, grad_out):
        with lock:
            return 2 * x * grad_out

    with pytest.raises(MeshError, match="cannot be sent to the ranks"):
        verify_sharded(SQUARE, back_locked)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mesh", "1"], "--mesh"),
        (["--mesh", "two"], "--mesh"),
        (["--mesh", "2", "--device", "cpu,cuda"], "--device"),
        (["back_relu_", "--mesh", "2"], "not back_relu_, which writes"),
    ],
)
def test_the_command_refuses_what_is_no_mesh(words, said):
    done = CliRunner().invoke(main, ["verify", *words])
    assert done.exit_code == 2
    assert said in done.stderr


def test_ranks_that_do_not_start_end_in_a_sentence_and_status_1(monkeypatch):
    def none_starts(*jobs, **asked):
        raise MeshError("the ranks of the mesh could not be started")

    monkeypatch.setattr(start, "judged", none_starts)
    done = CliRunner().invoke(main, ["verify", "relu", "--mesh", "2"])
    assert done.exit_code == 1
    assert done.stderr.endswith("Error: the ranks of the mesh could not be started\n")


def test_a_wrong_one_ends_with_status_1_and_its_axes_are_in_the_table(monkeypatch):
    found = Finding("back_relu", "grad_x", "local-mean", "is wrong")
    wrong = Verdict("relu", {"back_relu": ("x",)}, [found], axes={"back_relu": ("n", "i")})
    monkeypatch.setattr(start, "judged", lambda *jobs, **asked: [wrong])
    done = CliRunner().invoke(main, ["verify", "relu", "--mesh", "2"])
    assert done.exit_code == 1
    assert "shards n, i" in done.stdout
    assert "the backward is wrong: back_relu" in done.stdout
