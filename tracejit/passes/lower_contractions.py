"""Contractions: small and memory-bound ones become products and sums that fuse; others become calls."""

from __future__ import annotations

import math
from typing import Any

from tracejit.costs import CLEAR, COSTS
from tracejit.ir import ArrayType, Atom, Graph, Primitive, building
from tracejit.ops import core
from tracejit.ops.contraction import AxisPairs, free_axes, lower_contraction
from tracejit.ops.tables import PRIMITIVES
from tracejit.ops.value import Value
from tracejit.passes.rewriting import Axes, Inputs, Params, Rewriter, Rules, rewrite_to_end
from tracejit.passes.views import VIEWS

_DOT = PRIMITIVES["dot_general"]

# So few products an element cost less than the way of the result through memory, from a call to its reader.
SMALL_INNER = 4


def lower_contractions(graph: Graph, products: str = "auto") -> Graph:
    """Turn small contractions (`is_small_contraction`) into a product and a sum; the others take up permutes.

    products: "loop" turns all of them, "library" none
    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[900,30]', v1: 'f64[30]', v2: 'f64[30,40]'):
    ...     v3: 'f64[900]' = dot_general(v0, v1, batch=((), ()), contract=((1,), (0,)))
    ...     v4: 'f64[40,30]' = permute(v2, axes=(1, 0))
    ...     v5: 'f64[900,40]' = dot_general(v0, v4, batch=((), ()), contract=((1,), (1,)))
    ...     return (v3, v5)
    ... ''')
    >>> print(format_graph(lower_contractions(graph)))
    def f(v0: 'f64[900,30]', v1: 'f64[30]', v2: 'f64[30,40]'):
        v3: 'f64[900,30]' = broadcast(v1, dims=(1,), shape=(900, 30))
        v4: 'f64[900,30]' = multiply(v0, v3)
        v5: 'f64[900]' = reduce_sum(v4, axes=(1,))
        v6: 'f64[900,40]' = dot_general(v0, v2, batch=((), ()), contract=((1,), (0,)))
        return (v5, v6)
    """
    return rewrite_to_end(graph, _CONTRACTIONS[products])


def is_small_contraction(a: ArrayType, b: ArrayType, contract: AxisPairs, batch: AxisPairs) -> bool:
    """Does a fused loop serve this contraction better than a library call?

    Always for integers and booleans, which BLAS does not know; for a matrix times a vector, a dot product or
    an outer product: every element of the large operand is read once, so memory bounds it, and a loop that
    also computes that operand or uses the result saves a pass over memory; and for sums of a few products
    (distances of points in space), whose result is all that crosses memory. Otherwise `costs.py` says so: a
    loop saves the call, and where a side is short the packing that a call does.
    """
    left, right = free_axes(a.rank, contract[0], batch[0]), free_axes(b.rank, contract[1], batch[1])
    m, n = math.prod(a.shape[k] for k in left), math.prod(b.shape[k] for k in right)
    k = math.prod(a.shape[k] for k in contract[0])
    batches = math.prod(a.shape[k] for k in batch[0])
    if not a.is_float or min(m, n, k, batches) == 0 or min(m, n) == 1 or k <= SMALL_INNER:
        return True
    sizes = (m, n, k, batches, a.dtype.itemsize)
    by_rows = max(contract[0]) < min(left), max(contract[1]) < min(right)  # are columns side by side?
    if by_rows == (False, False):
        loop = COSTS.product_dots(*sizes)
    elif by_rows[1]:
        loop = COSTS.product_loop(*sizes, read_once=by_rows[0])
    else:  # lanes run along the rows of the result
        loop = COSTS.product_loop(n, m, k, batches, a.dtype.itemsize)
    return loop < CLEAR * COSTS.product_call(*sizes)


def _lower(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    contract, batch = params["contract"], params["batch"]
    if not is_small_contraction(x.type, y.type, contract, batch):
        return None
    return _as_loop(b, primitive, inputs, params)


def _as_loop(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    x, y = inputs
    with building(b):
        result = lower_contraction(Value(b, x), Value(b, y), params["contract"], params["batch"])
    return result.atom


def _fold_permutes(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """A contraction may run over any axes, so permuted operands are read where they lie."""
    operands, axes = list(inputs), [params["contract"], params["batch"]]
    for side in (0, 1):
        eqn = b.defined_by(inputs[side], core.permute_p)
        if eqn is None:
            continue
        order = eqn.params["axes"]
        free = [order[k] for k in free_axes(len(order), params["contract"][side], params["batch"][side])]
        if free != sorted(free):
            continue
        operands[side] = eqn.inputs[0]
        axes = [_replace(pair, side, tuple(order[k] for k in pair[side])) for pair in axes]
    if all(old is new for old, new in zip(inputs, operands, strict=True)):
        return None
    return b.emit(primitive, operands, {"contract": axes[0], "batch": axes[1]})


def _replace(pair: AxisPairs, side: int, axes: Axes) -> AxisPairs:
    return (axes, pair[1]) if side == 0 else (pair[0], axes)


def _swap(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """The permute that exchanges the free axes of both operands contracts the exchanged operands."""
    eqn = b.defined_by(inputs[0], _DOT)
    if eqn is None or b.uses(inputs[0]) > 1:
        return None
    x, y = eqn.inputs
    contract, batch = eqn.params["contract"], eqn.params["batch"]
    shared = len(batch[0])
    left = len(free_axes(x.type.rank, contract[0], batch[0]))
    rank = inputs[0].type.rank
    exchanged = (*range(shared), *range(shared + left, rank), *range(shared, shared + left))
    if params["axes"] != exchanged:
        return None
    return b.emit(_DOT, (y, x), {"contract": contract[::-1], "batch": batch[::-1]})


def _rules(*lowering: Any) -> Rules:
    return Rules({_DOT: (_fold_permutes, *lowering), core.permute_p: (_swap,)}) | VIEWS


_CONTRACTIONS = {"auto": _rules(_lower), "loop": _rules(_as_loop), "library": _rules()}
