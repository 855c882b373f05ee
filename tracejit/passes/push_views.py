"""Views move towards the inputs, so that chains of elementwise work share one iteration space."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.costs import PADDING
from tracejit.ir import Atom, Eqn, Graph, Kind, Primitive
from tracejit.ops import core, diagonal, gather, slicing
from tracejit.ops.arithmetic import select
from tracejit.passes.fold_constants import FOLDING
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_to_end
from tracejit.passes.rings import fits_ring, most_repeated
from tracejit.passes.views import VIEWS


def push_views(graph: Graph, shifted: str = "auto") -> Graph:
    """Compute `view(f(a, b))` as `f(view(a), view(b))` where only the view reads `f(a, b)`, or `f` is cheap.

    Zero padding (`unslice`) goes through `f` under a mask, unless `f` of zeros is zero; a zero in the padding
    may then be negative. A gather goes through when it does not read more elements than there are.
    Before and after:

    >>> from tracejit.ir import format_graph
    >>> from tracejit.ops.reading import read_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[5]'):
    ...     v1: 'f64[5]' = exp(v0)
    ...     v2: 'f64[4]' = slice(v1, sizes=(4,), starts=(1,), steps=(1,))
    ...     v3: 'f64[4]' = sin(v2)
    ...     v4: 'f64[6]' = unslice(v3, shape=(6,), starts=(2,), steps=(1,))
    ...     return (v4,)
    ... ''')
    >>> print(format_graph(push_views(graph)))
    def f(v0: 'f64[5]'):
        v1: 'f64[4]' = slice(v0, sizes=(4,), starts=(1,), steps=(1,))
        v2: 'f64[6]' = unslice(v1, shape=(6,), starts=(2,), steps=(1,))
        v3: 'f64[6]' = exp(v2)
        v4: 'f64[6]' = sin(v3)
        v5: 'bool[4]' = broadcast(const(True, 'bool'), dims=(), shape=(4,))
        v6: 'bool[6]' = unslice(v5, shape=(6,), starts=(2,), steps=(1,))
        v7: 'f64[6]' = broadcast(const(0.0, 'f64'), dims=(), shape=(6,))
        v8: 'f64[6]' = select(v6, v4, v7)
        return (v8,)
    """
    return rewrite_to_end(graph, pushing(shifted).rules)


class Pushing:
    """The rules of `push_views`, for one way of getting computed arrays to those who read them shifted."""

    def __init__(self, shifted: str) -> None:
        self.shifted = shifted
        self.rules = (
            VIEWS
            | FOLDING
            | Rules(
                {
                    slicing.slice_op.primitive: (self.push,),
                    core.permute_p: (self.push,),
                    diagonal.diagonal_op.primitive: (self.push,),
                    core.reshape_p: (self.push_reshape,),
                    gather.gather.primitive: (self.push_gather,),
                    slicing.unslice.primitive: (self.push_padding,),
                    diagonal.undiagonal.primitive: (self.push_padding,),
                }
            )
        )

    # --- what may be pushed through ----------------------------------------------------------------------

    def is_cheap(self, b: Rewriter, atom: Atom, by_rows: bool) -> bool:
        """May all elementwise work behind `atom` be done again? `by_rows`: it is needed row by row."""
        limit = most_repeated(self.shifted, by_rows and fits_ring(atom.type), b.uses(atom))
        total, waiting, seen = 0, [atom], set[Atom]()
        while waiting:
            here = waiting.pop()
            eqn = _elementwise(b, here)
            if eqn is None or here in seen:
                continue
            seen.add(here)
            total += eqn.primitive.cost
            if total > limit:
                return False
            waiting.extend(eqn.inputs)
        return True

    def passable(self, b: Rewriter, atom: Atom, by_rows: bool) -> Eqn | None:
        """The elementwise equation behind `atom`, if a view may go through it."""
        eqn = _elementwise(b, atom)
        return eqn if eqn is not None and (b.uses(atom) == 1 or self.is_cheap(b, atom, by_rows)) else None

    # --- views that only choose --------------------------------------------------------------------------

    def push(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        eqn = self.passable(b, inputs[0], _goes_by_rows(primitive, params))
        if eqn is None:
            return None
        return _through(b, eqn, lambda a: b.emit(primitive, (a, *inputs[1:]), dict(params)))

    def push_reshape(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        """Regrouping is free on contiguous arrays, and costs divisions an element on views of them."""
        regroups = core.moved_ones(inputs[0].type.shape, params["shape"]) is None
        if regroups and not self.is_contiguous(b, inputs[0]):
            return None
        # It reads each element once: nothing is gained by computing all again, though that is asked for.
        pusher = pushing("auto") if self.shifted == "recompute" else self
        return pusher.push(b, primitive, inputs, params)

    def is_contiguous(self, b: Rewriter, atom: Atom) -> bool:
        """Would a view pushed up from `atom` arrive at arrays and constants, and at no other view?"""
        waiting, seen = [atom], set[Atom]()
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            eqn = self.passable(b, here, by_rows=False)
            if eqn is not None:
                waiting.extend(eqn.inputs)
            elif _is_moving_view(b, here):
                return False
        return True

    def push_gather(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        result = primitive.infer(*(a.type for a in inputs))
        return self.push(b, primitive, inputs, params) if result.size <= inputs[0].type.size else None

    # --- views that fill with zeros ----------------------------------------------------------------------

    def push_padding(self, b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
        (x,) = inputs
        by_rows = _goes_by_rows(primitive, params)
        if self.passable(b, x, by_rows) is None:
            return None
        result = primitive.infer(x.type, **params)
        if result.size > PADDING * x.type.size and not self.is_cheap(b, x, by_rows):
            return None

        def pad(atom: Atom) -> Atom:
            return b.emit(primitive, (atom,), dict(params))

        padded, outside = self.padded(b, x, pad, result.shape, by_rows)
        if outside == 0:
            return padded
        inside = pad(b.splat(True, x.type.with_dtype(np.bool_)))
        return b.apply(select, inside, padded, b.splat(0, result))

    def padded(
        self, b: Rewriter, atom: Atom, pad: Callable[[Atom], Atom], shape: tuple[int, ...], by_rows: bool
    ) -> tuple[Atom, Any]:
        """`atom` computed from padded operands, right inside; and the value that this makes of it outside."""
        known: dict[Atom, tuple[Atom, Any]] = {}
        waiting = [atom]
        while waiting:
            here = waiting[-1]
            eqn = self.passable(b, here, by_rows)
            literal = b.literal(here)
            if here in known:
                waiting.pop()
            elif literal is not None:
                known[here] = b.broadcast(literal, shape, ()), literal.value
            elif eqn is None:
                known[here] = pad(here), here.type.dtype.type(0)
            elif missing := [a for a in eqn.inputs if a not in known]:
                waiting += reversed(missing)
            else:
                operands = [known[a] for a in eqn.inputs]
                with np.errstate(all="ignore"):
                    value = eqn.primitive.evaluate(*(v for _, v in operands), **eqn.params)
                with b.at(eqn.source):
                    emitted = b.emit(eqn.primitive, [a for a, _ in operands], dict(eqn.params))
                known[here] = emitted, np.asarray(value).astype(here.type.dtype)[()]
        return known[atom]


@functools.cache
def pushing(shifted: str) -> Pushing:
    return Pushing(shifted)


def _elementwise(b: Rewriter, atom: Atom) -> Eqn | None:
    """The equation behind `atom` if it is elementwise work and not a constant."""
    eqn = b.definition(atom)
    if eqn is None or eqn.primitive.kind is not Kind.ELEMENTWISE or not eqn.primitive.pure or not eqn.inputs:
        return None
    return eqn


def _goes_by_rows(primitive: Primitive, params: Params) -> bool:
    """Does a view take, or pad, rows one after the other?"""
    moves = (slicing.slice_op.primitive, slicing.unslice.primitive)
    return primitive in moves and all(step == 1 for step in params["steps"])


def _through(b: Rewriter, eqn: Eqn, view: Callable[[Atom], Atom]) -> Atom:
    operands = [view(a) for a in eqn.inputs]
    with b.at(eqn.source):  # the user's own arithmetic stays that, though a derivative looks at it
        return b.emit(eqn.primitive, operands, dict(eqn.params))


def _is_moving_view(b: Rewriter, atom: Atom) -> bool:
    """A view other than a reshape, of something else than a literal."""
    eqn = b.definition(atom)
    if eqn is None or b.literal(atom) is not None:
        return False
    return eqn.primitive.kind is Kind.VIEW and eqn.primitive is not core.reshape_p
