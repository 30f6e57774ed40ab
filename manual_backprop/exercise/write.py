"""Writes an exercise out of an operator's file, so that it is never written twice.

Kept are the title, the formula, the first lines of the derivation, the forward and what it needs;
left out are the rest of the derivation, the remarks and every backward. Imports no torch.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from textwrap import fill

from manual_backprop.commands import program

HOME = Path(__file__).parents[1]
ORDER = (
    "lin", "relu", "mse", "sigmoid", "softmax", "cross_entropy", "sigmoid_mlp", "batch_norm",
)  # fmt: skip


def file_name(name: str) -> str:
    """As in "01_lin.py"."""
    return f"{ORDER.index(name) + 1:02d}_{name}.py"


def title(name: str) -> str:
    """What the operator does, as in "an affine map of the last axis."."""
    return _docstring(_source(name)).partition("\n")[0].removeprefix(f"{name}: ")


def exercise_text(name: str, file: Path) -> str:
    """The exercise's file.

    Args:
        name: of ORDER.
        file: where it will lie, for the command that checks it.
    """
    source = _source(name)
    tree = ast.parse(source)
    forward = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == name)
    needed = _needed(tree, forward)
    imports = [line for node in tree.body if (line := _import(node, needed))]
    kept = [
        ast.get_source_segment(source, node) or ""
        for node in tree.body
        if needed & set(_defines(node)) and not isinstance(node, ast.Import | ast.ImportFrom)
    ]
    aliases = [text for text in kept if not text.startswith("def ")]
    functions = [text for text in kept if text.startswith("def ")]
    head = f'"""{_question(name, forward, tree, source, file)}"""'
    blocks = ["\n".join(aliases), *functions, _backward(name, forward, tree)]
    return f"{head}\n\n{_sorted(imports)}\n\n" + "\n\n\n".join(filter(None, blocks)) + "\n"


def is_unwritten(text: str, name: str) -> bool:
    """Whether the backward in a file is still the one that the exercise came with."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == f"back_{name}":
            *_, last = node.body
            return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)
    return False


def _source(name: str) -> str:
    file = next(HOME / f / f"{name}.py" for f in ("ops", "networks") if _is(HOME / f, name))
    return file.read_text("utf-8")


def _is(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file()


def _docstring(source: str) -> str:
    return ast.get_docstring(ast.parse(source)) or ""


def _question(
    name: str, forward: ast.FunctionDef, tree: ast.Module, source: str, file: Path
) -> str:
    """What is given, what is asked, and what to do with it."""
    about, _, rest = _docstring(source).partition("\n\nDerivation\n")
    wrt = _wrt(tree)
    options = [option.arg for option in forward.args.kwonlyargs]
    asked = (
        f"What {name} returns goes on into some loss. Given grad_out, the gradient of that loss "
        f"with respect to out, return the gradient with respect to {' and '.join(wrt)}"
        + (": a tuple, in this order. " if len(wrt) > 1 else ", one tensor. ")
        + f"out is what {name} returned. A gradient has the shape of what it is the gradient of. "
        "In formulas a bar, as in ȳ, is the gradient of the loss with respect to y, ⟨a, b⟩ the sum "
        "of the products of their entries, and [c] is 1 where c holds, else 0. In shapes *n stands "
        "for any number of axes: take one."
        + (
            f" Leave {', '.join(options)} at {'their' if len(options) > 1 else 'its'} "
            f"default{'s' if len(options) > 1 else ''}."
            if options
            else ""
        )
    )
    lines = [
        f"Exercise {ORDER.index(name) + 1} of {len(ORDER)}",
        "",
        about,
        "",
        fill(asked, 92),
        "",
        "The derivation begins",
        _beginning(rest.partition("\n\n")[0]),
        "",
        "Take away the parameters that you do not use: those that stay are what a forward pass",
        "has to save. Then",
        "",
        f"    {program()} check {quote(file.as_posix())}",
    ]
    return "\n".join(lines) + "\n"


def _beginning(derivation: str) -> str:
    """Up to where the loss feels the change; where no line says so, all but the last."""
    lines = derivation.splitlines()
    felt = [number for number, line in enumerate(lines) if "felt by" in line]
    return "\n".join(lines[: felt[0] + 1] if felt else lines[:-1])


def _backward(name: str, forward: ast.FunctionDef, tree: ast.Module) -> str:
    """The function to be written: all that a backward may ask for."""
    types = {
        each.arg: ast.unparse(each.annotation or ast.Name("Tensor")) for each in forward.args.args
    }
    out = ast.unparse(forward.returns or ast.Name("Tensor"))
    parameters = ", ".join(
        f"{arg}: {kind}" for arg, kind in {**types, "out": out, "grad_out": out}.items()
    )
    wrt = _wrt(tree)
    returns = types[wrt[0]] if len(wrt) == 1 else f"tuple[{', '.join(types[each] for each in wrt)}]"
    line = f"def back_{name}({parameters}) -> {returns}:"
    if len(line) > 100:
        line = f"def back_{name}(\n    {parameters}\n) -> {returns}:"
    names = " and ".join(f"grad_{each}" for each in wrt)
    return f'{line}\n    """{names}."""\n    raise NotImplementedError'


def _wrt(tree: ast.Module) -> tuple[str, ...]:
    (op,) = (node for node in tree.body if "OP" in _defines(node))
    (wrt,) = (k.value for k in ast.walk(op) if isinstance(k, ast.keyword) and k.arg == "wrt")
    return tuple(ast.literal_eval(wrt))


def _needed(tree: ast.Module, forward: ast.FunctionDef) -> set[str]:
    """The names of the file that the forward uses, and those that these use."""
    definitions = {name: node for node in tree.body for name in _defines(node)}
    needed, left = set[str](), [forward.name]
    while left:
        name = left.pop()
        if name in needed or name not in definitions:
            continue
        needed.add(name)
        left += [n.id for n in ast.walk(definitions[name]) if isinstance(n, ast.Name)]
    return needed


def _defines(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def _import(node: ast.stmt, needed: set[str]) -> str:
    """An import with the names that are needed, or torch, which a backward will need."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return ""
    names = [a for a in node.names if (a.asname or a.name) in needed or a.name == "torch"]
    return ast.unparse(type(node)(**{**vars(node), "names": names})) if names else ""


def _sorted(imports: list[str]) -> str:
    """The house's own apart, as the formatter has it; torch in any case."""
    lines = list(dict.fromkeys(["import torch", *imports]))
    own = [line for line in lines if re.match(r"from manual_backprop", line)]
    others = [line for line in lines if line not in own]
    return "\n".join(others) + ("\n\n" + "\n".join(own) if own else "")
