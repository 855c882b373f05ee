"""Reverse mode: from a graph to one graph of its values and the cotangents of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.ir import Atom, Builder, Eqn, Graph, Var, building, substitute
from tracejit.ops import Value, zeros_of
from tracejit.transforms.jvp import no_rule


def vjp_graph(graph: Graph, wrt: Sequence[int], seeds: Sequence[bool] | None = None) -> Graph:
    """The graph `(*inputs, *cts) -> (*outputs, *input_cts)`.

    `wrt` are positions of float inputs; `seeds[k]` says whether output k (a float) gets a cotangent input
    (default: every float output). An input that no seeded output depends on gets zeros.
    """
    if seeds is None:
        seeds = [a.type.is_float for a in graph.outputs]
    builder = Builder(f"vjp_{graph.name}")
    env: dict[Var, Atom] = {v: builder.add_input(v.type) for v in graph.inputs}
    seed_vars = [builder.add_input(a.type) if s else None for a, s in zip(graph.outputs, seeds, strict=True)]
    active = _active_vars(graph, {graph.inputs[k] for k in wrt})
    with building(builder):
        for eqn in graph.eqns:
            with builder.at(eqn.source):
                env[eqn.out] = builder.emit(
                    eqn.primitive, [substitute(env, a) for a in eqn.inputs], dict(eqn.params)
                )
        cts: dict[Var, Value] = {}
        for atom, seed in zip(graph.outputs, seed_vars, strict=True):
            if seed is not None and isinstance(atom, Var) and atom in active:
                _accumulate(cts, atom, Value(builder, seed))
        for eqn in reversed(graph.eqns):
            if eqn.out in cts:
                with builder.at(eqn.source.derivative() if eqn.source else None):
                    _pull(builder, eqn, env, active, cts)
        results = [cts[v] if v in cts else zeros_of(v.type) for v in (graph.inputs[k] for k in wrt)]
    outputs = [substitute(env, a) for a in graph.outputs] + [r.atom for r in results]
    return builder.finish(outputs)


def _active_vars(graph: Graph, wrt: set[Var]) -> set[Var]:
    """The float variables through which a derivative can flow from `wrt`."""
    active = set(wrt)
    for eqn in graph.eqns:
        if eqn.out.type.is_float and any(isinstance(a, Var) and a in active for a in eqn.inputs):
            active.add(eqn.out)
    return active


def _pull(builder: Builder, eqn: Eqn, env: dict[Var, Atom], active: set[Var], cts: dict[Var, Value]) -> None:
    ct = cts.pop(eqn.out)
    needed = [isinstance(a, Var) and a in active for a in eqn.inputs]
    if eqn.primitive.vjp is None:
        raise no_rule(eqn, "reverse")
    primals = [Value(builder, substitute(env, a)) for a in eqn.inputs]
    out = Value(builder, env[eqn.out])
    pulled = eqn.primitive.vjp(ct, primals, out, needed, **eqn.params)
    for atom, contribution in zip(eqn.inputs, pulled, strict=True):
        if contribution is not None and isinstance(atom, Var) and atom in active:
            _accumulate(cts, atom, contribution)


def _accumulate(cts: dict[Var, Value], var: Var, ct: Value) -> None:
    cts[var] = cts[var] + ct if var in cts else ct
