"""Reverse mode: from a graph to one graph of its values and the cotangents of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracejit.ir import (
    Builder,
    Const,
    Eqn,
    Graph,
    Var,
    active_vars,
    building,
    computation_key,
    substitute,
)
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
    active = active_vars(graph, {graph.inputs[k] for k in wrt})
    together = _together(graph)
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
            eqns = [e for e in together.get(eqn.outputs[0], (eqn,)) if e.outputs[0] in cts]
            if eqns:
                builder.source = eqn.source.derivative() if eqn.source else None
                _pull(builder, eqns, active, cts)
        builder.source = None
        results = [cts[v] if v in cts else zeros_of(v.type) for v in (graph.inputs[k] for k in wrt)]
    outputs = [substitute(builder.replaced, a) for a in graph.outputs] + [r.atom for r in results]
    return builder.finish(outputs)


def _together(graph: Graph) -> dict[Var, list[Eqn]]:
    """Under the first result of a computation with several the equations of all, none under the others.

    Walking back, the first is met last: by then all that reads one of the results has been pulled through.
    """
    found: dict[Var, list[Eqn]] = {}
    known: dict[Any, list[Eqn]] = {}
    for eqn in graph.eqns:
        key = computation_key(eqn)
        if key is not None:
            found[eqn.out] = [] if key in known else known.setdefault(key, [])
            known[key].append(eqn)
    return found


def _pull(builder: Builder, eqns: Sequence[Eqn], active: set[Var], cts: dict[Var, Value]) -> None:
    """Through one equation, or through all results of one computation that have a cotangent."""
    eqn = eqns[0]
    needed = [isinstance(a, Var) and a in active for a in eqn.inputs]
    rule, number = eqn.primitive.vjp, eqn.primitive.results
    if rule is None:
        raise no_rule(eqn, "reverse")
    primals = [Value(builder, substitute(builder.replaced, a)) for a in eqn.inputs]
    if number is not None:
        found = {e.params[number]: cts.pop(e.out) for e in eqns}
        pulled = rule(vjp_graph, found, primals, needed, **eqn.params)
    else:
        out = Value(builder, substitute(builder.replaced, eqn.out))
        pulled = rule(cts.pop(eqn.out), primals, out, needed, **eqn.params)
    for atom, contribution in zip(eqn.inputs, pulled, strict=True):
        if contribution is not None and isinstance(atom, Var) and atom in active:
            _accumulate(cts, atom, contribution)


def _accumulate(cts: dict[Var, Value], var: Var, ct: Value) -> None:
    cts[var] = cts[var] + ct if var in cts else ct
