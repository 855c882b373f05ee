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
from tracejit.ir.graph import Atom, Const, Eqn, Graph, Var, atom_key, constant, eqn_key, uses
from tracejit.ir.primitive import Kind, Primitive, Routine
from tracejit.ir.printing import format_atom, format_eqn, format_graph, name_vars
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
    "Primitive",
    "Routine",
    "Source",
    "Var",
    "atom_key",
    "building",
    "calling",
    "check_dtype",
    "constant",
    "current_builder",
    "eqn_key",
    "evaluate",
    "find_source",
    "format_atom",
    "format_eqn",
    "format_graph",
    "is_active",
    "name_vars",
    "open_builders",
    "substitute",
    "type_of",
    "uses",
    "verify",
]
