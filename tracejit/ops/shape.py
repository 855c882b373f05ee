"""NumPy's functions that regroup, move, add and drop axes, built on reshape, permute and broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, ShapeError
from tracejit.ir import can_cast, check_dtype
from tracejit.ops import core
from tracejit.ops.axes import is_default, normalize_axes, normalize_axis, refuse, static_int, static_ints
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of a value, or of anything that NumPy takes."""
    return x.shape if isinstance(x, Value) else np.shape(x)


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """`np.shape`: concrete, known while tracing."""
    return shape_of(a)


@implements(np.ndim)
def ndim(a: Any) -> int:
    """`np.ndim`: concrete, known while tracing."""
    return len(shape_of(a))


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """`np.size`: concrete, known while tracing."""
    sizes = shape_of(a)
    return int(np.prod([sizes[k] for k in normalize_axes(axis, len(sizes), "size")], dtype=np.int64))


def strong(value: Value) -> Value:
    """`value` with a NumPy dtype of its own: a Python number becomes int64 or float64."""
    return Value(value.builder, value.atom) if value.weak is not None else value


@implements(*([np.astype] if hasattr(np, "astype") else []))
def astype(
    x: Any,
    dtype: Any,
    /,
    order: str = "K",
    casting: str = "unsafe",
    subok: bool = True,
    copy: bool = True,
    device: Any = None,
) -> Value:
    """`x.astype(dtype)`: every element converted, as C converts it."""
    value = strong(as_value(x, "astype"))
    target = check_dtype(np.dtype(dtype), "astype: the requested type")
    if not can_cast(value.dtype, target, casting):
        raise ArgumentError(f"astype: cannot cast from {value.dtype} to {target} with casting={casting!r}")
    refuse("astype", "device", device, "cpu")
    return core.convert(value, target)


# --- regrouping ---------------------------------------------------------------------------------------------


def complete_shape(given: Any, total: int, name: str = "reshape") -> tuple[int, ...]:
    """`given` with a -1 replaced by the size that makes `total` elements."""
    sizes = static_ints(given, f"{name}: shape")
    if sizes.count(-1) > 1:
        raise ShapeError(f"{name}: can only specify one unknown dimension")
    known = int(np.prod([n for n in sizes if n != -1], dtype=np.int64))
    fits = total % known == 0 if -1 in sizes and known else total == known and (-1 not in sizes)
    if not fits or any(n < -1 for n in sizes):
        text = f"({sizes[0]},)" if len(sizes) == 1 else "(" + ",".join(map(str, sizes)) + ")"
        raise ShapeError(f"{name}: cannot reshape array of size {total} into shape {text}")
    return tuple(total // known if n == -1 else n for n in sizes)


@implements(np.reshape)
def reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None
) -> Value:
    """`np.reshape` in row-major order, or in column-major order with `order="F"`."""
    value = strong(as_value(a, "reshape"))
    given = newshape if shape is None else shape
    if given is None:
        raise ArgumentError("reshape: the new shape is missing")
    refuse("reshape", "order", order, "C", "F")
    sizes = complete_shape(given, value.size)
    if order == "F":
        return transpose(core.reshape(transpose(value), sizes[::-1]))
    return core.reshape(value, sizes)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Value:
    """`np.ravel`: all elements in one axis."""
    refuse("ravel", "order", order, "C", "F")
    return reshape(a, -1, order)


# --- moving axes --------------------------------------------------------------------------------------------


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Value:
    """`np.transpose`: the axes in the given order, reversed by default."""
    value = strong(as_value(a, "transpose"))
    if axes is None:
        return core.permute(value, tuple(range(value.ndim))[::-1])
    order = static_ints(axes, "transpose: axes")
    if len(order) != value.ndim:
        raise ShapeError("transpose: axes don't match array")
    order = tuple(normalize_axis(k, value.ndim, "transpose") for k in order)
    if len(set(order)) != len(order):
        raise ShapeError("transpose: repeated axis in transpose")
    return core.permute(value, order)


@implements(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Value:
    """`np.matrix_transpose`: the last two axes exchanged."""
    value = as_value(x, "matrix_transpose")
    if value.ndim < 2:
        raise ShapeError(f"matrix_transpose: Input array must be at least 2-dimensional, it is {value.ndim}")
    return swapaxes(value, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Value:
    """`np.swapaxes`: two axes exchanged."""
    value = strong(as_value(a, "swapaxes"))
    first, second = (normalize_axis(k, value.ndim, "swapaxes") for k in (axis1, axis2))
    order = list(range(value.ndim))
    order[first], order[second] = second, first
    return core.permute(value, order)


def moved(ndim: int, source: Sequence[int], destination: Sequence[int]) -> list[int]:
    """The order of axes in which `source[k]` stands at `destination[k]`, the others as they were."""
    order = [k for k in range(ndim) if k not in source]
    for there, here in sorted(zip(destination, source, strict=True)):
        order.insert(there, here)
    return order


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Value:
    """`np.moveaxis`: axes moved to new positions, the others in their order."""
    value = strong(as_value(a, "moveaxis"))
    here, there = (normalize_axes(k, value.ndim, "moveaxis") for k in (source, destination))
    if len(here) != len(there):
        raise ShapeError(
            "moveaxis: `source` and `destination` arguments must have the same number of elements"
        )
    return core.permute(value, moved(value.ndim, here, there))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: Any, start: Any = 0) -> Value:
    """`np.rollaxis`: `axis` moved to lie before the axis that is at `start`."""
    value = strong(as_value(a, "rollaxis"))
    n = value.ndim
    here, there = normalize_axis(axis, n, "rollaxis"), static_int(start, "rollaxis: start")
    there = there + n if there < 0 else there
    if not 0 <= there <= n:
        raise ShapeError(f"rollaxis: start arg requires {-n} <= start < {n + 1}, but {start} was passed in")
    return core.permute(value, moved(n, (here,), (there - 1 if here < there else there,)))


# --- axes of size 1 -----------------------------------------------------------------------------------------


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Value:
    """`np.squeeze`: axes of size 1 dropped, all or the given ones."""
    value = strong(as_value(a, "squeeze"))
    if axis is None:
        return core.reshape(value, [n for n in value.shape if n != 1])
    axes = normalize_axes(axis, value.ndim, "squeeze")
    if any(value.shape[k] != 1 for k in axes):
        raise ShapeError("squeeze: cannot select an axis to squeeze out which has size not equal to one")
    return core.reshape(value, [n for k, n in enumerate(value.shape) if k not in axes])


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Value:
    """`np.expand_dims`: new axes of size 1 at the given positions of the result."""
    value = strong(as_value(a, "expand_dims"))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = normalize_axes(given, value.ndim + len(given), "expand_dims")
    sizes = list(value.shape)
    for k in sorted(axes):
        sizes.insert(k, 1)
    return core.reshape(value, sizes)


def _each(results: list[Value]) -> Any:
    return results[0] if len(results) == 1 else tuple(results)


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """`np.atleast_1d`: numbers become vectors of one element; several arguments give a tuple."""
    values = [strong(as_value(a, "atleast_1d")) for a in arys]
    return _each([v if v.ndim else core.reshape(v, (1,)) for v in values])


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """`np.atleast_2d`: axes of size 1 in front, up to two axes."""
    values = [strong(as_value(a, "atleast_2d")) for a in arys]
    return _each([core.reshape(v, (1,) * (2 - v.ndim) + v.shape) for v in values])


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """`np.atleast_3d`: (n,) becomes (1, n, 1) and (n, m) becomes (n, m, 1)."""
    values = [strong(as_value(a, "atleast_3d")) for a in arys]
    front = {0: (1,), 1: (1,)}
    back = {0: (1, 1), 1: (1,), 2: (1,)}
    return _each([core.reshape(v, front.get(v.ndim, ()) + v.shape + back.get(v.ndim, ())) for v in values])


# --- repeating by broadcasting ------------------------------------------------------------------------------


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Value:
    """`np.broadcast_to`: axes of size 1, and new axes in front, repeated to a shape."""
    value = strong(as_value(array, "broadcast_to"))
    sizes = static_ints(shape, "broadcast_to: shape")
    if any(n < 0 for n in sizes):
        raise ShapeError("broadcast_to: all elements of broadcast shape must be non-negative")
    return core.broadcast_to(value, sizes)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Value, ...]:
    """`np.broadcast_arrays`: every argument at the common shape."""
    return broadcast_together("broadcast_arrays", [strong(as_value(a, "broadcast_arrays")) for a in args])


def broadcast_together(name: str, values: Sequence[Value]) -> tuple[Value, ...]:
    """Values of one common shape, or `ShapeError` in the name of `name`."""
    try:
        common = np.broadcast_shapes(*(v.shape for v in values))
    except ValueError:
        types = ", ".join(str(v.type) for v in values)
        raise ShapeError(f"{name}: shapes do not broadcast, {types}") from None
    return tuple(core.broadcast_to(v, common) for v in values)


def along_new_axis(value: Value, axis: int, count: int) -> Value:
    """`value` repeated `count` times along a new axis at position `axis`."""
    sizes = (*value.shape[:axis], count, *value.shape[axis:])
    return core.broadcast(value, sizes, [k if k < axis else k + 1 for k in range(value.ndim)])


@implements(np.tile)
def tile(A: Any, reps: Any) -> Value:
    """`np.tile`: copies side by side, `reps[k]` of them along axis k."""
    value = strong(as_value(A, "tile"))
    counts = static_ints(reps, "tile: reps")
    if any(c < 0 for c in counts):
        raise ShapeError("tile: negative repetitions are not allowed")
    counts = (1,) * (value.ndim - len(counts)) + counts
    value = core.reshape(value, (1,) * (len(counts) - value.ndim) + value.shape)
    result = tuple(n * c for n, c in zip(value.shape, counts, strict=True))
    for axis in reversed([k for k, c in enumerate(counts) if c != 1]):
        value = along_new_axis(value, axis, counts[axis])
    return core.reshape(value, result)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Value, ...]:
    """`np.meshgrid`: coordinate grids of vectors."""
    if indexing not in ("xy", "ij"):
        raise ShapeError("meshgrid: Valid values for `indexing` are 'xy' and 'ij'.")
    vectors = [ravel(x) for x in xi]
    places = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        places[0], places[1] = 1, 0
    grids = [
        core.reshape(v, [v.size if k == place else 1 for k in range(len(vectors))])
        for v, place in zip(vectors, places, strict=True)
    ]
    return tuple(grids) if sparse else broadcast_together("meshgrid", grids)


def settle_dtype(dtype: Any, default: np.dtype[Any], name: str) -> np.dtype[Any]:
    """The dtype a `dtype=` keyword names, `default` when it was left out."""
    return default if is_default(dtype) else check_dtype(np.dtype(dtype), f"{name}: the requested type")
