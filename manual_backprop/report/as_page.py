"""An operator's page in the terminal: read from its file, so never written twice."""

import ast
import inspect
import re
from collections.abc import Sequence
from importlib import import_module

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from manual_backprop.commands import program
from manual_backprop.judge.draw import axes
from manual_backprop.op import Op
from manual_backprop.registry import is_network, read_first

END = {"L": "the loss at the end", "E": "what comes behind L"}


def docstring(op: Op) -> str:
    """The whole text at the top of the operator's file."""
    return inspect.getdoc(import_module(op.forward.__module__)) or ""


def what(op: Op) -> str:
    """What it does, as in "an affine map of the last axis."."""
    return docstring(op).partition("\n")[0].removeprefix(f"{op.name}: ")


def formula(op: Op) -> str:
    """As in "y = x w + b": the docstring's first indented line, without what stands apart.

    Of a network, whose formula takes several lines, what it is made of.
    """
    if is_network(op):
        return f"network: {what(op).removesuffix('.')}"
    line = re.search(r"^ {4}(.*)$", docstring(op), re.MULTILINE)
    return re.split(r",  | {3,}", line[1])[0] if line else ""


def end_letter(op: Op) -> str:
    """What stands at the end of all: L, and E where L is what the operator itself returns."""
    before, _, _ = docstring(op).partition("\nDerivation")
    return "E" if re.search(r"^ {4}L = ", before, re.MULTILINE) else "L"


def legend(op: Op) -> str:
    """What the derivation's signs mean, in two lines."""
    end = end_letter(op)
    return (
        f"    x̄ is ∂{end}/∂x, with {end} {END[end]}, and so with every letter; grad_out is that\n"
        "    of what the forward returns; ⟨a, b⟩ is the sum of the products entry by entry."
    )


def code(op: Op) -> str:
    """The operator's file from its type aliases to its last function, below what it takes from
    other operators' files.
    """
    text = inspect.getsource(import_module(op.forward.__module__))
    first, *statements = ast.parse(text).body  # the docstring comes first
    imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    end = next(
        node
        for node in statements
        for target in getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(target, ast.Name) and target.id == "OP"
    )
    begin = max((node.end_lineno or 0 for node in (first, *imports)), default=0)
    lines = text.splitlines()
    own = "\n".join(lines[begin : end.lineno - 1]).strip()
    borrowed = [
        "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in imports
        if isinstance(node, ast.ImportFrom)
        and f"{node.module}.".startswith("manual_backprop.")
        and node.module != Op.__module__  # `OP` is not shown
    ]
    return "\n".join([*borrowed, "", own]) if borrowed else own


def show_list(console: Console, ops: Sequence[Op]) -> None:
    """One row per operator: name, formula, backwards, what to read first."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("operator", "formula", "backwards", "read first"):
        table.add_column(column, overflow="fold", no_wrap=column == "operator")
    for op in ops:
        table.add_row(
            Text(op.name, "bold"),
            Text(formula(op)),
            Text(str(len(op.backwards))),
            Text(", ".join(read_first(op)) or "-", "dim"),
        )
    console.print(table)
    console.print(
        "Each behind those that it rests on; a network is composed of operators. "
        f"{program()} explain NAME shows one whole, {program()} verify NAME proves it."
    )


def show_page(console: Console, op: Op) -> None:
    """Formula, derivation, code, and what each backward saves."""
    console.print()
    text_of_file = re.sub(r"^Read first: .*\n", "", docstring(op), flags=re.MULTILINE)
    lines = text_of_file.splitlines()
    lines.insert(lines.index("", lines.index("Derivation")), legend(op))
    for line in lines:
        name, colon, rest = line.partition(": ")
        if name == "Source" and (names := read_first(op)):
            console.print(Text("Read first", "bold").append(f": {', '.join(names)}", "not bold"))
        if colon and name in (op.name, "Source"):
            text = Text(name, "bold").append(f": {rest}", "not bold")
        else:
            text = Text(line, "bold" if line == "Derivation" else "")
        console.print(text, soft_wrap=True)
    _heading(console, f"{op.forward.__module__.replace('.', '/')}.py")
    syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
    console.print(syntax.highlight(code(op)), soft_wrap=True)
    _heading(console, "What the forward has to save for each backward")
    console.print(_saved(op))
    _heading(console, "The samples that it is tried on")
    width = max(map(len, op.samples)) + 2
    for name in op.samples:
        sizes = ", ".join(f"{axis} = {size}" for axis, size in axes(op, name).items())
        console.print(Text(f"{name:<{width}}{sizes or 'fixed sizes'}"))


def _heading(console: Console, text: str) -> None:
    console.print()
    console.rule(Text(text, "bold"), align="left", style="dim")


def _saved(op: Op) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for backward in op.backwards:
        says = (inspect.getdoc(backward) or "").partition("\n")[0]
        saves = ", ".join(op.saves(backward)) or "nothing"
        table.add_row(Text(backward.__name__, "bold"), Text(saves), Text(says, "dim"))
    return table
