"""Comparisons, logic, tests for NaN and infinity, extremes, and what is chosen by them (clip, select)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, ShapeError, UnsupportedError
from tracejit.ir import Const, float_info
from tracejit.ops.arithmetic import choose, common_dtype, full, is_bool, is_float
from tracejit.ops.core import broadcast_to, convert
from tracejit.ops.families import Operation, broadcast_values, elementwise
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value

Body = Callable[[Any, Any, Any], Any]

# --- comparisons ------------------------------------------------------------------------------------------


def _mixed_signs(less: bool, strict: bool) -> Body:
    """The comparison of an int64 with a uint64, for which there is no common integer dtype."""

    def body(s: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind == "u":
            return _mixed_signs(not less, strict)(s, y, x)
        wide = s.cast(x, y.dtype)
        if less:
            return (x < 0) | ((wide < y) if strict else (wide <= y))
        return (x >= 0) & ((wide > y) if strict else (wide >= y))

    return body


def _ordering(body: Body, of_bools: Body, less: bool, strict: bool) -> Body:
    def choose_body(s: Any, x: Any, y: Any) -> Any:
        if is_bool(x):
            return of_bools(s, x, y)
        if x.dtype.kind != y.dtype.kind:
            return _mixed_signs(less, strict)(s, x, y)
        return body(s, x, y)

    return choose_body


def _equality(s: Any, x: Any, y: Any) -> Any:
    if is_bool(x):
        return ~(x ^ y)
    if x.dtype.kind == y.dtype.kind:
        return x == y
    signed, unsigned = (y, x) if x.dtype.kind == "u" else (x, y)
    return (signed >= 0) & (s.cast(signed, unsigned.dtype) == unsigned)


def _beyond(x: Value, y: Value) -> int:
    """The sign of `y - x` where `x` is a Python integer that the integer dtype of `y` cannot hold, else 0."""
    if x.weak is not int or y.weak is not None or y.dtype.kind not in "iu" or not isinstance(x.atom, Const):
        return 0
    bounds, number = np.iinfo(y.dtype), int(x.atom.value)
    return -1 if number > bounds.max else 1 if number < bounds.min else 0


def _comparison(name: str, ufunc: Any, body: Body) -> Operation:
    operation = elementwise(name, ufunc, partials=None, body=body)

    @implements(ufunc)
    def call(x1: Any, x2: Any) -> Value:
        x, y = as_value(x1, f"{name}: operand 0"), as_value(x2, f"{name}: operand 1")
        difference = _beyond(x, y) - _beyond(y, x)
        if difference:  # NumPy compares by value where it would overflow in arithmetic
            shape = broadcast_values(name, [x, y])[0].shape
            return full(shape, bool(ufunc(0, difference)), np.bool_)
        return operation(x, y)

    return Operation(operation.primitive, call)


less = _comparison(
    "less", np.less, _ordering(lambda s, x, y: x < y, lambda s, x, y: ~x & y, less=True, strict=True)
)
less_equal = _comparison(
    "less_equal",
    np.less_equal,
    _ordering(lambda s, x, y: x <= y, lambda s, x, y: ~x | y, less=True, strict=False),
)
greater = _comparison(
    "greater", np.greater, _ordering(lambda s, x, y: x > y, lambda s, x, y: x & ~y, less=False, strict=True)
)
greater_equal = _comparison(
    "greater_equal",
    np.greater_equal,
    _ordering(lambda s, x, y: x >= y, lambda s, x, y: x | ~y, less=False, strict=False),
)
equal = _comparison("equal", np.equal, _equality)
not_equal = _comparison("not_equal", np.not_equal, lambda s, x, y: ~_equality(s, x, y))

# --- logic ------------------------------------------------------------------------------------------------


def _truth(x: Any) -> Any:
    return x if is_bool(x) else x != 0


logical_and = elementwise(
    "logical_and", np.logical_and, partials=None, body=lambda s, x, y: _truth(x) & _truth(y)
)
logical_or = elementwise(
    "logical_or", np.logical_or, partials=None, body=lambda s, x, y: _truth(x) | _truth(y)
)
logical_xor = elementwise(
    "logical_xor", np.logical_xor, partials=None, body=lambda s, x, y: _truth(x) ^ _truth(y)
)
logical_not = elementwise("logical_not", np.logical_not, partials=None, body=lambda s, x: ~_truth(x))

# --- NaN and infinity -------------------------------------------------------------------------------------


def _never(s: Any, x: Any) -> Any:
    return x ^ x if is_bool(x) else x != x


isnan = elementwise(
    "isnan", np.isnan, partials=None, body=lambda s, x: s.isnan(x) if is_float(x) else _never(s, x)
)
isinf = elementwise(
    "isinf", np.isinf, partials=None, body=lambda s, x: s.isinf(x) if is_float(x) else _never(s, x)
)
isfinite = elementwise(
    "isfinite", np.isfinite, partials=None, body=lambda s, x: s.isfinite(x) if is_float(x) else ~_never(s, x)
)
signbit = elementwise("signbit", np.signbit, partials=None, body=lambda s, x: s.signbit(x))


def _refuse_out(name: str, out: Any) -> None:
    if out is not None:
        raise UnsupportedError(
            f"{name}: out= is not supported in a trace", hint="assign the result to a name instead"
        )


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Value:
    """`np.isposinf`."""
    _refuse_out("isposinf", out)
    return logical_and(isinf(x), as_value(x) > 0)


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Value:
    """`np.isneginf`."""
    _refuse_out("isneginf", out)
    return logical_and(isinf(x), as_value(x) < 0)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    """`np.nan_to_num`; the derivative is 1 at finite numbers and 0 where a number was put in."""
    x = as_value(x, "nan_to_num: x")
    if not is_float(x):
        return Value(x.builder, x.atom)
    limits = float_info(x.dtype)
    x = choose(isnan(x), nan, x, dtype=x.dtype)
    x = choose(x == np.inf, limits.max if posinf is None else posinf, x, dtype=x.dtype)
    return choose(x == -np.inf, limits.min if neginf is None else neginf, x, dtype=x.dtype)


# --- extremes ---------------------------------------------------------------------------------------------


def _shares(x: Value, y: Value, out: Value) -> tuple[Value, Value]:
    """Who gives the result: 1, 0, or one half each at a tie."""
    mine, yours, dtype = x == out, y == out, out.dtype
    by_x = choose(mine, choose(yours, 0.5, 1, dtype=dtype), 0)
    by_y = choose(yours, choose(mine, 0.5, 1, dtype=dtype), 0)
    return by_x, by_y


def _largest(form: Callable[[Any, Any, Any], Any]) -> Body:
    def body(s: Any, x: Any, y: Any) -> Any:
        if is_bool(x):
            return x | y
        return form(s, x, y) if is_float(x) else s.select(x > y, x, y)

    return body


def _smallest(form: Callable[[Any, Any, Any], Any]) -> Body:
    def body(s: Any, x: Any, y: Any) -> Any:
        if is_bool(x):
            return x & y
        return form(s, x, y) if is_float(x) else s.select(x < y, x, y)

    return body


maximum = elementwise("maximum", np.maximum, partials=_shares, body=_largest(lambda s, x, y: s.maximum(x, y)))
minimum = elementwise(
    "minimum", np.minimum, partials=_shares, body=_smallest(lambda s, x, y: s.minimum(x, y))
)
fmax = elementwise("fmax", np.fmax, partials=_shares, body=_largest(lambda s, x, y: s.fmax(x, y)))
fmin = elementwise("fmin", np.fmin, partials=_shares, body=_smallest(lambda s, x, y: s.fmin(x, y)))


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: Any = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
) -> Value:
    """`np.clip`: `minimum(maximum(a, lower), upper)`, either bound None for none."""
    _refuse_out("clip", out)
    bounds: list[Value | None] = []
    for given, keyword in ((a_min, min), (a_max, max)):
        bound = keyword if given is np._NoValue else given
        bounds.append(None if bound is None or bound is np._NoValue else as_value(bound, "clip: bound"))
    values = [as_value(a, "clip: a"), *(b for b in bounds if b is not None)]
    dtype = common_dtype(values, "clip")
    result = convert(values[0], dtype)
    for operation, bound in zip((maximum, minimum), bounds, strict=True):
        result = result if bound is None else operation(result, convert(bound, dtype))
    return result


@implements(np.select)
def select_first(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Value:
    """`np.select`: of the choices, the one of the first condition that holds, else `default`."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ShapeError(f"select: {len(condlist)} conditions for {len(choicelist)} choices")
    conditions = [as_value(c, "select: condition") for c in condlist]
    for k, condition in enumerate(conditions):
        if not is_bool(condition):
            raise DTypeError(f"select: condition {k} has dtype {condition.dtype}, which is not bool")
    choices = [as_value(c, "select: choice") for c in [*choicelist, default]]
    dtype = common_dtype(choices, "select")
    shape = broadcast_values("select", [*conditions, *choices])[0].shape
    result = broadcast_to(convert(choices[-1], dtype), shape)
    for condition, choice in zip(reversed(conditions), reversed(choices[:-1]), strict=True):
        result = choose(condition, convert(choice, dtype), result)
    return result
