"""Every gradient written by hand, proven against PyTorch, and named when it is wrong.

    from manual_backprop import back_lin, verify

Names are imported when they are first asked for, so that `import manual_backprop` is instant and
imports neither torch nor any operator.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

HOMES = {  # where each public name that is no operator lives
    "BadOp": "op",
    "Op": "op",
    "verify": "judge.verify",
    "verify_function": "judge.function",
    "verify_sharded": "judge.sharded.verify",
    "MeshError": "judge.sharded.ranks",
    "as_function": "for_autograd",
    "as_custom_op": "for_autograd",
    "Verdict": "judge.verdict",
    "Finding": "judge.verdict",
    "WrongGradient": "judge.verdict",
    "Budget": "judge.budget",
    "rounding_budget": "judge.budget",
    "OPS": "registry",
}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name in HOMES:
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    functions = import_module(f"{__name__}.registry").public_functions()
    if name not in functions:
        raise AttributeError(f"manual_backprop has no {name!r}")
    return functions[name]


def __dir__() -> list[str]:
    functions = import_module(f"{__name__}.registry").public_functions()
    return sorted(["__version__", *HOMES, *functions])
