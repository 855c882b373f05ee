"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from tracejit.ir import Graph
from tracejit.passes.rewriting import Rules, rewrite_graph

_NOTHING = Rules({})


def eliminate_common(graph: Graph) -> Graph:
    """Merge equations that apply one primitive to the same operands with the same parameters.

    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[3]'):
    ...     v1: 'f64[3]' = sin(v0)
    ...     v2: 'f64[3]' = sin(v0)
    ...     v3: 'f64[3]' = multiply(v1, v2)
    ...     return (v3,)
    ... ''')
    >>> print(format_graph(eliminate_common(graph)))
    def f(v0: 'f64[3]'):
        v1: 'f64[3]' = sin(v0)
        v2: 'f64[3]' = multiply(v1, v1)
        return (v2,)
    """
    return rewrite_graph(graph, _NOTHING)
