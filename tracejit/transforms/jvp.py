"""Forward mode: a graph to the graph of its values and directional derivatives."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.errors import UnsupportedError
from tracejit.ir import Atom, Builder, Eqn, Graph, Kind, Var, building, substitute
from tracejit.ops import Value, zeros_of


def jvp_graph(graph: Graph, has_tangent: Sequence[bool]) -> Graph:
    """The graph `(*inputs, *tangents) -> (*outputs, *output_tangents)`.

    `has_tangent[k]` says whether input k (a float) moves; tangents are inputs in the order of those that do.
    Every float output gets a tangent of its own type, zeros where it does not depend on a moving input;
    other outputs get none.
    """
    builder = Builder(f"jvp_{graph.name}")
    builder.inputs = list(graph.inputs)
    tangents: dict[Var, Value] = {}
    for var, moves in zip(graph.inputs, has_tangent, strict=True):
        if moves:
            tangents[var] = Value(builder, builder.add_input(var.type))
    with building(builder):
        for eqn in graph.eqns:
            builder.replay(eqn)
            builder.source = eqn.source.derivative() if eqn.source else None
            tangent = _tangent(builder, eqn, tangents)
            if tangent is not None:
                tangents[eqn.out] = tangent
        builder.source = None
        outputs = [substitute(builder.replaced, a) for a in graph.outputs]
        moved = [_output_tangent(a, tangents) for a in graph.outputs if a.type.is_float]
        outputs += [v.atom for v in moved]
    return builder.finish(outputs)


def _tangent(builder: Builder, eqn: Eqn, tangents: dict[Var, Value]) -> Value | None:
    moving = [tangents.get(a) if isinstance(a, Var) else None for a in eqn.inputs]
    if all(t is None for t in moving) or not eqn.out.type.is_float:
        return None
    if eqn.primitive.jvp is None:
        raise no_rule(eqn, "forward")
    primals = [Value(builder, substitute(builder.replaced, a)) for a in eqn.inputs]
    out = Value(builder, substitute(builder.replaced, eqn.out))
    if eqn.primitive.kind is Kind.CONTROL:
        return eqn.primitive.jvp(jvp_graph, primals, moving, out, **eqn.params)
    return eqn.primitive.jvp(primals, moving, out, **eqn.params)


def _output_tangent(atom: Atom, tangents: dict[Var, Value]) -> Value:
    found = tangents.get(atom) if isinstance(atom, Var) else None
    return found if found is not None else zeros_of(atom.type)


def no_rule(eqn: Eqn, mode: str) -> UnsupportedError:
    return UnsupportedError(
        f"{eqn.primitive.name}: has no {mode} derivative",
        where=eqn.source.describe() if eqn.source else None,
        hint="use tj.stop_gradient on its operand if no derivative is wanted",
    )
