"""Sums over slices run where their gradient runs: over the whole array, zeros where no slice reaches."""

from __future__ import annotations

from tracejit.ir import Atom, Graph, Primitive
from tracejit.ops import core, slicing
from tracejit.passes.push_views import pushing
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_graph


def embed_sums(graph: Graph, shifted: str = "auto") -> Graph:
    """Sum `f(slices of x)` over the shape of `x` when a gradient is padded back to it: one pass reads `x`.

    Only cheap work is embedded, since it is computed again beside the gradient; equal parts then become one.
    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[5]'):
    ...     v1: 'f64[4]' = slice(v0, sizes=(4,), starts=(1,), steps=(1,))
    ...     v2: 'f64[4]' = multiply(v1, v1)
    ...     v3: 'f64' = reduce_sum(v2, axes=(0,))
    ...     v4: 'f64[4]' = add(v1, v1)
    ...     v5: 'f64[5]' = unslice(v4, shape=(5,), starts=(1,), steps=(1,))
    ...     return (v3, v5)
    ... ''')
    >>> print(format_graph(embed_sums(graph)))
    def f(v0: 'f64[5]'):
        v1: 'f64[4]' = slice(v0, sizes=(4,), starts=(1,), steps=(1,))
        v2: 'f64[5]' = unslice(v1, shape=(5,), starts=(1,), steps=(1,))
        v3: 'f64[5]' = multiply(v2, v2)
        v4: 'f64' = reduce_sum(v3, axes=(0,))
        v5: 'f64[4]' = add(v1, v1)
        v6: 'f64[5]' = unslice(v5, shape=(5,), starts=(1,), steps=(1,))
        return (v4, v6)
    """
    pads, rules = _gradient_pads(graph), pushing(shifted)
    if not pads:
        return graph

    def embed(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        (x,) = inputs
        pad = pads.get(x.type.shape)
        whole = len(params["axes"]) == x.type.rank
        if pad is None or not whole or b.definition(x) is None or not rules.is_cheap(b, x, by_rows=True):
            return None
        padded = rules.push_padding(b, slicing.unslice.primitive, (x,), pad)
        return None if padded is None else b.emit(primitive, (padded,), {"axes": params["axes"]})

    return rewrite_graph(graph, Rules({core.reduce_sum_p: (embed,)}))


def _gradient_pads(graph: Graph) -> dict[tuple[int, ...], Params]:
    """For each shape that dense zero padding starts from, the padding: its window need not move, only fit.

    What is padded to a shape that is padded in turn stays out, so that a sum is embedded once.
    """
    pads: dict[tuple[int, ...], Params] = {}
    for eqn in graph.eqns:
        if eqn.primitive is slicing.unslice.primitive and all(s == 1 for s in eqn.params["steps"]):
            pads.setdefault(eqn.inputs[0].type.shape, eqn.params)
    return {shape: params for shape, params in pads.items() if params["shape"] not in pads}
