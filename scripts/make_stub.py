"""Write `manual_backprop/__init__.pyi`, which tells type checkers and editors the lazy names.

python -m scripts.make_stub
"""

from pathlib import Path

import manual_backprop
from manual_backprop.registry import public_functions

LONGEST = 100
STUB = Path(manual_backprop.__file__).with_name("__init__.pyi")


def stub() -> str:
    """The file's text: one re-export per public name."""
    homes = {name: f"manual_backprop.{home}" for name, home in manual_backprop.HOMES.items()}
    homes |= {name: value.__module__ for name, value in public_functions().items()}
    lines = map(
        _wrapped, sorted(f"from {home} import {name} as {name}" for name, home in homes.items())
    )
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
    """As the formatter has it."""
    if len(line) <= LONGEST:
        return line
    head, name = line.split(" import ")
    return f"{head} import (\n    {name},\n)"


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    print(f"wrote {STUB.name}")
