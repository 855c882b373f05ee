"""The intermediate representation: types, primitives, equations, graphs; to build, print, check and run them.

Enters: nothing but NumPy. Leaves: `Graph`, the one structure that every later stage reads and writes.
"""

from tracejit.ir.builder import (
    Builder,
    building,
    calling,
    current_builder,
    is_active,
    open_builders,
    substitute,
)
from tracejit.ir.evaluate import evaluate
from tracejit.ir.graph import (
    Atom,
    Const,
    Eqn,
    Graph,
    Var,
    active_vars,
    atom_key,
    computation_key,
    constant,
    eqn_key,
    needed_vars,
    uses,
)
from tracejit.ir.primitive import Kind, Primitive, Routine
from tracejit.ir.printing import Names, format_atom, format_eqn, format_graph, line_sources, name_vars
from tracejit.ir.source import Call, Source, find_source
from tracejit.ir.types import DTYPE_NAMES, DTYPES, ArrayType, check_dtype, type_of
from tracejit.ir.verify import verify

__all__ = [
    "DTYPES",
    "DTYPE_NAMES",
    "ArrayType",
    "Atom",
    "Builder",
    "Call",
    "Const",
    "Eqn",
    "Graph",
    "Kind",
    "Names",
    "Primitive",
    "Routine",
    "Source",
    "Var",
    "active_vars",
    "atom_key",
    "building",
    "calling",
    "check_dtype",
    "computation_key",
    "constant",
    "current_builder",
    "eqn_key",
    "evaluate",
    "find_source",
    "format_atom",
    "format_eqn",
    "format_graph",
    "is_active",
    "line_sources",
    "name_vars",
    "needed_vars",
    "open_builders",
    "substitute",
    "type_of",
    "uses",
    "verify",
]
