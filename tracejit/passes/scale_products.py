"""Matrix products times a number: BLAS multiplies by it on the way, and no kernel reads the result again.

Where the user wrote the multiplication, only numbers whose product is exact are taken up; in derivatives, for
which NumPy prescribes no rounding, every one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.ir import Atom, Const, Eqn, Graph, Kind, Primitive
from tracejit.ops import arithmetic
from tracejit.ops.tables import PRIMITIVES
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_to_end

_DOT = PRIMITIVES["dot_general"]
_MULTIPLY, _DIVIDE = arithmetic.multiply.primitive, arithmetic.divide.primitive
_NEGATIVE = arithmetic.negative.primitive

# Larger powers of 2 may be sizes, and code must not depend on whether a size is a power of 2. A negative
# factor is no such number: where a sum is 0, NumPy's product with it is -0.0.
EXACT = frozenset({0.25, 0.5, 2.0, 4.0})


def scale_products(graph: Graph) -> Graph:
    """Take factors of contractions, and in derivatives of their operands, into the contraction.

    Before and after, where `v4` and `v6` are a derivative's:

        v2 = dot_general(v0, v1, ...)              v3 = dot_general(v0, v1, ..., scale=2.0)
        v3 = multiply(v2, 2.0)                     v7 = dot_general(v0, v3, ..., scale=-0.3)
        v4 = multiply(v3, 0.3)
        v5 = dot_general(v0, v4, ...)
        v6 = negative(v5)

    What is multiplied must have no other reader than contractions. Factors of 0, infinite and nan stay where
    they are: BLAS does not multiply at all by 0.
    """
    if not any(e.primitive is _DOT and e.out.type.is_float for e in graph.eqns):
        return graph
    return rewrite_to_end(graph, _Scaling(graph).rules())


class _Scaling:
    """The rules for one graph; `elsewhere` are the variables that something else than contractions reads."""

    def __init__(self, graph: Graph) -> None:
        readers = [a for e in graph.eqns if e.primitive.kind is not Kind.CONTRACTION for a in e.inputs]
        self.elsewhere = {*readers, *graph.outputs}

    def rules(self) -> Rules:
        result = (self.scaled_result,)
        return Rules({_MULTIPLY: result, _DIVIDE: result, _NEGATIVE: result, _DOT: (self.scaled_operand,)})

    def scaled_result(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        eqn = b.defined_by(inputs[0], _DOT)
        if eqn is None or b.uses(inputs[0]) > 1:
            return None
        is_free = b.source is not None and b.source.is_derivative
        factor = _factor(b, primitive, inputs, is_free)
        return None if factor is None else _scaled(b, eqn.inputs, eqn.params, factor)

    def scaled_operand(
        self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params
    ) -> Atom | None:
        for side, atom in enumerate(inputs):
            eqn = b.definition(atom)
            if eqn is None or atom in self.elsewhere or not _is_derivative(eqn):
                continue
            factor = _factor(b, eqn.primitive, eqn.inputs, is_free=True)
            if factor is None or b.literal(eqn.inputs[0]) is not None:
                continue
            operands = [eqn.inputs[0] if k == side else a for k, a in enumerate(inputs)]
            found = _scaled(b, operands, params, factor)
            if found is not None:
                return found
        return None


def _is_derivative(eqn: Eqn) -> bool:
    return eqn.source is not None and eqn.source.is_derivative


def _factor(b: Rewriter, primitive: Primitive, inputs: Inputs, is_free: bool) -> Any:
    """The number by which an equation multiplies its first operand, if it may be taken up."""
    if primitive is _NEGATIVE:
        return -1.0 if is_free else None
    value = b.literal(inputs[1]) if primitive in (_MULTIPLY, _DIVIDE) else None
    if value is None or not inputs[0].type.is_float:
        return None
    number = _number(value, primitive is _DIVIDE)
    return number if is_free or (primitive is _MULTIPLY and number in EXACT) else None


def _number(value: Const, is_divisor: bool) -> float:
    with np.errstate(all="ignore"):
        return float(np.divide(1.0, value.value) if is_divisor else value.value)


def _scaled(b: Rewriter, operands: Inputs, params: Params, factor: float) -> Atom | None:
    info = np.finfo(operands[0].type.dtype)
    with np.errstate(all="ignore"):
        scale = float(info.dtype.type(params.get("scale", 1.0) * factor))
    if not float(info.tiny) <= abs(scale) <= float(info.max):
        return None
    return b.emit(_DOT, operands, {**params, "scale": scale})
