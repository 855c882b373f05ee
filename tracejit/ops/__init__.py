"""Every operation, each declared in one place; importing this package fills `PRIMITIVES` and `NUMPY`.

Enters: `tracejit.ir`. Leaves: the two tables, `Value`, and the callables that rules are written in.
"""

from tracejit.ops import arithmetic as arithmetic
from tracejit.ops import cholesky as cholesky
from tracejit.ops import contraction as contraction
from tracejit.ops import creation as creation
from tracejit.ops import diagonal as diagonal
from tracejit.ops import einsum as einsum
from tracejit.ops import halves as halves
from tracejit.ops import indexing as indexing
from tracejit.ops import linalg as linalg
from tracejit.ops import loop as loop
from tracejit.ops import lu as lu
from tracejit.ops import operators as operators
from tracejit.ops import reduction as reduction
from tracejit.ops import rounding as rounding
from tracejit.ops import scan as scan
from tracejit.ops import special as special
from tracejit.ops import statistics as statistics
from tracejit.ops import ufuncs as ufuncs
from tracejit.ops.arithmetic import full, select, zeros_of
from tracejit.ops.tables import NUMPY, PRIMITIVES, implements
from tracejit.ops.value import Value, as_value, capture, emit

__all__ = [
    "NUMPY",
    "PRIMITIVES",
    "Value",
    "as_value",
    "capture",
    "emit",
    "full",
    "implements",
    "select",
    "zeros_of",
]
