"""Reverse mode: from a graph to one graph of its values and the cotangents of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.ir import Builder, Const, Eqn, Graph, Var, building, substitute
from tracejit.ops import Value, zeros_of
from tracejit.transforms.jvp import no_rule


def vjp_graph(graph: Graph, wrt: Sequence[int], seeds: Sequence[bool | Const] | None = None) -> Graph:
    """The graph `(*inputs, *cts) -> (*outputs, *input_cts)`.

    `wrt` are positions of float inputs; `seeds[k]` says whether output k (a float) gets a cotangent input, or
    is its cotangent (default: an input for every float output). An input that no seeded output depends on
    gets zeros. The equations of `graph` are taken over with their variables.
    """
    if seeds is None:
        seeds = [a.type.is_float for a in graph.outputs]
    builder = Builder(f"vjp_{graph.name}")
    builder.inputs = list(graph.inputs)
    active = _active_vars(graph, {graph.inputs[k] for k in wrt})
    for eqn in graph.eqns:
        builder.replay(eqn)
    builder.source = None
    with building(builder):
        cts: dict[Var, Value] = {}
        for atom, seed in zip(graph.outputs, seeds, strict=True):
            ct = builder.add_input(atom.type) if seed is True else seed
            if ct and isinstance(atom, Var) and atom in active:
                _accumulate(cts, atom, Value(builder, ct))
        for eqn in reversed(graph.eqns):
            if eqn.outputs[0] in cts:
                builder.source = eqn.source.derivative() if eqn.source else None
                _pull(builder, eqn, active, cts)
        builder.source = None
        results = [cts[v] if v in cts else zeros_of(v.type) for v in (graph.inputs[k] for k in wrt)]
    outputs = [substitute(builder.replaced, a) for a in graph.outputs] + [r.atom for r in results]
    return builder.finish(outputs)


def _active_vars(graph: Graph, wrt: set[Var]) -> set[Var]:
    """The float variables through which a derivative can flow from `wrt`."""
    active = set(wrt)
    for eqn in graph.eqns:
        if eqn.out.type.is_float and any(isinstance(a, Var) and a in active for a in eqn.inputs):
            active.add(eqn.out)
    return active


def _pull(builder: Builder, eqn: Eqn, active: set[Var], cts: dict[Var, Value]) -> None:
    ct = cts.pop(eqn.out)
    needed = [isinstance(a, Var) and a in active for a in eqn.inputs]
    if eqn.primitive.vjp is None:
        raise no_rule(eqn, "reverse")
    primals = [Value(builder, substitute(builder.replaced, a)) for a in eqn.inputs]
    out = Value(builder, substitute(builder.replaced, eqn.out))
    pulled = eqn.primitive.vjp(ct, primals, out, needed, **eqn.params)
    for atom, contribution in zip(eqn.inputs, pulled, strict=True):
        if contribution is not None and isinstance(atom, Var) and atom in active:
            _accumulate(cts, atom, contribution)


def _accumulate(cts: dict[Var, Value], var: Var, ct: Value) -> None:
    cts[var] = cts[var] + ct if var in cts else ct
