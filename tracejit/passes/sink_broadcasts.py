"""Broadcasts move towards the outputs, so that elementwise work is done on the small arrays."""

from __future__ import annotations

from tracejit.ir import Atom, Eqn, Graph, Kind, Primitive
from tracejit.ops import core
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_to_end
from tracejit.passes.views import VIEWS


def sink_broadcasts(graph: Graph) -> Graph:
    """Compute `f(broadcast(a), broadcast(b))` as `broadcast(f(a, b))` where that is a smaller array.

    The operands may repeat along different dimensions; those along which all repeat are left to the end.
    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[4]', v1: 'f64', v2: 'f64[4,3]'):
    ...     v3: 'f64[4,3]' = broadcast(v0, dims=(0,), shape=(4, 3))
    ...     v4: 'f64[4,3]' = broadcast(v1, dims=(), shape=(4, 3))
    ...     v5: 'f64[4,3]' = multiply(v3, v4)
    ...     v6: 'f64[4,3]' = exp(v5)
    ...     v7: 'f64[4,3]' = add(v6, v2)
    ...     return (v7,)
    ... ''')
    >>> print(format_graph(sink_broadcasts(graph)))
    def f(v0: 'f64[4]', v1: 'f64', v2: 'f64[4,3]'):
        v3: 'f64[4]' = broadcast(v1, dims=(), shape=(4,))
        v4: 'f64[4]' = multiply(v0, v3)
        v5: 'f64[4]' = exp(v4)
        v6: 'f64[4,3]' = broadcast(v5, dims=(0,), shape=(4, 3))
        v7: 'f64[4,3]' = add(v6, v2)
        return (v7,)
    """
    return rewrite_to_end(graph, _SINKING)


def _sink(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    broadcasts: list[Eqn] = []
    dims: set[int] = set()
    for atom in inputs:
        eqn = b.defined_by(atom, core.broadcast_p)
        if eqn is None:
            return None
        broadcasts.append(eqn)
        dims.update(eqn.params["dims"])
    if not inputs or len(dims) == inputs[0].type.rank or not primitive.pure:
        return None
    shape = inputs[0].type.shape
    used = tuple(sorted(dims))
    small = tuple(shape[d] for d in used)
    place = {d: k for k, d in enumerate(used)}
    operands = [
        b.broadcast(e.inputs[0], small, tuple(place[d] for d in e.params["dims"])) for e in broadcasts
    ]
    return b.broadcast(b.emit(primitive, operands, dict(params)), shape, used)


_SINKING = Rules({}, {Kind.ELEMENTWISE: (_sink,)}) | VIEWS
