"""A function with one thing changed in its syntax tree, once for each thing that can be."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

_TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def mutants(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(what was changed, the changed function without its decorators), in the order of the text.

    What only guards and never computes is left alone: checks, messages, annotations, defaults.
    """
    raw = inspect.unwrap(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(raw))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list = []
    nodes = list(_computing(tree))
    for place in sorted(range(len(nodes)), key=lambda i: (nodes[i].lineno, nodes[i].col_offset)):
        for which in range(len(_changes(nodes[place]))):
            copied = deepcopy(tree)
            old = list(_computing(copied))[place]
            new = _changes(old)[which]
            text = f"line {old.lineno}: {ast.unparse(old)} -> {ast.unparse(new)}"
            module = ast.Module([_Put(old, new).visit(copied)], type_ignores=[])
            code = compile(ast.fix_missing_locations(module), f"<{raw.__name__}, {text}>", "exec")
            made: dict[str, Any] = {}
            exec(code, raw.__globals__, made)
            yield text, made[raw.__name__]


class _Put(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def _computing(node: ast.AST) -> Iterator[Any]:
    """The expressions below a node that have a part in the result."""
    match node:
        case ast.arguments() | ast.Raise() | ast.JoinedStr() | ast.If(body=[ast.Raise()]):
            return
        case ast.Call(func=ast.Attribute(attr=name)) if name.startswith(("_check", "check_")):
            return
    if isinstance(node, ast.expr):
        yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _computing(child)


def _changes(node: ast.expr) -> list[ast.expr]:
    """What may stand in a node's place, made of the node's own parts."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return [left, right, ast.BinOp(left, ast.Sub(), right)]
        case ast.BinOp(left, ast.Sub(), right):
            return [
                left,
                ast.UnaryOp(ast.USub(), right),
                ast.BinOp(left, ast.Add(), right),
                ast.BinOp(right, ast.Sub(), left),
            ]
        case ast.BinOp(left, ast.Mult(), right):
            return [left, right, ast.BinOp(left, ast.Add(), right)]
        case ast.BinOp(left, ast.Div(), right):
            return [left, ast.BinOp(right, ast.Div(), left)]
        case ast.BinOp(left, ast.BitAnd(), right):
            return [ast.BinOp(left, ast.BitOr(), right)]
        case ast.BinOp(left, ast.BitOr(), right):
            return [ast.BinOp(left, ast.BitAnd(), right)]
        case ast.UnaryOp(ast.USub(), operand):
            return [operand]
        case ast.Compare(left, ops, sides):
            return [
                ast.Compare(left, [*ops[:i], turned(), *ops[i + 1 :]], sides)
                for i, op in enumerate(ops)
                for turned in _TURNED.get(type(op), ())
            ]
        case ast.Attribute(value, "mul", context):
            return [ast.Attribute(value, "add", context)]
        case ast.Constant(bool(value)):
            return [ast.Constant(not value)]
        case ast.Constant(float(value)) if value:
            return [ast.Constant(value + 1), ast.Constant(value * (1 + 1e-9))]
        case ast.Constant(int(value) | float(value)):
            return [ast.Constant(value + 1)]
    return []
