"""`manual-backprop train mnist`: how it ends, and that nothing kept is ever lost."""

import errno
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from manual_backprop.commands import DTYPES
from manual_backprop.training import checkpoint
from manual_backprop.training.options import LEARNING_RATES, Options
from manual_backprop.training.train import NAMES, Trainer
from tests.runs import asked, kept, weights

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "manual_backprop", "train", "mnist")


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
@pytest.mark.process
def test_where_only_standard_output_is_full_that_is_said(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "--out", tmp_path], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert "cannot write to standard output: No space left" in done.stderr


@pytest.mark.process
def test_a_pipe_that_is_closed_early_ends_no_run(tmp_path):
    with subprocess.Popen(
        [*COMMAND, "--epochs", "2", "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0
    assert not said
    assert kept(tmp_path)["epoch"] == 2


@pytest.mark.parametrize("stopped_in", [1, 2])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_run_that_is_stopped_is_exit_1_and_says_what_is_kept(
    tmp_path, monkeypatch, signum, stopped_in
):
    epoch, before = Trainer.epoch, signal.getsignal(signum)

    def stopped(self, data, number, progress):
        if number == stopped_in:
            signal.raise_signal(signum)
        return epoch(self, data, number, progress)

    monkeypatch.setattr(Trainer, "epoch", stopped)
    done = asked("--out", tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path} holds all epochs before: go on from there with --resume" in done.stderr
    assert kept(tmp_path)["epoch"] == stopped_in - 1
    assert "nothing was kept, for there was no --out" in asked().stderr
    assert signal.getsignal(signum) is before


def test_one_that_is_stopped_while_it_writes_leaves_nothing_half(tmp_path, monkeypatch):
    def stopped(descriptor):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(checkpoint.os, "fsync", stopped)
    done = asked("--out", tmp_path)
    assert done.exit_code == 1
    assert "stopped; nothing was written yet" in done.stderr
    assert not any(tmp_path.iterdir())


# A signal comes in when torch is asked for, which is not imported before.
WHILE_IT_STARTS = """
import signal, sys
from manual_backprop.cli import main

class Stops:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            signal.raise_signal(int(sys.argv[1]))

sys.meta_path.insert(0, Stops())
main(["train", "mnist", "--out", *sys.argv[2:]])
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("words", "moment"), [((), "the first epoch"), (("--resume",), "it went on")]
)
def test_one_that_is_stopped_while_torch_is_imported_says_so(tmp_path, signum, words, moment):
    done = subprocess.run(
        [sys.executable, "-c", WHILE_IT_STARTS, str(int(signum)), tmp_path / "new", *words],
        capture_output=True,
        cwd=ROOT,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: stopped before {moment}; nothing was changed\n"
    assert not done.stdout
    assert not any(tmp_path.iterdir())


def test_a_batch_of_more_images_than_there_are_is_all_of_them():
    done = asked("--epochs", 1, "--batch-size", 100_000)
    assert "threads: 1 · gradient by hand · sgd, lr 0.1, batches of 5,000 (all) · " in done.output


def test_a_loss_that_is_no_number_is_exit_1_and_is_not_kept(tmp_path):
    done = asked("--lr", 1000, "--out", tmp_path)
    assert done.exit_code == 1
    assert "the loss is nan in epoch 1" in done.stderr
    assert "try a smaller --lr than 1000" in done.stderr
    assert kept(tmp_path)["epoch"] == 0


def test_the_epochs_before_a_weight_that_is_no_number_are_kept(tmp_path, monkeypatch):
    epoch = Trainer.epoch

    def spoiled(self, data, number, progress):
        if number == 3:
            self.weights[2][0, 0] = float("nan")
        return epoch(self, data, number, progress)

    monkeypatch.setattr(Trainer, "epoch", spoiled)
    done = asked("--out", tmp_path)
    assert done.exit_code == 1
    assert "the loss is nan in epoch 3: " in done.stderr
    assert f"{tmp_path} holds all epochs before" in done.stderr
    assert kept(tmp_path)["epoch"] == 2
    assert all(weight.isfinite().all() for weight in weights(tmp_path))


@pytest.mark.parametrize("name", ["checkpoint.pt", "history.json"])
def test_what_a_folder_holds_is_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    done = asked("--out", tmp_path)
    assert done.exit_code == 2
    assert "name another --out" in done.stderr
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine")]


def test_a_folder_of_other_things_is_a_place_to_write_to(tmp_path):
    (tmp_path / "notes").write_text("mine")
    done = asked("--epochs", 1, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "notes").read_text() == "mine"
    assert kept(tmp_path)["epoch"] == 1


def test_options_as_large_as_they_may_be_are_kept_and_gone_on_from(tmp_path):
    words = ("--seed", 2**63 - 1, "--batch-size", 10**30, "--out", tmp_path, "--epochs")
    for done in (asked(*words, 1), asked(*words, 2, "--resume")):
        assert done.exit_code == 0, done.output
    assert kept(tmp_path)["epoch"] == 2


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("optimizer", LEARNING_RATES)
def test_the_largest_learning_rate_is_a_number_in_every_dtype(optimizer, name):
    done = asked("--lr", 1000, "--optimizer", optimizer, "--dtype", name, "--epochs", 1)
    assert done.exit_code in (0, 1)
    assert done.exit_code == 0 or "try a smaller --lr than 1000" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume"], "--resume needs --out"),
        (["--resume", "--out", "/no/such/folder"], "there is no /no/such/folder/checkpoint.pt"),
        (["--resume", "--out", __file__], "is a file"),
        (["--out", __file__ + "/below"], "cannot write to"),
        (["--out", "a" * 300], "cannot write to"),
        (["--data", "full", "--root", "~nobody-at-all/x"], "cannot tell which folder ~nobody"),
        (["--article", "--lr", "0.1"], "--article means --lr 0.01, and 0.1 was asked for: leave "),
        (["--article", "--optimizer", "adam"], "leave --article or --optimizer away"),
        (["--out", ""], "'--out': it is empty; name a folder"),
        (["--data", "full", "--root", ""], "'--root': it is empty; name a folder"),
        (["--device", "toaster"], "device 'toaster' is not there"),
        (["--dtype", "float8"], "'float8' is not one of"),
        (["--lr", "0"], "lr is 0.0; a learning rate is above 0"),
        (["--lr", "nan"], "lr is nan; a learning rate is above 0"),
        (["--lr", "inf"], "lr is inf; a learning rate is above 0 and at most 1000"),
        (["--lr", "1e30"], "lr is 1e+30; a learning rate is above 0 and at most 1000"),
        (["--batch-size", "0"], "0 is not in the range"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--seed", 2**63], "9223372036854775808 is not in the range"),
        (["--epochs", "0"], "0 is not in the range"),
        (["--data", "half"], "'half' is not one of"),
        (["--gradient", "onednn", "--dtype", "float64"], "this is sgd in float64 on cpu; leave it"),
    ],
)
def test_a_mistake_in_the_command_is_exit_2_with_a_sentence(words, said):
    done = asked(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("gradient", ["onednn", "compiled"])
def test_the_other_hand_written_steps_learn_as_well(gradient, monkeypatch):
    if gradient == "onednn" and not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch is built without oneDNN")
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend="aot_eager"))
    done = asked("--gradient", gradient, "--epochs", 1, "--batch-size", 500)
    assert done.exit_code == 0, done.output
    assert float(done.output.splitlines()[-1].split("%")[0]) > 60


def test_a_compiler_that_fails_is_exit_1_with_a_way_out(monkeypatch):
    def fails(graph, inputs):
        raise OSError("no compiler here")

    monkeypatch.setattr("torch.compile", partial(torch.compile, backend=fails))
    done = asked("--gradient", "compiled", "--epochs", 1)
    assert done.exit_code == 1
    assert "OSError: no compiler here; --gradient hand needs no compiler" in done.stderr


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
