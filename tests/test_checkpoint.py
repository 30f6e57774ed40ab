"""What a run keeps: that whoever kills it loses no bit, and what it cannot go on from."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from pickle import dumps

import pytest
import torch

from manual_backprop.training.checkpoint import BadCheckpoint, resume, save
from manual_backprop.training.train import Trainer
from tests.runs import SMALL, asked, drawn, kept, same, weights

ROOT = Path(__file__).parents[1]
MOMENTUM = replace(SMALL, optimizer="momentum", lr=0.01)


@pytest.fixture
def two_epochs(tmp_path):
    """A folder with the checkpoint of a small run."""
    trainer = Trainer(replace(MOMENTUM, epochs=2))
    history = list(trainer.run(drawn(50, 0), drawn(30, 1)))
    save(tmp_path, trainer, history, "data")
    return tmp_path


# Trains, and waits to be killed where it takes a step, or has written a file beside its place.
WAITS = """
import sys, time
from manual_backprop.cli import main
from manual_backprop.training import checkpoint, train

name, call = sys.argv[1], int(sys.argv[2])
owner = {"step": train.Trainer, "fsync": checkpoint.os}[name]
real, calls = getattr(owner, name), []

def waits(*given, **named):
    calls.append(given)
    if len(calls) == call:
        print("here", flush=True)
        time.sleep(600)
    return real(*given, **named)

setattr(owner, name, waits)
main(["train", "mnist", *sys.argv[3:]])
"""


def kill_at(name, call, *words):
    command = [sys.executable, "-c", WAITS, *map(str, (name, call, *words))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, encoding="utf-8") as process:
        reached = "here\n" in process.stdout  # the lines up to there
        process.kill()
    assert reached


@pytest.mark.parametrize(
    ("optimizer", "moments"),  # which step or file of the process, and the epochs kept by then
    [
        ("adam", [("step", 30, 1), ("fsync", 3, 1)]),
        *(
            pytest.param(
                name,
                [("step", 1, 0), ("step", 50, 1), ("fsync", 1, 1), ("fsync", 6, 3), ("step", 9, 3)],
                marks=pytest.mark.slow,
            )
            for name in ("sgd", "momentum", "adam")
        ),
    ],
)
@pytest.mark.process
def test_killed_in_an_epoch_or_while_it_writes_and_resumed_it_ends_with_the_same_bits(
    tmp_path, optimizer, moments
):
    words = ("--epochs", 4, "--optimizer", optimizer, "--out")
    whole = asked(*words, tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    out, again = tmp_path / "killed", []
    for name, call, epochs in moments:
        kill_at(name, call, *words, out, *again)
        assert kept(out)["epoch"] == epochs
        assert (out / "checkpoint.pt.partial").exists() is (name == "fsync" and call % 2 == 1)
        assert not same(weights(out), weights(tmp_path / "whole"))
        again = ["--resume"]

    done = asked(*words, out, "--resume")
    assert done.exit_code == 0, done.output
    assert same(weights(out), weights(tmp_path / "whole"))
    assert done.output.splitlines()[-1] == whole.output.splitlines()[-1]
    assert {file.name for file in out.iterdir()} == {"checkpoint.pt", "history.json"}
    again = asked("--out", out, "--resume")
    assert "4 of 4 epochs were done already; more with --epochs N" in again.output
    assert again.output.splitlines()[-5:] == done.output.splitlines()[-5:]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_one_that_goes_on_from_a_checkpoint_ends_with_the_same_bits(tmp_path, optimizer):
    few = drawn(50), drawn(30, 1)
    options = replace(SMALL, optimizer=optimizer)
    whole, begun, resumed = map(Trainer, (options, replace(options, epochs=2), options))
    assert len(list(whole.run(*few))) == 3
    save(tmp_path, begun, list(begun.run(*few)), "data")
    assert len(list(resumed.run(*few, done=len(resume(tmp_path, resumed, "data"))))) == 1
    assert same(whole.weights, resumed.weights)


def test_what_a_kill_left_half_written_is_never_read(two_epochs):
    for name in ("checkpoint.pt", "history.json"):
        (two_epochs / f"{name}.partial").write_bytes(b"half of")
    trainer = Trainer(MOMENTUM)
    history = resume(two_epochs, trainer, "data")
    save(two_epochs, trainer, history, "data")
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert {file.name for file in two_epochs.iterdir()} == {"checkpoint.pt", "history.json"}


def test_whoever_reads_while_it_is_written_finds_one_whole_file(two_epochs):
    trainer = Trainer(MOMENTUM)
    history = resume(two_epochs, trainer, "data")
    files = [two_epochs / name for name in ("checkpoint.pt", "history.json")]
    before = [file.read_bytes() for file in files]
    with files[0].open("rb") as weights_file, files[1].open("rb") as history_file:
        save(two_epochs, trainer, history[:1], "data")
        assert [weights_file.read(), history_file.read()] == before
    assert all(file.read_bytes() != old for file, old in zip(files, before, strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": (17, 11)}, r"trained with hidden \(17, 13\), and \(17, 11\) is asked for"),
        ({"seed": 1}, "trained with seed 0, and 1 is asked for"),
        ({"lr": 0.02}, "trained with lr 0.01, and 0.02"),
        ({"dtype": "float64"}, "trained with dtype float32, and float64"),
        ({"optimizer": "adam"}, "trained with optimizer momentum, and adam"),
        ({"gradient": "autograd"}, "trained with gradient hand, and autograd"),
        ({"epochs": 1}, "has 2 epochs behind it, and 1 are asked for"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(two_epochs, options, words):
    with pytest.raises(BadCheckpoint, match=words):
        resume(two_epochs, Trainer(replace(MOMENTUM, **options)), "data")


def test_all_that_differs_is_named_and_the_optimizer_before_its_learning_rate(two_epochs):
    other = replace(MOMENTUM, optimizer="adam", lr=0.001, seed=3)
    said = "trained with optimizer momentum and lr 0.01 and seed 0, and adam and 0.001 and 3 are"
    with pytest.raises(BadCheckpoint, match=said):
        resume(two_epochs, Trainer(other), "data")


def test_a_checkpoint_of_other_data_is_refused(two_epochs):
    with pytest.raises(BadCheckpoint, match="trained on other data"):
        resume(two_epochs, Trainer(MOMENTUM), "other")


def spoil(file, change):
    whole = torch.load(file, weights_only=True)
    change(whole)
    torch.save(whole, file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole: whole.update(version=2), "is of version 2, and this program reads version"),
        (lambda whole: whole.pop("version"), "holds something else"),
        (lambda whole: whole.pop("epoch"), "is not whole: it has no 'epoch'"),
        (lambda whole: whole["weights"].pop("w2"), "is not whole: it has no w2 of"),
        (lambda whole: whole["weights"].update(b1=torch.zeros(3)), "not whole: it has no b1 of"),
        (lambda whole: whole.update(optimizer={}), "is not whole"),
        (lambda whole: whole.update(optimizer=5), "is not whole"),
        (lambda whole: whole.update(history=[{}]), "is not whole"),
        (lambda whole: whole["history"].pop(), "is not whole"),
        (lambda whole: whole.update(options=[]), "is not whole"),
        (lambda whole: whole.pop("options"), "is not whole: it has no 'options'"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_refused(two_epochs, change, words):
    spoil(two_epochs / "checkpoint.pt", change)
    with pytest.raises(BadCheckpoint, match=words):
        resume(two_epochs, Trainer(MOMENTUM), "data")


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole.update(options=[]),
        lambda whole: whole.pop("options"),
        lambda whole: whole["options"].update(colour="red"),
        lambda whole: whole["options"].update(lr=-1.0),
        lambda whole: whole["options"].update(lr="much"),
        lambda whole: whole.update(origin=("half", "")),
        lambda whole: whole.update(origin=("full", 3)),
        lambda whole: whole.update(origin=3),
    ],
)
def test_options_that_no_run_was_begun_with_are_refused_before_the_run(two_epochs, change):
    spoil(two_epochs / "checkpoint.pt", change)
    done = asked("--resume", "--out", two_epochs)
    assert done.exit_code == 2
    assert "checkpoint.pt is not whole: " in done.stderr


@pytest.mark.parametrize("write", [torch.save, lambda value, file: file.write_bytes(dumps(value))])
@pytest.mark.parametrize("value", [[1, 2], {"epoch": 1}, Path("a")], ids=["list", "dict", "class"])
def test_a_file_that_is_no_checkpoint_is_refused(two_epochs, write, value):
    write(value, two_epochs / "checkpoint.pt")
    with pytest.raises(BadCheckpoint, match=r"no checkpoint|something else than a checkpoint"):
        resume(two_epochs, Trainer(MOMENTUM), "data")


class Touches:
    """Unpickled as any object, it would make a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_no_code_in_a_checkpoint_is_run(two_epochs):
    file = two_epochs / "run"
    spoil(two_epochs / "checkpoint.pt", lambda whole: whole.update(history=Touches(file)))
    with pytest.raises(BadCheckpoint, match="no checkpoint"):
        resume(two_epochs, Trainer(MOMENTUM), "data")
    assert not file.exists()


def test_what_cannot_be_gone_on_from_is_exit_2_and_stays_as_it_is(two_epochs):
    before = {file.name: file.read_bytes() for file in two_epochs.iterdir()}
    for words in ((), ("--optimizer", "momentum"), ("--dtype", "float64"), ("--epochs", 1)):
        done = asked("--resume", "--out", two_epochs, *words)
        assert done.exit_code == 2
        assert f"{two_epochs / 'checkpoint.pt'} was trained " in done.stderr
    assert {file.name: file.read_bytes() for file in two_epochs.iterdir()} == before


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(two_epochs):
    file = two_epochs / "checkpoint.pt"
    content = file.read_bytes()
    refused = 0
    for place in range(0, len(content), len(content) // 50):
        spoiled = bytearray(content)
        spoiled[place] ^= 0xFF
        file.write_bytes(spoiled)
        trainer = Trainer(MOMENTUM)
        try:
            resume(two_epochs, trainer, "data")
        except BadCheckpoint:
            refused += 1
        else:  # it lay between the parts, where nothing is
            whole = Trainer(MOMENTUM)
            file.write_bytes(content)
            resume(two_epochs, whole, "data")
            assert same(trainer.weights, whole.weights)
    assert refused > 25
    for size in (0, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(BadCheckpoint, match="is damaged, or no checkpoint"):
            resume(two_epochs, Trainer(MOMENTUM), "data")
