"""Sums of products of two arrays: the primitive `dot_general`, and NumPy's products that are one of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, DTypeError, ShapeError
from tracejit.ir import ArrayType, Kind, check_dtype, result_type
from tracejit.ops.arithmetic import multiply
from tracejit.ops.axes import normalize_axis, refuse_out, static_ints
from tracejit.ops.core import broadcast, broadcast_to, convert, permute, reduce_sum, reshape, stored
from tracejit.ops.families import multilinear
from tracejit.ops.joining import array
from tracejit.ops.reduction import reduce_any
from tracejit.ops.tables import implements
from tracejit.ops.value import Value

Axes = tuple[int, ...]
AxisPairs = tuple[Axes, Axes]


# --- dot_general -------------------------------------------------------------------------------------------


def free_axes(rank: int, contract: Axes, batch: Axes) -> Axes:
    """The axes of one operand that are neither summed over nor shared."""
    return tuple(k for k in range(rank) if k not in contract and k not in batch)


def _infer_dot(
    a: ArrayType, b: ArrayType, contract: AxisPairs, batch: AxisPairs, scale: float = 1.0
) -> ArrayType:
    if a.dtype != b.dtype:
        raise DTypeError(f"dot_general: operands must be promoted first, {a} @ {b}")
    for kind, (left, right) in (("contracted", contract), ("batch", batch)):
        sizes = [a.shape[k] for k in left], [b.shape[k] for k in right]
        if sizes[0] != sizes[1]:
            raise ShapeError(
                f"dot_general: {kind} sizes differ, {a} and {b} along {list(left)} and {list(right)}"
            )
    shared = tuple(a.shape[k] for k in batch[0])
    left = tuple(a.shape[k] for k in free_axes(a.rank, contract[0], batch[0]))
    right = tuple(b.shape[k] for k in free_axes(b.rank, contract[1], batch[1]))
    return ArrayType(shared + left + right, a.dtype)


def _evaluate_dot(
    a: Any, b: Any, contract: AxisPairs, batch: AxisPairs, scale: float = 1.0, out: Any = None
) -> Any:
    product = _evaluate_product(stored(a), stored(b), contract, batch, out)
    return product if scale == 1 else np.multiply(product, product.dtype.type(scale), out=out)


def _evaluate_product(a: Any, b: Any, contract: AxisPairs, batch: AxisPairs, out: Any) -> Any:
    free_a, free_b = free_axes(a.ndim, contract[0], batch[0]), free_axes(b.ndim, contract[1], batch[1])
    shared = tuple(a.shape[k] for k in batch[0])
    shape_a, shape_b = tuple(a.shape[k] for k in free_a), tuple(b.shape[k] for k in free_b)
    inner = math.prod(a.shape[k] for k in contract[0])
    left = a.transpose(batch[0] + free_a + contract[0]).reshape(*shared, math.prod(shape_a), inner)
    right = b.transpose(batch[1] + contract[1] + free_b).reshape(*shared, inner, math.prod(shape_b))
    if out is not None:
        np.matmul(left, right, out=out.reshape(*shared, math.prod(shape_a), math.prod(shape_b)))
        return out
    return np.matmul(left, right).reshape(shared + shape_a + shape_b)


def _places(axes: Axes, wanted: Axes) -> Axes:
    """Positions of `wanted` within `axes`."""
    return tuple(axes.index(k) for k in wanted)


def _transpose_left(
    ct: Value, a: Value, b: Value, contract: AxisPairs, batch: AxisPairs, scale: float = 1.0
) -> Value:
    """The cotangent of `a`: `ct` with `b`'s free axes summed away, its dimensions put back in `a`'s order."""
    free_a, free_b = free_axes(a.ndim, contract[0], batch[0]), free_axes(b.ndim, contract[1], batch[1])
    n, m = len(batch[0]), len(free_a)
    ct = ct if scale == 1 else multiply(ct, scale)
    in_ct = tuple(range(n + m, n + m + len(free_b)))
    product = dot_product(ct, b, (in_ct, free_b), (tuple(range(n)), batch[1]))
    # What is left of b are its contracted axes, in the order in which b holds them.
    partner = dict(zip(contract[1], contract[0], strict=True))
    order = batch[0] + free_a + tuple(partner[k] for k in sorted(contract[1]))
    return permute(product, _places(order, tuple(range(a.ndim))))


def _transpose_right(
    ct: Value, a: Value, b: Value, contract: AxisPairs, batch: AxisPairs, scale: float = 1.0
) -> Value:
    """The cotangent of `b`: `ct` with `a`'s free axes summed away, its dimensions put back in `b`'s order."""
    free_a, free_b = free_axes(a.ndim, contract[0], batch[0]), free_axes(b.ndim, contract[1], batch[1])
    n, m = len(batch[0]), len(free_a)
    ct = ct if scale == 1 else multiply(ct, scale)
    in_ct = tuple(range(n, n + m))
    product = dot_product(a, ct, (free_a, in_ct), (batch[0], tuple(range(n))))
    partner = dict(zip(contract[0], contract[1], strict=True))
    order = batch[1] + tuple(partner[k] for k in sorted(contract[0])) + free_b
    return permute(product, _places(order, tuple(range(b.ndim))))


# Dimensions of the result: the batch axes, the free axes of `a`, the free axes of `b`. A `scale` multiplies
# it; passes put it there, and it is neither 0 nor infinite nor nan.
_dot_general = multilinear(
    "dot_general",
    Kind.CONTRACTION,
    infer=_infer_dot,
    evaluate=_evaluate_dot,
    evaluate_into=lambda out, a, b, **params: _evaluate_dot(a, b, **params, out=out),
    transposes=(_transpose_left, _transpose_right),
)


def _spread_out(a: Value, b: Value, contract: AxisPairs, batch: AxisPairs) -> tuple[Value, Value, int]:
    """Both operands broadcast to (batch, free of `a`, free of `b`, contracted), and the number contracted."""
    free_a, free_b = free_axes(a.ndim, contract[0], batch[0]), free_axes(b.ndim, contract[1], batch[1])
    n, m, p, q = len(batch[0]), len(free_a), len(free_b), len(contract[0])
    sizes = [a.shape[k] for k in batch[0] + free_a] + [b.shape[k] for k in free_b]
    shape = (*sizes, *(a.shape[k] for k in contract[0]))
    left, right = [0] * a.ndim, [0] * b.ndim
    tail = range(n + m + p, n + m + p + q)
    for k, d in zip(batch[0] + free_a + contract[0], (*range(n + m), *tail), strict=True):
        left[k] = d
    for k, d in zip(
        batch[1] + free_b + contract[1], (*range(n), *range(n + m, n + m + p), *tail), strict=True
    ):
        right[k] = d
    return broadcast(a, shape, left), broadcast(b, shape, right), q


def lower_contraction(value_a: Value, value_b: Value, contract: AxisPairs, batch: AxisPairs) -> Value:
    """`dot_general` of the same operands as a product of broadcasts, summed: small ones fuse better so."""
    left, right, q = _spread_out(value_a, value_b, contract, batch)
    product = multiply(left, right)
    axes = tuple(range(product.ndim - q, product.ndim))
    if product.dtype == np.bool_ and axes:
        return reduce_any(product, axes=axes)
    return reduce_sum(product, axes)


def dot_product(a: Value, b: Value, contract: AxisPairs, batch: AxisPairs) -> Value:
    """`dot_general` of operands of one dtype; a plain product of broadcasts where nothing is summed over."""
    if not contract[0]:
        return lower_contraction(a, b, contract, batch)
    return _dot_general(a, b, contract=contract, batch=batch)


def dot_general(
    a: Any,
    b: Any,
    contract: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Value:
    """Products of `a` and `b` summed over pairs of contracted axes, for each position of pairs of batch axes.

    The result's dimensions are the batch axes, then the free axes of `a`, then those of `b`. Axes are
    non-negative; operands are promoted to NumPy's common dtype.
    """
    x, y = promote_pair("dot_general", a, b)
    pairs = ((tuple(contract[0]), tuple(contract[1])), (tuple(batch[0]), tuple(batch[1])))
    return dot_product(x, y, *pairs)


def promote_pair(name: str, a: Any, b: Any) -> tuple[Value, Value]:
    """Both operands in their common dtype."""
    x, y = array(a, what=f"{name}: operand 0"), array(b, what=f"{name}: operand 1")
    common = check_dtype(result_type(x.dtype, y.dtype, what=name), f"{name} of {x.type} and {y.type}")
    return convert(x, common), convert(y, common)


# --- matmul and its kin: broadcasting over leading axes ----------------------------------------------------


def _batch_shape(name: str, a: Value, b: Value, left: Axes, right: Axes) -> Axes:
    try:
        return np.broadcast_shapes(left, right)
    except ValueError:
        raise ShapeError(
            f"{name}: batch shapes do not broadcast, {a.type} @ {b.type}",
            hint=f"the leading axes {list(left)} and {list(right)} must be equal or 1, counted from the last",
        ) from None


def _without_repeats(x: Value, lead: int, shape: Axes) -> tuple[Value, dict[int, int]]:
    """`x` without leading axes of size 1 that repeat, and the axis that is left for positions in `shape`."""
    offset = len(shape) - lead
    kept = [k for k in range(lead) if x.shape[k] == shape[k + offset]]
    squeezed = reshape(x, (*(x.shape[k] for k in kept), *x.shape[lead:]))
    return squeezed, {k + offset: j for j, k in enumerate(kept)}


def contract_cores(
    name: str, a: Value, b: Value, core_a: int, core_b: int, axis_a: int, axis_b: int
) -> Value:
    """Sum over one of the last `core_a` axes of `a` and one of the last `core_b` of `b` (negative numbers).

    Leading axes broadcast. An axis that only one operand has stays free, so that a matrix shared by a batch
    makes one large product instead of many small ones.
    """
    lead_a, lead_b = a.ndim - core_a, b.ndim - core_b
    shape = _batch_shape(name, a, b, a.shape[:lead_a], b.shape[:lead_b])
    x, at_x = _without_repeats(a, lead_a, shape)
    y, at_y = _without_repeats(b, lead_b, shape)
    shared = tuple(p for p in range(len(shape)) if p in at_x and p in at_y)
    batch = (tuple(at_x[p] for p in shared), tuple(at_y[p] for p in shared))
    product = dot_product(x, y, ((axis_a + x.ndim,), (axis_b + y.ndim,)), batch)
    only_x = tuple(p for p in range(len(shape)) if p in at_x and p not in at_y)
    only_y = tuple(p for p in range(len(shape)) if p in at_y and p not in at_x)
    # Positions of the result's dimensions, the core ones counted on from the batch.
    first, second = len(shape), len(shape) + core_a - 1
    order = shared + only_x + tuple(range(first, second)) + only_y + tuple(range(second, second + core_b - 1))
    return permute(product, _places(order, tuple(range(len(order)))))


def _check_inner(name: str, a: Value, b: Value, axis_a: int, axis_b: int, sides: str) -> None:
    n, m = a.shape[axis_a], b.shape[axis_b]
    if n != m:
        raise ShapeError(f"{name}: inner sizes differ, {a.type} @ {b.type}", hint=sides.format(n, m))


_MATMUL = "the last axis of the left operand ({}) must equal the second to last of the right one ({})"
_LAST = "the last axis of the left operand ({}) must equal the only axis of the right one ({})"
_BOTH = "the last axis of the left operand ({}) must equal the last of the right one ({})"


def _matrix_product(name: str, a: Value, b: Value) -> Value:
    core_a, core_b = min(a.ndim, 2), min(b.ndim, 2)
    axis_b = -2 if core_b == 2 else -1
    _check_inner(name, a, b, -1, axis_b, _MATMUL if core_b == 2 else _LAST)
    return contract_cores(name, a, b, core_a, core_b, -1, axis_b)


def _operands(name: str, x1: Any, x2: Any, least: Axes) -> tuple[Value, Value]:
    """Both operands in their common dtype; each must have at least so many dimensions."""
    a, b = promote_pair(name, x1, x2)
    for side, x, n in (("left", a, least[0]), ("right", b, least[1])):
        if x.ndim < n:
            raise ShapeError(
                f"{name}: the {side} operand needs {n} dimension(s) or more, got {x.type}",
                hint="use * to multiply by a scalar" if x.ndim == 0 else None,
            )
    return a, b


@implements(np.matmul, np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Value:
    """`np.matmul`: matrix products over broadcast leading axes; vectors are rows left, columns right."""
    return _matrix_product("matmul", *_operands("matmul", x1, x2, (1, 1)))


@implements(np.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: Any = -1) -> Value:
    """`np.vecdot`: products summed over one axis, by default the last."""
    a, b = _operands("vecdot", x1, x2, (1, 1))
    a, b = _axis_last(a, axis, "vecdot"), _axis_last(b, axis, "vecdot")
    _check_inner("vecdot", a, b, -1, -1, _BOTH)
    return contract_cores("vecdot", a, b, 1, 1, -1, -1)


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: Any = -1) -> Value:
    """`np.linalg.vecdot`."""
    return vecdot(x1, x2, axis=axis)


def _axis_last(x: Value, axis: Any, name: str) -> Value:
    k = normalize_axis(axis, x.ndim, name)
    return permute(x, (*(j for j in range(x.ndim) if j != k), k))


# NumPy has matvec and vecmat from 2.2 on.
@implements(*([np.matvec] if hasattr(np, "matvec") else []))
def matvec(x1: Any, x2: Any, /) -> Value:
    """`np.matvec`: matrices times vectors, over broadcast leading axes."""
    a, b = _operands("matvec", x1, x2, (2, 1))
    _check_inner("matvec", a, b, -1, -1, _BOTH)
    return contract_cores("matvec", a, b, 2, 1, -1, -1)


@implements(*([np.vecmat] if hasattr(np, "vecmat") else []))
def vecmat(x1: Any, x2: Any, /) -> Value:
    """`np.vecmat`: vectors times matrices, over broadcast leading axes."""
    a, b = _operands("vecmat", x1, x2, (1, 2))
    _check_inner("vecmat", a, b, -1, -2, _MATMUL)
    return contract_cores("vecmat", a, b, 1, 2, -1, -2)


# --- dot, inner, outer, tensordot --------------------------------------------------------------------------


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Value:
    """`np.dot`: the last axis of `a` with the second to last of `b` (its only one, if it is a vector)."""
    refuse_out("dot", out)
    x, y = promote_pair("dot", a, b)
    if not x.ndim or not y.ndim:
        return multiply(x, y)
    axis = -2 if y.ndim > 1 else -1
    _check_inner("dot", x, y, -1, axis, _MATMUL if y.ndim > 1 else _LAST)
    return dot_product(x, y, ((x.ndim - 1,), (y.ndim + axis,)), ((), ()))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Value:
    """`np.inner`: products summed over the last axes of both."""
    x, y = promote_pair("inner", a, b)
    if not x.ndim or not y.ndim:
        return multiply(x, y)
    _check_inner("inner", x, y, -1, -1, _BOTH)
    return dot_product(x, y, ((x.ndim - 1,), (y.ndim - 1,)), ((), ()))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Value:
    """`np.vdot`: products summed over all elements, in row-major order."""
    x, y = promote_pair("vdot", a, b)
    if x.size != y.size:
        raise ShapeError(f"vdot: sizes differ, {x.type} and {y.type}")
    return dot_product(reshape(x, (x.size,)), reshape(y, (y.size,)), ((0,), (0,)), ((), ()))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Value:
    """`np.outer`: all products of an element of `a` with one of `b`, both flattened."""
    refuse_out("outer", out)
    x, y = promote_pair("outer", a, b)
    return dot_product(reshape(x, (x.size,)), reshape(y, (y.size,)), ((), ()), ((), ()))


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Value:
    """`np.linalg.outer`: `np.outer` of vectors only."""
    a, b = array(x1, what="outer"), array(x2, what="outer")
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"linalg.outer: both operands must be vectors, got {a.type} and {b.type}")
    return outer(a, b)


def _tensordot_axes(axes: Any, a: Value, b: Value) -> AxisPairs:
    if isinstance(axes, (int, np.integer)):
        n = int(axes)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: cannot sum over {n} axes of {a.type} and {b.type}")
        return tuple(range(a.ndim - n, a.ndim)), tuple(range(n))
    try:
        left, right = axes
    except (TypeError, ValueError):
        raise ArgumentError("tensordot: axes must be an integer or two sequences of integers") from None
    pairs = (
        tuple(normalize_axis(k, a.ndim, "tensordot") for k in static_ints(left, "tensordot: axes")),
        tuple(normalize_axis(k, b.ndim, "tensordot") for k in static_ints(right, "tensordot: axes")),
    )
    if len(pairs[0]) != len(pairs[1]) or any(len(set(p)) != len(p) for p in pairs):
        raise ShapeError(f"tensordot: axes {axes} do not pair distinct axes of {a.type} and {b.type}")
    return pairs


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Value:
    """`np.tensordot`: products summed over pairs of axes; n: the last n of `a` with the first n of `b`."""
    x, y = promote_pair("tensordot", a, b)
    contract = _tensordot_axes(axes, x, y)
    if [x.shape[k] for k in contract[0]] != [y.shape[k] for k in contract[1]]:
        raise ShapeError(
            f"tensordot: sizes differ, {x.type} and {y.type} along {contract[0]} and {contract[1]}"
        )
    return dot_product(x, y, contract, ((), ()))


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Value:
    """`np.linalg.tensordot`."""
    return tensordot(x1, x2, axes)


@implements(np.kron)
def kron(a: Any, b: Any) -> Value:
    """`np.kron`: blocks of `b`, each times one element of `a`."""
    x, y = promote_pair("kron", a, b)
    rank = max(x.ndim, y.ndim)
    left = (1,) * (rank - x.ndim) + x.shape
    right = (1,) * (rank - y.ndim) + y.shape
    wide_left = tuple(n for pair in zip(left, (1,) * rank, strict=True) for n in pair)
    wide_right = tuple(n for pair in zip((1,) * rank, right, strict=True) for n in pair)
    shape = tuple(n for pair in zip(left, right, strict=True) for n in pair)
    product = multiply(
        broadcast_to(reshape(x, wide_left), shape), broadcast_to(reshape(y, wide_right), shape)
    )
    return reshape(product, tuple(n * m for n, m in zip(left, right, strict=True)))
