"""The primitives that the families stand on: convert, broadcast, reshape, permute, reduce_sum, iota, copy.

Their rules refer to one another, so they are declared here by hand, and every other op through a family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError
from tracejit.ir import ArrayType, Const, Kind, Primitive, constant, is_half
from tracejit.ops.tables import register
from tracejit.ops.value import Value, emit

Axes = tuple[int, ...]


def stored(x: Any) -> Any:
    """`x` as an array: as it is where NumPy's functions know it, also one of CuPy's on its device."""
    return x if hasattr(x, "__array_function__") else np.asarray(x)


# --- convert -------------------------------------------------------------------------------------------


def _convert_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, dtype: Any
) -> Value | None:
    return convert(tangents[0], dtype) if tangents[0] is not None and out.type.is_float else None


def _convert_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], dtype: Any
) -> tuple[Value | None]:
    return (convert(ct, primals[0].dtype) if needed[0] and primals[0].type.is_float else None,)


convert_p = register(
    Primitive(
        "convert",
        Kind.ELEMENTWISE,
        infer=lambda t, dtype: t.with_dtype(dtype),
        evaluate=lambda x, dtype: np.asarray(x).astype(dtype),
        jvp=_convert_jvp,
        vjp=_convert_vjp,
        body=lambda s, x, dtype: s.cast(x, dtype),
    )
)


def convert(value: Value, dtype: Any) -> Value:
    """`value` in another dtype; nothing is emitted when it has it already; Python integers must fit."""
    known = value.atom.type.dtype
    if known is dtype or known == np.dtype(dtype):
        return value if value.weak is None else Value(value.builder, value.atom)
    dtype = np.dtype(dtype)
    if value.weak is not None and is_half(dtype) and isinstance(value.atom, Const):
        return Value(value.builder, constant(value.atom.value, dtype))  # a float32: see `Const`
    if value.weak is int and dtype.kind in "iu" and isinstance(value.atom, Const):
        bounds = np.iinfo(dtype)
        if not bounds.min <= int(value.atom.value) <= bounds.max:
            raise OverflowError(f"Python integer {int(value.atom.value)} out of bounds for {dtype.name}")
    return emit(convert_p, value, dtype=dtype)


# --- reshape -------------------------------------------------------------------------------------------


def _infer_reshape(t: ArrayType, shape: Axes) -> ArrayType:
    if math.prod(shape) != t.size:
        raise ShapeError(f"reshape: cannot reshape {t} into {list(shape)}")
    return t.with_shape(shape)


def moved_ones(in_shape: Axes, out_shape: Axes) -> tuple[int | None, ...] | None:
    """Where each dimension goes when only dimensions of size 1 come and go; None when data is regrouped."""
    wide_in = [k for k, n in enumerate(in_shape) if n != 1]
    wide_out = [k for k, n in enumerate(out_shape) if n != 1]
    if [in_shape[k] for k in wide_in] != [out_shape[k] for k in wide_out]:
        return None
    place = dict(zip(wide_in, wide_out, strict=True))
    return tuple(place.get(k) for k in range(len(in_shape)))


def flatten_index(i: Sequence[Any], shape: Axes) -> Any:
    """Row-major position of a multi-index."""
    position: Any = 0
    for k, n in zip(i, shape, strict=True):
        position = position * n + k
    return position


def split_index(position: Any, shape: Axes) -> tuple[Any, ...]:
    """The multi-index of a row-major position; no position exists where the shape is empty."""
    shape = tuple(max(n, 1) for n in shape)
    index: list[Any] = []
    for axis, n in enumerate(shape):
        rest = math.prod(shape[axis + 1 :])
        here = position // rest if rest != 1 else position
        index.append(here % n if axis and n != 1 else (0 if n == 1 else here))
    return tuple(index)


reshape_p = register(
    Primitive(
        "reshape",
        Kind.VIEW,
        infer=_infer_reshape,
        evaluate=lambda x, shape: np.reshape(x, shape),
        jvp=lambda primals, tangents, out, shape: (
            None if tangents[0] is None else reshape(tangents[0], shape)
        ),
        vjp=lambda ct, primals, out, needed, shape: (reshape(ct, primals[0].shape) if needed[0] else None,),
        index=lambda i, in_types, out_type, shape: [
            (0, split_index(flatten_index(i, shape), in_types[0].shape), ())
        ],
        identity_axes=lambda in_types, out_type, shape: moved_ones(in_types[0].shape, shape),
        cost=0,
    )
)


def reshape(value: Value, shape: Sequence[int]) -> Value:
    """Row-major reshape to a shape without -1."""
    shape = tuple(int(n) for n in shape)
    return value if value.shape == shape else emit(reshape_p, value, shape=shape)


# --- permute -------------------------------------------------------------------------------------------


def _inverse(axes: Axes) -> Axes:
    return tuple(int(k) for k in np.argsort(axes))


permute_p = register(
    Primitive(
        "permute",
        Kind.VIEW,
        infer=lambda t, axes: t.with_shape(tuple(t.shape[a] for a in axes)),
        evaluate=lambda x, axes: np.transpose(x, axes),
        jvp=lambda primals, tangents, out, axes: None if tangents[0] is None else permute(tangents[0], axes),
        vjp=lambda ct, primals, out, needed, axes: (permute(ct, _inverse(axes)) if needed[0] else None,),
        index=lambda i, in_types, out_type, axes: [(0, tuple(i[k] for k in _inverse(axes)), ())],
        identity_axes=lambda in_types, out_type, axes: _inverse(axes),
        cost=0,
    )
)


def permute(value: Value, axes: Sequence[int]) -> Value:
    """`np.transpose(value, axes)`; the axes are non-negative."""
    axes = tuple(int(a) for a in axes)
    return value if axes == tuple(range(value.ndim)) else emit(permute_p, value, axes=axes)


# --- broadcast and its transpose, reduce_sum -----------------------------------------------------------


def _infer_broadcast(t: ArrayType, shape: Axes, dims: Axes) -> ArrayType:
    if tuple([shape[d] for d in dims]) != t.shape:
        raise ShapeError(f"broadcast: {t} does not fit {list(shape)} at dimensions {list(dims)}")
    return t.with_shape(shape)


def _evaluate_broadcast(x: Any, shape: Axes, dims: Axes) -> Any:
    x = stored(x)
    order = sorted(range(len(dims)), key=dims.__getitem__)
    wide = [1] * len(shape)
    for d in dims:
        wide[d] = shape[d]
    return np.broadcast_to(np.transpose(x, order).reshape(wide), shape)


def _broadcast_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], shape: Axes, dims: Axes
) -> tuple[Value | None]:
    if not needed[0]:
        return (None,)
    summed = reduce_sum(ct, tuple(k for k in range(len(shape)) if k not in dims))
    rank = {d: k for k, d in enumerate(sorted(dims))}
    return (permute(summed, tuple(rank[d] for d in dims)),)


broadcast_p = register(
    Primitive(
        "broadcast",
        Kind.VIEW,
        infer=_infer_broadcast,
        evaluate=_evaluate_broadcast,
        jvp=lambda primals, tangents, out, shape, dims: (
            None if tangents[0] is None else emit(broadcast_p, tangents[0], shape=shape, dims=dims)
        ),
        vjp=_broadcast_vjp,
        index=lambda i, in_types, out_type, shape, dims: [(0, tuple(i[d] for d in dims), ())],
        identity_axes=lambda in_types, out_type, shape, dims: dims,
        cost=0,
    )
)


def broadcast(value: Value, shape: Sequence[int], dims: Sequence[int]) -> Value:
    """Dimension k of `value` becomes dimension `dims[k]` of `shape`; the other dimensions repeat."""
    shape, dims = tuple(shape), tuple(dims)
    if value.atom.type.shape == shape and dims == tuple(range(len(shape))):
        return value
    return emit(broadcast_p, value, shape=shape, dims=dims)


def broadcast_to(value: Value, shape: Sequence[int]) -> Value:
    """NumPy's broadcasting of `value` to `shape`, which must be possible."""
    shape = tuple([int(n) for n in shape])
    if shape and not value.atom.type.shape:
        return emit(broadcast_p, value, shape=shape, dims=())
    offset = len(shape) - value.ndim
    kept = [k for k, n in enumerate(value.shape) if n == shape[k + offset]]
    dropped = [k for k in range(value.ndim) if k not in kept]
    if offset < 0 or any(value.shape[k] != 1 for k in dropped):
        raise ShapeError(f"broadcast_to: {value.type} does not broadcast to {list(shape)}")
    squeezed = reshape(value, tuple(value.shape[k] for k in kept))
    return broadcast(squeezed, shape, tuple(k + offset for k in kept))


reduce_sum_p = register(
    Primitive(
        "reduce_sum",
        Kind.REDUCTION,
        infer=lambda t, axes: t.with_shape(tuple(n for k, n in enumerate(t.shape) if k not in axes)),
        evaluate=lambda x, axes: np.sum(x, axis=axes, dtype=np.asarray(x).dtype),
        jvp=lambda primals, tangents, out, axes: (
            None if tangents[0] is None else reduce_sum(tangents[0], axes)
        ),
        vjp=lambda ct, primals, out, needed, axes: (
            broadcast(ct, primals[0].shape, tuple(k for k in range(primals[0].ndim) if k not in axes))
            if needed[0]
            else None,
        ),
        reducer="sum",
    )
)


def reduce_sum(value: Value, axes: Sequence[int]) -> Value:
    """The sum over non-negative axes, in the dtype of `value`."""
    axes = tuple(sorted(axes))
    return emit(reduce_sum_p, value, axes=axes) if axes else value


# --- positions as values -------------------------------------------------------------------------------

iota_p = register(
    Primitive(
        "iota",
        Kind.VIEW,
        infer=lambda shape, axis, start, step, dtype: ArrayType(shape, np.dtype(dtype)),
        evaluate=lambda shape, axis, start, step, dtype: np.broadcast_to(
            (start + step * np.arange(shape[axis]))
            .astype(dtype)
            .reshape([-1] + [1] * (len(shape) - axis - 1)),
            shape,
        ),
        position=lambda i, out_type, shape, axis, start, step, dtype: i[axis] * step + start,
        cost=0,
    )
)


def iota(shape: Sequence[int], axis: int, *, start: int = 0, step: int = 1, dtype: Any = np.int64) -> Value:
    """`start + step * position along axis`, for every element of `shape`; integers only."""
    return emit(
        iota_p, shape=tuple(shape), axis=axis, start=int(start), step=int(step), dtype=np.dtype(dtype)
    )


# --- copy ----------------------------------------------------------------------------------------------

copy_p = register(
    Primitive(
        "copy",
        Kind.ELEMENTWISE,
        infer=lambda t: t,
        evaluate=lambda x: np.array(x),
        jvp=lambda primals, tangents, out: tangents[0],
        vjp=lambda ct, primals, out, needed: (ct if needed[0] else None,),
        body=lambda s, x: x,
        cost=0,
    )
)
