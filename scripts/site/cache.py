"""What takes long is computed once for the same files: the judge's verdicts, above all."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "site"


def of_the_package() -> Iterator[Path]:
    """The files that decide what an operator computes, and what the judge says of it."""
    package = ROOT / "manual_backprop"
    others = {package / "bench", package / "training"}
    yield from (file for file in package.rglob("*.py") if others.isdisjoint(file.parents))


def of_the_judge() -> Iterator[Path]:
    """The same, and how a page has the judge's sentences."""
    yield from of_the_package()
    yield Path(__file__).with_name("findings.py")


def digest(files: Iterable[Path]) -> str:
    """Of what stands in the files, and of the PyTorch that would compute with them."""
    hashed = hashlib.sha256(str(torch.__version__).encode())
    for file in sorted(set(files)):
        hashed.update(str(file.relative_to(ROOT)).encode())
        hashed.update(file.read_bytes())
    return hashed.hexdigest()[:24]


def kept(name: str, key: str) -> Any:
    """What was computed under that name from the same files, or None."""
    file = FOLDER / f"{name}.json"
    if not file.exists():
        return None
    fields = json.loads(file.read_text("utf-8"))
    return fields["value"] if fields["key"] == key else None


def keep(name: str, key: str, value: Any) -> None:
    """Keep what was computed for the next time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"key": key, "value": value})
    (FOLDER / f"{name}.json").write_text(text, "utf-8")


def computed(name: str, key: str, compute: Callable[[], Any]) -> Any:
    """What was kept, or else computed now and kept."""
    value = kept(name, key)
    if value is None:
        value = compute()
        keep(name, key, value)
    return value
