"""Running sums and products along an axis, and the linear recurrence that their derivatives are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, ShapeError
from tracejit.ir import ArrayType, Kind
from tracejit.ops.arithmetic import full
from tracejit.ops.axes import is_default, normalize_axis, refuse_out
from tracejit.ops.core import convert, reshape, stored
from tracejit.ops.families import add_values, linear, primitive
from tracejit.ops.joining import array, join
from tracejit.ops.tables import implements
from tracejit.ops.value import Value


def accumulator_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which NumPy adds and multiplies elements of `dtype`: small integers are widened.

    >>> accumulator_dtype(np.dtype("bool")), accumulator_dtype(np.dtype("u1"))
    (dtype('int64'), dtype('uint64'))
    """
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


# --- cumsum ------------------------------------------------------------------------------------------------


def _infer_scan(t: ArrayType, axis: int, reverse: bool) -> ArrayType:
    if not 0 <= axis < t.rank:
        raise ShapeError(f"scan: axis {axis} is out of bounds for {t}")
    return t


def _evaluate_cumsum(x: Any, axis: int, reverse: bool) -> Any:
    x = stored(x)
    if reverse:
        return np.flip(np.cumsum(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)
    return np.cumsum(x, axis=axis, dtype=x.dtype)


running_sum = linear(
    "cumsum",
    Kind.LIBRARY,
    infer=_infer_scan,
    evaluate=_evaluate_cumsum,
    transpose=lambda ct, in_type, axis, reverse: running_sum(ct, axis=axis, reverse=not reverse),
    cost=2,
)


# --- the linear recurrence ---------------------------------------------------------------------------------
#
# h = linear_recurrence(a, b) is the state before each step of h <- a[i] * h + b[i], starting at zero:
#   h[i] = sum over m < i of b[m] * (product of a[j] over m < j < i).
# Neither window holds its own ends, so the family is closed: with w = linear_recurrence(a, ct, not reverse)
#   d<ct, h>/db[m] = w[m],   d<ct, h>/da[k] = h[k] * w[k],   dh = linear_recurrence(a, db + da * h).
# No division occurs, so the rules hold where elements of a are zero, and so do those of products built on it.


def _infer_recurrence(a: ArrayType, b: ArrayType, axis: int, reverse: bool) -> ArrayType:
    if a != b:
        raise ShapeError(f"linear_recurrence: operands must be of one type, {a}, {b}")
    return _infer_scan(a, axis, reverse)


def _evaluate_recurrence(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    a, b = stored(a), stored(b)
    out = np.empty_like(b)
    rows = [np.moveaxis(np.flip(x, axis) if reverse else x, axis, 0) for x in (a, b)]
    states = np.moveaxis(np.flip(out, axis) if reverse else out, axis, 0)
    n = states.shape[0]
    if states.size == n and isinstance(
        out, np.ndarray
    ):  # one lane: Python floats are several times faster than arrays of one element
        lane = zip(rows[0].ravel().tolist(), rows[1].ravel().tolist(), strict=True)
        steps = itertools.accumulate(lane, lambda h, ab: ab[0] * h + ab[1], initial=0)
        states[...] = np.array(list(itertools.islice(steps, n)), out.dtype).reshape(states.shape)
        return out
    state: Any = 0
    for i in range(n):
        states[i] = state
        state = rows[0][i] * state + rows[1][i]
    return out


def _recurrence_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, axis: int, reverse: bool
) -> Value | None:
    ta, tb = tangents
    push = add_values([tb, None if ta is None else ta * out])
    return None if push is None else linear_recurrence(primals[0], push, axis=axis, reverse=reverse)


def _recurrence_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], axis: int, reverse: bool
) -> tuple[Value | None, Value | None]:
    pull = linear_recurrence(primals[0], ct, axis=axis, reverse=not reverse)
    return (out * pull if needed[0] else None, pull if needed[1] else None)


linear_recurrence = primitive(
    "linear_recurrence",
    Kind.LIBRARY,
    infer=_infer_recurrence,
    evaluate=_evaluate_recurrence,
    jvp=_recurrence_jvp,
    vjp=_recurrence_vjp,
    cost=4,
)


# --- products ----------------------------------------------------------------------------------------------


def _evaluate_exclusive_cumprod(x: Any, axis: int, reverse: bool) -> Any:
    x = stored(x)
    out = np.ones_like(x)
    source = np.moveaxis(np.flip(x, axis) if reverse else x, axis, 0)
    target = np.moveaxis(np.flip(out, axis) if reverse else out, axis, 0)
    np.cumprod(source[:-1], axis=0, dtype=x.dtype, out=target[1:])
    return out


def _exclusive_cumprod_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, axis: int, reverse: bool
) -> Value | None:
    if tangents[0] is None:
        return None
    return linear_recurrence(primals[0], tangents[0] * out, axis=axis, reverse=reverse)


def _exclusive_cumprod_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], axis: int, reverse: bool
) -> tuple[Value | None]:
    if not needed[0]:
        return (None,)
    return (out * linear_recurrence(primals[0], ct, axis=axis, reverse=not reverse),)


# out[i] = product of x[j] over j < i: the product before each step, of which running products are x * out.
exclusive_cumprod = primitive(
    "exclusive_cumprod",
    Kind.LIBRARY,
    infer=_infer_scan,
    evaluate=_evaluate_exclusive_cumprod,
    jvp=_exclusive_cumprod_jvp,
    vjp=_exclusive_cumprod_vjp,
    cost=2,
)


def products_of_others(x: Value, axis: int) -> Value:
    """The product of all other elements along `axis`, for each; right, at any order, where some are zero."""
    before = exclusive_cumprod(x, axis=axis, reverse=False)
    return before * exclusive_cumprod(x, axis=axis, reverse=True)


# --- NumPy's names -----------------------------------------------------------------------------------------


def _scan_operand(name: str, a: Any, axis: Any, dtype: Any, out: Any) -> tuple[Value, int]:
    """The operand in its accumulation dtype and the axis; without an axis, the flattened operand."""
    refuse_out(name, out)
    x = array(a, what=name)
    x = convert(x, accumulator_dtype(x.dtype) if is_default(dtype) else dtype)
    if axis is None or x.ndim == 0:
        x = reshape(x, (x.size,))
    return x, 0 if axis is None else normalize_axis(axis, x.ndim, name)


@implements(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    """Running sums along an axis, or of the flattened array: `cumsum([1, 2, 3])` is `[1, 3, 6]`."""
    x, k = _scan_operand("cumsum", a, axis, dtype, out)
    return running_sum(x, axis=k, reverse=False)


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    """Running products along an axis, or of the flattened array: `cumprod([1, 2, 3])` is `[1, 2, 6]`."""
    x, k = _scan_operand("cumprod", a, axis, dtype, out)
    return x * exclusive_cumprod(x, axis=k, reverse=False)


@implements(*([np.cumulative_sum] if hasattr(np, "cumulative_sum") else []))
def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: Any = False
) -> Value:
    """`np.cumulative_sum`: running sums along an axis, which a vector need not name."""
    return _cumulative("cumulative_sum", cumsum, 0, array(x), axis, dtype, out, include_initial)


@implements(*([np.cumulative_prod] if hasattr(np, "cumulative_prod") else []))
def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: Any = False
) -> Value:
    """`np.cumulative_prod`: running products along an axis, which a vector need not name."""
    return _cumulative("cumulative_prod", cumprod, 1, array(x), axis, dtype, out, include_initial)


def _cumulative(
    name: str,
    scan: Callable[..., Value],
    first: int,
    x: Value,
    axis: Any,
    dtype: Any,
    out: Any,
    include_initial: Any,
) -> Value:
    if x.ndim == 0 or (axis is None and x.ndim != 1):
        raise ShapeError(f"{name}: axis must be given for {x.type}")
    k = 0 if axis is None else normalize_axis(axis, x.ndim, name)
    result = scan(x, k, dtype, out)
    if not include_initial:
        return result
    return join([full((*x.shape[:k], 1, *x.shape[k + 1 :]), first, result.dtype), result], k)


def _ufunc_accumulate(scan: Callable[..., Value]) -> Callable[..., Value]:
    def accumulate(array_: Any, /, axis: Any = 0, dtype: Any = None, out: Any = None) -> Value:
        x = array(array_)
        if x.ndim == 0:
            raise ArgumentError("accumulate: cannot accumulate on a scalar")
        return scan(x, normalize_axis(axis, x.ndim, "accumulate"), dtype, out)

    return accumulate


# `ufunc.accumulate` by ufunc, with NumPy's parameters: accumulate(array, axis=0, dtype, out).
UFUNC_ACCUMULATE: dict[Any, Callable[..., Value]] = {
    np.add: _ufunc_accumulate(cumsum),
    np.multiply: _ufunc_accumulate(cumprod),
}
