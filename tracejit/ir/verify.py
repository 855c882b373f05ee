"""The verifier: what must hold of every graph between any two stages."""

from __future__ import annotations

from collections.abc import Iterator

from tracejit.errors import InternalError
from tracejit.ir.graph import Const, Eqn, Graph, Var
from tracejit.ir.printing import format_graph


def verify(graph: Graph, stage: str = "graph") -> Graph:
    """Return `graph`, or raise `InternalError` naming the stage and the first broken equation.

    Every variable is assigned once and before use, types are what the primitives infer, params are hashable.
    """
    for message in _faults(graph):
        excerpt = "\n".join(format_graph_safely(graph).splitlines()[:12])
        raise InternalError(
            f"{stage}: {message}\n{excerpt}", hint="this is a bug of tracejit; please report it"
        )
    return graph


def format_graph_safely(graph: Graph) -> str:
    try:
        return format_graph(graph)
    except KeyError:
        return "\n".join(
            f"{e.primitive.name}({', '.join(str(a.type) for a in e.inputs)})" for e in graph.eqns
        )


def _faults(graph: Graph) -> Iterator[str]:
    known: set[Var] = set()
    for var in graph.inputs:
        if var in known:
            yield "an input is named twice"
        known.add(var)
    for number, eqn in enumerate(graph.eqns):
        for atom in eqn.inputs:
            if isinstance(atom, Var) and atom not in known:
                yield f"equation {number} ({eqn.primitive.name}) reads a variable that is not assigned yet"
        yield from _type_faults(number, eqn)
        for var in eqn.outputs:
            if var in known:
                yield f"equation {number} ({eqn.primitive.name}) assigns a variable again"
            known.add(var)
    for atom in graph.outputs:
        if isinstance(atom, Var) and atom not in known:
            yield "an output is never assigned"


def _type_faults(number: int, eqn: Eqn) -> Iterator[str]:
    inferred = eqn.primitive.infer(*(a.type for a in eqn.inputs), **eqn.params)
    if inferred != eqn.outputs[0].type:
        yield f"equation {number} ({eqn.primitive.name}) has type {eqn.outputs[0].type}, inferred {inferred}"
    for atom in eqn.inputs:
        if isinstance(atom, Const) and atom.type.rank:
            yield f"equation {number} ({eqn.primitive.name}) has a constant that is not rank 0"
    try:
        hash(tuple(sorted(eqn.params.items())))
    except TypeError:
        yield f"equation {number} ({eqn.primitive.name}) has a parameter that is not hashable"
