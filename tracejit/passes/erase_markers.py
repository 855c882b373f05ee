"""Markers that only transforms read, gone once all derivatives have been taken."""

from __future__ import annotations

from tracejit.ir import Atom, Graph, Primitive
from tracejit.ops.special import stop_gradient
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_graph


def erase_markers(graph: Graph) -> Graph:
    """Replace `stop_gradient` by its operand. Not for graphs that may be differentiated again.

    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[3]'):
    ...     v1: 'f64[3]' = stop_gradient(v0)
    ...     v2: 'f64[3]' = multiply(v0, v1)
    ...     return (v2,)
    ... ''')
    >>> print(format_graph(erase_markers(graph)))
    def f(v0: 'f64[3]'):
        v1: 'f64[3]' = multiply(v0, v0)
        return (v1,)
    """
    return rewrite_graph(graph, _MARKERS)


def _operand(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom:
    return inputs[0]


_MARKERS = Rules({stop_gradient.primitive: (_operand,)})
