"""What a primitive is: one record of facts about one operation, filled by `tracejit.ops`."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracejit.ir.types import ArrayType


class Kind(enum.Enum):
    """All that the schedule and the code generators may switch on; they never look at names.

    ELEMENTWISE  out[i] = body(a[i], b[i], ...); every operand has the shape of the output
    REDUCTION    one operand, `axes` in the params; `reducer` names the combining operation
    CONTRACTION  sums of products of two operands (`dot_general`)
    VIEW         each output element is one element of an operand, or a fill value: `index` maps
    INDEX        element positions that are themselves data: gather and scatter
    LIBRARY      a NumPy/SciPy/BLAS call into a buffer (`evaluate` is the call)
    CONTROL      runs a subgraph over scalars step by step, for each element
    """

    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    CONTRACTION = "contraction"
    VIEW = "view"
    INDEX = "index"
    LIBRARY = "library"
    CONTROL = "control"


Rule = Callable[..., Any]


@dataclass(frozen=True)
class Routine:
    """How compiled code does a LIBRARY equation by itself: a function of `codegen.llvm.routines`.

    name: of the function, which is printed for the dtype of the result
    sizes: numbers that change from size to size: how many matrices, then their extents
    work: about how many multiplications with an addition one matrix takes
    flags: what is settled when the code is printed, such as which triangle is read
    operands: positions of the operands that are read, each a row-major array (default: all)
    failure: NumPy's message for data that have no result
    replaces: the operand that the function replaces by the result in place, after copying it there
    """

    name: str
    sizes: tuple[int, ...]
    work: int
    flags: tuple[bool, ...] = ()
    operands: tuple[int, ...] | None = None
    failure: str | None = None
    replaces: int | None = None


@dataclass(frozen=True, eq=False)
class Primitive:
    """An operation on arrays: the facts that every stage derives its work from.

    infer(*types, **params) -> ArrayType      the type of the result; raises ShapeError/DTypeError
    evaluate(*arrays, **params) -> ndarray    the reference, in NumPy
    jvp(primals, tangents, out, **params) -> Value | None
        tangents may be None (zero); `out` is the primal result
    vjp(ct, primals, out, needed, **params) -> tuple[Value | None, ...]
        one cotangent an operand; `needed[k]` says whether anyone will look at it
    body(s, *scalars, **params) -> scalar     ELEMENTWISE: the scalar program
    index(i, in_types, out_type, **params)    VIEW: `[(operand, in_index, guards), ...]`; the first entry
        whose guards all hold gives the element, zero when none does; `i` is a tuple of index expressions
    reducer                                   INDEX: "sum" for a scatter, None for a gather;
        REDUCTION: "sum", "prod", "max", "min", "any", "all", "argmax", "argmin"
    position(i, out_type, **params)           VIEW without operands (`iota`): the element, as an index
    evaluate_into(out, *arrays, **params)     LIBRARY, CONTRACTION: the call, its result into `out`
    elsewhere(linalg, *arrays, **params)      LIBRARY: `evaluate` for arrays that NumPy's functions dispatch
        on, with a module like `scipy.linalg`; None where `evaluate` takes them itself
    routine(*types, **params) -> Routine      LIBRARY: what compiled code calls in place of `evaluate`
    identity_axes(in_types, out_type, **params)
        VIEW that only moves, adds or drops whole axes: for each operand dimension the output dimension
        it becomes, or None for a dropped dimension of size 1; the result None where it moves more than axes
    results                                   the parameter that numbers the results of one computation:
        equations that differ in it alone are computed together. `vjp` then gets the cotangents of all of
        them, `{number: ct}`, in place of `ct` and `out`
    CONTROL: `jvp` and `vjp` get the transformation of graphs, to use on the subgraph, as first argument
    cost                                      scalar work an element in additions (exp about 15)
    """

    name: str
    kind: Kind
    infer: Callable[..., ArrayType]
    evaluate: Rule
    jvp: Rule | None = None
    vjp: Rule | None = None
    body: Rule | None = None
    index: Rule | None = None
    reducer: str | None = None
    position: Rule | None = None
    identity_axes: Rule | None = None
    evaluate_into: Rule | None = None
    elsewhere: Rule | None = None
    routine: Callable[..., Routine] | None = None
    results: str | None = None
    cost: int = 1
    pure: bool = True

    def __repr__(self) -> str:
        return self.name
