"""Rules of reductions: over nothing, over one another, over views, over signs."""

from __future__ import annotations

import math

import numpy as np

from tracejit.ir import Atom, Eqn, Primitive
from tracejit.ops import arithmetic, core, reduction, slicing
from tracejit.passes.rewriting import Axes, Inputs, Params, Rewriter, Rules

_SUM, _PROD = core.reduce_sum_p, reduction.reduce_prod.primitive
_OTHERS = tuple(
    operation.primitive
    for operation in (reduction.reduce_max, reduction.reduce_min, reduction.reduce_any, reduction.reduce_all)
)


def _kept(rank: int, axes: Axes) -> Axes:
    return tuple(k for k in range(rank) if k not in axes)


def _reduce(b: Rewriter, primitive: Primitive, x: Atom, axes: Axes) -> Atom:
    return b.emit(primitive, (x,), {"axes": tuple(sorted(axes))}) if axes else x


def _of_nothing(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Over axes of size 1 every reduction is the element itself."""
    (x,), axes = inputs, params["axes"]
    if any(x.type.shape[k] != 1 for k in axes):
        return None
    return b.reshape(x, tuple(x.type.shape[k] for k in _kept(x.type.rank, axes)))


def _of_reduction(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,), axes = inputs, params["axes"]
    eqn = b.defined_by(x, primitive)
    if eqn is None or b.uses(x) > 1:
        return None
    operand, first = eqn.inputs[0], eqn.params["axes"]
    kept = _kept(operand.type.rank, first)
    return _reduce(b, primitive, operand, (*first, *(kept[k] for k in axes)))


def _of_view(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Reduce first, move and repeat what is left."""
    (x,), axes = inputs, params["axes"]
    eqn = b.definition(x)
    if eqn is None:
        return None
    if eqn.primitive is core.permute_p:
        return _of_permute(b, primitive, eqn, axes)
    if eqn.primitive is core.reshape_p:
        return _of_reshape(b, primitive, eqn, axes)
    return _of_broadcast(b, primitive, eqn, axes) if eqn.primitive is core.broadcast_p else None


def _of_permute(b: Rewriter, primitive: Primitive, eqn: Eqn, axes: Axes) -> Atom:
    order = eqn.params["axes"]
    reduced = _reduce(b, primitive, eqn.inputs[0], tuple(order[k] for k in axes))
    kept = [order[k] for k in _kept(len(order), axes)]
    ranks = {axis: rank for rank, axis in enumerate(sorted(kept))}
    return b.permute(reduced, tuple(ranks[axis] for axis in kept))


def _of_reshape(b: Rewriter, primitive: Primitive, eqn: Eqn, axes: Axes) -> Atom | None:
    x, shape = eqn.inputs[0], eqn.params["shape"]
    left = tuple(shape[k] for k in _kept(len(shape), axes))
    if len(axes) == len(shape):
        return b.reshape(_reduce(b, primitive, x, tuple(range(x.type.rank))), ())
    places = core.moved_ones(x.type.shape, shape)
    if places is None:
        return None
    reduced = _reduce(b, primitive, x, tuple(k for k, p in enumerate(places) if p in axes))
    return b.reshape(reduced, left)


def _of_broadcast(b: Rewriter, primitive: Primitive, eqn: Eqn, axes: Axes) -> Atom | None:
    x, shape, dims = eqn.inputs[0], eqn.params["shape"], eqn.params["dims"]
    count = math.prod(shape[k] for k in axes if k not in dims)
    if count == 0 or (x.type.dtype == np.bool_ and primitive is _SUM) or (count != 1 and primitive is _PROD):
        return None
    reduced = _reduce(b, primitive, x, tuple(k for k, d in enumerate(dims) if d in axes))
    if primitive is _SUM and count != 1:
        reduced = b.apply(arithmetic.multiply, reduced, b.splat(count, reduced.type))
    kept = _kept(len(shape), axes)
    left = tuple(kept.index(d) for d in dims if d not in axes)
    return b.broadcast(reduced, tuple(shape[k] for k in kept), left)


def _of_sign(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    eqn = b.defined_by(inputs[0], arithmetic.negative.primitive)
    if eqn is None:
        return None
    return b.apply(arithmetic.negative, _reduce(b, primitive, eqn.inputs[0], params["axes"]))


def _of_padding(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Zeros add nothing: only the axes that stay are padded."""
    axes = params["axes"]
    eqn = b.defined_by(inputs[0], slicing.unslice.primitive)
    if eqn is None:
        return None
    reduced = _reduce(b, primitive, eqn.inputs[0], axes)
    kept = _kept(inputs[0].type.rank, axes)
    fields = {name: tuple(eqn.params[name][k] for k in kept) for name in ("shape", "starts", "steps")}
    return b.emit(slicing.unslice.primitive, (reduced,), fields) if kept else reduced


SUMS = Rules(
    {
        _SUM: (_of_nothing, _of_reduction, _of_view, _of_sign, _of_padding),
        _PROD: (_of_nothing, _of_reduction, _of_view),
        **{primitive: (_of_nothing, _of_reduction, _of_view) for primitive in _OTHERS},
    }
)
