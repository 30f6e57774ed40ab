"""Reports as files, whole or not at all; imports no torch."""

import json
import os
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
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    with NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as partial:
        partial.write(text)
    Path(partial.name).chmod(0o644)
    os.replace(partial.name, file)
