"""Constant folding: arithmetic, views and reductions of repeated constants become repeated constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.ir import ArrayType, Atom, Const, Graph, Kind, Primitive
from tracejit.ops import core, diagonal, gather, joining, reduction, slicing
from tracejit.ops.arithmetic import select
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, is_zero, rewrite_to_end


def fold_constants(graph: Graph) -> Graph:
    """Replace what is computed from constants alone by its value, as a broadcast constant.

    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[3]'):
    ...     v1: 'f64[3]' = broadcast(const(2.0, 'f64'), dims=(), shape=(3,))
    ...     v2: 'f64[3]' = sqrt(v1)
    ...     v3: 'f64[3]' = multiply(v2, v1)
    ...     v4: 'f64' = reduce_sum(v3, axes=(0,))
    ...     v5: 'f64[3]' = multiply(v0, v3)
    ...     return (v5, v4)
    ... ''')
    >>> print(format_graph(fold_constants(graph)))
    def f(v0: 'f64[3]'):
        v1: 'f64[3]' = broadcast(const(2.8284271247461903, 'f64'), dims=(), shape=(3,))
        v2: 'f64[3]' = multiply(v0, v1)
        return (v2, const(8.485281374238571, 'f64'))
    """
    return rewrite_to_end(graph, FOLDING)


def _fold_elementwise(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    constants: list[Atom] = []
    for atom in inputs:
        value = b.literal(atom)
        if value is None:
            return None
        constants.append(value)
    if not inputs or not inputs[0].type.shape or not primitive.pure:
        return None
    return b.broadcast(b.emit(primitive, constants, dict(params)), inputs[0].type.shape, ())


def _fold_select(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    condition = b.literal(inputs[0])
    return None if condition is None else inputs[1 if condition.value else 2]


def _result_type(primitive: Primitive, inputs: Inputs, params: Params) -> ArrayType:
    return primitive.infer(*(a.type for a in inputs), **params)


def _fold_view(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Every element of the result is some element of the (first) operand."""
    value = b.literal(inputs[0])
    if value is None:
        return None
    return b.broadcast(value, _result_type(primitive, inputs, params).shape, ())


def _fold_padding(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Elements of the operand, or zeros."""
    value = b.literal(inputs[0])
    if value is None or not is_zero(value.value):
        return None
    return b.broadcast(value, _result_type(primitive, inputs, params).shape, ())


def _fold_concatenate(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    values = [b.literal(a) for a in inputs]
    first = values[0]
    if first is None or any(v is None or v.key != first.key for v in values):
        return None
    return b.broadcast(first, _result_type(primitive, inputs, params).shape, ())


def _reduced(b: Rewriter, inputs: Inputs, params: Params) -> tuple[Const | None, int, tuple[int, ...]]:
    """The constant that is reduced, how many times, and the shape of the result."""
    shape = inputs[0].type.shape
    kept = tuple(n for k, n in enumerate(shape) if k not in params["axes"])
    count = int(np.prod([shape[k] for k in params["axes"]], dtype=np.int64))
    return b.literal(inputs[0]), count, kept


def _fold_sum(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    value, count, shape = _reduced(b, inputs, params)
    if value is None or value.type.dtype == np.bool_:
        return None
    total = value.value.dtype.type(0)
    if count:
        with np.errstate(all="ignore"):
            total = value.value * np.asarray(count).astype(value.value.dtype)
    return b.splat(total, ArrayType(shape, value.type.dtype))


def _fold_same(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Reductions of copies of one value that give the value."""
    value, count, shape = _reduced(b, inputs, params)
    return None if value is None or not count else b.broadcast(value, shape, ())


_VIEWS: tuple[Any, ...] = (slicing.slice_op, diagonal.diagonal_op, gather.gather)
_PADDINGS: tuple[Any, ...] = (slicing.unslice, diagonal.undiagonal, gather.scatter_add)
_SAME: tuple[Any, ...] = (
    reduction.reduce_max,
    reduction.reduce_min,
    reduction.reduce_any,
    reduction.reduce_all,
)


def _table(rule: Callable[..., Any], operations: tuple[Any, ...]) -> dict[Primitive, Any]:
    return {operation.primitive: (rule,) for operation in operations}


FOLDING = Rules(
    {
        select.primitive: (_fold_select,),
        core.reshape_p: (_fold_view,),
        core.permute_p: (_fold_view,),
        **_table(_fold_view, _VIEWS),
        **_table(_fold_padding, _PADDINGS),
        joining.concatenate_op.primitive: (_fold_concatenate,),
        core.reduce_sum_p: (_fold_sum,),
        **_table(_fold_same, _SAME),
    },
    {Kind.ELEMENTWISE: (_fold_elementwise,)},
)
