"""`manual-backprop train mnist --resume`: what was not typed is as the run was begun with."""

import signal
from pathlib import Path

from manual_backprop.training import digits
from manual_backprop.training.train import Trainer
from tests.runs import asked, drawn, kept, same, weights


def stop_in(monkeypatch, number):
    epoch = Trainer.epoch

    def stopped(self, data, now, progress):
        if now == number:
            signal.raise_signal(signal.SIGINT)
        return epoch(self, data, now, progress)

    monkeypatch.setattr(Trainer, "epoch", stopped)


def test_what_was_not_typed_is_as_the_run_was_begun_with(tmp_path, monkeypatch):
    begun = ("--optimizer", "adam", "--epochs", 40, "--batch-size", 500, "--seed", 3)
    with monkeypatch.context() as patch:
        stop_in(patch, 4)
        asked(*begun, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in(patch, 2)
        asked(*begun, "--out", tmp_path / "parts")
    with monkeypatch.context() as patch:
        stop_in(patch, 4)
        done = asked("--out", tmp_path / "parts", "--resume")
    assert "adam, lr 0.001, batches of 500 · relu on the logits: no · seed 3" in done.output
    assert f"going on from {tmp_path / 'parts'} after epoch 1\n" in done.output
    whole, parts = kept(tmp_path / "whole"), kept(tmp_path / "parts")
    assert (parts["epoch"], parts["options"]["epochs"]) == (3, 40)
    assert parts["options"] == whole["options"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_only_what_was_typed_and_differs_is_refused(tmp_path):
    assert asked("--epochs", 1, "--out", tmp_path).exit_code == 0
    again = ("--out", tmp_path, "--resume")
    for words, said in (
        (["--optimizer", "adam"], "trained with optimizer sgd, and adam is asked for"),
        (["--lr", 0.1, "--seed", 1], "trained with seed 0, and 1 is asked for"),
        (["--article"], "trained with lr 0.1 and relu logits False, and 0.01 and True are asked"),
    ):
        done = asked(*again, *words)
        assert done.exit_code == 2
        assert said in done.stderr
    done = asked(*again)
    assert done.exit_code == 0
    assert "1 of 1 epochs were done already; more with --epochs N" in done.output
    assert asked(*again, "--epochs", 2, "--optimizer", "sgd", "--data", "subset").exit_code == 0
    assert kept(tmp_path)["epoch"] == 2


def test_the_data_are_read_again_where_they_were(tmp_path, monkeypatch):
    roots = []
    monkeypatch.setattr(digits, "whole", lambda root: roots.append(root) or (drawn(50), drawn(30)))
    monkeypatch.chdir(tmp_path)
    assert asked("--data", "full", "--root", "here", "--epochs", 1, "--out", "run").exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = asked("--out", tmp_path / "run", "--resume", "--epochs", 2)
    assert done.exit_code == 0, done.output
    assert [Path(root).resolve() for root in roots][-1] == (tmp_path / "here").resolve()
    moved = asked("--out", tmp_path / "run", "--resume", "--epochs", 3, "--root", "there")
    assert moved.exit_code == 0
    assert roots[-1] == Path("there")


def test_the_articles_run_may_be_shorter_and_is_gone_on_from_as_it_is(tmp_path):
    done = asked("--article", "--epochs", 1, "--batch-size", 200, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    for words in ((), ("--article",)):
        done = asked("--out", tmp_path, "--resume", *words)
        assert done.exit_code == 0, done.output
        assert "lr 0.01, batches of 200 · relu on the logits: yes" in done.output
        assert "1 of 1 epochs were done already" in done.output
