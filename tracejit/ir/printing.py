"""Graphs as text that is also Python: `v2: f64[5] = sin(v0)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir.graph import Atom, Const, Eqn, Graph, Var
from tracejit.ir.types import DTYPE_NAMES


def name_vars(graph: Graph) -> dict[Var, str]:
    """Names in order of appearance: v0, v1, ..."""
    names: dict[Var, str] = {}
    for var in graph.inputs:
        names.setdefault(var, f"v{len(names)}")
    for eqn in graph.eqns:
        for var in eqn.outputs:
            names.setdefault(var, f"v{len(names)}")
    return names


def format_value(value: Any) -> str:
    """A parameter or a constant as Python source."""
    if isinstance(value, np.dtype):
        return repr(DTYPE_NAMES.get(value, str(value)))
    if isinstance(value, np.generic):
        text = repr(value.item())
        return f"float({text!r})" if text in ("nan", "inf", "-inf") else text
    if isinstance(value, tuple):
        items = [format_value(item) for item in value]
        return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
    return repr(value)


def format_atom(atom: Atom, names: dict[Var, str]) -> str:
    if isinstance(atom, Const):
        return f"const({format_value(atom.value)}, {DTYPE_NAMES[atom.type.dtype]!r})"
    return names[atom]


def format_eqn(eqn: Eqn, names: dict[Var, str]) -> str:
    """One equation, with the user's line as a comment."""
    outputs = ", ".join(names[v] for v in eqn.outputs)
    arguments = [format_atom(a, names) for a in eqn.inputs]
    arguments += [f"{key}={format_value(value)}" for key, value in sorted(eqn.params.items())]
    text = f"{outputs}: '{eqn.outputs[0].type}' = {eqn.primitive.name}({', '.join(arguments)})"
    return f"{text:<72}  # {eqn.source}" if eqn.source else text


def format_graph(graph: Graph) -> str:
    """The graph as a Python function over the primitives' names.

    Before: a `Graph`. After: text that `tracejit.ops.reading.read_graph` runs.
    """
    names = name_vars(graph)
    header = ", ".join(f"{names[v]}: '{v.type}'" for v in graph.inputs)
    lines = [f"def {_identifier(graph.name)}({header}):"]
    lines += [f"    {format_eqn(eqn, names)}" for eqn in graph.eqns]
    outputs = [format_atom(a, names) for a in graph.outputs]
    lines.append("    return " + "(" + ", ".join(outputs) + ("," if len(outputs) == 1 else "") + ")")
    return "\n".join(lines)


def _identifier(name: str) -> str:
    cleaned = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return cleaned if cleaned.isidentifier() else f"f_{cleaned}"
