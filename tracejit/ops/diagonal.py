"""Diagonals and triangles: `diagonal`, its transpose `undiagonal`, and NumPy's functions on both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError
from tracejit.ir import ArrayType, Kind
from tracejit.ops.arithmetic import select, zeros_of
from tracejit.ops.axes import normalize_axis, refuse_out, static_int
from tracejit.ops.core import broadcast_to, convert, iota, permute, reduce_sum, reshape, stored
from tracejit.ops.families import linear
from tracejit.ops.shape import settle_dtype, strong
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value

Axes = tuple[int, ...]

# Both primitives work on the last two axes; the diagonal starts at (row, col) and has `size` elements.


def _infer_diagonal(t: ArrayType, row: int, col: int, size: int) -> ArrayType:
    if t.rank < 2 or (size and (row + size > t.shape[-2] or col + size > t.shape[-1])):
        raise ShapeError(f"diagonal: {size} elements from ({row}, {col}) leave {t}")
    return t.with_shape((*t.shape[:-2], size))


def _infer_undiagonal(t: ArrayType, rows: int, cols: int, row: int, col: int) -> ArrayType:
    n = t.shape[-1] if t.rank else 0
    if not t.rank or (n and (row + n > rows or col + n > cols)):
        raise ShapeError(
            f"undiagonal: {t} from ({row}, {col}) leaves a matrix of {rows} rows and {cols} columns"
        )
    return t.with_shape((*t.shape[:-1], rows, cols))


def _evaluate_undiagonal(x: Any, rows: int, cols: int, row: int, col: int) -> Any:
    x = stored(x)
    out = np.zeros_like(x, shape=(*x.shape[:-1], rows * cols))
    size = x.shape[-1]
    start = row * cols + col
    out[..., start : start + max(0, (size - 1) * (cols + 1) + 1) : cols + 1][..., :size] = x
    return out.reshape(*x.shape[:-1], rows, cols)


def _index_undiagonal(
    i: Sequence[Any],
    in_types: Sequence[ArrayType],
    out_type: ArrayType,
    rows: int,
    cols: int,
    row: int,
    col: int,
) -> list[tuple[int, tuple[Any, ...], tuple[Any, ...]]]:
    size = in_types[0].shape[-1]
    *batch, r, c = i
    below = () if row == 0 else (r >= row,)
    above = () if row + size == rows else (r < row + size,)
    return [(0, (*batch, r - row), (*below, *above, c - col == r - row))]


diagonal_op = linear(
    "diagonal",
    Kind.VIEW,
    infer=_infer_diagonal,
    evaluate=lambda x, row, col, size: np.diagonal(
        stored(x)[..., row : row + size, col : col + size], 0, -2, -1
    ),
    transpose=lambda ct, in_type, row, col, size: undiagonal(
        ct, rows=in_type.shape[-2], cols=in_type.shape[-1], row=row, col=col
    ),
    index=lambda i, in_types, out_type, row, col, size: [(0, (*i[:-1], i[-1] + row, i[-1] + col), ())],
    cost=0,
)

undiagonal = linear(
    "undiagonal",
    Kind.VIEW,
    infer=_infer_undiagonal,
    evaluate=_evaluate_undiagonal,
    transpose=lambda ct, in_type, rows, cols, row, col: diagonal_op(
        ct, row=row, col=col, size=in_type.shape[-1]
    ),
    index=_index_undiagonal,
    cost=0,
)


def matrix_diagonal(x: Value, offset: int = 0) -> Value:
    """The diagonals of the matrices in the last two axes, as the last axis; `offset` > 0 lies above."""
    row, col = max(0, -offset), max(0, offset)
    size = max(0, min(x.shape[-2] - row, x.shape[-1] - col))
    return diagonal_op(x, row=row if size else 0, col=col if size else 0, size=size)


def matrix_of_diagonal(x: Value, offset: int = 0) -> Value:
    """Square matrices in the last two axes, zero but for the diagonal that the last axis of `x` holds."""
    n = x.shape[-1] + abs(offset)
    return undiagonal(x, rows=n, cols=n, row=max(0, -offset), col=max(0, offset))


# --- NumPy's names --------------------------------------------------------------------------------------


@implements(np.diagonal)
def diagonal(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Value:
    """`np.diagonal`: the diagonal of two axes, as the last axis of the result."""
    x = strong(as_value(a, "diagonal"))
    if x.ndim < 2:
        raise ShapeError("diagonal: diag requires an array of at least two dimensions")
    first, second = (normalize_axis(k, x.ndim, "diagonal") for k in (axis1, axis2))
    if first == second:
        raise ShapeError("diagonal: axis1 and axis2 cannot be the same")
    rest = [k for k in range(x.ndim) if k not in (first, second)]
    return matrix_diagonal(permute(x, [*rest, first, second]), static_int(offset, "diagonal: offset"))


@implements(np.diag)
def diag(v: Any, k: Any = 0) -> Value:
    """`np.diag`: the diagonal of a matrix, or a matrix with the given diagonal."""
    x = strong(as_value(v, "diag"))
    offset = static_int(k, "diag: k")
    if x.ndim not in (1, 2):
        raise ShapeError("diag: Input must be 1- or 2-d.")
    return matrix_of_diagonal(x, offset) if x.ndim == 1 else matrix_diagonal(x, offset)


@implements(np.diagflat)
def diagflat(v: Any, k: Any = 0) -> Value:
    """`np.diagflat`: a matrix with the flattened input as its diagonal."""
    x = strong(as_value(v, "diagflat"))
    return matrix_of_diagonal(reshape(x, (x.size,)), static_int(k, "diagflat: k"))


@implements(np.trace)
def trace(
    a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Value:
    """`np.trace`: the sum along the diagonal of two axes, small integers in int64 or uint64."""
    refuse_out("trace", out)
    elements = diagonal(a, offset, axis1, axis2)
    wide = np.add.reduce(np.zeros(1, elements.dtype)).dtype
    return reduce_sum(convert(elements, settle_dtype(dtype, wide, "trace")), (elements.ndim - 1,))


def lower_triangle(shape: Axes, k: int) -> Value:
    """True on and below diagonal `k` of the last two axes of `shape`."""
    return iota(shape, len(shape) - 2, start=k) >= iota(shape, len(shape) - 1)


def _matrices(m: Any, name: str) -> Value:
    x = strong(as_value(m, name))
    if not x.ndim:
        raise ShapeError(f"{name}: the input must have at least one axis")
    return x if x.ndim > 1 else broadcast_to(x, (x.size, x.size))


@implements(np.tril)
def tril(m: Any, k: Any = 0) -> Value:
    """`np.tril`: zero above diagonal `k` of the last two axes."""
    x = _matrices(m, "tril")
    return select(lower_triangle(x.shape, static_int(k, "tril: k")), x, zeros_of(x.type))


@implements(np.triu)
def triu(m: Any, k: Any = 0) -> Value:
    """`np.triu`: zero below diagonal `k` of the last two axes."""
    x = _matrices(m, "triu")
    return select(lower_triangle(x.shape, static_int(k, "triu: k") - 1), zeros_of(x.type), x)
