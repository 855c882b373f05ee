"""Regular pieces of arrays: `slice`, its transpose `unslice`, and the NumPy functions that flip and split.

A gradient of a slice is a padded cotangent (`unslice`): each element gathers, nothing is scattered.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ShapeError
from tracejit.ir import ArrayType, Kind
from tracejit.ops.axes import normalize_axes, normalize_axis, static_int, static_ints
from tracejit.ops.core import permute, stored
from tracejit.ops.families import linear
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value

Axes = tuple[int, ...]


def _last(start: int, size: int, step: int) -> int:
    return start + step * (size - 1)


def _check_pieces(name: str, shape: Axes, starts: Axes, sizes: Axes, steps: Axes) -> None:
    for n, start, size, step in zip(shape, starts, sizes, steps, strict=True):
        if size and not (0 <= start < n and 0 <= _last(start, size, step) < n):
            raise ShapeError(f"{name}: start {start}, size {size}, step {step} leaves an axis of size {n}")


def _python_slices(starts: Axes, sizes: Axes, steps: Axes) -> tuple[slice, ...]:
    pieces: list[slice] = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop = start + step * size
        pieces.append(slice(0, 0) if size == 0 else slice(start, stop if stop >= 0 else None, step))
    return tuple(pieces)


# --- slice --------------------------------------------------------------------------------------------------


def _infer_slice(t: ArrayType, starts: Axes, sizes: Axes, steps: Axes) -> ArrayType:
    if not t.rank == len(starts) == len(sizes) == len(steps):
        raise ShapeError(f"slice: {t} needs one start, size and step an axis")
    _check_pieces("slice", t.shape, starts, sizes, steps)
    return t.with_shape(sizes)


slice_op = linear(
    "slice",
    Kind.VIEW,
    infer=_infer_slice,
    evaluate=lambda x, starts, sizes, steps: stored(x)[_python_slices(starts, sizes, steps)],
    transpose=lambda ct, in_type, starts, sizes, steps: unslice(
        ct, shape=in_type.shape, starts=starts, steps=steps
    ),
    index=lambda i, in_types, out_type, starts, sizes, steps: [
        (0, tuple(k * step + start for k, start, step in zip(i, starts, steps, strict=True)), ())
    ],
    cost=0,
)


# --- unslice ------------------------------------------------------------------------------------------------


def _infer_unslice(t: ArrayType, shape: Axes, starts: Axes, steps: Axes) -> ArrayType:
    if not t.rank == len(shape) == len(starts) == len(steps):
        raise ShapeError(f"unslice: {t} needs one size, start and step an axis")
    _check_pieces("unslice", shape, starts, t.shape, steps)
    return t.with_shape(shape)


def _evaluate_unslice(x: Any, shape: Axes, starts: Axes, steps: Axes) -> Any:
    x = stored(x)
    out = np.zeros_like(x, shape=shape)
    out[_python_slices(starts, x.shape, steps)] = x
    return out


def _unslice_axis(k: Any, n: int, start: int, size: int, step: int) -> tuple[Any, tuple[Any, ...]]:
    """Where output position `k` of an axis of `n` reads, and the guards that say it reads at all."""
    last = _last(start, size, step)
    low, high = min(start, last), max(start, last)
    guards = (() if low == 0 else (k >= low,)) + (() if high == n - 1 else (k < high + 1,))
    if size == 0:
        return k, (k < 0,)
    distance = k - start if step > 0 else start - k
    if abs(step) == 1:
        return distance, guards
    return distance // abs(step), (*guards, distance % abs(step) == 0)


def _index_unslice(
    i: Sequence[Any],
    in_types: Sequence[ArrayType],
    out_type: ArrayType,
    shape: Axes,
    starts: Axes,
    steps: Axes,
) -> list[tuple[int, tuple[Any, ...], tuple[Any, ...]]]:
    places: list[Any] = []
    guards: list[Any] = []
    for k, n, start, size, step in zip(i, shape, starts, in_types[0].shape, steps, strict=True):
        place, conditions = _unslice_axis(k, n, start, size, step)
        places.append(place)
        guards.extend(conditions)
    return [(0, tuple(places), tuple(guards))]


unslice = linear(
    "unslice",
    Kind.VIEW,
    infer=_infer_unslice,
    evaluate=_evaluate_unslice,
    transpose=lambda ct, in_type, shape, starts, steps: slice_op(
        ct, starts=starts, sizes=in_type.shape, steps=steps
    ),
    index=_index_unslice,
    cost=0,
)


# --- slices of values ---------------------------------------------------------------------------------------


def take_slices(x: Value, pieces: Sequence[tuple[int, int, int]]) -> Value:
    """The piece (start, size, step) of each axis; nothing is emitted for the whole of `x`."""
    whole = tuple((0, n, 1) for n in x.shape)
    # One spelling for equal pieces, so that equal slices are found to be equal.
    settled = tuple(
        (0, 0, 1) if size == 0 else (start, size, step if size > 1 else 1) for start, size, step in pieces
    )
    if settled == whole:
        return x
    starts, sizes, steps = (tuple(int(p[k]) for p in settled) for k in range(3))
    return slice_op(x, starts=starts, sizes=sizes, steps=steps)


def slice_axis(x: Value, axis: int, start: int, size: int, step: int = 1) -> Value:
    """`size` elements along one non-negative axis, from `start` in steps of `step`."""
    pieces = [(0, n, 1) for n in x.shape]
    pieces[axis] = (start, size, step)
    return take_slices(x, pieces)


def place(x: Value, shape: Axes, starts: Axes) -> Value:
    """`x` in a field of zeros of the given shape, its first element at `starts`."""
    return x if x.shape == shape else unslice(x, shape=shape, starts=starts, steps=(1,) * len(shape))


# --- flips --------------------------------------------------------------------------------------------------


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Value:
    """`np.flip`: the given axes (all of them by default) reversed."""
    x = as_value(m, "flip")
    axes = normalize_axes(axis, x.ndim, "flip")
    return take_slices(x, [(n - 1, n, -1) if k in axes else (0, n, 1) for k, n in enumerate(x.shape)])


@implements(np.fliplr)
def fliplr(m: Any) -> Value:
    """`np.fliplr`: axis 1 reversed."""
    x = as_value(m, "fliplr")
    if x.ndim < 2:
        raise ShapeError("fliplr: Input must be >= 2-d.")
    return flip(x, 1)


@implements(np.flipud)
def flipud(m: Any) -> Value:
    """`np.flipud`: axis 0 reversed."""
    x = as_value(m, "flipud")
    if x.ndim < 1:
        raise ShapeError("flipud: Input must be >= 1-d.")
    return flip(x, 0)


@implements(np.rot90)
def rot90(m: Any, k: Any = 1, axes: Sequence[int] = (0, 1)) -> Value:
    """`np.rot90`: `k` quarter turns in the plane of two axes."""
    x = as_value(m, "rot90")
    if len(tuple(axes)) != 2:
        raise ShapeError("rot90: len(axes) must be 2.")
    first, second = (normalize_axis(a, x.ndim, "rot90") for a in axes)
    if first == second:
        raise ShapeError("rot90: Axes must be different.")
    turns = static_int(k, "rot90: k") % 4
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    if turns == 0:
        return x
    if turns == 1:
        return permute(flip(x, second), order)
    if turns == 2:
        return flip(x, (first, second))
    return flip(permute(x, order), second)


# --- pieces -------------------------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Value]:
    """`np.array_split`: pieces between the given positions, or that many of nearly equal size."""
    x = as_value(ary, "array_split")
    k = normalize_axis(axis, x.ndim, "array_split")
    n = x.shape[k]
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)) and np.ndim(indices_or_sections):
        cuts = [0, *static_ints(indices_or_sections, "array_split: indices"), n]
    else:
        sections = static_int(indices_or_sections, "array_split: sections")
        if sections <= 0:
            raise ShapeError("array_split: number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        cuts = [j * each + min(j, extra) for j in range(sections + 1)]
    bounds = [slice(a, b).indices(n) for a, b in itertools.pairwise(cuts)]
    return [slice_axis(x, k, start, max(0, stop - start)) for start, stop, _ in bounds]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Value]:
    """`np.split`: as `array_split`, but a number of sections must divide the axis."""
    x = as_value(ary, "split")
    if not (isinstance(indices_or_sections, (list, tuple, np.ndarray)) and np.ndim(indices_or_sections)):
        sections = static_int(indices_or_sections, "split: sections")
        if sections <= 0 or x.shape[normalize_axis(axis, x.ndim, "split")] % sections:
            raise ShapeError("split: array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


def _split_along(name: str, least: int, ary: Any, indices_or_sections: Any, axis: int) -> list[Value]:
    x = as_value(ary, name)
    if x.ndim < least:
        raise ShapeError(f"{name} only works on arrays of {least} or more dimensions")
    return split(x, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """`np.hsplit`: pieces along axis 1, or along axis 0 of a vector."""
    x = as_value(ary, "hsplit")
    return _split_along("hsplit", 1, x, indices_or_sections, 1 if x.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """`np.vsplit`: pieces along axis 0."""
    return _split_along("vsplit", 2, ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """`np.dsplit`: pieces along axis 2."""
    return _split_along("dsplit", 3, ary, indices_or_sections, 2)
