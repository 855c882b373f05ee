"""Dead code: equations whose results nothing reads."""

from __future__ import annotations

from tracejit.ir import Graph
from tracejit.passes.rewriting import drop_dead


def eliminate_dead(graph: Graph) -> Graph:
    """Drop pure equations that no output depends on; inputs stay, read or not.

    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[3]'):
    ...     v1: 'f64[3]' = sin(v0)
    ...     v2: 'f64[3]' = cos(v0)
    ...     return (v1,)
    ... ''')
    >>> print(format_graph(eliminate_dead(graph)))
    def f(v0: 'f64[3]'):
        v1: 'f64[3]' = sin(v0)
        return (v1,)
    """
    return drop_dead(graph)
