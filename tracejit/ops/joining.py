"""Arrays put together: `concatenate`, and NumPy's functions that stack, append, roll, repeat and pad."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, ShapeError, UnsupportedError
from tracejit.ir import ArrayType, Kind, can_cast, check_dtype, result_type
from tracejit.ops import core
from tracejit.ops.arithmetic import full, zeros_of
from tracejit.ops.axes import is_default, normalize_axis, refuse_out, static_int, static_ints
from tracejit.ops.families import primitive
from tracejit.ops.gather import gather_axis
from tracejit.ops.shape import along_new_axis, atleast_1d, atleast_2d, atleast_3d, expand_dims, ravel, strong
from tracejit.ops.slicing import place, slice_axis
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value, freeze

# --- the primitive --------------------------------------------------------------------------------------


def _infer_concatenate(*types: ArrayType, axis: int) -> ArrayType:
    first = types[0]
    for t in types:
        rest = t.shape[:axis] + t.shape[axis + 1 :]
        if t.dtype != first.dtype or rest != first.shape[:axis] + first.shape[axis + 1 :]:
            raise ShapeError(f"concatenate: operands do not fit, {first} and {t} along axis {axis}")
    total = sum(t.shape[axis] for t in types)
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _offsets(sizes: Sequence[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)]


def _index_concatenate(
    i: Sequence[Any], in_types: Sequence[ArrayType], out_type: ArrayType, axis: int
) -> list[tuple[int, tuple[Any, ...], tuple[Any, ...]]]:
    ends = _offsets([t.shape[axis] for t in in_types])
    entries: list[tuple[int, tuple[Any, ...], tuple[Any, ...]]] = []
    for number, (start, stop) in enumerate(itertools.pairwise(ends)):
        place = (*i[:axis], i[axis] - start if start else i[axis], *i[axis + 1 :])
        entries.append((number, place, () if stop == ends[-1] else (i[axis] < stop,)))
        if stop == ends[-1]:
            break
    return entries


def _concatenate_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, axis: int
) -> Value | None:
    if all(t is None for t in tangents):
        return None
    parts = [zeros_of(p.type) if t is None else t for p, t in zip(primals, tangents, strict=True)]
    return concatenate_op(*parts, axis=axis)


def _concatenate_vjp(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], axis: int
) -> tuple[Value | None, ...]:
    starts = _offsets([p.shape[axis] for p in primals])
    return tuple(
        slice_axis(ct, axis, start, p.shape[axis]) if need else None
        for need, start, p in zip(needed, starts, primals, strict=False)
    )


concatenate_op = primitive(
    "concatenate",
    Kind.VIEW,
    infer=_infer_concatenate,
    evaluate=lambda *arrays, axis: np.concatenate(arrays, axis=axis),
    jvp=_concatenate_jvp,
    vjp=_concatenate_vjp,
    index=_index_concatenate,
    cost=0,
)


def join(values: Sequence[Value], axis: int) -> Value:
    """Values of one dtype end to end along a non-negative axis; empty ones are left out."""
    parts = [v for v in values if v.shape[axis]] or list(values[:1])
    return parts[0] if len(parts) == 1 else concatenate_op(*parts, axis=axis)


# --- nested lists ---------------------------------------------------------------------------------------


def has_values(x: Any) -> bool:
    """Is there a traced value anywhere in nested lists and tuples?"""
    return isinstance(x, Value) or (isinstance(x, (list, tuple)) and any(has_values(k) for k in x))


def array(x: Any, dtype: Any = None, what: str = "array") -> Value:
    """`np.array(x)` where `x` may be nested lists with traced values in them; Python numbers are strong."""
    if isinstance(x, (list, tuple)) and has_values(x):
        value = stack([array(k, what=what) for k in x])
    elif isinstance(x, (list, tuple)):
        value = as_value(np.asarray(x), what)
    else:
        value = strong(as_value(x, what))
    return value if is_default(dtype) else core.convert(value, check_dtype(np.dtype(dtype), what))


def sequence(x: Any, name: str) -> list[Any]:
    """The arrays to join: a list, a tuple, or the pieces of an array along its first axis."""
    if isinstance(x, (list, tuple)):
        return list(x)
    if isinstance(x, np.ndarray):
        x = as_value(x)
    if not isinstance(x, Value):
        raise ArgumentError(f"{name}: arrays to join must be given as a sequence, got {type(x).__name__}")
    if not x.ndim:
        raise ArgumentError(f"{name}: iteration over a 0-d array")
    return [core.reshape(slice_axis(x, 0, k, 1), x.shape[1:]) for k in range(x.shape[0])]


def _common_dtype(name: str, values: Sequence[Value], dtype: Any, casting: str) -> list[Value]:
    weak = [v.weak or v.dtype for v in values]
    examples = [w(0) if isinstance(w, type) else w for w in weak]
    target = check_dtype(result_type(*examples, what=name) if is_default(dtype) else np.dtype(dtype), name)
    for v in values:
        if not is_default(dtype) and not can_cast(v.dtype, target, casting):
            raise ArgumentError(f"{name}: cannot cast {v.dtype} to {target} with casting={casting!r}")
    return [core.convert(v, target) for v in values]


def _check_joinable(values: Sequence[Value], axis: int) -> None:
    first = values[0]
    for number, v in enumerate(values):
        if v.ndim != first.ndim:
            raise ShapeError(
                "concatenate: all the input arrays must have same number of dimensions, but the array at "
                f"index 0 has {first.ndim} dimension(s) and the array at index {number} has {v.ndim} "
                "dimension(s)"
            )
        for k in range(first.ndim):
            if k != axis and v.shape[k] != first.shape[k]:
                raise ShapeError(
                    "concatenate: all the input array dimensions except for the concatenation axis must "
                    f"match exactly, but along dimension {k}, the array at index 0 has size {first.shape[k]} "
                    f"and the array at index {number} has size {v.shape[k]}"
                )


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Value:
    """`np.concatenate`: arrays end to end along an axis they have; flattened first with `axis=None`."""
    refuse_out("concatenate", out)
    items = sequence(arrays, "concatenate")
    if not items:
        raise ShapeError("concatenate: need at least one array to concatenate")
    values = [array(a) if isinstance(a, (list, tuple)) else as_value(a, "concatenate") for a in items]
    values = _common_dtype("concatenate", values, dtype, casting)
    if axis is None:
        return join([core.reshape(v, (v.size,)) for v in values], 0)
    if not all(v.ndim for v in values):
        raise ShapeError("concatenate: zero-dimensional arrays cannot be concatenated")
    k = normalize_axis(axis, values[0].ndim, "concatenate")
    _check_joinable(values, k)
    return join(values, k)


@implements(np.stack)
def stack(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Value:
    """`np.stack`: arrays of one shape along a new axis."""
    refuse_out("stack", out)
    values = [array(a) for a in sequence(arrays, "stack")]
    if not values:
        raise ShapeError("stack: need at least one array to stack")
    if any(v.shape != values[0].shape for v in values):
        raise ShapeError("stack: all input arrays must have the same shape")
    k = normalize_axis(axis, values[0].ndim + 1, "stack")
    return concatenate([expand_dims(v, k) for v in values], k, dtype=dtype, casting=casting)


def _joined(tup: Any, name: str, shaped: Callable[..., Any], axis: int, dtype: Any, casting: str) -> Value:
    values = [shaped(array(a)) for a in sequence(tup, name)]
    k = 0 if values and values[0].ndim == 1 else axis
    return concatenate(values, k, dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Value:
    """`np.vstack`: rows above one another."""
    return _joined(tup, "vstack", atleast_2d, 0, dtype, casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Value:
    """`np.hstack`: along axis 1, vectors along axis 0."""
    return _joined(tup, "hstack", atleast_1d, 1, dtype, casting)


@implements(np.dstack)
def dstack(tup: Any) -> Value:
    """`np.dstack`: along axis 2, matrices becoming (n, m, 1)."""
    return _joined(tup, "dstack", atleast_3d, 2, None, "same_kind")


@implements(np.column_stack)
def column_stack(tup: Any) -> Value:
    """`np.column_stack`: vectors as the columns of a matrix."""

    def columns(v: Value) -> Value:
        return v if v.ndim > 1 else core.reshape(v, (v.size, 1))

    return _joined(tup, "column_stack", columns, 1, None, "same_kind")


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Value:
    """`np.append`: `values` after `arr` along an axis, both flattened by default."""
    first, second = array(arr), array(values)
    if axis is None:
        return concatenate([ravel(first), ravel(second)])
    return concatenate([first, second], axis)


@implements(np.block)
def block(arrays: Any) -> Value:
    """`np.block`: nested lists of blocks, innermost along the last axis."""

    def depth(x: Any) -> int:
        return 1 + max(map(depth, x), default=0) if isinstance(x, list) else 0

    def joined(x: Any, level: int) -> Value:
        if isinstance(x, list) and not x:
            raise ShapeError("block: List at arrays cannot be empty")
        return concatenate([joined(k, level - 1) for k in x], -level) if isinstance(x, list) else wide(x)

    def wide(x: Any) -> Value:
        v = array(x)
        return core.reshape(v, (1,) * (rank - v.ndim) + v.shape)

    def ranks(x: Any) -> int:
        return max(map(ranks, x), default=0) if isinstance(x, list) else array(x).ndim

    levels = depth(arrays)
    rank = max(levels, ranks(arrays))
    return joined(arrays, levels)


# --- rolling and repeating ------------------------------------------------------------------------------


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Value:
    """`np.roll`: elements that leave at one end of an axis come back at the other."""
    x = strong(as_value(a, "roll"))
    if axis is None:
        total = sum(static_ints(shift, "roll: shift"))
        return core.reshape(roll(core.reshape(x, (x.size,)), total, 0), x.shape)
    axes = static_ints(axis, "roll: axis")
    shifts = static_ints(shift, "roll: shift")
    try:
        pairs = np.broadcast(np.array(shifts), np.array(axes))
    except ValueError:
        raise ShapeError("roll: 'shift' and 'axis' should be scalars or 1D sequences") from None
    totals = dict.fromkeys(range(x.ndim), 0)
    for by, k in pairs:
        totals[normalize_axis(k, x.ndim, "roll")] += int(by)
    for k, by in totals.items():
        n = x.shape[k]
        if n and by % n:
            cut = n - by % n
            x = join([slice_axis(x, k, cut, n - cut), slice_axis(x, k, 0, cut)], k)
    return x


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Value:
    """`np.repeat`: each element several times; one number, or a constant array of one number an element."""
    x = strong(as_value(a, "repeat"))
    if axis is None or not x.ndim:
        x, axis = core.reshape(x, (x.size,)), axis or 0
    k = normalize_axis(axis, x.ndim, "repeat")
    counts = static_ints(freeze(repeats) if isinstance(repeats, np.ndarray) else repeats, "repeat: repeats")
    n = x.shape[k]
    if any(c < 0 for c in counts):
        raise ShapeError("repeat: repeats may not contain negative values.")
    if len(counts) not in (1, n):
        raise ShapeError(
            f"repeat: operands could not be broadcast together with shape ({n},) ({len(counts)},)"
        )
    if len(set(counts)) == 1 or n == 0:
        count = counts[0] if counts else 0
        result = (*x.shape[:k], n * count, *x.shape[k + 1 :])
        return core.reshape(along_new_axis(x, k + 1, count), result)
    return gather_axis(x, k, as_value(np.repeat(np.arange(n), counts)))


# --- padding --------------------------------------------------------------------------------------------

PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def runs(positions: Sequence[int]) -> list[tuple[int, int, int]]:
    """Integers as (start, size, step) runs with steps 1, -1 or 0.

    >>> runs([2, 1, 0, 1, 2, 2, 2])
    [(2, 3, -1), (1, 2, 1), (2, 2, 0)]
    """
    found: list[tuple[int, int, int]] = []
    for p in positions:
        if found:
            start, size, step = found[-1]
            ahead = p - (start + step * (size - 1))
            if (size == 1 and abs(ahead) <= 1) or (size > 1 and ahead == step):
                found[-1] = (start, size + 1, ahead)
                continue
        found.append((p, 1, 1))
    return found


def take_runs(x: Value, axis: int, found: Sequence[tuple[int, int, int]]) -> Value:
    """The runs of positions along an axis, one after the other."""
    parts: list[Value] = []
    for start, size, step in found:
        part = slice_axis(x, axis, start, size if step else 1, step or 1)
        parts.append(part if step else core.broadcast_to(part, (*x.shape[:axis], size, *x.shape[axis + 1 :])))
    return join(parts, axis) if parts else slice_axis(x, axis, 0, 0)


def _listed(x: Any) -> list[Any] | None:
    """The elements of a list, tuple or array of at least one axis; None for a single number."""
    if isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.ndim):
        return list(x)
    return None


def _per_side(given: Any, rank: int, name: str) -> list[tuple[Any, Any]]:
    """NumPy's short forms of one pair an axis: a number, a pair, or one pair for all."""
    if isinstance(given, dict):
        pairs: list[tuple[Any, Any]] = [(0, 0)] * rank
        for axis, width in given.items():
            pairs[normalize_axis(axis, rank, "pad")] = (width, width) if np.ndim(width) == 0 else tuple(width)
        return pairs
    listed = _listed(given)
    if listed is None:
        return [(given, given)] * rank
    rows = [_listed(r) for r in listed]
    if all(r is None for r in rows) and len(listed) <= 2:
        return [(listed[0], listed[-1])] * rank
    pairs = [(r[0], r[-1]) for r in rows if r]
    if len(pairs) not in (1, rank):
        raise ShapeError(f"pad: {name} does not broadcast to one pair for each of {rank} axes")
    return pairs * rank if len(pairs) == 1 else pairs


def _pad_constant(x: Value, widths: Sequence[tuple[int, int]], fills: Sequence[tuple[Any, Any]]) -> Value:
    plain = [f for pair in fills for f in pair]
    if not any(isinstance(f, Value) for f in plain) and not np.any(np.asarray(plain)):
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
        return place(x, shape, tuple(a for a, _ in widths))
    for k, (width, fill) in enumerate(zip(widths, fills, strict=True)):
        parts = [
            full((*x.shape[:k], w, *x.shape[k + 1 :]), strong(as_value(f)), x.dtype) if w else None
            for w, f in zip(width, fill, strict=True)
        ]
        x = join([p for p in (parts[0], x, parts[1]) if p is not None], k)
    return x


@implements(np.pad)
def pad(
    array: Any,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = 0,
    reflect_type: str = "even",
) -> Value:
    """`np.pad` in the modes constant, edge, reflect, symmetric and wrap."""
    x = strong(as_value(array, "pad"))
    if mode not in PAD_MODES or reflect_type != "even":
        what = f"mode={mode!r}" if mode not in PAD_MODES else f"reflect_type={reflect_type!r}"
        raise UnsupportedError(f"pad: {what} is not supported", hint=f"use one of {', '.join(PAD_MODES)}")
    widths = [
        (static_int(a, "pad: pad_width"), static_int(b, "pad: pad_width"))
        for a, b in _per_side(pad_width, x.ndim, "pad_width")
    ]
    if any(w < 0 for pair in widths for w in pair):
        raise ShapeError("pad: index can't contain negative values")
    if mode == "constant":
        return _pad_constant(x, widths, _per_side(constant_values, x.ndim, "constant_values"))
    for k, width in enumerate(widths):
        if any(width):
            if x.shape[k] == 0:
                raise ShapeError(
                    f"pad: can't extend empty axis {k} using modes other than 'constant' or 'empty'"
                )
            positions = np.pad(np.arange(x.shape[k]), width, mode=mode)  # type: ignore[call-overload]
            x = take_runs(x, k, runs(positions.tolist()))
    return x
