"""Rewrites of graphs, one a file, in the explicit order of `PIPELINE`.

Enters: a graph as traced and differentiated. Leaves: the same function with less work, in the form that the
schedule groups best: views on inputs, broadcasts late, small contractions as loops.
"""

from tracejit.passes.lower_contractions import is_small_contraction
from tracejit.passes.pipeline import PIPELINE, optimize, passes_for, prepare_unfused, simplify_graph
from tracejit.passes.widen_halves import widen_halves

__all__ = [
    "PIPELINE",
    "is_small_contraction",
    "optimize",
    "passes_for",
    "prepare_unfused",
    "simplify_graph",
    "widen_halves",
]
