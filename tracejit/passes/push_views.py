"""Views move towards the inputs, so that chains of elementwise work share one iteration space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.costs import PADDING, VIEW_WORK
from tracejit.ir import Atom, Eqn, Graph, Kind, Primitive
from tracejit.ops import core, diagonal, gather, slicing
from tracejit.ops.arithmetic import select
from tracejit.passes.fold_constants import FOLDING
from tracejit.passes.rewriting import Inputs, Params, Rewriter, Rules, rewrite_to_end
from tracejit.passes.views import VIEWS


def push_views(graph: Graph) -> Graph:
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
    return rewrite_to_end(graph, _PUSHING)


# --- what may be pushed through --------------------------------------------------------------------------


def _elementwise(b: Rewriter, atom: Atom) -> Eqn | None:
    """The equation behind `atom` if it is elementwise work and not a constant."""
    eqn = b.definition(atom)
    if eqn is None or eqn.primitive.kind is not Kind.ELEMENTWISE or not eqn.primitive.pure or not eqn.inputs:
        return None
    return eqn


def is_cheap(b: Rewriter, atom: Atom) -> bool:
    """Does all elementwise work behind `atom` cost at most VIEW_WORK an element?"""
    total, waiting, seen = 0, [atom], set[Atom]()
    while waiting:
        here = waiting.pop()
        eqn = _elementwise(b, here)
        if eqn is None or here in seen:
            continue
        seen.add(here)
        total += eqn.primitive.cost
        if total > VIEW_WORK:
            return False
        waiting.extend(eqn.inputs)
    return True


def _passable(b: Rewriter, atom: Atom) -> Eqn | None:
    """The elementwise equation behind `atom`, if a view may go through it."""
    eqn = _elementwise(b, atom)
    return eqn if eqn is not None and (b.uses(atom) == 1 or is_cheap(b, atom)) else None


# --- views that only choose ------------------------------------------------------------------------------


def _through(b: Rewriter, eqn: Eqn, view: Callable[[Atom], Atom]) -> Atom:
    operands = [view(a) for a in eqn.inputs]
    with b.at(eqn.source):  # the user's own arithmetic stays that, though a derivative looks at it
        return b.emit(eqn.primitive, operands, dict(eqn.params))


def _push(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    eqn = _passable(b, inputs[0])
    if eqn is None:
        return None
    return _through(b, eqn, lambda a: b.emit(primitive, (a, *inputs[1:]), dict(params)))


def _push_reshape(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Regrouping is free on contiguous arrays, and costs divisions an element on views of them."""
    regroups = core.moved_ones(inputs[0].type.shape, params["shape"]) is None
    if regroups and not _is_contiguous(b, inputs[0]):
        return None
    return _push(b, primitive, inputs, params)


def _is_contiguous(b: Rewriter, atom: Atom) -> bool:
    """Would a view pushed up from `atom` arrive at arrays and constants, and at no other view?"""
    waiting, seen = [atom], set[Atom]()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        eqn = _passable(b, here)
        if eqn is not None:
            waiting.extend(eqn.inputs)
        elif _is_moving_view(b, here):
            return False
    return True


def _is_moving_view(b: Rewriter, atom: Atom) -> bool:
    """A view other than a reshape, of something else than a literal."""
    eqn = b.definition(atom)
    if eqn is None or b.literal(atom) is not None:
        return False
    return eqn.primitive.kind is Kind.VIEW and eqn.primitive is not core.reshape_p


def _push_gather(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    result = primitive.infer(*(a.type for a in inputs))
    return _push(b, primitive, inputs, params) if result.size <= inputs[0].type.size else None


# --- views that fill with zeros --------------------------------------------------------------------------


def push_padding(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    if _passable(b, x) is None:
        return None
    result = primitive.infer(x.type, **params)
    if result.size > PADDING * x.type.size and not is_cheap(b, x):
        return None

    def pad(atom: Atom) -> Atom:
        return b.emit(primitive, (atom,), dict(params))

    padded, outside = _padded(b, x, pad, result.shape)
    if outside == 0:
        return padded
    inside = pad(b.splat(True, x.type.with_dtype(np.bool_)))
    return b.apply(select, inside, padded, b.splat(0, result))


def _padded(b: Rewriter, atom: Atom, pad: Callable[[Atom], Atom], shape: tuple[int, ...]) -> tuple[Atom, Any]:
    """`atom` computed from padded operands, right inside; and the value that this makes of it outside."""
    known: dict[Atom, tuple[Atom, Any]] = {}
    waiting = [atom]
    while waiting:
        here = waiting[-1]
        eqn = _passable(b, here)
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


_PUSHING = (
    VIEWS
    | FOLDING
    | Rules(
        {
            slicing.slice_op.primitive: (_push,),
            core.permute_p: (_push,),
            diagonal.diagonal_op.primitive: (_push,),
            core.reshape_p: (_push_reshape,),
            gather.gather.primitive: (_push_gather,),
            slicing.unslice.primitive: (push_padding,),
            diagonal.undiagonal.primitive: (push_padding,),
        }
    )
)
