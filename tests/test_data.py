"""The data that come with the package are whole, are what they say, and can be made again."""

import gzip
import hashlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from manual_backprop import data
from manual_backprop.data import article_numbers, data_folder

ROWS = {"A": 4, "B": 6, "C": 5, "D": 17, "E": 7}
FIELDS = {"system", "code", "source", "formula", "shapes", "inputs", "expected", "computed"}
FIELDS |= {"digits", "remark", "traps"}


@pytest.fixture
def make_subset():
    place = data_folder() / "make_subset.py"
    spec = importlib.util.spec_from_file_location("make_subset", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[(True, 5000), (False, 1000)], ids=["train", "test"])
def split(request):
    from torchvision.datasets import MNIST

    train, size = request.param
    return MNIST(data_folder(), train=train, download=False), size


def idx(images, labels):
    """The two files of a split."""
    return (
        struct.pack(">4I", 0x803, *images.shape) + images.tobytes(),
        struct.pack(">2I", 0x801, *labels.shape) + labels.tobytes(),
    )


@pytest.fixture
def small():
    """Ten digits, three images of each, backwards: 9, 8, ..., 0, 9, ...; image i is all i."""
    labels = np.tile(np.arange(10, dtype=np.uint8)[::-1], 3)
    images = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None], (30, 5, 3))
    return idx(images, labels)


def test_each_digit_comes_equally_often(split):
    digits, size = split
    assert digits.data.shape == (size, 28, 28)
    assert digits.data.dtype == torch.uint8
    assert digits.targets.bincount().tolist() == [size // 10] * 10


def test_pixels_are_distributed_as_in_the_whole(split):
    pixels = split[0].data.double() / 255
    whole = article_numbers()["D9"]["expected"]  # a cut may differ in the second decimal
    assert abs(pixels.mean() - whole["pixel_mean"]) < 0.01
    assert abs(pixels.std() - whole["pixel_std"]) < 0.01


def test_the_readme_gives_the_size_and_checksum_of_every_file():
    text = (data_folder() / "README.md").read_text("utf-8")
    table = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \| `([0-9a-f]{64})` \|$", text, re.MULTILINE)
    there = sorted((data_folder() / "MNIST/raw").iterdir())
    assert sorted(name for name, _, _ in table) == [file.name for file in there]
    for name, size, checksum in table:
        content = (data_folder() / "MNIST/raw" / name).read_bytes()
        assert (f"{len(content):,}", hashlib.sha256(content).hexdigest()) == (size, checksum)


def test_the_first_of_each_digit_are_kept_in_their_order(make_subset, small):
    images, labels = make_subset.cut(*small, per_class=2)
    assert images[:16] == struct.pack(">4I", 0x803, 20, 5, 3)
    assert labels[:8] == struct.pack(">2I", 0x801, 20)
    assert list(labels[8:]) == [*range(10)][::-1] * 2
    assert list(images[16::15]) == [*range(20)]
    assert make_subset.cut(images, labels, per_class=2) == (images, labels)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda images, labels: (labels, images), "the images are no idx file: it begins with"),
        (lambda images, labels: (b"", labels), "it begins with nothing"),
        (lambda images, labels: (images[:-1], labels), "the images are 465 bytes long"),
        (
            lambda images, labels: (images, struct.pack(">2I", 0x801, 29) + labels[8:-1]),
            "30 images and 29 labels",
        ),
        (
            lambda images, labels: (images, labels[:-1] + b"\x01"),
            "digit 0 has 2 images, and 3 are wanted",
        ),
    ],
    ids=["swapped", "empty", "cut short", "of two splits", "too few"],
)
def test_what_cannot_be_cut_is_named(make_subset, small, spoil, words):
    with pytest.raises(ValueError, match=words):
        make_subset.cut(*spoil(*small), per_class=3)


def asked(make_subset, *words):
    return CliRunner().invoke(make_subset.main, [str(word) for word in words])


def test_other_files_than_the_canonical_are_refused(make_subset, tmp_path):
    done = asked(make_subset, data_folder() / "MNIST/raw", "--out", tmp_path)
    assert done.exit_code == 2
    assert "train-images-idx3-ubyte is not the canonical MNIST file" in done.output
    assert not any(tmp_path.iterdir())


def test_the_files_that_are_cut_are_never_written_over(make_subset):
    done = asked(make_subset, data_folder() / "MNIST/raw", "--out", data_folder())
    assert done.exit_code == 2
    assert "would be overwritten" in done.output


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("something-else", b"", "has neither train-images-idx3-ubyte nor train-images"),
        ("train-images-idx3-ubyte.gz", b"no gzip", "cannot be read"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b\x08", "cannot be read"),
        ("train-images-idx3-ubyte", b"no idx", "is not the canonical MNIST file"),
    ],
    ids=["missing", "not packed", "torn", "other bytes"],
)
def test_a_wrong_source_is_exit_2_and_a_sentence(make_subset, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    done = asked(make_subset, tmp_path, "--out", tmp_path)
    assert done.exit_code == 2
    assert words in done.output


def test_all_is_cut_from_packed_or_unpacked_files_alike(make_subset, small, tmp_path, monkeypatch):
    monkeypatch.setattr(make_subset, "SPLITS", {"train": 2, "t10k": 1})
    names = iter(make_subset.CANONICAL)
    for name, content in zip(names, small * 2, strict=True):
        monkeypatch.setitem(make_subset.CANONICAL, name, hashlib.md5(content).hexdigest())
        packed = name.startswith("train")
        file = tmp_path / f"{name}.gz" if packed else tmp_path / name
        file.write_bytes(gzip.compress(content) if packed else content)

    done = [asked(make_subset, tmp_path, "--out", tmp_path / out) for out in ("one", "two")]

    assert done[0].exit_code == 0, done[0].output
    assert done[0].output == done[1].output
    written = {f.name: f.read_bytes() for f in (tmp_path / "one/MNIST/raw").iterdir()}
    assert written == {f.name: f.read_bytes() for f in (tmp_path / "two/MNIST/raw").iterdir()}
    assert set(written) == set(make_subset.CANONICAL)
    for name, content in written.items():
        checksum = hashlib.sha256(content).hexdigest()
        assert f"| `{name}` | {len(content):,} | `{checksum}` |" in done[0].output

    (tmp_path / "taken").write_text("a file where a folder has to be")
    done = asked(make_subset, tmp_path, "--out", tmp_path / "taken" / "below")
    assert done.exit_code == 1
    assert "cannot write to" in done.output


def test_every_row_of_the_articles_is_there():
    numbers = article_numbers()
    assert list(numbers) == [f"{a}{i}" for a, n in ROWS.items() for i in range(1, n + 1)]


def leaves(value):
    values = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        return [leaf for one in values for leaf in leaves(one)]
    return [value]


def test_every_row_says_what_it_is_and_whose_numbers_it_has():
    for name, row in article_numbers().items():
        assert set(row) <= FIELDS, name
        assert row["system"].endswith("."), name
        assert row["source"] in ("printed", "computed", "exact"), name
        assert {"formula", "shapes", "expected"} & set(row), name
        numbers = [row.get(field, {}) for field in ("expected", "computed")]
        assert not set(numbers[0]) & set(numbers[1]), name
        assert set(row.get("digits", {})) <= set(numbers[0]) | set(numbers[1]), name
        assert all(isinstance(leaf, int | float) for leaf in leaves(numbers)), name
        assert all(isinstance(leaf, int) for leaf in leaves(row.get("shapes", []))), name
        for mistake, sentence in row.get("traps", {}).items():
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", mistake), name
            assert sentence.endswith("."), f"{name}: {mistake}"


def test_numbers_are_written_with_no_more_digits_than_they_are_said_to_have():
    text = json.loads((data_folder() / "articles.json").read_text("utf-8"), parse_float=str)
    for name, row in text.items():
        for field, digits in row.get("digits", {}).items():
            numbers = row.get("expected", {}) | row.get("computed", {})
            for leaf in map(str, leaves([numbers[field]])):
                mantissa = leaf.lower().split("e")[0].lstrip("-")
                decimals = len(mantissa.partition(".")[2])
                assert decimals <= digits.get("decimals", digits.get("significant", 1) - 1), (
                    f"{name}: {field}: {leaf}"
                )


def test_a_missing_file_is_named_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "_HERE", tmp_path / "manual_backprop")
    with pytest.raises(FileNotFoundError, match=r"articles\.json.*git checkout"):
        article_numbers()


def test_a_spoiled_file_is_named(monkeypatch, tmp_path):
    for name in data.FILES:
        file = tmp_path / "manual_backprop" / "_data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"A1": ')
    monkeypatch.setattr(data, "_HERE", tmp_path / "manual_backprop")
    assert data_folder() == tmp_path / "manual_backprop" / "_data"
    with pytest.raises(ValueError, match=r"articles\.json is no longer JSON"):
        article_numbers()


def test_asking_for_the_data_imports_neither_torch_nor_torchvision():
    code = (
        "import sys; from manual_backprop.data import article_numbers, data_folder\n"
        "article_numbers(), data_folder()\n"
        "print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.strip() == "[]"
