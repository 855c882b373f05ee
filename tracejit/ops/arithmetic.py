"""Arithmetic on elements: sums, products, quotients, remainders, signs, and the selection `where`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError, UnsupportedError
from tracejit.ir import ArrayType, Const, Kind, check_dtype, is_floating, result_type
from tracejit.ops.core import broadcast, broadcast_p, convert, reshape_p
from tracejit.ops.families import broadcast_values, elementwise, primitive, promote, resolve_ufunc
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value


def is_bool(x: Any) -> bool:
    """Is `x` (a value or a scalar of a body) boolean?"""
    return x.dtype.kind == "b"


def is_float(x: Any) -> bool:
    """Is `x` (a value or a scalar of a body) a float?"""
    return is_floating(x.dtype)


def operand(ufunc: Any, x: Any) -> Value:
    """`x` in the dtype that `ufunc`, a function of one operand, computes in."""
    name = ufunc.__name__
    return promote(name, lambda *dtypes: resolve_ufunc(name, ufunc, *dtypes), [x])[0]


def literal(value: Value) -> Any:
    """The number that every element of `value` is known to be, or None."""
    while not isinstance(value.atom, Const):
        eqn = value.definition
        if eqn is None or eqn.primitive not in (broadcast_p, reshape_p):
            return None
        value = Value(value.builder, eqn.inputs[0])
    return value.atom.value


# --- sums, products, quotients ----------------------------------------------------------------------------


def _quotient_partials(x: Value, y: Value, out: Value) -> tuple[Value, Value]:
    r = 1 / y
    return r, -(out * r)


# NumPy adds and multiplies booleans as `or` and `and`, and refuses to subtract or negate them.
add = elementwise(
    "add",
    np.add,
    partials=lambda x, y, out: (1, 1),
    body=lambda s, x, y: x | y if is_bool(x) else x + y,
)
subtract = elementwise(
    "subtract", np.subtract, partials=lambda x, y, out: (1, -1), body=lambda s, x, y: x - y
)
multiply = elementwise(
    "multiply",
    np.multiply,
    partials=lambda x, y, out: (y, x),
    body=lambda s, x, y: x & y if is_bool(x) else x * y,
)
divide = elementwise("divide", np.divide, partials=_quotient_partials, body=lambda s, x, y: x / y, cost=4)
negative = elementwise("negative", np.negative, partials=lambda x, out: (-1,), body=lambda s, x: -x)


def _resolve_fma(*dtypes: Any) -> tuple[np.dtype[Any], ...]:
    return (np.result_type(*dtypes),) * 4


# x y + z, rounded once where the processor can: what `passes.contract` makes of sums in derivatives.
fma = elementwise(
    "fma",
    partials=lambda x, y, z, out: (y, x, 1),
    body=lambda s, x, y, z: s.fma(x, y, z),
    evaluate=lambda x, y, z: x * y + z,
    resolve=_resolve_fma,
)


@implements(np.positive)
def positive(x: Any) -> Value:
    """`np.positive`: the operand itself; not defined for booleans."""
    return operand(np.positive, x)


@implements(np.square)
def square(x: Any) -> Value:
    """`np.square`, as a product."""
    x = operand(np.square, x)
    return multiply(x, x)


@implements(np.reciprocal)
def reciprocal(x: Any) -> Value:
    """`np.reciprocal`; of integers the truncated quotient, which is 0 except at 1 and -1."""
    x = operand(np.reciprocal, x)
    return divide(1, x) if is_float(x) else choose(absolute(x) == 1, x, 0)


# --- whole quotients and what remains ---------------------------------------------------------------------

floor_divide = elementwise(
    "floor_divide",
    np.floor_divide,
    partials=None,
    body=lambda s, x, y: s.floor_divide(x, y) if is_float(x) else s.int_floor_divide(x, y),
    cost=6,
)
remainder = elementwise(
    "remainder",
    np.remainder,
    partials=lambda x, y, out: (1, -floor_divide(x, y)),
    body=lambda s, x, y: s.remainder(x, y) if is_float(x) else s.int_remainder(x, y),
    cost=8,
)
fmod = elementwise(
    "fmod",
    np.fmod,
    # trunc(x / y) would round up next to whole numbers; |x| // |y| with the sign of x y does not.
    partials=lambda x, y, out: (1, -(floor_divide(absolute(x), absolute(y)) * sign(x) * sign(y))),
    body=lambda s, x, y: s.fmod(x, y) if is_float(x) else s.int_fmod(x, y),
    cost=8,
)


@implements(np.divmod)
def divmod_(x: Any, y: Any) -> tuple[Value, Value]:
    """`np.divmod`: the floored quotient and the remainder."""
    return floor_divide(x, y), remainder(x, y)


# --- signs ------------------------------------------------------------------------------------------------


def _absolute_body(s: Any, x: Any) -> Any:
    return x if x.dtype.kind in "bu" else s.abs(x)


def _sign_body(s: Any, x: Any) -> Any:
    if is_float(x):
        return s.sign(x)
    above = s.cast(x > 0, x.dtype)
    return above if x.dtype.kind == "u" else above - s.cast(x < 0, x.dtype)


# abs'(0) = sign(0) = 0, the middle of the subgradients.
absolute = elementwise("absolute", np.absolute, partials=lambda x, out: (sign(x),), body=_absolute_body)
sign = elementwise("sign", np.sign, partials=None, body=_sign_body)
heaviside = elementwise(
    "heaviside",
    np.heaviside,
    partials=lambda x, h, out: (None, choose(x == 0, 1, 0, dtype=x.dtype)),
    body=lambda s, x, h: s.heaviside(x, h),
)


@implements(np.fabs)
def fabs(x: Any) -> Value:
    """`np.fabs`: the magnitude, as a float."""
    return absolute(operand(np.fabs, x))


@implements(np.conjugate)
def conjugate(x: Any) -> Value:
    """`np.conjugate`: the operand itself, the numbers being real."""
    return operand(np.conjugate, x)


@implements(np.real)
def real(val: Any) -> Value:
    """`np.real`: the operand itself, the numbers being real."""
    return as_value(val, "real: val")


@implements(np.imag)
def imag(val: Any) -> Value:
    """`np.imag`: zeros, the numbers being real."""
    return zeros_of(as_value(val, "imag: val").type)


# --- where ------------------------------------------------------------------------------------------------


def _infer_select(c: ArrayType, a: ArrayType, b: ArrayType) -> ArrayType:
    if not c.shape == a.shape == b.shape or a.dtype != b.dtype or c.dtype != np.bool_:
        raise ShapeError(f"select: operands must be promoted first, {c}, {a}, {b}")
    return a


def zeros_of(value_type: ArrayType) -> Value:
    """Zeros of a type, as a broadcast constant."""
    return full(value_type.shape, 0, value_type.dtype)


def full(shape: Sequence[int], fill: Any, dtype: Any) -> Value:
    """`fill`, in `dtype`, repeated over `shape`."""
    return broadcast(convert(as_value(fill), dtype), tuple(shape), ())


def _select_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value | None:
    _, ta, tb = tangents
    if ta is None and tb is None:
        return None
    zero = zeros_of(out.type)
    return select(primals[0], ta if ta is not None else zero, tb if tb is not None else zero)


def _select_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool]
) -> tuple[Value | None, Value | None, Value | None]:
    zero = zeros_of(out.type)
    return (
        None,
        select(primals[0], ct, zero) if needed[1] else None,
        select(primals[0], zero, ct) if needed[2] else None,
    )


select = primitive(
    "select",
    Kind.ELEMENTWISE,
    infer=_infer_select,
    evaluate=np.where,
    jvp=_select_jvp,
    vjp=_select_vjp,
    body=lambda s, c, a, b: s.select(c, a, b),
)


def common_dtype(values: Sequence[Value], what: str) -> np.dtype[Any]:
    """The dtype that NumPy promotes values to, Python numbers being weak."""
    return check_dtype(result_type(*(v.weak(0) if v.weak else v.dtype for v in values), what=what), what)


def choose(condition: Any, x: Any, y: Any, dtype: Any = None) -> Value:
    """`where` for rules: the result has `dtype`, by default NumPy's promotion of `x` and `y`.

    State the dtype when both are numbers, or the result is a float64 in the middle of a float32 rule.
    """
    c = as_value(condition, "where: condition")
    branches = [as_value(x, "where: x"), as_value(y, "where: y")]
    dtype = common_dtype(branches, "where") if dtype is None else dtype
    c = c if c.dtype == np.bool_ else c != 0
    return select(*broadcast_values("where", [c, *(convert(v, dtype) for v in branches)]))


@implements(np.where)
def where(condition: Any, *branches: Any) -> Value:
    """`np.where(condition, x, y)`; the branch that was not chosen gets the derivative zero."""
    if len(branches) != 2:
        raise UnsupportedError(
            "where: the positions of True depend on the data, so their number is not known in a trace",
            hint="write np.where(condition, x, y), or multiply by the condition",
        )
    return choose(condition, *branches)
