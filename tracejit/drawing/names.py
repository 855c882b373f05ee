"""What operations and their results are called: symbols of operators, variables that are assigned to."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from collections.abc import Sequence

import numpy as np

from tracejit.ir import Source

# Python's names of operators -> NumPy's names of the same operations.
_LONG = {
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "neg": "negative",
    "pos": "positive",
    "abs": "absolute",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
    "T": "transpose",
    "mT": "matrix_transpose",
    "flatten": "ravel",
}
SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "matmul": "*",
    "dot": "*",
    "dot_general": "*",
    "divide": "/",
    "floor_divide": "//",
    "remainder": "%",
    "power": "**",
    "negative": "-",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "indexing": "[ ]",
    "reduce_sum": "sum",
    "reduce_max": "max",
    "reduce_min": "min",
}
# Names for text, where a symbol would not do.
WORDS = {
    "add": "plus",
    "subtract": "minus",
    "multiply": "times",
    "matmul": "times",
    "dot": "times",
    "dot_general": "times",
    "divide": "over",
    "negative": "minus",
}
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder",
    ast.Pow: "power",
    ast.MatMult: "matmul",
    ast.USub: "negative",
    ast.UAdd: "positive",
    ast.Invert: "invert",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
}


def canonical(name: str) -> str:
    """One name for an operation however it is written.

    >>> canonical("np.subtract"), canonical("sub"), canonical("np.linalg.norm")
    ('subtract', 'subtract', 'norm')
    """
    last = name.rpartition(".")[2]
    return _LONG.get(last, last)


def label_of(name: str) -> str:
    """What is written on the node of an operation: a symbol, an abbreviation, or its name."""
    if name.endswith("cross_entropy") or "cross_entropy_with" in name:
        return "CE"
    return SYMBOLS.get(name, name)


def word_of(name: str) -> str:
    """The id of the node of an operation: a word."""
    label = label_of(name)
    return WORDS.get(name, label if label.isidentifier() else name)


def shorten(paths: Sequence[str]) -> list[str]:
    """The last step of each path into an argument, where that alone tells it from the others.

    >>> shorten(["params['w']", "params['b']", "x", "layers[0]['w']", "layers[1]['w']", "model.scale"])
    ["params['w']", 'b', 'x', "layers[0]['w']", "layers[1]['w']", 'scale']
    """
    ends: list[str] = []
    for path in paths:
        step = re.search(r"(?:\['([^\W\d]\w*)'\]|\.([^\W\d]\w*))$", path)
        ends.append((step[1] or step[2]) if step else path)
    return [end if ends.count(end) == 1 else path for path, end in zip(paths, ends, strict=True)]


# --- variables ---------------------------------------------------------------------------------------------


def assigned_names(operations: Sequence[tuple[Source, str]]) -> dict[int, str]:
    """For operations `(source, canonical name)`, by number, the variables that their results are assigned to.

    Only what is certain: in `z = x @ w + b` the last instruction that made an operation is the outermost `+`.
    """
    by_statement: dict[ast.stmt, list[int]] = {}
    statements: dict[Source, ast.stmt | None] = {}
    for k, (source, _) in enumerate(operations):
        # Comprehensions and lambdas inside a statement have bytecode of their own.
        if source.function == "<module>" or not source.function.startswith("<"):
            if source not in statements:
                statements[source] = find_statement(source)
            statement = statements[source]
            if statement is not None:
                by_statement.setdefault(statement, []).append(k)
    names: dict[int, str] = {}
    for statement, numbers in by_statement.items():
        target, outermost = assignment(statement)
        last = max(operations[k][0].offset for k in numbers)
        if target is not None:
            made = [k for k in numbers if operations[k][0].offset == last and operations[k][1] == outermost]
            names |= dict.fromkeys(made, target)
    return names


def find_statement(source: Source) -> ast.stmt | None:
    """The innermost statement at a line of the user's program; None where its file cannot be read."""
    tree = _parse("".join(linecache.getlines(source.filename)))
    found: ast.stmt | None = None
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.stmt) and node.lineno <= source.line <= (node.end_lineno or node.lineno):
            found = node  # ast.walk goes from the outside to the inside
    return found


@functools.lru_cache(maxsize=8)
def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def assignment(statement: ast.stmt) -> tuple[str | None, str | None]:
    """The variable that a statement assigns, and the outermost operation of what it assigns."""
    target: ast.expr | None = None
    if isinstance(statement, ast.AugAssign):
        target, outermost = statement.target, _OPERATORS.get(type(statement.op))
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, outermost = statement.targets[0], operation_of(statement.value)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, outermost = statement.target, operation_of(statement.value)
    else:
        return None, None
    return (target.id if isinstance(target, ast.Name) else None), outermost


def operation_of(node: ast.AST) -> str | None:
    """The canonical name of the operation that an expression is.

    >>> operation_of(ast.parse("np.abs(x)", mode="eval").body)
    'absolute'
    """
    if isinstance(node, (ast.BinOp, ast.UnaryOp)):
        return _OPERATORS.get(type(node.op))
    if isinstance(node, ast.Compare):
        return _OPERATORS.get(type(node.ops[0])) if len(node.ops) == 1 else None
    if isinstance(node, ast.Subscript):
        return "indexing"
    if isinstance(node, ast.Attribute):
        return _LONG.get(node.attr) if node.attr in ("T", "mT") else None
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            return canonical(getattr(getattr(np, node.func.attr, None), "__name__", node.func.attr))
        return canonical(node.func.id) if isinstance(node.func, ast.Name) else None
    return None
