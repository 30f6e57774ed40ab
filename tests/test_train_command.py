"""`manual-backprop train mnist`: how it ends, and that nothing kept is ever lost."""

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.training import checkpoint
from manual_backprop.training.checkpoint import BadCheckpoint, resume, save
from manual_backprop.training.digits import Digits
from manual_backprop.training.options import Options
from manual_backprop.training.train import NAMES, Trainer, generator

SMALL = Options(epochs=3, batch_size=20, optimizer="momentum", lr=0.01, hidden=(17, 13))
ROOT = Path(__file__).parents[1]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: other sums, other bits


def asked(*words):
    return CliRunner().invoke(main, ["train", "mnist", *map(str, words)])


def drawn(n, seed):
    rand = generator("digits", seed)
    images = torch.randint(256, (n, 28, 28), generator=rand, dtype=torch.uint8)
    return Digits(images, torch.randint(10, (n,), generator=rand))


def kept(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def weights(folder):
    return list(kept(folder)["weights"].values())


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def two_epochs(tmp_path):
    """A folder with the checkpoint of a small run."""
    trainer = Trainer(replace(SMALL, epochs=2))
    history = list(trainer.run(drawn(50, 0), drawn(30, 1)))
    save(tmp_path, trainer, history, "data")
    return tmp_path


def test_it_prints_a_row_per_epoch_and_keeps_the_same_numbers(tmp_path):
    done = asked("--epochs", 2, "--out", tmp_path / "new" / "run")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "\r" not in done.output
    found = json.loads((tmp_path / "new/run/history.json").read_text("utf-8"))
    assert [row["epoch"] for row in found["history"]] == [1, 2]
    assert found["options"] == {**vars(Options(epochs=2)), "hidden": [200, 200]}
    for row in found["history"]:
        assert f"{row['epoch']}  " in done.output
        assert f"{row['train_loss']:.4f}" in done.output
        assert f"{row['test_loss']:.4f}" in done.output
        assert f"{row['accuracy']:.2%}" in done.output
    assert done.output.splitlines()[-1].endswith("of 1,000 test images are told right")
    whole = kept(tmp_path / "new/run")
    assert tuple(whole["weights"]) == NAMES
    assert (whole["version"], whole["epoch"], whole["seed"]) == (1, 2, 0)


@pytest.mark.parametrize(
    ("optimizer", "moments"),  # lines of its output, and seconds from then on
    [
        ("adam", [(3, 0.1)]),  # the first epoch is done
        *(
            pytest.param(name, [(1, 0.05), (3, 0.3), (3, 0.15)], marks=pytest.mark.slow)
            for name in ("sgd", "momentum", "adam")
        ),
    ],
)
def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_bits(tmp_path, optimizer, moments):
    words = ("--epochs", 12, "--optimizer", optimizer, "--out")
    whole = asked(*words, tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    out, reached = tmp_path / "killed", []
    for lines, after in moments:
        command = [sys.executable, "-m", "manual_backprop", "train", "mnist", *map(str, words)]
        command += [out, *["--resume"] * bool(reached)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=ONE_THREAD) as process:
            for _ in range(lines):
                process.stdout.readline()
            time.sleep(after)
            process.kill()
        reached.append(kept(out)["epoch"])
    assert reached == sorted(reached)
    assert reached[-1] < 12
    assert not same(weights(out), weights(tmp_path / "whole"))

    done = asked(*words, out, "--resume")
    assert done.exit_code == 0, done.output
    assert same(weights(out), weights(tmp_path / "whole"))
    assert done.output.splitlines()[-1] == whole.output.splitlines()[-1]
    again = asked(*words, out, "--resume")  # nothing is left to do
    assert again.output == done.output


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
        resume(two_epochs, Trainer(replace(SMALL, **options)), "data")


def test_a_checkpoint_of_other_data_is_refused(two_epochs):
    with pytest.raises(BadCheckpoint, match="trained on other data"):
        resume(two_epochs, Trainer(SMALL), "other")


def spoil(file, change):
    whole = torch.load(file, weights_only=True)
    change(whole)
    torch.save(whole, file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda whole: whole.update(version=2), "is of version 2, and this program reads version"),
        (lambda whole: whole.pop("epoch"), "holds something else"),
        (lambda whole: whole["weights"].pop("w2"), "is not whole: it has no w2 of"),
        (lambda whole: whole["weights"].update(b1=torch.zeros(3)), "not whole: it has no b1 of"),
        (lambda whole: whole.update(optimizer={}), "is not whole"),
        (lambda whole: whole.update(optimizer=5), "is not whole"),
        (lambda whole: whole.update(history=[{}]), "is not whole"),
        (lambda whole: whole["history"].pop(), "is not whole"),
        (lambda whole: whole.update(options=[]), "is not whole"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_refused(two_epochs, change, words):
    spoil(two_epochs / "checkpoint.pt", change)
    with pytest.raises(BadCheckpoint, match=words):
        resume(two_epochs, Trainer(SMALL), "data")


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(two_epochs):
    file = two_epochs / "checkpoint.pt"
    content = file.read_bytes()
    refused = 0
    for place in range(0, len(content), len(content) // 50):
        spoiled = bytearray(content)
        spoiled[place] ^= 0xFF
        file.write_bytes(spoiled)
        trainer = Trainer(SMALL)
        try:
            resume(two_epochs, trainer, "data")
        except BadCheckpoint:
            refused += 1
        else:  # it lay between the parts, where nothing is
            whole = Trainer(SMALL)
            file.write_bytes(content)
            resume(two_epochs, whole, "data")
            assert same(trainer.weights, whole.weights)
    assert refused > 25
    for size in (0, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(BadCheckpoint, match="is damaged, or no checkpoint"):
            resume(two_epochs, Trainer(SMALL), "data")


@pytest.mark.parametrize("fails_at", range(1, 7))
def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path, monkeypatch, fails_at):
    calls, fsync = [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) >= fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    done = asked("--epochs", 2, "--out", tmp_path)
    assert done.exit_code == (2 if fails_at <= 2 else 1)  # two files before the first epoch
    assert f"cannot write to {tmp_path}: No space left on device" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} <= {"checkpoint.pt", "history.json"}
    if fails_at > 1:
        assert kept(tmp_path)["epoch"] == fails_at // 2 - 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_where_only_standard_output_is_full_that_is_said(tmp_path):
    command = [sys.executable, "-m", "manual_backprop", "train", "mnist", "--out", tmp_path]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ONE_THREAD
        )
    assert done.returncode == 2
    assert "cannot write to standard output: No space left" in done.stderr


def test_what_a_kill_left_half_written_is_never_read(two_epochs):
    for name in ("checkpoint.pt", "history.json"):
        (two_epochs / f"{name}.partial").write_bytes(b"half of")
    trainer = Trainer(SMALL)
    history = resume(two_epochs, trainer, "data")
    save(two_epochs, trainer, history, "data")
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert {file.name for file in two_epochs.iterdir()} == {"checkpoint.pt", "history.json"}


@pytest.mark.parametrize("stopped_in", [1, 2])
def test_ctrl_c_is_exit_1_and_says_what_is_kept(tmp_path, monkeypatch, stopped_in):
    epoch = Trainer.epoch

    def stopped(self, data, number, progress):
        if number == stopped_in:
            raise KeyboardInterrupt
        return epoch(self, data, number, progress)

    monkeypatch.setattr(Trainer, "epoch", stopped)
    done = asked("--out", tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path} holds all epochs before: go on from there with --resume" in done.stderr
    assert kept(tmp_path)["epoch"] == stopped_in - 1
    assert "nothing was kept, for there was no --out" in asked().stderr


def test_a_loss_that_is_no_number_is_exit_1_and_is_not_kept(tmp_path):
    done = asked("--lr", 1e30, "--out", tmp_path)
    assert done.exit_code == 1
    assert "the loss is nan in epoch 1" in done.stderr
    assert "try a smaller --lr than 1e+30" in done.stderr
    assert kept(tmp_path)["epoch"] == 0


def test_what_was_kept_is_not_written_over(two_epochs):
    before = (two_epochs / "checkpoint.pt").read_bytes()
    done = asked("--out", two_epochs)
    assert done.exit_code == 2
    assert "holds a checkpoint already: go on from it with --resume" in done.stderr
    assert (two_epochs / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume"], "--resume needs --out"),
        (["--resume", "--out", "/no/such/folder"], "there is no /no/such/folder/checkpoint.pt"),
        (["--out", __file__ + "/below"], "cannot write to"),
        (["--article", "--lr", "0.1"], "--article is with --lr 0.01"),
        (["--article", "--optimizer", "adam"], "--article is with --optimizer sgd"),
        (["--device", "toaster"], "device 'toaster' is not there"),
        (["--dtype", "float8"], "'float8' is not one of"),
        (["--lr", "0"], "0.0 is not in the range"),
        (["--lr", "nan"], "a learning rate is a finite number"),
        (["--batch-size", "0"], "0 is not in the range"),
        (["--epochs", "0"], "0 is not in the range"),
        (["--data", "half"], "'half' is not one of"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_a_sentence(words, said):
    done = asked(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_each_optimizer_has_a_learning_rate_of_its_own_and_the_article_its_options():
    for words, said in (
        ([], "gradient by hand · sgd, lr 0.1, batches of 200 · relu on the logits: no"),
        (["--optimizer", "momentum"], "momentum, lr 0.01,"),
        (["--optimizer", "adam", "--gradient", "autograd"], "by autograd · adam, lr 0.001,"),
    ):
        done = asked(*words, "--epochs", 1, "--batch-size", 200)
        assert said in done.output
        assert done.exit_code == 0
    done = asked("--article", "--seed", 1)
    assert "sgd, lr 0.01, batches of 200 · relu on the logits: yes · seed 1" in done.output
    assert len(done.output.splitlines()) in (13, 14)  # ten epochs; a line more for dead classes
