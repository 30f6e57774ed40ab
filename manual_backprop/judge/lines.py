"""The lines of a function that somebody ought to try, from its code and its source."""

import ast
import dis
import linecache
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from textwrap import shorten
from types import CodeType, FunctionType, MethodType
from typing import Any

WIDEST = 72  # characters of code that a sentence quotes
FOLLOWED = 50  # decorators around one function, and functions of its file below it
COMPARISONS = {
    *("gt", "lt", "ge", "le", "eq", "ne", "greater", "less", "greater_equal", "less_equal"),
    *("not_equal", "isin", "signbit", "isclose"),
}
UNKNOWN = 0, -1  # by a function's name, at whichever instruction calls it
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr)


class Lines:
    """A function with all that is nested in it, and where it stands.

    Args:
        function: a plain function of Python.

    Attributes:
        codes: its own, and those nested in it.
        due: numbers of the lines that are there to be run: no docstring, no `def`, no `raise` and
            nothing that only leads to one. Empty where there is no source.
        guards: numbers of the lines that ask whether to raise or to branch.
        comparisons: where it may compare tensors: id of the code and instruction, or UNKNOWN.
        calls_compiled: whether it names a function that `torch.compile` made.
    """

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.codes = tuple(_nested(function.__code__))
        self.file = function.__code__.co_filename
        self.text = linecache.getlines(self.file, function.__globals__)
        self.node = _node("".join(self.text), self.codes)
        self.due: set[int] = set()
        self.guards: set[int] = set()
        if self.node is not None:
            executable = {line for code in self.codes for *_, line in code.co_lines() if line}
            self.due = executable - _header(self.node) - _idle(self.node)
            self.guards = _guards(self.node)
        self.calls_compiled = any(map(_compiled, self._named(set())))
        self.comparisons = set(self._comparisons()) if self.node is not None else set()

    def below(self, unless: set[int]) -> Iterator[tuple[FunctionType, bool]]:
        """The functions of the same file that it names on any other line than `unless`.

        Each comes with whether it is named as it is, and not as what a decorator made of it.
        """
        for named in self._named(unless):
            found = written(named)
            if found is not None and found.__code__.co_filename == self.file:
                yield found, found is named

    def _named(self, unless: set[int]) -> Iterator[Any]:
        free = dict(zip(self.codes[0].co_freevars, self.function.__closure__ or (), strict=False))
        for code in self.codes:
            for step in dis.get_instructions(code):
                line = step.positions.lineno if step.positions else None
                if line in unless:
                    continue
                if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                    yield self.function.__globals__.get(step.argval)
                elif step.opname == "LOAD_DEREF" and step.argval in free:
                    yield _content(free[step.argval])

    def _comparisons(self) -> Iterator[tuple[int, int]]:
        for code in self.codes:
            if COMPARISONS & set(code.co_names):
                yield UNKNOWN
            for step in dis.get_instructions(code):
                line = step.positions.lineno if step.positions else None
                if step.opname == "COMPARE_OP" and line not in self.guards:
                    yield id(code), step.offset

    def at(self, first: int, last: int) -> str:
        """As in "my_ops.py:12-14"."""
        return f"{Path(self.file).name}:{first}" + (f"-{last}" if last > first else "")

    def statement(self, number: int) -> str:
        """What begins there: a whole statement, or the first line of one that others are in."""
        for node in ast.walk(self.node) if self.node else ():
            if isinstance(node, ast.stmt) and node.lineno == number and not hasattr(node, "body"):
                return self._quoted(number, _end(node), node.col_offset, node.end_col_offset)
        return self._quoted(number, number, 0, None)

    def expression(self, code: CodeType, instruction: int) -> tuple[int, str]:
        """The line that an instruction of one of the codes belongs to, and what it computes."""
        place = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
        line, end, left, right = place
        if line is None or end is None:
            return 0, ""
        return line, self._quoted(line, end, left or 0, right)

    def _quoted(self, line: int, end: int, left: int, right: int | None) -> str:
        rows = [row.encode() for row in self.text[line - 1 : end]] or [b""]
        rows[-1] = rows[-1][:right]
        rows[0] = rows[0][left:]
        return shorten(b"".join(rows).decode(errors="replace"), WIDEST, placeholder=" ...")

    def under(self, number: int) -> str:
        """The innermost condition that a line is under, as in "the else of `if x.dim() == 2:`"."""
        said, start = "", 0
        branching = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.match_case)
        for node in ast.walk(self.node) if self.node else ():
            if not isinstance(node, branching):
                continue
            asked: Any = getattr(node, "pattern", node)  # a case of match has no line of its own
            for of, block in (("", node.body), ("the else of ", getattr(node, "orelse", []))):
                if block and start < block[0].lineno <= number <= _end(block[-1]):
                    start, said = block[0].lineno, f"{of}`{self.statement(asked.lineno)}`"
        return said


def written(function: Any) -> FunctionType | None:
    """What its author wrote, under decorators, methods and partials; None where other code runs."""
    for _ in range(FOLLOWED):
        if _compiled(function):
            return None
        if isinstance(function, partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        elif inner := getattr(function, "__dict__", {}).get("__wrapped__"):
            function = inner
        elif isinstance(function, FunctionType):
            return function
        else:
            function = getattr(type(function), "__call__", None)  # noqa: B004 -- to look into it
            return function if isinstance(function, FunctionType) else None
    return None


def _compiled(function: Any) -> bool:
    return "_torchdynamo_orig_callable" in getattr(function, "__dict__", {})


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _nested(inner)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


@lru_cache(maxsize=8)
def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _node(text: str, codes: tuple[CodeType, ...]) -> Any:
    """Where a function stands; None where the source is gone or is no longer what was compiled."""
    code = codes[0]
    last = max((line for c in codes for *_, line in c.co_lines() if line), default=0)
    tree = _tree(text)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, _FUNCTIONS) and node.name == code.co_name:
            first = min(n.lineno for n in (node, *node.decorator_list))
        elif isinstance(node, ast.Lambda) and code.co_name == "<lambda>":
            first = node.lineno
        else:
            continue
        if first <= code.co_firstlineno <= node.lineno and last <= _end(node):
            return node
    return None


def _end(node: Any) -> int:
    return int(node.end_lineno)


def _lines(first: Any, last: Any) -> set[int]:
    return set(range(first.lineno, _end(last) + 1))


def _header(node: Any) -> set[int]:
    """From the first decorator to the colon."""
    body = node.body[0] if isinstance(node.body, list) else node.body
    first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
    return {*range(first, body.lineno), node.lineno}


def _idle(function: ast.AST) -> set[int]:
    """The lines that do nothing, and those that only a wrong argument leads to."""
    idle = set[int]()
    for node in ast.walk(function):
        remark = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if remark or isinstance(node, (ast.Pass, ast.Raise, ast.Global, ast.Nonlocal)):
            idle |= _lines(node, node)
        elif isinstance(node, ast.Assert):
            idle |= set(range(_end(node.test) + 1, _end(node) + 1))
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node is not function:
            idle |= _header(node)
        elif isinstance(node, ast.If):
            for block in (node.body, node.orelse):
                idle |= _lines(block[0], block[-1]) if _refuses(block) else set()
        elif isinstance(node, (ast.ExceptHandler, ast.match_case)) and _refuses(node.body):
            idle |= _lines(getattr(node, "pattern", node), node.body[-1])
    return idle


def _refuses(block: list[ast.stmt]) -> bool:
    """Whether a block does nothing but find out what to raise, and raise it."""
    rest = block
    if block and isinstance(block[-1], ast.Raise):
        rest = [node for node in block[:-1] if not isinstance(node, _SIMPLE)]
    return bool(block) and all(
        isinstance(node, ast.Assert)
        or (
            isinstance(node, ast.If)
            and _refuses(node.body)
            and (not node.orelse or _refuses(node.orelse))
        )
        for node in rest
    )


def _guards(function: ast.AST) -> set[int]:
    """The conditions of `if`, `while` and `assert`: what they decide is seen by what runs."""
    return {
        line
        for node in ast.walk(function)
        if isinstance(node, (ast.If, ast.While, ast.Assert))
        for line in _lines(node, node.test)
    }
