"""`manual-backprop` with a fault, mostly on rank 1: `python -m tests.faulty FAULT WORD...`.

The fault shows in the second epoch of the first attempt.
"""

import os
import signal
import sys
import time

import torch

from manual_backprop.cli import main
from manual_backprop.training import digits, prepare
from manual_backprop.training.train import Trainer


def _in_second_epoch(act, rank=1):
    whole = Trainer.epoch

    def epoch(self, images, number, progress):
        first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if number == 2 and self.world.rank == rank and first_attempt:
            images = act(images) or images
        return whole(self, images, number, progress)

    Trainer.epoch = epoch


class _Nan:
    """Images whose numbers are none."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def rows(self, index, dtype):
        x, target = self.images.rows(index, dtype)
        return torch.full_like(x, torch.nan), target


def _broken(images):
    raise torch.OutOfMemoryError


FAULTS = {
    "none": lambda: None,
    "dies": lambda: _in_second_epoch(lambda _: os.kill(os.getpid(), signal.SIGKILL)),
    "first-stands-still": lambda: _in_second_epoch(
        lambda _: os.kill(os.getpid(), signal.SIGSTOP), rank=0
    ),
    "loops": lambda: _in_second_epoch(lambda _: time.sleep(3600)),
    "nan": lambda: _in_second_epoch(_Nan),
    "memory": lambda: _in_second_epoch(_broken),
    "other-code": lambda: setattr(prepare, "code", lambda: {"torch": "2.0"}),
    "other-data": lambda: setattr(digits, "subset", lambda: (_half(), _half())),
}


def _half():
    images = torch.zeros(50, 28, 28, dtype=torch.uint8)
    return digits.Digits(images, torch.arange(50) % 10)


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    at_once = name.startswith("other-")
    if not at_once or os.environ["RANK"] == "1":
        FAULTS[name]()
    main(words, prog_name="manual-backprop")
