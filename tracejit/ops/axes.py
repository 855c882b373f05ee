"""Axes, sizes and other static integers as users write them; what leaves is non-negative and checked."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, ShapeError, TracerError, UnsupportedError
from tracejit.ops.value import Value, freeze


def static_int(x: Any, what: str) -> int:
    """`x` as a Python integer; a traced value has none.

    >>> static_int(np.int64(3), "reshape: shape")
    3
    """
    if isinstance(x, Value):
        raise TracerError(
            f"{what} must be a concrete integer, got a traced {x.type}",
            hint="sizes, axes and repeats shape the kernel: pass them as static arguments",
        )
    try:
        return operator.index(x)
    except TypeError:
        if isinstance(x, np.ndarray) and x.size == 1 and x.dtype.kind in "iu":
            return int(freeze(x).reshape(()))
        raise ArgumentError(f"{what} must be an integer, got {type(x).__name__}") from None


def static_ints(x: Any, what: str) -> tuple[int, ...]:
    """One integer, or several, as a tuple.

    >>> static_ints(3, "shape"), static_ints([3, 4], "shape")
    ((3,), (3, 4))
    """
    if isinstance(x, np.ndarray):
        x = freeze(x).tolist()
    if isinstance(x, Iterable) and not isinstance(x, (str, bytes, Value)):
        return tuple(static_int(n, what) for n in x)
    return (static_int(x, what),)


def normalize_axis(axis: Any, ndim: int, name: str = "") -> int:
    """`axis` counted from the front, or `ShapeError` with NumPy's words; `name` is the function called.

    >>> normalize_axis(-1, 3)
    2
    """
    prefix = f"{name}: " if name else ""
    k = static_int(axis, f"{prefix}axis")
    if not -ndim <= k < ndim:
        raise ShapeError(f"{prefix}axis {k} is out of bounds for array of dimension {ndim}")
    return k + ndim if k < 0 else k


def normalize_axes(axis: Any, ndim: int, name: str = "") -> tuple[int, ...]:
    """None (all axes), an integer or several integers as distinct non-negative axes, in the given order.

    >>> normalize_axes((-1, 0), 3), normalize_axes(None, 2)
    ((2, 0), (0, 1))
    """
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(normalize_axis(a, ndim, name) for a in given)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: duplicate value in 'axis'" if name else "duplicate value in 'axis'")
    return axes


def is_default(value: Any) -> bool:
    """Was a NumPy keyword left out? (NumPy passes None, `np._NoValue` or True-like defaults through.)"""
    return value is None or value is np._NoValue  # type: ignore[attr-defined]


def refuse_out(name: str, out: Any) -> None:
    """`UnsupportedError` when the user gave `out=`."""
    if not is_default(out):
        raise UnsupportedError(f"{name}: out= is not supported", hint=f"write x = np.{name}(...) instead")


def refuse(name: str, keyword: str, value: Any, *accepted: Any) -> None:
    """`UnsupportedError` when a NumPy keyword has another value than the ones that mean its default."""
    if is_default(value) or any(value is a for a in accepted):
        return
    if not isinstance(value, (str, bool, int)) or value not in accepted:
        raise UnsupportedError(f"{name}: {keyword}={value!r} is not supported", hint=f"leave {keyword} out")
