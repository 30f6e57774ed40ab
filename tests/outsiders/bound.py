"""What the outsiders of every family are bound with."""

from importlib import import_module
from typing import Any

# As Any, for PyTorch's annotations of it are too narrow.
decompositions: Any = import_module("torch._decomp.decompositions")

ROWS = {"rows": lambda rand, n=11, i=7: (rand(n, i),)}
