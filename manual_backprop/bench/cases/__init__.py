"""The cases of the benchmark; the folder listing is the registry, each file holds `CASES`."""

from importlib import import_module
from pkgutil import iter_modules

from manual_backprop.bench.case import Case

CASES: dict[str, Case] = {
    case.name: case
    for _, name, _ in iter_modules(__path__)
    for case in import_module(f"{__name__}.{name}").CASES
}
