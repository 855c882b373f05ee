"""What the factorisations share: square matrices in the last two axes, their triangles, matching batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError
from tracejit.ir import ArrayType, result_type
from tracejit.ops.arithmetic import choose, is_float, select, zeros_of
from tracejit.ops.core import broadcast_to, convert, iota, permute
from tracejit.ops.diagonal import lower_triangle
from tracejit.ops.joining import array
from tracejit.ops.value import Value


def float_array(name: str, x: Any) -> Value:
    """`x` as a float array: integers and truth values become float64, as in `np.linalg`."""
    value = array(x, what=name)
    return value if is_float(value) else convert(value, np.float64)


def check_square(name: str, t: ArrayType) -> ArrayType:
    """The type of square matrices in the last two axes."""
    if t.rank < 2 or t.shape[-1] != t.shape[-2]:
        raise ShapeError(f"{name}: the last two axes must be of one size, got {t}")
    return t


def square_matrices(name: str, x: Any) -> Value:
    """`x` as floats, with square matrices in the last two axes."""
    value = float_array(name, x)
    check_square(name, value.type)
    return value


def matching(name: str, a: Value, b: Value) -> tuple[Value, Value]:
    """Two arrays of matrices in one dtype with one shape in front of the last two axes."""
    dtype = result_type(a.dtype, b.dtype, what=name)
    try:
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"{name}: batch shapes do not broadcast, {a.type} and {b.type}",
            hint="the axes in front of the last two must be equal or 1, counted from the last of them",
        ) from None
    return (
        broadcast_to(convert(a, dtype), (*shape, *a.shape[-2:])),
        broadcast_to(convert(b, dtype), (*shape, *b.shape[-2:])),
    )


def turned(x: Value) -> Value:
    """The matrices with rows and columns exchanged."""
    n = x.ndim
    return permute(x, (*range(n - 2), n - 1, n - 2))


def triangle(x: Value, lower: bool, offset: int = 0) -> Value:
    """One triangle of the matrices and zeros; the diagonal `offset` steps into it is its edge."""
    inside = lower_triangle(x.shape, -offset if lower else offset - 1)
    zeros = zeros_of(x.type)
    return select(inside, x, zeros) if lower else select(inside, zeros, x)


def half_lower(x: Value) -> Value:
    """The lower triangle with half of the diagonal: `half_lower(s) + its transpose` is a symmetric `s`."""
    row, column = iota(x.shape, x.ndim - 2), iota(x.shape, x.ndim - 1)
    return choose(row > column, x, choose(row == column, 0.5 * x, 0, dtype=x.dtype), dtype=x.dtype)


def mirrored(x: Value) -> Value:
    """The symmetric matrices whose lower triangles `x` has; nothing above the diagonal counts."""
    return select(lower_triangle(x.shape, 0), x, turned(x))


def positions_of(batch: Sequence[int]) -> Any:
    """The indices of all matrices in arrays with these leading axes."""
    return np.ndindex(*batch)
