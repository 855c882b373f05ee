"""Rules that merge adjacent views: of a chain of moves, repeats and pieces one of each remains at most.

The order that chains settle in, from the input outwards: slice, permute or reshape, unslice, broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracejit.ir import Atom, Eqn, Primitive
from tracejit.ops import core, diagonal, gather, joining, slicing
from tracejit.passes.rewriting import Axes, Inputs, Params, Rewriter, Rules, inverse

_SLICE, _UNSLICE = slicing.slice_op.primitive, slicing.unslice.primitive
_GATHER = gather.gather.primitive
_DIAGONAL, _UNDIAGONAL = diagonal.diagonal_op.primitive, diagonal.undiagonal.primitive
_CONCATENATE = joining.concatenate_op.primitive


def _iota(b: Rewriter, eqn: Eqn, shape: Axes, axis: int) -> Atom:
    return b.emit(core.iota_p, (), {**eqn.params, "shape": shape, "axis": axis})


# --- reshape, permute, broadcast -------------------------------------------------------------------------


def _reshape(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,), shape = inputs, params["shape"]
    if x.type.shape == shape:
        return x
    eqn = b.definition(x)
    if eqn is None:
        return None
    if eqn.primitive is core.reshape_p:
        return b.reshape(eqn.inputs[0], shape)
    places = core.moved_ones(x.type.shape, shape)
    if places is None:
        return None
    if eqn.primitive is core.broadcast_p:
        return _reshape_broadcast(b, eqn, places, shape)
    if eqn.primitive is core.iota_p:
        place = places[eqn.params["axis"]]
        return None if place is None else _iota(b, eqn, shape, place)
    return None


def _reshape_broadcast(b: Rewriter, eqn: Eqn, places: Sequence[int | None], shape: Axes) -> Atom:
    operand, dims = eqn.inputs[0], eqn.params["dims"]
    kept = [k for k, d in enumerate(dims) if places[d] is not None]
    squeezed = b.reshape(operand, tuple(operand.type.shape[k] for k in kept))
    targets = (places[dims[k]] for k in kept)
    return b.broadcast(squeezed, shape, tuple(p for p in targets if p is not None))


def _permute(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,), axes = inputs, params["axes"]
    shape = tuple(x.type.shape[a] for a in axes)
    wide = [a for a in axes if x.type.shape[a] != 1]
    if wide == sorted(wide):
        return b.reshape(x, shape)
    eqn = b.definition(x)
    if eqn is None:
        return None
    if eqn.primitive is core.permute_p:
        first = eqn.params["axes"]
        return b.permute(eqn.inputs[0], tuple(first[a] for a in axes))
    place = inverse(axes)
    if eqn.primitive is core.broadcast_p:
        return b.broadcast(eqn.inputs[0], shape, tuple(place[d] for d in eqn.params["dims"]))
    if eqn.primitive is core.iota_p:
        return _iota(b, eqn, shape, place[eqn.params["axis"]])
    return None


def _broadcast(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,), shape, dims = inputs, params["shape"], params["dims"]
    if len(dims) == len(shape):
        return b.permute(x, inverse(dims))
    if 1 in x.type.shape:
        wide = [k for k, n in enumerate(x.type.shape) if n != 1]
        squeezed = b.reshape(x, tuple(x.type.shape[k] for k in wide))
        return b.broadcast(squeezed, shape, tuple(dims[k] for k in wide))
    eqn = b.definition(x)
    if eqn is None:
        return None
    if eqn.primitive is core.broadcast_p:
        return b.broadcast(eqn.inputs[0], shape, tuple(dims[d] for d in eqn.params["dims"]))
    if eqn.primitive is core.permute_p:
        place = inverse(eqn.params["axes"])
        return b.broadcast(eqn.inputs[0], shape, tuple(dims[p] for p in place))
    if eqn.primitive is core.iota_p:
        return _iota(b, eqn, shape, dims[eqn.params["axis"]])
    return None


# --- slice -----------------------------------------------------------------------------------------------


def _settled(start: int, size: int, step: int) -> tuple[int, int, int]:
    """One spelling for equal pieces of an axis."""
    return (0, 0, 1) if size == 0 else (start, size, step if size > 1 else 1)


def take(b: Rewriter, x: Atom, pieces: Sequence[tuple[int, int, int]]) -> Atom:
    """The piece (start, size, step) of each axis."""
    settled = [_settled(*p) for p in pieces]
    if settled == [(0, n, 1) for n in x.type.shape]:
        return x
    starts, sizes, steps = (tuple(p[k] for p in settled) for k in range(3))
    return b.emit(_SLICE, (x,), {"starts": starts, "sizes": sizes, "steps": steps})


def pad(b: Rewriter, x: Atom, shape: Axes, starts: Axes, steps: Axes) -> Atom:
    """`x` in a field of zeros."""
    steps = tuple(t if n > 1 else 1 for t, n in zip(steps, x.type.shape, strict=True))
    if x.type.shape == shape and all(t == 1 for t in steps):
        return x
    return b.emit(_UNSLICE, (x,), {"shape": shape, "starts": starts, "steps": steps})


def _slice(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,) = inputs
    pieces = list(zip(params["starts"], params["sizes"], params["steps"], strict=True))
    if pieces == [(0, n, 1) for n in x.type.shape]:
        return x
    eqn = b.definition(x)
    rule = _SLICE_OF.get(eqn.primitive) if eqn is not None else None
    return rule(b, eqn, pieces) if rule is not None and eqn is not None else None


Pieces = Sequence[tuple[int, int, int]]


def _sizes(pieces: Pieces) -> Axes:
    return tuple(size for _, size, _ in pieces)


def _slice_slice(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    inner = zip(eqn.params["starts"], eqn.params["steps"], strict=True)
    whole = [
        (s + t * start, size, t * step) for (s, t), (start, size, step) in zip(inner, pieces, strict=True)
    ]
    return take(b, eqn.inputs[0], whole)


def _slice_broadcast(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    dims = eqn.params["dims"]
    return b.broadcast(take(b, eqn.inputs[0], [pieces[d] for d in dims]), _sizes(pieces), dims)


def _slice_permute(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    axes = eqn.params["axes"]
    place = inverse(axes)
    return b.permute(take(b, eqn.inputs[0], [pieces[p] for p in place]), axes)


def _slice_reshape(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    x = eqn.inputs[0]
    places = core.moved_ones(x.type.shape, eqn.params["shape"])
    if places is None or 0 in _sizes(pieces):
        return None
    taken = take(b, x, [(0, 1, 1) if p is None else pieces[p] for p in places])
    return b.reshape(taken, _sizes(pieces))


def _slice_iota(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    axis, step = eqn.params["axis"], eqn.params["step"]
    start, _, stride = pieces[axis]
    params = {**eqn.params, "shape": _sizes(pieces)}
    params.update(start=eqn.params["start"] + step * start, step=step * stride)
    return b.emit(core.iota_p, (), params)


def _slice_concatenate(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    """A piece that lies within one operand is a piece of that operand."""
    axis = eqn.params["axis"]
    start, size, step = pieces[axis]
    low, high = sorted((start, start + step * (size - 1)))
    offset = 0
    for operand in eqn.inputs:
        end = offset + operand.type.shape[axis]
        if size and offset <= low and high < end:
            inside = [(start - offset, size, step) if k == axis else p for k, p in enumerate(pieces)]
            return take(b, operand, inside)
        offset = end
    return None


def _slice_unslice(b: Rewriter, eqn: Eqn, pieces: Pieces) -> Atom | None:
    """A piece of a padded array is a padded piece, or all zeros."""
    x = eqn.inputs[0]
    taken: list[tuple[int, int, int]] = []
    starts: list[int] = []
    for piece, start, size, step in zip(
        pieces, eqn.params["starts"], x.type.shape, eqn.params["steps"], strict=True
    ):
        found = _meet(piece, (start, size, step))
        if found is None:
            return None
        taken.append(found[0])
        starts.append(found[1])
    if any(size == 0 for _, size, _ in taken):
        return b.splat(0, x.type.with_shape(_sizes(pieces)))
    inner = take(b, x, taken)
    return pad(b, inner, _sizes(pieces), tuple(starts), (1,) * len(starts))


def _meet(
    piece: tuple[int, int, int], window: tuple[int, int, int]
) -> tuple[tuple[int, int, int], int] | None:
    """Along one axis: which piece of the window a piece of the axis reads, and from which of its positions.

    None where that is no regular piece. The part of `piece` outside the window reads zeros.
    """
    start, size, step = piece
    first, count, stride = window
    if size == 0 or count == 0:
        return (0, 0, 1), 0
    if step == stride == 1:
        low, high = max(start, first), min(start + size, first + count)
        return ((low - first, high - low, 1), low - start) if low < high else ((0, 0, 1), 0)
    bounds, edges = sorted((start, start + step * (size - 1))), sorted((first, first + stride * (count - 1)))
    if bounds[1] < edges[0] or edges[1] < bounds[0] or (start - first) % math.gcd(step, stride):
        return (0, 0, 1), 0
    if (start - first) % stride or (size > 1 and step % stride):
        return None
    place, stride_in = (start - first) // stride, step // stride if size > 1 else 1
    last = place + stride_in * (size - 1)
    if not (0 <= place < count and 0 <= last < count):
        return None
    return (place, size, stride_in), 0


_SLICE_OF = {
    _SLICE: _slice_slice,
    _UNSLICE: _slice_unslice,
    _CONCATENATE: _slice_concatenate,
    core.broadcast_p: _slice_broadcast,
    core.permute_p: _slice_permute,
    core.reshape_p: _slice_reshape,
    core.iota_p: _slice_iota,
}

# --- unslice, diagonals, gather --------------------------------------------------------------------------


def _unslice(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    (x,), shape = inputs, params["shape"]
    starts, steps = params["starts"], params["steps"]
    if x.type.shape == shape:  # every element lies somewhere: the identity, or a flip
        return take(b, x, list(zip(starts, shape, steps, strict=True)))
    eqn = b.definition(x)
    if eqn is None:
        return None
    operand = eqn.inputs[0] if eqn.inputs else x
    if eqn.primitive is _UNSLICE:
        inner = zip(eqn.params["starts"], eqn.params["steps"], starts, steps, strict=True)
        both = [(s1 + t1 * s0, t1 * t0) for s0, t0, s1, t1 in inner]
        return pad(b, operand, shape, tuple(s for s, _ in both), tuple(t for _, t in both))
    if eqn.primitive is core.permute_p:
        axes = eqn.params["axes"]
        place = inverse(axes)
        fields = (tuple(field[p] for p in place) for field in (shape, starts, steps))
        return b.permute(pad(b, operand, *fields), axes)
    if eqn.primitive is core.broadcast_p:
        return _unslice_broadcast(b, eqn, x, params)
    return None


def _unslice_broadcast(b: Rewriter, eqn: Eqn, x: Atom, params: Params) -> Atom | None:
    """Where only dimensions of the operand are padded, pad before repeating."""
    dims, shape = eqn.params["dims"], params["shape"]
    repeated = [k for k in range(len(shape)) if k not in dims]
    if any((x.type.shape[k], params["steps"][k]) != (shape[k], 1) for k in repeated):
        return None
    fields = (tuple(params[name][d] for d in dims) for name in ("shape", "starts", "steps"))
    return b.broadcast(pad(b, eqn.inputs[0], *fields), shape, dims)


def _diagonal(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """The diagonal that was just put there."""
    eqn = b.defined_by(inputs[0], _UNDIAGONAL)
    if eqn is None or (eqn.params["row"], eqn.params["col"]) != (params["row"], params["col"]):
        return None
    return eqn.inputs[0] if eqn.inputs[0].type.shape[-1] == params["size"] else None


def _gather(b: Rewriter, primitive: Primitive, inputs: Inputs, params: Params) -> Atom | None:
    """Axes that only repeat need no index, and an index that counts up is a slice."""
    x, *indices = inputs
    eqn = b.definition(x)
    if eqn is not None and eqn.primitive is core.broadcast_p:
        return _gather_broadcast(b, eqn, x, indices)
    counter = b.defined_by(indices[0], core.iota_p)
    if counter is None or len(indices) != 1 or indices[0].type.rank != 1:
        return None
    piece = (counter.params["start"], indices[0].type.size, counter.params["step"])
    first, last = piece[0], piece[0] + (piece[1] - 1) * piece[2]
    shape = x.type.shape
    if not piece[1] or not (0 <= first < shape[0] and 0 <= last < shape[0]):
        return None
    return take(b, x, (piece, *((0, n, 1) for n in shape[1:])))


def _gather_broadcast(b: Rewriter, eqn: Eqn, x: Atom, indices: Inputs) -> Atom | None:
    dims, count = eqn.params["dims"], len(indices)
    indexed = [d for d in dims if d < count]
    if len(indexed) == count or list(dims) != sorted(dims):
        return None
    rank = indices[0].type.rank
    shape = (*indices[0].type.shape, *x.type.shape[count:])
    kept = tuple(d - count + rank for d in dims if d >= count)
    if not indexed:
        return b.broadcast(eqn.inputs[0], shape, kept)
    picked = b.apply(gather.gather, eqn.inputs[0], *(indices[d] for d in indexed))
    return b.broadcast(picked, shape, (*range(rank), *kept))


VIEWS = Rules(
    {
        core.reshape_p: (_reshape,),
        core.permute_p: (_permute,),
        core.broadcast_p: (_broadcast,),
        _SLICE: (_slice,),
        _UNSLICE: (_unslice,),
        _DIAGONAL: (_diagonal,),
        _GATHER: (_gather,),
    }
)
