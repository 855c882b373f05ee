"""Reductions over axes, with NumPy's dtypes and keywords: sums, products, extremes and their places."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, ShapeError, UnsupportedError
from tracejit.ir import ArrayType, Kind
from tracejit.ops.arithmetic import add, choose, full, is_float, multiply, select, zeros_of
from tracejit.ops.axes import is_default, normalize_axes, normalize_axis, refuse, refuse_out
from tracejit.ops.comparison import (
    equal,
    fmax,
    fmin,
    isfinite,
    isnan,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
)
from tracejit.ops.core import broadcast, broadcast_to, convert, iota, permute, reduce_sum, reshape
from tracejit.ops.families import primitive
from tracejit.ops.joining import array
from tracejit.ops.scan import accumulator_dtype, products_of_others
from tracejit.ops.special import stop_gradient
from tracejit.ops.tables import implements
from tracejit.ops.transcendental import exp, log
from tracejit.ops.value import Value, as_value

Axes = tuple[int, ...]
NO_VALUE: Any = np._NoValue  # type: ignore[attr-defined]

# Up to this many factors, products of all-but-one are taken directly (n * n factors, fused with their
# neighbours); beyond it by two running products.
DIRECT_PRODUCT = 8


def kept_axes(ndim: int, axes: Axes) -> Axes:
    """The axes that a reduction over `axes` leaves."""
    return tuple(k for k in range(ndim) if k not in axes)


def _infer_reduction(t: ArrayType, axes: Axes) -> ArrayType:
    if any(not 0 <= k < t.rank for k in axes) or tuple(sorted(set(axes))) != axes:
        raise ShapeError(f"reduction: axes {list(axes)} do not fit {t}")
    return t.with_shape(tuple(t.shape[k] for k in kept_axes(t.rank, axes)))


# --- products ----------------------------------------------------------------------------------------------


def _others(x: Value, axes: Axes) -> Value:
    """For each element of `x`, the product of those that reduce with it; right where some are zero."""
    kept = kept_axes(x.ndim, axes)
    order = kept + axes
    moved = permute(x, order)
    n = math.prod(x.shape[k] for k in axes)
    rows = reshape(moved, (*moved.shape[: len(kept)], n))
    last = rows.ndim - 1
    if n <= DIRECT_PRODUCT:
        square = (*rows.shape, n)
        wide = broadcast(rows, square, (*range(last), last + 1))
        same = equal(iota(square, last), iota(square, last + 1))
        others = reduce_prod(select(same, full(square, 1, x.dtype), wide), axes=(last + 1,))
    else:
        others = products_of_others(rows, last)
    return permute(reshape(others, moved.shape), tuple(order.index(k) for k in range(x.ndim)))


def _prod_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, axes: Axes
) -> Value | None:
    return None if tangents[0] is None else reduce_sum(tangents[0] * _others(primals[0], axes), axes)


def _prod_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], axes: Axes
) -> tuple[Value | None]:
    if not needed[0]:
        return (None,)
    x = primals[0]
    return (broadcast(ct, x.shape, kept_axes(x.ndim, axes)) * _others(x, axes),)


reduce_prod = primitive(
    "reduce_prod",
    Kind.REDUCTION,
    infer=_infer_reduction,
    evaluate=lambda x, axes: np.prod(x, axis=axes, dtype=np.asarray(x).dtype),
    jvp=_prod_jvp,
    vjp=_prod_vjp,
    reducer="prod",
)


# --- extrema -----------------------------------------------------------------------------------------------


def _infer_extremum(name: str, t: ArrayType, axes: Axes) -> ArrayType:
    result = _infer_reduction(t, axes)
    if any(t.shape[k] == 0 for k in axes):
        raise ShapeError(
            f"{name}: {t} has no elements along axes {list(axes)}",
            hint="give initial=, the result for no elements",
        )
    return result


def _extremum_rules(beyond: Callable[[Value, Value], Value]) -> dict[str, Callable[..., Any]]:
    """The jvp and vjp of max or min: the derivative is shared evenly among the elements that attain it.

    `beyond(x, wide)` says which elements do not. It is false where the result is NaN: there all share.
    """

    def shares(x: Value, out: Value, axes: Axes) -> tuple[Value, Value]:
        misses = beyond(x, broadcast(out, x.shape, kept_axes(x.ndim, axes)))
        count = reduce_sum(select(misses, zeros_of(x.type), full(x.shape, 1, x.dtype)), axes)
        return misses, count

    def jvp(
        primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, axes: Axes
    ) -> Value | None:
        if tangents[0] is None:
            return None
        misses, count = shares(primals[0], out, axes)
        return reduce_sum(select(misses, zeros_of(tangents[0].type), tangents[0]), axes) / count

    def vjp(
        ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], axes: Axes
    ) -> tuple[Value | None]:
        if not needed[0]:
            return (None,)
        x = primals[0]
        misses, count = shares(x, out, axes)
        share = broadcast(ct / count, x.shape, kept_axes(x.ndim, axes))
        return (select(misses, zeros_of(x.type), share),)

    return {"jvp": jvp, "vjp": vjp}


reduce_max = primitive(
    "reduce_max",
    Kind.REDUCTION,
    infer=functools.partial(_infer_extremum, "max"),
    evaluate=lambda x, axes: np.max(x, axis=axes),
    reducer="max",
    **_extremum_rules(lambda x, wide: x < wide),
)
reduce_min = primitive(
    "reduce_min",
    Kind.REDUCTION,
    infer=functools.partial(_infer_extremum, "min"),
    evaluate=lambda x, axes: np.min(x, axis=axes),
    reducer="min",
    **_extremum_rules(lambda x, wide: x > wide),
)


def _infer_position(name: str, t: ArrayType, axes: Axes) -> ArrayType:
    result = _infer_reduction(t, axes)
    if len(axes) != 1:
        raise ShapeError(f"{name}: one axis is needed, got {list(axes)}")
    if t.shape[axes[0]] == 0:
        raise ShapeError(f"{name}: {t} has no elements along axis {axes[0]}")
    return result.with_dtype(np.int64)


reduce_argmax = primitive(
    "argmax",
    Kind.REDUCTION,
    infer=functools.partial(_infer_position, "argmax"),
    evaluate=lambda x, axes: np.argmax(x, axis=axes[0]),
    reducer="argmax",
)
reduce_argmin = primitive(
    "argmin",
    Kind.REDUCTION,
    infer=functools.partial(_infer_position, "argmin"),
    evaluate=lambda x, axes: np.argmin(x, axis=axes[0]),
    reducer="argmin",
)


# --- truth -------------------------------------------------------------------------------------------------


def _infer_truth(t: ArrayType, axes: Axes) -> ArrayType:
    if t.dtype != np.bool_:
        raise DTypeError(f"any/all: the operand must be bool, got {t}")
    return _infer_reduction(t, axes)


reduce_any = primitive(
    "reduce_any",
    Kind.REDUCTION,
    infer=_infer_truth,
    evaluate=lambda x, axes: np.any(x, axis=axes),
    reducer="any",
)
reduce_all = primitive(
    "reduce_all",
    Kind.REDUCTION,
    infer=_infer_truth,
    evaluate=lambda x, axes: np.all(x, axis=axes),
    reducer="all",
)


# --- NumPy's keywords --------------------------------------------------------------------------------------


def reduction_axes(axis: Any, ndim: int, name: str) -> Axes:
    """The axes of a NumPy reduction, sorted; on a scalar, axis 0 and -1 mean none, as in NumPy."""
    if ndim == 0 and isinstance(axis, (int, np.integer)) and axis in (0, -1):
        return ()
    return tuple(sorted(normalize_axes(axis, ndim, name)))


def keep_dims(result: Value, shape: Axes, axes: Axes, keepdims: Any) -> Value:
    """`result` of a reduction of `shape`, with size 1 in place of the reduced axes if `keepdims`."""
    if is_default(keepdims) or not keepdims:
        return result
    return reshape(result, tuple(1 if k in axes else n for k, n in enumerate(shape)))


def selection(name: str, where: Any, shape: Axes) -> Value | None:
    """The `where=` of a reduction as bools of the operand's shape; None when it selects everything."""
    if is_default(where) or where is True:
        return None
    mask = as_value(where, f"{name}: where")
    if mask.dtype != np.bool_:
        raise DTypeError(f"{name}: where must be bool, got {mask.type}", hint="write where=x > 0 or x != 0")
    return broadcast_to(mask, shape)


@dataclass(frozen=True)
class Reducer:
    """A NumPy reduction: its name, the op that combines two results, and what nothing reduces to."""

    name: str
    combine: Callable[..., Value]
    reduce: Callable[[Value, Axes], Value]
    identity: Any = None


def reduce_with(
    reducer: Reducer,
    x: Value,
    axis: Any,
    out: Any,
    keepdims: Any,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """NumPy's `ufunc.reduce` of a value that already has the dtype of the result."""
    name = reducer.name
    refuse_out(name, out)
    axes = reduction_axes(axis, x.ndim, name)
    start = (
        None
        if initial is NO_VALUE or initial is None
        else convert(as_value(initial, f"{name}: initial"), x.dtype)
    )
    mask = selection(name, where, x.shape)
    if mask is not None:
        fill = start if reducer.identity is None else as_value(reducer.identity)
        if fill is None:
            raise ShapeError(f"{name}: where= needs initial=, the result where nothing is selected")
        x = select(mask, x, broadcast_to(convert(fill, x.dtype), x.shape))
    result_shape = tuple(x.shape[k] for k in kept_axes(x.ndim, axes))
    if start is not None and x.size == 0:
        result = broadcast_to(start, result_shape)
    else:
        result = Value(x.builder, x.atom) if not axes else reducer.reduce(x, axes)
        result = result if start is None else reducer.combine(result, start)
    return keep_dims(result, x.shape, axes, keepdims)


def _reduce_largest(x: Value, axes: Axes) -> Value:
    return reduce_any(x, axes=axes) if x.dtype == np.bool_ else reduce_max(x, axes=axes)


def _reduce_smallest(x: Value, axes: Axes) -> Value:
    return reduce_all(x, axes=axes) if x.dtype == np.bool_ else reduce_min(x, axes=axes)


def add_up(x: Value, axes: Axes) -> Value:
    """The sum in the dtype of `x`; of bools, whether any holds (as NumPy adds bools)."""
    return reduce_any(x, axes=axes) if x.dtype == np.bool_ and axes else reduce_sum(x, axes)


def multiply_up(x: Value, axes: Axes) -> Value:
    """The product in the dtype of `x`; of bools, whether all hold."""
    return reduce_all(x, axes=axes) if x.dtype == np.bool_ else reduce_prod(x, axes=axes)


SUM = Reducer("sum", add, add_up, 0)
PROD = Reducer("prod", multiply, multiply_up, 1)
MAX = Reducer("max", maximum, _reduce_largest)
MIN = Reducer("min", minimum, _reduce_smallest)
ANY = Reducer("any", logical_or, lambda x, axes: reduce_any(x, axes=axes), False)
ALL = Reducer("all", logical_and, lambda x, axes: reduce_all(x, axes=axes), True)


@implements(np.sum)
def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.sum`: small integers and bools add up as 64-bit integers."""
    x = _widened(array(a, what="sum"), dtype)
    return reduce_with(SUM, x, axis, out, keepdims, initial, where)


@implements(np.prod)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.prod`: the derivative is right where factors are zero, at any order."""
    x = _widened(array(a, what="prod"), dtype)
    return reduce_with(PROD, x, axis, out, keepdims, initial, where)


@implements(np.max, np.amax)
def max(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.max`: elements that tie share the derivative evenly; NaN wins."""
    return reduce_with(MAX, array(a, what="max"), axis, out, keepdims, initial, where)


@implements(np.min, np.amin)
def min(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.min`: elements that tie share the derivative evenly; NaN wins."""
    return reduce_with(MIN, array(a, what="min"), axis, out, keepdims, initial, where)


@implements(np.any)
def any_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Value:
    """`np.any`: NaN counts as true."""
    return reduce_with(ANY, convert(array(a, what="any"), np.bool_), axis, out, keepdims, where=where)


@implements(np.all)
def all_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Value:
    """`np.all`: NaN counts as true."""
    return reduce_with(ALL, convert(array(a, what="all"), np.bool_), axis, out, keepdims, where=where)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Value:
    """`np.count_nonzero`, always an i64 array."""
    x = convert(convert(array(a, what="count_nonzero"), np.bool_), np.int64)
    return reduce_with(SUM, x, axis, None, keepdims)


def _position(name: str, reduce: Callable[..., Value], a: Any, axis: Any, out: Any, keepdims: Any) -> Value:
    refuse_out(name, out)
    x = array(a, what=name)
    shape: Axes = x.shape
    if axis is None or x.ndim == 0:
        if axis is not None:
            reduction_axes(axis, 0, name)
        axes, k = tuple(range(x.ndim)), 0
        x = reshape(x, (x.size,))
    else:
        k = normalize_axis(axis, x.ndim, name)
        axes = (k,)
    return keep_dims(reduce(x, axes=(k,)), shape, axes, keepdims)


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Value:
    """`np.argmax`: the first of equal elements; the first NaN, if there is one."""
    return _position("argmax", reduce_argmax, a, axis, out, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Value:
    """`np.argmin`: the first of equal elements; the first NaN, if there is one."""
    return _position("argmin", reduce_argmin, a, axis, out, keepdims)


# --- extremes that skip NaN --------------------------------------------------------------------------------


def without_nan(name: str, a: Any, fill: Any) -> tuple[Value, Value | None]:
    """The operand with `fill` in place of NaN, and where it had numbers (None: it cannot hold NaN)."""
    x = array(a, what=name)
    if not is_float(x):
        return x, None
    missing = isnan(x)
    return choose(missing, fill, x, dtype=x.dtype), logical_not(missing)


def _skip_nan(reduce: Callable[[Value, Axes], Value], beyond: float) -> Callable[[Value, Axes], Value]:
    """`reduce` over numbers only: NaN becomes the value that loses; it remains where nothing else is."""

    def skipping(x: Value, axes: Axes) -> Value:
        filled, present = without_nan("fmax/fmin", x, beyond)
        result = reduce(filled, axes)
        if present is None:
            return result
        return choose(reduce_any(present, axes=axes), result, np.nan, dtype=x.dtype)

    return skipping


NANMAX = Reducer("nanmax", fmax, _skip_nan(_reduce_largest, -np.inf))
NANMIN = Reducer("nanmin", fmin, _skip_nan(_reduce_smallest, np.inf))


@implements(np.nanmax)
def nanmax(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.nanmax`: the largest number; NaN where there is none."""
    return reduce_with(NANMAX, array(a, what="nanmax"), axis, out, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.nanmin`: the smallest number; NaN where there is none."""
    return reduce_with(NANMIN, array(a, what="nanmin"), axis, out, keepdims, initial, where)


# --- log-sum-exp -------------------------------------------------------------------------------------------


def logsumexp(a: Any, axis: Any = None, keepdims: Any = False) -> Value:
    """`log(sum(exp(a)))` without overflow: what `np.logaddexp.reduce` is.

    The result does not depend on the shift, so no derivative goes through it.
    """
    x = array(a, what="logsumexp")
    x = x if is_float(x) else convert(x, np.float64)
    axes = reduction_axes(axis, x.ndim, "logsumexp")
    if not x.size:
        shape = tuple(n for k, n in enumerate(x.shape) if k not in axes)
        return keep_dims(full(shape, -np.inf, x.dtype), x.shape, axes, keepdims)
    largest = stop_gradient(max(x, axes, keepdims=True))
    shift = choose(isfinite(largest), largest, 0, dtype=x.dtype)
    total = log(sum(exp(x - shift), axes, keepdims=True))
    result = add(total, shift)
    return result if keepdims else reshape(result, tuple(n for k, n in enumerate(x.shape) if k not in axes))


# --- ufunc.reduce ------------------------------------------------------------------------------------------


def _ufunc_reduce(reducer: Reducer, settle: Callable[[Value, Any], Value]) -> Callable[..., Value]:
    """`ufunc.reduce` with NumPy's signature, whose axis is 0 by default; `settle` converts the operand."""

    def reduce(
        array_: Any,
        /,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = NO_VALUE,
        where: Any = True,
    ) -> Value:
        x = settle(array(array_, what=reducer.name), dtype)
        return reduce_with(reducer, x, axis, out, keepdims, initial, where)

    return reduce


def _widened(x: Value, dtype: Any) -> Value:
    return convert(x, accumulator_dtype(x.dtype) if is_default(dtype) else dtype)


def _as_asked(x: Value, dtype: Any) -> Value:
    return Value(x.builder, x.atom) if is_default(dtype) else convert(x, dtype)


def _as_truth(x: Value, dtype: Any) -> Value:
    if not is_default(dtype) and np.dtype(dtype) not in (np.dtype(np.bool_), np.dtype(object)):
        raise DTypeError(f"logical reduce: the result is bool, not {np.dtype(dtype)}")
    return convert(x, np.bool_)


def _already_truth(x: Value, dtype: Any) -> Value:
    if x.dtype != np.bool_ or not is_default(dtype):
        raise UnsupportedError(f"bitwise reduce: supported for bools only, got {x.type}")
    return x


def _logaddexp_reduce(
    array_: Any, /, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, **keywords: Any
) -> Value:
    refuse_out("logaddexp.reduce", out)
    for keyword, value in keywords.items():
        refuse("logaddexp.reduce", keyword, value, True)
    return logsumexp(_as_asked(array(array_), dtype), axis, keepdims)


# `ufunc.reduce` by ufunc, with NumPy's parameters: array, axis=0, dtype, out, keepdims, initial, where.
UFUNC_REDUCE: dict[Any, Callable[..., Value]] = {
    np.add: _ufunc_reduce(SUM, _widened),
    np.multiply: _ufunc_reduce(PROD, _widened),
    np.maximum: _ufunc_reduce(MAX, _as_asked),
    np.minimum: _ufunc_reduce(MIN, _as_asked),
    np.fmax: _ufunc_reduce(NANMAX, _as_asked),
    np.fmin: _ufunc_reduce(NANMIN, _as_asked),
    np.logical_or: _ufunc_reduce(ANY, _as_truth),
    np.logical_and: _ufunc_reduce(ALL, _as_truth),
    np.bitwise_or: _ufunc_reduce(ANY, _already_truth),
    np.bitwise_and: _ufunc_reduce(ALL, _already_truth),
    np.logaddexp: _logaddexp_reduce,
}
