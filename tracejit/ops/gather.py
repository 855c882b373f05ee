"""Positions that are data: `gather`, its transpose `scatter_add`, and the dense form for one element a row.

The transpose of `z[np.arange(n), labels]` reads every cotangent once and writes each element once: it is a
selection, not a scatter, so it fuses with what surrounds it (above all in softmax cross-entropy).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import DTypeError, ShapeError
from tracejit.ir import ArrayType, Kind
from tracejit.ops.arithmetic import select, zeros_of
from tracejit.ops.comparison import equal
from tracejit.ops.core import broadcast, convert, iota, iota_p, permute, reshape
from tracejit.ops.families import linear
from tracejit.ops.value import Value

Axes = tuple[int, ...]


def _check_indices(name: str, indices: Sequence[ArrayType]) -> Axes:
    for t in indices:
        if t.dtype.kind not in "iu":
            raise DTypeError(f"{name}: indices must be integers, got {t}")
        if t.shape != indices[0].shape:
            raise ShapeError(f"{name}: index shapes differ, {', '.join(map(str, indices))}")
    return indices[0].shape


def _infer_gather(x: ArrayType, *indices: ArrayType) -> ArrayType:
    if not 0 < len(indices) <= x.rank:
        raise ShapeError(f"gather: {len(indices)} indices into {x}")
    return x.with_shape(_check_indices("gather", indices) + x.shape[len(indices) :])


def _infer_scatter_add(ct: ArrayType, *indices: ArrayType, shape: Axes) -> ArrayType:
    if ct.shape != _check_indices("scatter_add", indices) + shape[len(indices) :]:
        raise ShapeError(f"scatter_add: {ct} does not fit {len(indices)} indices into {list(shape)}")
    return ct.with_shape(shape)


def _evaluate_scatter_add(ct: Any, *indices: Any, shape: Axes) -> Any:
    out = np.zeros(shape, np.asarray(ct).dtype)
    np.add.at(out, tuple(indices), ct)
    return out


def _gather_transpose(ct: Value, in_type: ArrayType, *indices: Value) -> Value:
    covers = _covered_axes(in_type.shape, indices)
    if covers is not None:
        return _one_a_row(ct, in_type, indices, covers)
    return scatter_add(ct, *indices, shape=in_type.shape)


gather = linear(
    "gather",
    Kind.INDEX,
    infer=_infer_gather,
    evaluate=lambda x, *indices: np.asarray(x)[tuple(indices)],
    transpose=_gather_transpose,
    cost=4,
)

scatter_add = linear(
    "scatter_add",
    Kind.INDEX,
    reducer="sum",
    infer=_infer_scatter_add,
    evaluate=_evaluate_scatter_add,
    transpose=lambda ct, in_type, *indices, shape: gather(ct, *indices),
    cost=8,
)


def _covered_axes(shape: Axes, indices: Sequence[Value]) -> dict[int, int] | None:
    """Which operand runs over each axis of the indices; None unless each such axis has one running over it.

    An operand runs over an axis when it is the position along it and the axis is as long as the one it
    indexes. Then each element of the gathered array is read at most once, at a place that its position tells.
    """
    covers: dict[int, int] = {}
    for k, index in enumerate(indices):
        eqn = index.definition
        if eqn is None or eqn.primitive is not iota_p or (eqn.params["start"], eqn.params["step"]) != (0, 1):
            continue
        axis = eqn.params["axis"]
        if index.shape[axis] == shape[k]:
            covers.setdefault(axis, k)
    wide = [axis for axis, n in enumerate(indices[0].shape) if n != 1]
    return {axis: covers[axis] for axis in wide} if all(axis in covers for axis in wide) else None


def _one_a_row(ct: Value, in_type: ArrayType, indices: Sequence[Value], covers: dict[int, int]) -> Value:
    """The transpose of a gather that reads one element a row: the cotangent there, zero elsewhere."""
    shape = in_type.shape
    sizes = tuple(shape[k] for k in covers.values())
    places = tuple(covers.values())
    rest = tuple(range(len(indices), len(shape)))
    result = broadcast(reshape(ct, sizes + tuple(shape[k] for k in rest)), shape, places + rest)
    zero = zeros_of(in_type)
    for k, index in enumerate(indices):
        if k not in places:
            here = broadcast(reshape(wrap(index, shape[k]), sizes), shape, places)
            result = select(equal(here, iota(shape, k)), result, zero)
    return result


def wrap(index: Value, n: int) -> Value:
    """Negative positions on an axis of `n` counted from its end, as int64."""
    index = convert(index, np.int64)
    return (
        index if index.definition is not None and index.definition.primitive is iota_p else _wrapped(index, n)
    )


def _wrapped(index: Value, n: int) -> Value:
    return select(index < 0, index + n, index)


def gather_axis(x: Value, axis: int, index: Value) -> Value:
    """`np.take(x, index, axis)`: the axes of `index` stand where the one axis was."""
    rest = [k for k in range(x.ndim) if k != axis]
    taken = gather(permute(x, [axis, *rest]), index)
    n = index.ndim
    return permute(taken, [*range(n, n + axis), *range(n), *range(n + axis, taken.ndim)])
