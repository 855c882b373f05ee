"""Printed graphs read back: the text of `ir.printing` in, the graph out. Examples are written in it."""

from __future__ import annotations

import ast
from typing import Any

from tracejit.errors import InternalError
from tracejit.ir import ArrayType, Atom, Eqn, Graph, Var, constant, dtype_named, verify
from tracejit.ops.tables import PRIMITIVES


def read_graph(text: str) -> Graph:
    """The graph that `text` prints, its equations exactly as they stand (nothing is folded or shared).

    >>> from tracejit.ir import format_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[3]'):
    ...     v1: 'f64[3]' = add(v0, v0)
    ...     return (v1,)
    ... ''')
    >>> format_graph(read_graph(format_graph(graph))) == format_graph(graph)
    True
    """
    (function,) = ast.parse(text.strip()).body
    if not isinstance(function, ast.FunctionDef):
        raise InternalError("read_graph: the text is not one function")
    return verify(_read_function(function), "read_graph")


def _read_function(function: ast.FunctionDef) -> Graph:
    names: dict[str, Var] = {}
    bodies: dict[str, Graph] = {}
    for arg in function.args.args:
        names[arg.arg] = Var(read_type(_text(arg.annotation)))
    inputs = tuple(names.values())
    eqns: list[Eqn] = []
    outputs: tuple[Atom, ...] = ()
    for line in function.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            eqns.append(_read_eqn(line, names, bodies))
            names[line.target.id] = eqns[-1].out
        elif isinstance(line, ast.FunctionDef):
            bodies[line.name] = _read_function(line)
        elif isinstance(line, ast.Return) and isinstance(line.value, ast.Tuple):
            outputs = tuple(_read_atom(item, names) for item in line.value.elts)
        else:
            raise InternalError(f"read_graph: cannot read {ast.unparse(line)}")
    return Graph(inputs, tuple(eqns), outputs, function.name)


def read_type(text: str) -> ArrayType:
    """The type that a text like 'f64[2, 3]' names."""
    name, _, sizes = text.rstrip("]").partition("[")
    dtype = dtype_named(name)
    if dtype is None:
        raise InternalError(f"read_graph: no dtype is called {name!r}")
    return ArrayType(tuple(int(n) for n in sizes.split(",") if n), dtype)


def _text(annotation: ast.expr | None) -> str:
    return ast.literal_eval(annotation) if annotation is not None else ""


def _read_eqn(line: ast.AnnAssign, names: dict[str, Var], bodies: dict[str, Graph]) -> Eqn:
    call = line.value
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise InternalError(f"read_graph: cannot read {ast.unparse(line)}")
    operands = tuple(_read_atom(item, names) for item in call.args)
    params = {k.arg: _read_param(k.value, bodies) for k in call.keywords if k.arg is not None}
    return Eqn(PRIMITIVES[call.func.id], operands, params, (Var(read_type(_text(line.annotation))),))


def _read_atom(node: ast.expr, names: dict[str, Var]) -> Atom:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "const":
        value, dtype = node.args
        return constant(_read_value(value), _read_value(dtype))
    raise InternalError(f"read_graph: cannot read {ast.unparse(node)}")


def _read_param(node: ast.expr, bodies: dict[str, Graph]) -> Any:
    return bodies[node.id] if isinstance(node, ast.Name) else _read_value(node)


def _read_value(node: ast.expr) -> Any:
    """A parameter: a literal, a dtype by its name, or `float('nan')`."""
    if isinstance(node, ast.Call):
        return float(ast.literal_eval(node.args[0]))
    value = ast.literal_eval(node)
    dtype = dtype_named(value) if isinstance(value, str) else None
    return value if dtype is None else dtype
