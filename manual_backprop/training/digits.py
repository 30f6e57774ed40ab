"""Images of digits with their labels, and the two MNISTs: the one that comes along, and the whole.

What is wrong with them is found here and named, before a network sees it: a label out of range,
say, would else be found by an operator, in the middle of an epoch.
"""

import hashlib
import os
import sys
import tempfile
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from manual_backprop.data import data_folder

PIXELS = 28 * 28
CLASSES = 10
MEAN, STD = 0.1307, 0.3081  # of the pixels of the 60,000 training images, as numbers from 0 to 1
RAW = Path("MNIST", "raw")
SUBSET = {
    "train-images-idx3-ubyte": "36cb395b94762f0009909e61c7df0bc6d23da1b3e0251f38b10b10501b652034",
    "train-labels-idx1-ubyte": "6bf07e4d2b09bd66291b74f06f4d0e8c9f34e62ddcb50269a3126f861d1e7d68",
    "t10k-images-idx3-ubyte": "b97c8bfeb834d8e7999eaa2d69239abe06653dc09c1e5d7eb0c974c5965bc6a9",
    "t10k-labels-idx1-ubyte": "41cf2f530031915ba9fbb241407c369dba1acd7515053edff48cebeee8b260f4",
}  # SHA-256
WHOLE = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class BadData(ValueError):  # noqa: N818 -- says what it is of
    """Data that no network can learn from, and what is wrong with them."""


@dataclass(frozen=True)
class Digits:
    """Images and the digits that they show.

    Attributes:
        images: (n, 28, 28) uint8, n at least 1.
        labels: (n) int64, each from 0 to 9.

    Raises:
        BadData: they are something else.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != (28, 28):
            raise BadData(
                f"images are (n, 28, 28) of uint8, not {_said(images)}: bytes as in MNIST's "
                "own files, neither scaled nor flattened"
            )
        if labels.dtype != torch.int64 or labels.dim() != 1:
            raise BadData(f"labels are (n) of int64, not {_said(labels)}")
        if len(images) != len(labels):
            raise BadData(
                f"{len(images):,} images and {len(labels):,} labels: there is one label for each "
                "image, so the two are not of one split"
            )
        if not len(images):
            raise BadData("there are no images: nothing can be learned from an empty set")
        wrong = ((labels < 0) | (labels >= CLASSES)).nonzero()
        if len(wrong):
            where = int(wrong[0, 0])
            raise BadData(
                f"label {int(labels[where])} of image {where} is no digit from 0 to 9; "
                f"{len(wrong):,} of {len(labels):,} labels are out of range"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> "Digits":
        """The same on another device.

        Raises:
            RuntimeError: the device is not there.
        """
        return Digits(self.images.to(device), self.labels.to(device))

    def rows(self, index: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What a network sees of the images (m) numbered in `index`: (m, 784) and (m) labels.

        Raises:
            IndexError: there is no image of that number.
        """
        pixels = self.images[index].flatten(1).to(dtype) / 255
        return (pixels - MEAN) / STD, self.labels[index]


def _said(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def fingerprint(*parts: Digits) -> str:
    """The SHA-256 of all images and labels, in hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        for tensor in (part.images, part.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def subset() -> tuple[Digits, Digits]:
    """5,000 images to learn from and 1,000 to be tested on, from the package itself.

    Raises:
        BadData: a file is not the one that was shipped.
        FileNotFoundError: a file is missing.
    """
    folder = data_folder()
    _check_files(folder / RAW, SUBSET, "in a checkout bring it back with `git checkout -- data`")
    return _read(folder)


def whole(root: Path) -> tuple[Digits, Digits]:
    """60,000 images to learn from and 10,000 to be tested on; fetched if `root` lacks them.

    Files in `root`/MNIST/raw, packed (.gz) or not, are used as they are, without a network.
    Of several processes on one machine the first fetches them, and the others wait.

    Raises:
        BadData: they can neither be found nor fetched, or are not the canonical files.
    """
    if not all(os.path.isfile(root / RAW / name) for name in WHOLE):
        name = hashlib.sha256(os.fsencode(os.path.abspath(root))).hexdigest()[:16]
        user = getattr(os, "getuid", int)()
        # elsewhere, for the root may not be there, or not to be written into
        lock = Path(tempfile.gettempdir(), f"manual_backprop-{user}-{name}.lock")
        try:
            with FileLock(lock):
                _fetch(root)
        except OSError as error:
            raise BadData(
                f"cannot lock {lock}: {error.strerror}; TMPDIR names another folder for it"
            ) from error
    _check_files(root / RAW, WHOLE, "delete it and run again")
    return _read(root)


def _fetch(root: Path) -> None:
    from torchvision.datasets import MNIST  # type: ignore[import-untyped]

    folder = root / RAW
    new = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    try:
        with redirect_stdout(sys.stderr):  # what torchvision says is no result
            for train in (True, False):
                MNIST(root, train=train, download=True)
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
        for place in new:
            with suppress(OSError):  # only what is empty goes away
                place.rmdir()
        if all(os.path.isfile(root / RAW / name) for name in WHOLE):
            _check_files(root / RAW, WHOLE, "delete it and run again")
        raise BadData(
            f"cannot bring MNIST to {root}: {' '.join(str(error).split())}{_to_be_put(root / RAW)}"
        ) from error


def _to_be_put(folder: Path) -> str:
    """Which packed files somebody without a network has to bring."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import check_integrity  # type: ignore[import-untyped]

    lacking = []
    for name, checksum in MNIST.resources:
        with suppress(OSError):  # what cannot be read has to be brought
            if check_integrity(folder / name, checksum):
                continue
        there = os.path.exists(folder / name)
        lacking.append(f"{name} (what is there is damaged)" if there else name)
    return f"; without a network, put {', '.join(lacking)} into {folder}" if lacking else ""


def _check_files(folder: Path, checksums: dict[str, str], remedy: str) -> None:
    for name, checksum in checksums.items():
        file = folder / name
        try:
            found = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise BadData(f"cannot read {file}: {error.strerror}") from error
        if found != checksum:
            raise BadData(
                f"{file} is damaged or another file: its SHA-256 begins with {found[:8]} and "
                f"should with {checksum[:8]}; {remedy}"
            )


def _read(root: Path) -> tuple[Digits, Digits]:
    from torchvision.datasets import MNIST

    train, test = (MNIST(root, train=train, download=False) for train in (True, False))
    return Digits(train.data, train.targets), Digits(test.data, test.targets)
