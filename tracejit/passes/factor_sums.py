"""Sums of a derivative that other sums give: what does not vary along them is multiplied afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tracejit.ir import Atom, Eqn, Graph, Primitive, Var
from tracejit.ops import arithmetic, comparison, core
from tracejit.passes.rewriting import Axes, Inputs, Params, Rewriter, Rules, is_zero, rewrite_graph

_LINEAR = (arithmetic.add.primitive, arithmetic.subtract.primitive)
_MULTIPLY, _SELECT = arithmetic.multiply.primitive, arithmetic.select.primitive

Total = Callable[[], Atom]  # emits a sum that needs no loop


def factor_sums(graph: Graph) -> Graph:
    """Sum `e * f + picked` as `sum(e) * f + sum(picked)` where the graph has `sum(e)` and `f` is a row's own.

    A softmax subtracts its row's maximum, whose gradient is such a sum: it would take a pass over each row.
    `picked` is zero but in one place, `where(k == iota, c, 0)`, and its sum `c` where k is a place at all.
    Only sums of a derivative change, for which NumPy prescribes no rounding. Before and after, where `v4`
    and `v5` are a derivative's:

        v2 = reduce_sum(v0, axes=(1,))             v2 = reduce_sum(v0, axes=(1,))
        v3 = broadcast(v1, dims=(0,), ...)         v5 = multiply(v2, v1)
        v4 = multiply(v0, v3)
        v5 = reduce_sum(v4, axes=(1,))
    """
    eqns = [e for e in graph.eqns if e.primitive is core.reduce_sum_p]
    if len(eqns) < 2 or not any(e.source is not None and e.source.is_derivative for e in eqns):
        return graph
    sums = _Sums({(e.inputs[0], e.params["axes"]): e.out for e in eqns})
    return rewrite_graph(graph, Rules({core.reduce_sum_p: (sums.rule,)}))


class _Sums:
    """The rule for one graph, whose sums `known` finds by operand and axes."""

    def __init__(self, known: Mapping[tuple[Atom, Axes], Var]) -> None:
        self.known = known

    def rule(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        (x,), axes = inputs, params["axes"]
        eqn = b.definition(x)
        if eqn is None or b.source is None or not b.source.is_derivative or not x.type.is_float:
            return None
        if eqn.primitive not in _LINEAR:
            total = self.of_product(b, eqn, axes)
            return None if total is None else total()
        totals = [self.of_term(b, term, axes) for term in eqn.inputs]
        left, right = totals
        return None if left is None or right is None else b.emit(eqn.primitive, (left(), right()), {})

    def of_term(self, b: Rewriter, x: Atom, axes: Axes) -> Total | None:
        known = self.of(b, x, axes)
        if known is not None:
            return lambda: known
        eqn = b.definition(x)
        if eqn is None:
            return None
        return self.of_product(b, eqn, axes) or _of_one_place(b, eqn, axes)

    def of(self, b: Rewriter, x: Atom, axes: Axes) -> Atom | None:
        """The sum of `x` that the graph has up to here."""
        found = self.known.get((x, axes))
        return found if found is not None and b.definition(found) is not None else None

    def of_product(self, b: Rewriter, eqn: Eqn, axes: Axes) -> Total | None:
        if eqn.primitive is not _MULTIPLY:
            return None
        for x, factor in (eqn.inputs, eqn.inputs[::-1]):
            known, row = self.of(b, x, axes), _of_row(b, factor, axes)
            if known is not None and row is not None:
                return lambda known=known, row=row: b.emit(_MULTIPLY, (known, row()), {})
        return None


def _of_row(b: Rewriter, x: Atom, axes: Axes) -> Total | None:
    """`x` without axes along which it does not vary; None if it may vary."""
    eqn = b.defined_by(x, core.broadcast_p)
    if eqn is None or not set(axes).isdisjoint(eqn.params["dims"]):
        return None
    kept = [k for k in range(x.type.rank) if k not in axes]
    shape = tuple(x.type.shape[k] for k in kept)
    dims = tuple(kept.index(d) for d in eqn.params["dims"])
    return lambda: b.broadcast(eqn.inputs[0], shape, dims)


def _of_one_place(b: Rewriter, eqn: Eqn, axes: Axes) -> Total | None:
    """The sum of `where(k == iota, c, 0)` along the positions: `c` if k is one of them, else 0."""
    is_here = b.defined_by(eqn.inputs[0], comparison.equal.primitive) if eqn.primitive is _SELECT else None
    if is_here is None or len(axes) != 1 or is_here.inputs[0].type.dtype != np.int64:
        return None
    zero = b.literal(eqn.inputs[2])
    value = _of_row(b, eqn.inputs[1], axes)
    for k, place in (is_here.inputs, is_here.inputs[::-1]):
        position, row = b.defined_by(place, core.iota_p), _of_row(b, k, axes)
        if position is None or row is None or zero is None or value is None or not is_zero(zero.value):
            continue
        if position.params["axis"] == axes[0] and (position.params["start"], position.params["step"]) == (
            0,
            1,
        ):
            return lambda row=row, value=value, zero=zero: _if_within(
                b, row(), eqn.out.type.shape[axes[0]], value(), zero.value
            )
    return None


def _if_within(b: Rewriter, k: Atom, extent: int, value: Atom, zero: object) -> Atom:
    otherwise = b.splat(zero, value.type)
    below = b.apply(comparison.less, k, b.splat(extent, k.type))
    negative = b.apply(comparison.less, k, b.splat(0, k.type))
    return b.apply(
        arithmetic.select, negative, otherwise, b.apply(arithmetic.select, below, value, otherwise)
    )
