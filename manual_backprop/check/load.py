"""Imports a learner's file; whatever goes wrong on the way is answered by a sentence."""

import importlib.util
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType

from manual_backprop.judge.verdict import WIDEST, cut, first_line, raised
from manual_backprop.op import BadOp


class Refused(Exception):  # noqa: N818 -- a sentence for the author of the file
    """The file cannot be judged; the message says what to mend."""


def load(file: Path) -> ModuleType:
    """The file as a module, its folder on the path as if it were run; in its package if it has one.

    Raises:
        Refused: it cannot be imported; with the line and what to do.
    """
    root, package = _home(file)
    sys.path.insert(0, str(root))
    try:
        _text(file)
        name = f"{package}.{file.stem}" if package else _free(file.stem)
        if package:
            import_module(package)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise Refused(_unreadable(error, file)) from error
    except SystemExit as error:
        raise Refused(
            f"{place(error, file)}: calls exit() while it is imported; leave that out"
        ) from (error)
    except Refused:
        raise
    except BadOp as error:
        raise Refused(f"{place(error, file)}: {error}") from error
    except BaseException as error:
        raise Refused(f"{place(error, file)}: {_why(error, file)}") from error
    return module


def _home(file: Path) -> tuple[Path, str]:
    """The folder to import from, and the package that the file belongs to; empty where to none."""
    folder, parts = file.parent, list[str]()
    while (folder / "__init__.py").exists() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _free(stem: str) -> str:
    """A module name that hides nothing: torch.py is a file of the learner's like any other."""
    return f"{stem}_of_yours" if stem in sys.modules else stem


def place(error: BaseException, file: Path) -> str:
    """As in "lin.py:12": the innermost line of the file that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f"{file.name}:{lines[-1]}" if lines else file.name


def _text(file: Path) -> str:
    """Its text; an import overlooks it where a comment is not UTF-8."""
    try:
        return importlib.util.decode_source(file.read_bytes())
    except (SyntaxError, UnicodeDecodeError) as error:
        raise Refused(f"{file.name} is not UTF-8; save it as UTF-8 and check it again") from error
    except OSError as error:
        raise Refused(f"{file.name} cannot be read: {error.strerror}") from error


def _unreadable(error: SyntaxError, file: Path) -> str:
    """Of the file, or of one that it imports."""
    where = f"{Path(error.filename or file).name}:{error.lineno or 1}"
    line = cut((error.text or "").strip(), WIDEST)
    return f"{where}: not Python, {error.msg}{f': {line}' if line else ''}"


def _why(error: BaseException, file: Path) -> str:
    said = raised(error)
    if isinstance(error, EOFError):
        return "asks for input() while it is imported, and nobody is there to answer; leave it out"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return (
            f"{first_line(error)}; write the import without the dot, as in `from {file.stem}_parts "
            f"import f`: the folder of {file.name} is on the path"
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        known = {*sys.stdlib_module_names, *sys.modules, *_siblings(file)}
        known = {name for name in known if not name.startswith("_") and "." not in name}
        close = get_close_matches(top, sorted(known - {top}), n=1, cutoff=0.7)
        hint = f"did you mean {close[0]}?" if close else f"install it for {sys.executable}"
        return f"no module {error.name!r} can be imported; {hint}"
    if isinstance(error, NameError) and (mended := remedy(error.name or "")):
        return f"{said}. {mended}"
    return f"{said}, while it is imported"


def remedy(name: str) -> str:
    """What to do about an unknown name that is a module's; empty of other names."""
    usual = {
        "F": "import torch.nn.functional as F",
        "nn": "from torch import nn",
        "np": "import numpy as np",
        "Tensor": "from torch import Tensor",
        "Float": "from jaxtyping import Float",
    }
    if name in sys.stdlib_module_names or name in ("torch", "numpy"):
        return f"Write `import {name}` at the top of the file."
    return f"Write `{usual[name]}` at the top of the file." if name in usual else ""


def _siblings(file: Path) -> set[str]:
    return {other.stem for other in file.parent.glob("*.py")} - {file.stem}
