"""Rules of arithmetic that hold for every float: NaN, infinities and the sign of zero included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracejit.ir import Atom, Const, Primitive, Var, can_cast
from tracejit.ops import arithmetic, bits, comparison, core
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, is_zero

_ADD, _SUBTRACT = arithmetic.add.primitive, arithmetic.subtract.primitive
_MULTIPLY, _DIVIDE = arithmetic.multiply.primitive, arithmetic.divide.primitive
_NEGATIVE, _SELECT = arithmetic.negative.primitive, arithmetic.select.primitive
_NOT = (bits.invert.primitive, comparison.logical_not.primitive)


def _is_bool(atom: Atom) -> bool:
    return atom.type.dtype == np.bool_


def _is_additive_zero(value: Const | None) -> bool:
    """Does adding it change nothing? Of the floats only -0.0 does that: 0.0 + -0.0 is 0.0."""
    if value is None or value.value != 0:
        return False
    return value.value.dtype.kind != "f" or bool(np.signbit(value.value))


def _negated(b: Rewriter, atom: Atom) -> Atom | None:
    """x, where `atom` is -x."""
    eqn = b.defined_by(atom, _NEGATIVE)
    return eqn.inputs[0] if eqn is not None else None


def _minus(b: Rewriter, value: Const, like: Atom) -> Atom:
    with np.errstate(all="ignore"):
        return b.splat(np.negative(value.value), like.type)


def _order(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """One spelling for x + y and y + x: constants right, else the older variable left."""
    x, y = inputs
    if b.literal(y) is not None:
        return None
    swap = b.literal(x) is not None or (isinstance(x, Var) and isinstance(y, Var) and x.serial > y.serial)
    return b.emit(primitive, (y, x), {}) if swap else None


def _add(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    if _is_additive_zero(b.literal(y)):
        return x
    if _is_bool(x):
        return None
    minus_y, minus_x = _negated(b, y), _negated(b, x)
    if minus_y is not None:
        return b.emit(_SUBTRACT, (x, minus_y), {})
    return b.emit(_SUBTRACT, (y, minus_x), {}) if minus_x is not None else None


def _subtract(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    value = b.literal(y)
    if value is not None and is_zero(value.value):
        return x
    if _is_additive_zero(b.literal(x)):
        return b.emit(_NEGATIVE, (y,), {})
    minus_y = _negated(b, y)
    return b.emit(_ADD, (x, minus_y), {}) if minus_y is not None else None


def _multiply_by_constant(b: Rewriter, x: Atom, y: Atom, value: Const) -> Atom | None:
    if value.value == 1:
        return x
    if _is_bool(x) or (value.value == 0 and not x.type.is_float):
        return y
    if value.value == -1:
        return b.emit(_NEGATIVE, (x,), {})
    minus_x = _negated(b, x)
    return b.emit(_MULTIPLY, (minus_x, _minus(b, value, x)), {}) if minus_x is not None else None


def _multiply(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    value = b.literal(y)
    if value is not None:
        return _multiply_by_constant(b, x, y, value)
    return None if _is_bool(x) else _pull_sign(b, primitive, x, y)


def _pull_sign(b: Rewriter, primitive: Primitive, x: Atom, y: Atom) -> Atom | None:
    """(-x) y and x (-y) are -(x y), where additions can take the sign up; (-x) (-y) is x y."""
    minus_x, minus_y = _negated(b, x), _negated(b, y)
    if minus_x is None and minus_y is None:
        return None
    product = b.emit(primitive, (minus_x or x, minus_y or y), {})
    return product if minus_x is not None and minus_y is not None else b.emit(_NEGATIVE, (product,), {})


def _has_exact_reciprocal(value: Any) -> bool:
    """A power of two, up to 4, whose reciprocal is a normal number.

    A larger one may be a size: if x / 64 were a product and x / 63 not, another batch would compile again.
    """
    number = float(value)
    if not math.isfinite(number) or abs(math.frexp(number)[0]) != 0.5:
        return False
    return float(np.finfo(value.dtype).tiny) <= abs(number) <= 4


def _divide(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    value = b.literal(y)
    if value is None:
        return _pull_sign(b, primitive, x, y)
    if _has_exact_reciprocal(value.value):
        return b.emit(_MULTIPLY, (x, b.splat(np.divide(1, value.value), x.type)), {})
    minus_x = _negated(b, x)
    return b.emit(_DIVIDE, (minus_x, _minus(b, value, x)), {}) if minus_x is not None else None


def _negative(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    eqn = b.definition(x)
    if eqn is None:
        return None
    if eqn.primitive is _NEGATIVE:
        return eqn.inputs[0]
    if eqn.primitive not in (_MULTIPLY, _DIVIDE):
        return None
    value = b.literal(eqn.inputs[1])
    if value is None:
        return None
    return b.emit(eqn.primitive, (eqn.inputs[0], _minus(b, value, x)), {})


def _absolute(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x = _negated(b, inputs[0])
    return b.emit(primitive, (x,), {}) if x is not None and x.type.is_float else None


def _same_operands(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    return inputs[0] if inputs[0] is inputs[1] else None


# --- truth -----------------------------------------------------------------------------------------------


def _inverted(b: Rewriter, atom: Atom) -> Atom | None:
    """c, where `atom` is "not c"."""
    eqn = b.definition(atom)
    if eqn is None or eqn.primitive not in _NOT or not _is_bool(eqn.inputs[0]):
        return None
    return eqn.inputs[0]


def _not(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    return _inverted(b, inputs[0]) if _is_bool(inputs[0]) else None


def _and(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    return _junction(b, inputs, neutral=True)


def _or(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    return _junction(b, inputs, neutral=False)


def _junction(b: Rewriter, inputs: Inputs, neutral: bool) -> Atom | None:
    x, y = inputs
    if not (_is_bool(x) and _is_bool(y)):
        return None
    value = b.literal(y)
    if value is not None:
        return x if bool(value.value) is neutral else y
    return x if x is y else None


def _select(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    condition, x, y = inputs
    if x is y:
        return x
    other = _inverted(b, condition)
    if other is not None:
        return b.emit(_SELECT, (other, y, x), {})
    inner_x, inner_y = b.defined_by(x, _SELECT), b.defined_by(y, _SELECT)
    if inner_x is not None and inner_x.inputs[0] is condition:
        return b.emit(_SELECT, (condition, inner_x.inputs[1], y), {})
    if inner_y is not None and inner_y.inputs[0] is condition:
        return b.emit(_SELECT, (condition, x, inner_y.inputs[2]), {})
    return _select_truth(b, condition, x, y) if _is_bool(x) else None


def _select_truth(b: Rewriter, condition: Atom, x: Atom, y: Atom) -> Atom | None:
    values = b.literal(x), b.literal(y)
    if values[0] is None or values[1] is None or values[0].value == values[1].value:
        return None
    return condition if values[0].value else b.emit(bits.invert.primitive, (condition,), {})


# --- conversions -----------------------------------------------------------------------------------------


def _holds(narrow: np.dtype[Any], wide: np.dtype[Any]) -> bool:
    """Does `wide` hold every value of `narrow`? NumPy's "safe" casts of 64-bit integers to floats do not."""
    return can_cast(narrow, wide) and not (wide.kind == "f" and narrow.kind in "iu" and narrow.itemsize == 8)


def _convert(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    if x.type.dtype == params["dtype"]:
        return x
    eqn = b.defined_by(x, core.convert_p)
    if eqn is None:
        return None
    first, middle, last = eqn.inputs[0].type.dtype, x.type.dtype, params["dtype"]
    # A float out of an integer's range converts as the machine likes: such pairs stay as they are.
    is_defined = last.kind not in "iu" or middle.kind != "f" or _holds(first, last)
    if not _holds(first, middle) or not is_defined:
        return None
    source = eqn.inputs[0]
    return source if first == last else b.emit(core.convert_p, (source,), {"dtype": last})


ALGEBRA = Rules(
    {
        _ADD: (_order, _add),
        _SUBTRACT: (_subtract,),
        _MULTIPLY: (_order, _multiply),
        _DIVIDE: (_divide,),
        _NEGATIVE: (_negative,),
        arithmetic.absolute.primitive: (_absolute,),
        comparison.maximum.primitive: (_same_operands,),
        comparison.minimum.primitive: (_same_operands,),
        bits.invert.primitive: (_not,),
        comparison.logical_not.primitive: (_not,),
        bits.bitwise_and.primitive: (_order, _and),
        comparison.logical_and.primitive: (_order, _and),
        bits.bitwise_or.primitive: (_order, _or),
        comparison.logical_or.primitive: (_order, _or),
        _SELECT: (_select,),
        core.convert_p: (_convert,),
    }
)
