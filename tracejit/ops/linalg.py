"""Norms, chains and powers of matrices, cross products and the trapezoid rule: compositions of other ops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError, UnsupportedError
from tracejit.ir import result_type
from tracejit.ops.arithmetic import absolute, add, choose, divide, is_float, multiply, subtract
from tracejit.ops.axes import normalize_axes, normalize_axis, refuse_out, static_int
from tracejit.ops.comparison import equal, not_equal
from tracejit.ops.contraction import matmul
from tracejit.ops.core import convert, iota, reshape
from tracejit.ops.diagonal import diagonal, trace
from tracejit.ops.einsum import contract_terms
from tracejit.ops.joining import array, stack
from tracejit.ops.lu import inv
from tracejit.ops.reduction import max as largest
from tracejit.ops.reduction import min as smallest
from tracejit.ops.reduction import sum as total
from tracejit.ops.shape import matrix_transpose
from tracejit.ops.slicing import slice_axis
from tracejit.ops.statistics import root_or_zero
from tracejit.ops.tables import implements
from tracejit.ops.transcendental import power
from tracejit.ops.value import Value

Axes = tuple[int, ...]

implements(np.linalg.matrix_transpose)(matrix_transpose)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: Any = 0) -> Value:
    """`np.linalg.diagonal`: the diagonals of the matrices in the last two axes."""
    return diagonal(x, offset, -2, -1)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Value:
    """`np.linalg.trace`: the sums of the diagonals of the matrices in the last two axes."""
    return trace(x, offset, -2, -1, dtype)


# --- norms -------------------------------------------------------------------------------------------------


def _float_operand(name: str, x: Any) -> Value:
    value = array(x, what=name)
    return value if is_float(value) else convert(value, np.float64)


def _euclidean(x: Value, axes: Axes, keepdims: bool) -> Value:
    """The root of the sum of squares; at zero, where it has no derivative, the derivative is taken as 0."""
    return root_or_zero(total(multiply(x, x), axes, keepdims=keepdims))


def _vector_norm(x: Value, order: Any, axes: Axes, keepdims: bool) -> Value:
    if order is None or order == 2:
        return _euclidean(x, axes, keepdims)
    if isinstance(order, str):
        raise ShapeError(f"norm: order {order!r} is not one of vectors")
    if order == np.inf:
        return largest(absolute(x), axes, keepdims=keepdims, initial=0)
    if order == -np.inf:
        return smallest(absolute(x), axes, keepdims=keepdims)
    if order == 0:
        return total(convert(not_equal(x, 0), x.dtype), axes, keepdims=keepdims)
    if order == 1:
        return total(absolute(x), axes, keepdims=keepdims)
    summed = total(power(absolute(x), order), axes, keepdims=keepdims)
    return _root(summed, order)


def _root(x: Value, order: float) -> Value:
    """`x ** (1 / order)` for x >= 0, with derivative 0 at 0 (a kink of the norm)."""
    if order < 1:
        return power(x, 1 / order)
    at_zero = x == 0
    return choose(at_zero, 0, power(choose(at_zero, 1, x), 1 / order), dtype=x.dtype)


def _matrix_norm(x: Value, order: Any, axes: Axes, keepdims: bool) -> Value:
    if order in (None, "fro", "f"):
        return _euclidean(x, axes, keepdims)
    if order in (2, -2, "nuc"):
        raise UnsupportedError(
            f"norm: the matrix norm of order {order!r} needs singular values, which are not supported yet",
            hint="use the Frobenius norm (ord=None), or ord=1 or np.inf",
        )
    if order not in (1, -1, np.inf, -np.inf):
        raise ShapeError(f"norm: invalid norm order {order!r} for matrices")
    row, column = axes
    summed, over = (row, column) if order in (1, -1) else (column, row)
    sums = total(absolute(x), summed, keepdims=True)
    result = (
        largest(sums, over, keepdims=True, initial=0) if order > 0 else smallest(sums, over, keepdims=True)
    )
    return result if keepdims else reshape(result, tuple(n for k, n in enumerate(x.shape) if k not in axes))


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Value:
    """`np.linalg.norm`: of all elements, of vectors, or of matrices (but not orders 2, -2, "nuc").

    Where a norm is 0 it has a kink, and the derivative is taken as 0.
    """
    value = _float_operand("norm", x)
    axes = normalize_axes(axis, value.ndim, "norm")
    if axis is None and ord is None:
        return _euclidean(value, axes, bool(keepdims))
    if len(axes) == 1:
        return _vector_norm(value, ord, axes, bool(keepdims))
    if len(axes) == 2:
        return _matrix_norm(value, ord, axes, bool(keepdims))
    raise ShapeError(f"norm: vectors have one axis and matrices two, not {len(axes)}", hint="give axis=")


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Value:
    """`np.linalg.vector_norm`: of all elements as one vector, or along axes."""
    value = _float_operand("vector_norm", x)
    return _vector_norm(value, ord, normalize_axes(axis, value.ndim, "vector_norm"), bool(keepdims))


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Value:
    """`np.linalg.matrix_norm`: of the matrices in the last two axes."""
    value = _float_operand("matrix_norm", x)
    return _matrix_norm(value, ord, normalize_axes((-2, -1), value.ndim, "matrix_norm"), bool(keepdims))


# --- products of several matrices --------------------------------------------------------------------------


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Value:
    """`np.linalg.multi_dot`: a chain of matrices in the cheapest order; the ends may be vectors."""
    refuse_out("multi_dot", out)
    values = [array(a, what="multi_dot") for a in arrays]
    if len(values) < 2:
        raise ShapeError("multi_dot: two arrays or more are needed")
    if any(v.ndim != 2 for v in values[1:-1]) or any(v.ndim not in (1, 2) for v in values):
        raise ShapeError("multi_dot: every array must be a matrix, the first and the last may be vectors")
    dtype = result_type(*(v.dtype for v in values), what="multi_dot")
    values = [convert(v, dtype) for v in values]
    for left, right in itertools.pairwise(values):
        if left.shape[-1] != right.shape[0]:
            raise ShapeError(f"multi_dot: inner sizes differ, {left.type} @ {right.type}")
    names = [str(k) for k in range(len(values) + 1)]
    labels = [(names[k], names[k + 1]) for k in range(len(values))]
    terms = [
        one[2 - v.ndim :] if k == 0 else one[: v.ndim]
        for k, (v, one) in enumerate(zip(values, labels, strict=True))
    ]
    result = (*names[: values[0].ndim - 1], *names[len(names) - values[-1].ndim + 1 :])
    return contract_terms(values, terms, result)


def _identity(shape: Axes, dtype: Any) -> Value:
    rank = len(shape)
    return convert(equal(iota(shape, rank - 2), iota(shape, rank - 1)), dtype)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Value:
    """`np.linalg.matrix_power`, by repeated squaring of the matrix or, below 0, of its inverse."""
    x = array(a, what="matrix_power")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: the last two axes must be of one size, got {x.type}")
    exponent = static_int(n, "matrix_power: n")
    if exponent < 0:
        x, exponent = inv(x), -exponent
    if exponent == 0:
        return _identity(x.shape, x.dtype)
    result: Value | None = None
    while exponent:
        if exponent & 1:
            result = x if result is None else matmul(result, x)
        exponent >>= 1
        x = matmul(x, x) if exponent else x
    assert result is not None
    return result


# --- cross products ----------------------------------------------------------------------------------------


def _components(x: Value, axis: Any, what: str) -> list[Value]:
    k = normalize_axis(axis, x.ndim, "cross")
    if x.shape[k] not in (2, 3):
        raise ShapeError(f"cross: {what} must have 2 or 3 components along axis {k}, got {x.type}")
    rest = x.shape[:k] + x.shape[k + 1 :]
    return [reshape(slice_axis(x, k, j, 1), rest) for j in range(x.shape[k])]


@implements(np.cross)
def cross(a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Value:
    """`np.cross` of vectors of 3 components; of 2, the third one of the result."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x = _components(array(a, what="cross"), axisa, "a")
    y = _components(array(b, what="cross"), axisb, "b")

    def minor(j: int, k: int) -> Value:
        terms = [
            multiply(u[m], v[n]) for u, v, m, n in ((x, y, j, k), (x, y, k, j)) if m < len(u) and n < len(v)
        ]
        if len(terms) == 2:
            return subtract(*terms)
        return terms[0] if j < len(x) and k < len(y) else -terms[0]

    if len(x) == len(y) == 2:
        return minor(0, 1)
    parts = [minor(1, 2), minor(2, 0), minor(0, 1)]
    return stack(parts, axis=normalize_axis(axisc, parts[0].ndim + 1, "cross"))


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> Value:
    """`np.linalg.cross`: of vectors of 3 components."""
    a, b = array(x1, what="cross"), array(x2, what="cross")
    sizes = [v.shape[normalize_axis(axis, v.ndim, "cross")] for v in (a, b)]
    if sizes != [3, 3]:
        raise ShapeError(f"linalg.cross: both operands need 3 components, got {sizes[0]} and {sizes[1]}")
    return cross(a, b, axis=axis)


# --- quadrature --------------------------------------------------------------------------------------------


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Value:
    """`np.trapezoid`: the integral of samples `y` along an axis, at positions `x` or at distances `dx`."""
    values = array(y, what="trapezoid")
    k = normalize_axis(axis, values.ndim, "trapezoid")
    steps = dx if x is None else _steps(array(x, what="trapezoid: x"), axis, values.ndim, k)
    n = max(values.shape[k] - 1, 0)
    pairs = add(slice_axis(values, k, min(1, values.shape[k]), n), slice_axis(values, k, 0, n))
    return total(divide(multiply(steps, pairs), 2.0), k)


def _steps(x: Value, axis: Any, ndim: int, k: int) -> Value:
    """Differences of neighbours in `x`, along its only axis or along `axis`."""
    own = 0 if x.ndim == 1 else normalize_axis(axis, x.ndim, "trapezoid")
    n = max(x.shape[own] - 1, 0)
    steps = subtract(slice_axis(x, own, min(1, x.shape[own]), n), slice_axis(x, own, 0, n))
    return reshape(steps, tuple(n if j == k else 1 for j in range(ndim))) if x.ndim == 1 else steps
