"""Simplification: arithmetic that is exact in floating point, merged views, reductions of less."""

from __future__ import annotations

from tracejit.ir import Graph
from tracejit.passes.algebra import ALGEBRA
from tracejit.passes.rewriting import rewrite_to_end
from tracejit.passes.sums import SUMS
from tracejit.passes.views import VIEWS

SIMPLIFICATION = ALGEBRA | VIEWS | SUMS


def simplify(graph: Graph) -> Graph:
    """Apply the rules of `passes.algebra`, `passes.views` and `passes.sums` until none applies.

    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[4,3]', v1: 'f64[3,4]'):
    ...     v2: 'f64[4,3]' = negative(v0)
    ...     v3: 'f64[3,4]' = permute(v2, axes=(1, 0))
    ...     v4: 'f64[4,3]' = permute(v3, axes=(1, 0))
    ...     v5: 'f64[4]' = reduce_sum(v4, axes=(1,))
    ...     v6: 'f64' = reduce_sum(v5, axes=(0,))
    ...     v7: 'f64' = reduce_sum(v1, axes=(0, 1))
    ...     v8: 'f64' = add(v7, v6)
    ...     v9: 'f64' = divide(v8, const(2.0, 'f64'))
    ...     return (v9,)
    ... ''')
    >>> print(format_graph(simplify(graph)))
    def f(v0: 'f64[4,3]', v1: 'f64[3,4]'):
        v2: 'f64' = reduce_sum(v0, axes=(0, 1))
        v3: 'f64' = reduce_sum(v1, axes=(0, 1))
        v4: 'f64' = subtract(v3, v2)
        v5: 'f64' = multiply(v4, const(0.5, 'f64'))
        return (v5,)
    """
    return rewrite_to_end(graph, SIMPLIFICATION)
