"""Cut the small MNIST that lies beside this file from the canonical one.

    python data/make_subset.py FOLDER [--out DIR]

FOLDER holds the four files of MNIST, as they come (.gz) or unpacked. DIR/MNIST/raw gets the first
500 training and the first 100 test images of each digit, in their original order, in the same idx
format, which `torchvision.datasets.MNIST(DIR, download=False)` reads. Nothing is drawn at random:
the same bytes come out every time, and their checksums stand in README.md.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

CLASSES = 10
SPLITS = {"train": 500, "t10k": 100}  # images kept of each class
CANONICAL = {  # MD5 of the unpacked files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
IMAGES, LABELS = 0x803, 0x801  # idx: unsigned bytes in 3 dimensions, and in 1


def cut(images: bytes, labels: bytes, per_class: int) -> tuple[bytes, bytes]:
    """The first `per_class` images of each digit, in their original order.

    Args:
        images: an idx file of n images: big-endian magic number, n, rows, columns, then pixels.
        labels: the idx file of their n labels: magic number, n, then one byte each.
        per_class: how many to keep of each of the digits 0 to 9.

    Returns:
        The images and the labels kept, each a whole idx file.

    Raises:
        ValueError: one of the two is no such file, they do not belong together, or a digit has too
            few images.

    Source: the format is described at yann.lecun.com/exdb/mnist.
    """
    n, rows, columns = _sizes(images, IMAGES, "images", 3)
    (n_labels,) = _sizes(labels, LABELS, "labels", 1)
    if n != n_labels:
        raise ValueError(f"there are {n} images and {n_labels} labels; give files of one split")
    classes = np.frombuffer(labels, np.uint8, offset=8)
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(n, rows, columns)

    of_each = [np.flatnonzero(classes == digit) for digit in range(CLASSES)]
    for digit, places in enumerate(of_each):
        if len(places) < per_class:
            raise ValueError(
                f"digit {digit} has {len(places)} images, and {per_class} are wanted of each"
            )
    kept = np.sort(np.concatenate([places[:per_class] for places in of_each]))
    return (
        struct.pack(">4I", IMAGES, len(kept), rows, columns) + pixels[kept].tobytes(),
        struct.pack(">2I", LABELS, len(kept)) + classes[kept].tobytes(),
    )


def _sizes(file: bytes, magic: int, what: str, dimensions: int) -> tuple[int, ...]:
    """The sizes in an idx header that its magic number and the length of the file bear out."""
    header = 4 * (1 + dimensions)
    if len(file) < header or struct.unpack_from(">I", file)[0] != magic:
        raise ValueError(
            f"the {what} are no idx file: it begins with {file[:4].hex() or 'nothing'}"
        )
    sizes = struct.unpack_from(f">{dimensions}I", file, 4)
    if len(file) != header + math.prod(sizes):
        raise ValueError(
            f"the {what} are {len(file)} bytes long, which is not what their header says"
        )
    return sizes


def _read(folder: Path, name: str) -> bytes:
    """One canonical file, unpacked."""
    raw, packed = folder / name, folder / f"{name}.gz"
    file = raw if raw.is_file() else packed
    if not file.is_file():
        raise click.UsageError(f"{folder} has neither {raw.name} nor {packed.name}")
    try:
        content = raw.read_bytes() if file == raw else gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise click.UsageError(f"{file} cannot be read: {error}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != CANONICAL[name]:
        raise click.UsageError(
            f"{file} is not the canonical MNIST file: unpacked, its MD5 is {found}, "
            f"not {CANONICAL[name]}; fetch it again"
        )
    return content


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files or none, as far as a file system can: nobody ever reads half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        for name, content in files.items():
            (Path(unfinished) / name).write_bytes(content)
        for name in files:
            os.replace(Path(unfinished) / name, folder / name)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    default=Path(__file__).parent,
    show_default="the folder of this script",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write to DIR/MNIST/raw.",
)
def main(folder: Path, out: Path) -> None:
    """Cut 500 training and 100 test images of each digit from the four MNIST files in FOLDER.

    Prints the name, size and SHA-256 of each file written. Exit status: 0 written, 1 DIR cannot be
    written to, 2 FOLDER does not hold the canonical files.
    """
    raw = out / "MNIST" / "raw"
    if raw.exists() and raw.samefile(folder):
        raise click.UsageError(f"{folder} would be overwritten; give another --out")
    files: dict[str, bytes] = {}
    for split, per_class in SPLITS.items():
        names = f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"
        images, labels = (_read(folder, name) for name in names)
        files |= zip(names, cut(images, labels, per_class), strict=True)
    try:
        _write(raw, files)
    except OSError as error:
        raise click.ClickException(f"cannot write to {raw}: {error.strerror}") from error
    for name, content in files.items():
        click.echo(f"| `{name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |")


if __name__ == "__main__":
    main()
