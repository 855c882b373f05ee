"""The frontend: plain NumPy code runs on tracers and becomes a graph.

Enters: a user's function and the types of its arguments. Leaves: `Trace`, a graph with the captured arrays,
and `Guards`, what must still hold for the trace to be used again.
"""

from tracejit.frontend.guards import Guards, find_roots
from tracejit.frontend.trace import Argument, Trace, argument_of, embed, entering, take_in, trace
from tracejit.frontend.tracer import Tracer

__all__ = [
    "Argument",
    "Guards",
    "Trace",
    "Tracer",
    "argument_of",
    "embed",
    "entering",
    "find_roots",
    "take_in",
    "trace",
]
