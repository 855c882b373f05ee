"""Means, variances, ranges and what skips NaN: compositions of the reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, ShapeError
from tracejit.ir import is_floating, result_type
from tracejit.ops.arithmetic import choose, full, is_float, multiply, subtract
from tracejit.ops.axes import is_default, normalize_axes, refuse_out
from tracejit.ops.comparison import logical_and, maximum
from tracejit.ops.core import broadcast_to, convert, permute, reduce_sum, reshape
from tracejit.ops.joining import array
from tracejit.ops.reduction import (
    NO_VALUE,
    Axes,
    keep_dims,
    max,
    min,
    prod,
    selection,
    sum,
    without_nan,
)
from tracejit.ops.tables import implements
from tracejit.ops.transcendental import sqrt
from tracejit.ops.value import Value


def root_or_zero(x: Value) -> Value:
    """`sqrt(x)` of a sum of squares, with derivative 0 where the sum is 0 (a kink)."""
    at_zero = x == 0
    return choose(at_zero, 0, sqrt(choose(at_zero, 1, x)), dtype=x.dtype)


# --- means -------------------------------------------------------------------------------------------------


def _mean_dtypes(dtype: np.dtype[Any], given: Any) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The dtype that a mean is computed in, and the one it is returned in."""
    if is_default(given):
        wide = dtype if is_floating(dtype) else np.dtype(np.float64)
        return wide, wide
    return np.dtype(given), np.dtype(given)


def _count(name: str, where: Any, shape: Axes, axes: Axes, dtype: np.dtype[Any]) -> float | Value:
    """How many elements reduce to one: a number, or with `where=` a value of the reduced shape."""
    mask = selection(name, where, shape)
    if mask is None:
        return float(math.prod(shape[k] for k in axes))
    return convert(reduce_sum(convert(mask, np.int64), axes), dtype)


@implements(np.mean)
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
) -> Value:
    """`np.mean`: the sum divided by the number of elements; float64 for integers, NaN for no elements."""
    refuse_out("mean", out)
    x = array(a, what="mean")
    axes = normalize_axes(axis, x.ndim, "mean")
    compute, result = _mean_dtypes(x.dtype, dtype)
    total = sum(x, axes, dtype=compute, where=where)
    count = _count("mean", where, x.shape, axes, total.dtype if is_float(total) else np.dtype(np.float64))
    return keep_dims(convert(total / count, result), x.shape, axes, keepdims)


def _given_ddof(name: str, ddof: Any, correction: Any) -> Any:
    if correction is NO_VALUE:
        return ddof
    if ddof != 0:
        raise ShapeError(f"{name}: ddof and correction can't be provided simultaneously.")
    return correction


def _spread(
    name: str, a: Any, axis: Any, dtype: Any, out: Any, ddof: Any, keepdims: Any, where: Any, center: Any
) -> Value:
    """The variance: squared distances from the mean, summed, over the count less `ddof` (0 at least)."""
    refuse_out(name, out)
    x = array(a, what=name)
    axes = normalize_axes(axis, x.ndim, name)
    compute, result = _mean_dtypes(x.dtype, dtype)
    middle = mean(x, axes, dtype=compute, keepdims=True, where=where) if center is NO_VALUE else array(center)
    away = subtract(x, middle)
    total = sum(multiply(away, away), axes, dtype=compute, where=where)
    count = _count(name, where, x.shape, axes, total.dtype if is_float(total) else np.dtype(np.float64))
    if isinstance(count, Value):
        divisor: Any = maximum(count - ddof, 0)
    else:
        divisor = count - ddof if count > ddof else 0.0
    return keep_dims(convert(total / divisor, result), x.shape, axes, keepdims)


@implements(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Value:
    """`np.var`: the mean of the squared distances from the mean, in two passes as NumPy's."""
    return _spread("var", a, axis, dtype, out, _given_ddof("var", ddof, correction), keepdims, where, mean)


@implements(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Value:
    """`np.std`: the root of the variance. Where the variance is 0, a kink, the derivative is taken as 0."""
    degrees = _given_ddof("std", ddof, correction)
    variance = _spread("std", a, axis, dtype, out, degrees, keepdims, where, mean)
    return root_or_zero(variance) if is_float(variance) else convert(sqrt(variance), variance.dtype)


@implements(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = NO_VALUE
) -> Any:
    """`np.average`: the weighted mean; NaN or infinite where NumPy raises because the weights sum to zero."""
    x = array(a, what="average")
    axes = normalize_axes(axis, x.ndim, "average")
    if weights is None:
        result = mean(x, axes, keepdims=keepdims)
        scale = full(result.shape, math.prod(x.shape[k] for k in axes), result.dtype)
        return (result, scale) if returned else result
    w = _aligned_weights(array(weights, what="average: weights"), x, axis, axes)
    dtype = result_type(x.dtype, w.dtype, *([] if is_float(x) else [np.dtype(np.float64)]), what="average")
    x, w = convert(x, dtype), convert(w, dtype)
    scale = sum(w, axes, keepdims=keepdims)
    result = sum(x * w, axes, keepdims=keepdims) / scale
    return (result, broadcast_to(scale, result.shape)) if returned else result


def _aligned_weights(w: Value, x: Value, axis: Any, axes: Axes) -> Value:
    """Weights in a shape that broadcasts to that of `x`: all of it, or its given axes."""
    if w.shape == x.shape:
        return w
    if axis is None:
        raise ArgumentError(f"average: axis must be given when the shapes differ, {x.type} and {w.type}")
    if w.shape != tuple(x.shape[k] for k in axes):
        raise ShapeError(f"average: weights {w.type} do not fit {x.type} along axes {list(axes)}")
    order = sorted(range(w.ndim), key=lambda j: axes[j])
    return reshape(permute(w, order), tuple(n if k in axes else 1 for k, n in enumerate(x.shape)))


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE) -> Value:
    """`np.ptp`: the largest element less the smallest."""
    refuse_out("ptp", out)
    x = array(a, what="ptp")
    return subtract(max(x, axis, keepdims=keepdims), min(x, axis, keepdims=keepdims))


# --- reductions that skip NaN ------------------------------------------------------------------------------


def _both(where: Any, present: Value | None) -> Any:
    if present is None:
        return where
    return present if is_default(where) or where is True else logical_and(present, where)


@implements(np.nansum)
def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.nansum`: NaN counts as 0, and gets the derivative 0."""
    x, _ = without_nan("nansum", a, 0)
    return sum(x, axis, dtype, out, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Value:
    """`np.nanprod`: NaN counts as 1, and gets the derivative 0."""
    x, _ = without_nan("nanprod", a, 1)
    return prod(x, axis, dtype, out, keepdims, initial, where)


@implements(np.nanmean)
def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
) -> Value:
    """`np.nanmean`: the mean of the elements that are numbers; NaN where there are none."""
    x, present = without_nan("nanmean", a, 0)
    return mean(x, axis, dtype, out, keepdims, where=_both(where, present))


@implements(np.nanvar)
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Value:
    """`np.nanvar`: the variance of the elements that are numbers; NaN where these are `ddof` or fewer."""
    x, present = without_nan("nanvar", a, 0)
    degrees = _given_ddof("nanvar", ddof, correction)
    result = _spread("nanvar", x, axis, dtype, out, degrees, keepdims, _both(where, present), mean)
    if present is None:
        return result
    axes = normalize_axes(axis, x.ndim, "nanvar")
    chosen = convert(broadcast_to(array(_both(where, present)), x.shape), np.int64)
    count = keep_dims(reduce_sum(chosen, axes), x.shape, axes, keepdims)
    return choose(count <= ddof, np.nan, result, dtype=result.dtype)


@implements(np.nanstd)
def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Value:
    """`np.nanstd`: the root of `np.nanvar`, with the derivative 0 where that is 0."""
    variance = nanvar(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    return root_or_zero(variance)
