"""Write `manual_backprop/__init__.pyi`, which tells type checkers and editors the lazy names.

python -m scripts.make_stub
"""

from pathlib import Path

import manual_backprop
from manual_backprop.registry import public_functions

STUB = Path(manual_backprop.__file__).with_name("__init__.pyi")
WIDEST = 100  # as ruff formats it, so that formatting does not make the stub stale


def stub() -> str:
    """The file's text: one re-export per public name."""
    homes = {name: f"manual_backprop.{home}" for name, home in manual_backprop.HOMES.items()}
    homes |= {name: value.__module__ for name, value in public_functions().items()}
    lines = sorted(f"from {home} import {name} as {name}" for name, home in homes.items())
    lines = [line if len(line) <= WIDEST else _wrapped(line) for line in lines]
    return "\n".join(
        [
            "# Written by `python -m scripts.make_stub`.",
            *lines,
            "",
            "__version__: str",
            "HOMES: dict[str, str]",
            "",
        ]
    )


def _wrapped(line: str) -> str:
    start, name = line.split(" import ")
    return f"{start} import (\n    {name},\n)"


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    print(f"wrote {STUB.name}")
