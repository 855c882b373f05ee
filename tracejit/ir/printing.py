"""Graphs as text that is also Python: `v2: f64[5] = sin(v0)`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tracejit.ir.graph import Atom, Const, Eqn, Graph, Var
from tracejit.ir.source import Source
from tracejit.ir.types import dtype_name

Names = dict[Var | Graph, str]


def name_vars(graph: Graph) -> Names:
    """Names in order of appearance: v0, v1, ..., and those of subgraphs, each its own."""
    names: Names = {}
    for var in graph.inputs:
        names.setdefault(var, f"v{len(names)}")
    for eqn in graph.eqns:
        for var in eqn.outputs:
            names.setdefault(var, f"v{len(names)}")
    taken: set[str] = set()
    for inner in subgraphs(graph):
        name = _identifier(inner.name)
        names[inner] = name if name not in taken else f"{name}_{len(taken)}"
        taken.add(names[inner])
    return names


def subgraphs(graph: Graph) -> list[Graph]:
    """The graphs among the parameters of its equations, each once, in order of first use."""
    found = (value for eqn in graph.eqns for value in eqn.params.values() if isinstance(value, Graph))
    return list(dict.fromkeys(found))


def format_value(value: Any) -> str:
    """A parameter or a constant as Python source."""
    if isinstance(value, np.dtype):
        return repr(dtype_name(value) or str(value))
    if isinstance(value, np.generic):
        text = repr(value.item())
        return f"float({text!r})" if text in ("nan", "inf", "-inf") else text
    if isinstance(value, tuple):
        items = [format_value(item) for item in value]
        return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
    return repr(value)


def format_atom(atom: Atom, names: Names) -> str:
    if isinstance(atom, Const):
        return f"const({format_value(atom.value)}, {dtype_name(atom.type.dtype)!r})"
    return names[atom]


def format_eqn(eqn: Eqn, names: Names) -> str:
    """One equation, with the user's line as a comment."""
    outputs = ", ".join(names[v] for v in eqn.outputs)
    arguments = [format_atom(a, names) for a in eqn.inputs]
    for key, value in sorted(eqn.params.items()):
        arguments.append(f"{key}={names[value] if isinstance(value, Graph) else format_value(value)}")
    text = f"{outputs}: '{eqn.outputs[0].type}' = {eqn.primitive.name}({', '.join(arguments)})"
    return f"{text:<72}  # {eqn.source}" if eqn.source else text


def format_graph(graph: Graph) -> str:
    """The graph as a Python function over the primitives' names, its subgraphs as functions inside.

    Before: a `Graph`. After: text that `tracejit.ops.reading.read_graph` runs.
    """
    names = name_vars(graph)
    header = ", ".join(f"{names[v]}: '{v.type}'" for v in graph.inputs)
    lines = [f"def {_identifier(graph.name)}({header}):"]
    for inner in subgraphs(graph):
        text = format_graph(replace(inner, name=names[inner]))
        lines += [f"    {line}" for line in text.splitlines()]
    lines += [f"    {format_eqn(eqn, names)}" for eqn in graph.eqns]
    outputs = [format_atom(a, names) for a in graph.outputs]
    lines.append("    return " + "(" + ", ".join(outputs) + ("," if len(outputs) == 1 else "") + ")")
    return "\n".join(lines)


def line_sources(graph: Graph) -> list[Source | None]:
    """The user's line behind each line of `format_graph(graph)` but the first."""
    inner = [source for body in subgraphs(graph) for source in (None, *line_sources(body))]
    return [*inner, *(eqn.source for eqn in graph.eqns), None]


def _identifier(name: str) -> str:
    cleaned = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return cleaned if cleaned.isidentifier() else f"f_{cleaned}"
