"""`train mnist` by torchrun: what its ranks keep, and what each says where they cannot go on."""

import json
from signal import SIGTERM
from subprocess import TimeoutExpired

import pytest
import torch

from manual_backprop.judge.budget import rounding_budget
from manual_backprop.training.digits import subset
from manual_backprop.training.options import Options
from manual_backprop.training.place import BadWorld, Place, place
from manual_backprop.training.train import draw_weights, generator
from manual_backprop.training.world import World
from tests.ranks import LONGEST, Launched, environment, free_port, nobody_else, process
from tests.runs import asked, same, weights
from tests.test_data_parallel import alone

TRAIN = ("train", "mnist", "--batch-size", 1000, "--dtype", "float64")
WORLD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}


def trained(folder):
    return len(json.loads((folder / "history.json").read_text())["history"])


@pytest.mark.process
def test_a_run_goes_on_with_other_numbers_of_ranks_and_ends_with_the_same_weights(tmp_path):
    out, module = tmp_path / "out", "manual_backprop"
    two = Launched(tmp_path / "2", 2, module, *TRAIN, "--epochs", 1, "--out", out)
    assert (two.status, trained(out)) == (0, 1)
    assert "ranks: 2" in two.said(stream="stdout")[0]
    assert two.said(stream="stdout")[1] == ""
    assert asked("--out", out, "--resume", "--epochs", 2).exit_code == 0
    four = Launched(tmp_path / "4", 4, module, "train", "mnist", "--out", out,
                    "--resume", "--epochs", 3)  # fmt: skip
    assert (four.status, trained(out)) == (0, 3)

    options, images = Options(batch_size=1000, dtype="float64"), subset()[0]
    batches = [
        index
        for number in (1, 2, 3)
        for index in torch.randperm(len(images), generator=generator(0, number)).split(1000)
    ]
    learned = alone(options, images, batches)
    _, *budgets = rounding_budget(learned, draw_weights(options), torch.float64)
    found = zip(budgets, weights(out), strict=True)
    assert max(budget.ratio(weight) for budget, weight in found) <= 1


@pytest.mark.process
def test_a_killed_rank_is_started_again_and_the_run_ends_with_the_same_bits(tmp_path):
    run = (*TRAIN, "--epochs", 3, "--timeout", 30, "--out")
    for fault, restarts in (("dies", 1), ("none", 0)):
        words = ("tests.faulty", fault, *run, tmp_path / fault)
        launched = Launched(tmp_path / f"log {fault}", 2, *words, restarts=restarts)
        assert (launched.status, trained(tmp_path / fault)) == (0, 3)
        if fault == "dies":
            assert "rank 0: rank 1 does not answer" in launched.said()[0]
            assert "after epoch 1" in launched.said(attempt=1, stream="stdout")[0]
    assert same(weights(tmp_path / "dies"), weights(tmp_path / "none"))


FAULTS = {
    "loops": ("rank 1 does not answer", "stopped"),
    "nan": ("rank 1 met a loss that is no number in epoch 2",) * 2,
    "memory": ("rank 1 ended: cpu has not enough memory", "cpu has not enough memory"),
}


@pytest.mark.process
@pytest.mark.parametrize("fault", FAULTS)
def test_every_rank_says_why_the_run_ended_and_the_epochs_before_are_kept(tmp_path, fault):
    out = tmp_path / "out"
    run = (*TRAIN, "--epochs", 3, "--timeout", 5, "--out", out)
    launched = Launched(tmp_path / "log", 2, "tests.faulty", fault, *run)
    assert launched.status == 1
    for rank, (said, words) in enumerate(zip(launched.said(), FAULTS[fault], strict=True)):
        (line,) = said.splitlines()
        assert line.startswith(f"Error: rank {rank}: ")
        assert words in line
        assert words in launched.summary
    assert f"{out} holds all epochs before" in launched.said()[0]
    assert trained(out) == 1


@pytest.mark.process
def test_of_four_ranks_the_dead_one_alone_is_named(tmp_path):
    run = (*TRAIN, "--epochs", 3, "--timeout", 20, "--out", tmp_path / "out")
    launched = Launched(tmp_path / "log", 4, "tests.faulty", "dies", *run)
    assert launched.status == 1
    for rank, said in enumerate(launched.said()):
        assert (f"rank {rank}: rank 1 does not answer; " in said) == (rank != 1)
    assert trained(tmp_path / "out") == 1


@pytest.mark.process
def test_a_rank_whose_store_stands_still_ends_in_time():
    port = free_port()
    run = (*TRAIN, "--epochs", 3, "--timeout", 4)
    first, second = (
        process("tests.faulty", fault, *run, rank=rank, port=port)
        for rank, fault in enumerate(("first-stands-still", "none"))
    )
    try:
        _, said = second.communicate(timeout=LONGEST)
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 1
    assert said.startswith("Error: rank 1: rank 0 does not answer; ")


@pytest.mark.process
def test_a_rank_that_waits_for_others_can_be_stopped():
    waiting = rank_of(1, "--timeout", 60, port=free_port())
    with pytest.raises(TimeoutExpired):
        waiting.communicate(timeout=8)
    waiting.send_signal(SIGTERM)
    _, said = waiting.communicate(timeout=LONGEST)
    assert waiting.returncode == 1
    assert said == "Error: rank 1: stopped before the ranks had met; nothing was changed\n"


@pytest.mark.process
@pytest.mark.parametrize("fault", ["other-code", "other-data"])
def test_ranks_that_differ_train_nothing(tmp_path, fault):
    run = (*TRAIN, "--epochs", 1, "--out", tmp_path / "out")
    launched = Launched(tmp_path / "log", 2, "tests.faulty", fault, *run)
    assert launched.status == 1
    for rank, said in enumerate(launched.said()):
        assert f"rank {rank}: rank 1 has " in said
    assert not (tmp_path / "out").exists()


def ended(*processes):
    """Exit status and what was said, of each."""
    said = [each.communicate(timeout=LONGEST) for each in processes]
    assert not any(out for out, _ in said)
    return [(each.returncode, err) for each, (_, err) in zip(processes, said, strict=True)]


def rank_of(rank, *words, size=2, port):
    return process("manual_backprop", *TRAIN, *words, rank=rank, size=size, port=port)


@pytest.mark.process
def test_a_world_that_cannot_be_made_is_exit_2_before_anything_is_trained():
    with nobody_else() as taken:
        alone, lost, blind = free_port(), free_port(), free_port()
        several = (
            rank_of(0, "--timeout", 5, port=taken),
            rank_of(0, "--timeout", 2, port=alone),
            rank_of(1, "--timeout", 2, port=lost),
            rank_of(1, "--timeout", 2, port=taken),
            rank_of(0, port=None),
            rank_of(2, port=blind),
        )
        words = (
            f"cannot listen on MASTER_PORT {taken}",
            "rank 1 of 2 did not come within 2 s",
            f"rank 0 does not answer at 127.0.0.1:{lost}",
            f"rank 0 does not answer at 127.0.0.1:{taken}",
            "MASTER_PORT is not",
            "RANK is 2 and WORLD_SIZE 2",
        )
        for (status, said), expected in zip(ended(*several), words, strict=True):
            assert status == 2
            (line,) = said.splitlines()
            assert line.startswith("Error: ")
            assert expected in line


@pytest.mark.process
def test_ranks_that_were_started_unlike_each_other_are_exit_2():
    ports = [free_port() for _ in range(3)]
    several = (
        rank_of(0, "--lr", "0.1", port=ports[0]),
        rank_of(1, "--lr", "0.2", port=ports[0]),
        rank_of(0, "--timeout", 20, port=ports[1]),
        rank_of(1, "--timeout", 20, size=3, port=ports[1]),
    )
    (first, second, _, fourth) = ended(*several)
    for rank, (status, said) in enumerate((first, second)):
        assert status == 2
        assert f"rank {rank}: rank 1 has lr 0.2 and rank 0 0.1" in said
    assert fourth[0] == 2
    assert "WORLD_SIZE is 3 here and 2 at rank 0" in fourth[1]


@pytest.mark.process
def test_only_hand_written_gradients_are_shared():
    port = free_port()
    first, second = ended(
        *(rank_of(rank, "--gradient", "autograd", port=port) for rank in range(2))
    )
    assert first[0] == 2
    assert "leave it at hand" in first[1]
    assert "rank 0 ended: " in second[1]


@pytest.mark.parametrize(("rank", "there"), [(0, 0), (2, 2)])
def test_a_rank_that_no_gpu_is_left_for_is_refused(monkeypatch, rank, there):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    world = World.__new__(World)
    world.place = place({**WORLD, "LOCAL_RANK": str(rank)})
    with pytest.raises(BadWorld, match=f"the machine has {there}"):
        world.start("cuda")


def test_the_environment_tells_the_place():
    found = place({**WORLD, "LOCAL_RANK": "0", "TORCHELASTIC_RESTART_COUNT": "3"})
    assert (found.rank, found.size, found.address, found.port) == (1, 2, "here", 29500)
    assert (found.local_rank, found.attempt) == (0, 3)
    assert isinstance(found, Place)
    assert place({}) is None
    assert place({"WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not"),
        ({"RANK": ""}, "RANK is not"),
        ({"RANK": "2"}, "RANK is 2 and WORLD_SIZE 2"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"MASTER_PORT": "65536"}, "the last port is 65535"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK is 'x'"),
        ({"TORCHELASTIC_RESTART_COUNT": "x"}, "TORCHELASTIC_RESTART_COUNT is 'x'"),
    ],
)
def test_half_a_place_is_refused(change, words):
    with pytest.raises(BadWorld, match=words):
        place({**WORLD, **change})


def test_a_place_of_one_trains_as_if_alone(monkeypatch):
    for name, value in environment(0, 1, 29500).items():
        monkeypatch.setenv(name, value)
    done = asked("--epochs", 1, "--gradient", "composed")
    assert done.exit_code == 0
    assert "ranks" not in done.output
