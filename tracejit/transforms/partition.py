"""Cutting a graph in two at what is known first: the forward half and the half that waits for cotangents."""

from __future__ import annotations

from tracejit.ir import Graph, Var


def partition_graph(graph: Graph, known: int, outputs: int) -> tuple[Graph, Graph]:
    """Split `(*first, *rest) -> (*early, *late)` into `first -> (*early, *residuals)` and
    `(*residuals, *rest) -> late`.

    `known` inputs come first and determine the first `outputs` outputs. Residuals are the variables of the
    first half that the second reads, in order of assignment.
    """
    rest = set(graph.inputs[known:])
    waiting: set[Var] = set(rest)
    first_eqns, later_eqns = [], []
    for eqn in graph.eqns:
        if any(isinstance(a, Var) and a in waiting for a in eqn.inputs):
            waiting.add(eqn.out)
            later_eqns.append(eqn)
        else:
            first_eqns.append(eqn)
    read = {a for e in later_eqns for a in e.inputs if isinstance(a, Var)}
    read |= {a for a in graph.outputs[outputs:] if isinstance(a, Var)}
    order = [*graph.inputs[:known], *(e.out for e in first_eqns)]
    residuals = tuple(v for v in order if v in read)
    early = graph.outputs[:outputs]
    assert not any(isinstance(a, Var) and a in waiting for a in early), "an early output waits for the rest"
    forward = Graph(graph.inputs[:known], tuple(first_eqns), (*early, *residuals), graph.name)
    backward = Graph(
        (*residuals, *graph.inputs[known:]),
        tuple(later_eqns),
        graph.outputs[outputs:],
        f"pullback_{graph.name}",
    )
    return forward, backward
