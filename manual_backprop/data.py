"""The data that come with the package: a small MNIST, and the numbers of the source articles.

    torchvision.datasets.MNIST(data_folder(), download=False)
    article_numbers()["D5"]["expected"]

`data/README.md` says where they are from, under which licence, and how to make them again.
"""

import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
ARTICLES = "articles.json"
FILES = (
    ARTICLES,
    "MNIST/raw/train-images-idx3-ubyte",
    "MNIST/raw/train-labels-idx1-ubyte",
    "MNIST/raw/t10k-images-idx3-ubyte",
    "MNIST/raw/t10k-labels-idx1-ubyte",
)


def data_folder() -> Path:
    """The folder of the shipped data: `data/` of a checkout, `_data/` of an installed package.

    Raises:
        FileNotFoundError: a file is missing there.
    """
    installed = _HERE / "_data"
    folder = installed if installed.is_dir() else _HERE.parent / "data"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}; in a checkout bring it back with "
            "`git checkout -- data`, else install the package again"
        )
    return folder


def article_numbers() -> dict[str, Any]:
    """What the source articles print, by row: "A1" to "E7"; `data/README.md` tells the fields.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON.
    """
    file = data_folder() / ARTICLES
    try:
        numbers: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no longer JSON, {error}; bring it back") from error
    return numbers
