"""Reports as files, whole or not at all; imports no torch."""

import json
import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any


def now() -> str:
    """As in "2026-11-22T09:30:00Z"."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def as_text(fields: dict[str, Any]) -> str:
    """JSON as it stands in a file."""
    return json.dumps(fields, indent=2, allow_nan=False) + "\n"


def write(file: Path, text: str) -> None:
    """Write a report whole or not at all; `-` is standard output.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    if str(file) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    write_text(file, text)


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all; a pipe or a device takes it as it comes.

    A link stays, and what it leads to is written. A file that is there keeps its mode. A lone
    surrogate, which is no text in UTF-8, is written as its escape.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    if is_stream(file):
        with file.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        return
    file = Path(os.path.realpath(file))
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o644
    partial = NamedTemporaryFile(  # noqa: SIM115
        "w", encoding="utf-8", errors="backslashreplace", dir=file.parent, delete=False
    )
    try:
        with partial:
            partial.write(text)
        Path(partial.name).chmod(mode)
        os.replace(partial.name, file)
    except BaseException:
        Path(partial.name).unlink(missing_ok=True)
        raise


def is_stream(file: Path) -> bool:
    """Whether it is there and holds nothing that could be replaced, as a pipe or a device.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return not stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        return False


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, which need not be there yet."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False
