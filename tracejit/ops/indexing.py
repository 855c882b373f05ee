"""`x[key]` with every meaning NumPy gives it, and the functions that take elements by position.

A key is read in three steps: slices and integers become one `slice`; index arrays that are arithmetic
progressions join that slice, and become positions (`iota`) where other index arrays depend on them; what is
left is gathered. So `x[np.arange(1, n)]` is a slice, and the sizes of such arrays are data, not captured
numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, IndexOutOfBoundsError, ShapeError, TracerError, UnsupportedError
from tracejit.ir import Const, can_cast
from tracejit.ops import comparison
from tracejit.ops.arithmetic import full, remainder, subtract
from tracejit.ops.axes import is_default, normalize_axis, refuse_out, static_int
from tracejit.ops.core import broadcast_to, convert, iota, permute, reshape
from tracejit.ops.diagonal import matrix_diagonal
from tracejit.ops.gather import gather
from tracejit.ops.joining import array, concatenate, has_values, join, runs, take_runs
from tracejit.ops.shape import ravel, shape_of, strong
from tracejit.ops.slicing import slice_axis, take_slices
from tracejit.ops.tables import implements
from tracejit.ops.value import Value, as_value, capture, freeze

Shape = tuple[int, ...]
Piece = tuple[int, int, int]  # start, size, step along one axis

INVALID = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are "
    "valid indices"
)
LONGEST_JOIN = 16  # pieces that are joined; more of them are gathered


@dataclass(frozen=True)
class Progression:
    """An index array that is `start + step * position` along one of its axes (the only one that is not 1)."""

    shape: Shape
    start: int
    step: int = 1

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def axis(self) -> int | None:
        """The axis it runs along, counted from the last (-1), None when it is one number."""
        return next((k - len(self.shape) for k, n in enumerate(self.shape) if n != 1), None)


Advanced = Progression | Value  # an index array, as the key reader leaves it

# --- reading a key --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """One entry of a key: what becomes of the axis that it takes.

    `piece` is the part of the axis that stays, `index` an index array over it; `new` puts in an axis of size
    1 (np.newaxis) for these to act on. A slot without any of the three is the place of an Ellipsis.
    """

    piece: Piece | None = None
    index: Advanced | None = None
    new: bool = False


@dataclass(frozen=True)
class Constant:
    """A concrete index array; `owned` where it was made here, so that no user can change it later."""

    array: np.ndarray[Any, Any]
    owned: bool

    @property
    def is_mask(self) -> bool:
        return self.array.dtype == np.bool_


def _as_entry(entry: Any) -> Any:
    """An entry of a key with arrays, lists and NumPy numbers as `Constant` or `Value`; checked."""
    if isinstance(entry, Value) and isinstance(entry.atom, Const):
        entry = entry.atom.value
    if isinstance(entry, (list, tuple, range)):
        if has_values(entry):
            return _as_entry(array(entry))
        made = np.asarray(entry)
        return _as_entry_array(made.astype(np.int64) if made.size == 0 else made, owned=True)
    if isinstance(entry, (bool, np.bool_)):
        return Constant(np.asarray(entry), owned=True)
    if isinstance(entry, np.ndarray):
        return _as_entry_array(entry, owned=False)
    if isinstance(entry, Value):
        return _checked_value(entry)
    if entry is None or entry is Ellipsis or isinstance(entry, (slice, Progression)):
        return entry
    if not hasattr(entry, "__index__"):
        raise IndexOutOfBoundsError(f"index: {INVALID}")
    return operator.index(entry)


def _as_entry_array(made: np.ndarray[Any, Any], owned: bool) -> Any:
    if made.dtype.kind not in "iub":
        raise IndexOutOfBoundsError("index: arrays used as indices must be of integer (or boolean) type")
    if made.ndim or made.dtype == np.bool_:
        return Constant(made, owned)
    return int(made if owned else freeze(made))


def _checked_value(entry: Value) -> Value:
    if entry.dtype == np.bool_:
        raise UnsupportedError(
            "index: a traced boolean mask makes an array whose size is not known while tracing",
            hint="write np.where(mask, x, 0), or multiply by the mask",
        )
    if entry.dtype.kind not in "iu":
        raise IndexOutOfBoundsError("index: arrays used as indices must be of integer (or boolean) type")
    return entry


def _number_of_axes(entry: Any) -> int:
    """How many axes of the array an entry of a key takes."""
    if entry is None or entry is Ellipsis:
        return 0
    return entry.array.ndim if isinstance(entry, Constant) and entry.is_mask else 1


def _expand(key: Any, rank: int) -> list[Any]:
    """The entries of a key, which take all axes: whole slices stand for what Ellipsis or the end leaves."""
    entries = [_as_entry(e) for e in (key if isinstance(key, tuple) else (key,))]
    used = sum(map(_number_of_axes, entries))
    if used > rank:
        raise IndexOutOfBoundsError(
            f"index: too many indices for array: array is {rank}-dimensional, but {used} were indexed"
        )
    dots = [k for k, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        raise IndexOutOfBoundsError("index: an index can only have a single ellipsis ('...')")
    if not dots:
        return [*entries, *[slice(None)] * (rank - used)]
    # An Ellipsis of no axes still separates index arrays, as in NumPy, so it stays as an empty entry.
    return [*entries[: dots[0]], Ellipsis, *[slice(None)] * (rank - used), *entries[dots[0] + 1 :]]


def _read_number(number: int, axis: int, n: int) -> int:
    if not -n <= number < n:
        raise IndexOutOfBoundsError(f"index: index {number} is out of bounds for axis {axis} with size {n}")
    return number + n if number < 0 else number


def _read_slice(entry: slice, n: int) -> Piece:
    if any(isinstance(bound, Value) for bound in (entry.start, entry.stop, entry.step)):
        raise TracerError(
            "index: the bounds of a slice must be concrete integers, got a traced value",
            hint="index with positions instead: x[start + np.arange(size)]",
        )
    start, stop, step = entry.indices(n)
    return start, len(range(start, stop, step)), step


def _read_array(constant: Constant, axis: int, n: int) -> Advanced:
    """A constant index array: a progression where it is one, else captured."""
    a = constant.array
    for extreme in (a.min(), a.max()) if a.size else ():
        _read_number(int(extreme), axis, n)
    places = (np.where(a < 0, a + n, a) if a.dtype.kind == "i" else a).ravel().astype(np.int64)
    steps = np.diff(places)
    if sum(size != 1 for size in a.shape) > 1 or (
        steps.size and not (steps[0] and (steps == steps[0]).all())
    ):
        return capture(a)
    if not constant.owned and a.size:
        freeze(a)
    return Progression(a.shape, int(places[0]) if a.size else 0, int(steps[0]) if steps.size else 1)


def _read_mask(mask: Constant, axis: int, shape: Shape) -> list[Slot]:
    """A constant boolean array: the positions where it is true, one index array an axis."""
    for k, n in enumerate(mask.array.shape):
        if shape[axis + k] != n:
            raise IndexOutOfBoundsError(
                f"index: boolean index did not match indexed array along axis {axis + k}; size of axis is "
                f"{shape[axis + k]} but size of corresponding boolean axis is {n}"
            )
    if not mask.owned:
        freeze(mask.array)
    if not mask.array.ndim:
        return [Slot(new=True, index=Progression((int(mask.array),), 0))]
    found = [Constant(a, owned=True) for a in mask.array.nonzero()]
    return [Slot(index=_read_array(a, axis + k, shape[axis + k])) for k, a in enumerate(found)]


def _read_entry(entry: Any, axis: int, shape: Shape) -> list[Slot]:
    if entry is None:
        return [Slot(piece=(0, 1, 1), new=True)]
    if entry is Ellipsis:
        return [Slot()]
    if isinstance(entry, slice):
        return [Slot(piece=_read_slice(entry, shape[axis]))]
    if isinstance(entry, (Value, Progression)):
        return [Slot(index=entry)]
    if isinstance(entry, Constant) and entry.is_mask:
        return _read_mask(entry, axis, shape)
    if isinstance(entry, Constant):
        return [Slot(index=_read_array(entry, axis, shape[axis]))]
    return [Slot(index=Progression((), _read_number(entry, axis, shape[axis])))]


def read_key(shape: Shape, key: Any) -> list[Slot]:
    """The entries of a key for an array of the given shape, checked, with every axis taken by one of them."""
    slots: list[Slot] = []
    axis = 0
    for entry in _expand(key, len(shape)):
        slots.extend(_read_entry(entry, axis, shape))
        axis += _number_of_axes(entry)
    return slots


# --- applying it ----------------------------------------------------------------------------------------

# While a key is applied each axis of the value carries a label: ("kept", k) for the k-th axis that stays,
# ("index", k) for one that the k-th slot's traced index selects from, ("along", a) for one that a progression
# has cut to the length of axis a of the broadcast index arrays (a counts from the last, -1).
Label = tuple[str, int]


@dataclass
class Labelled:
    """A value and the label of each of its axes."""

    value: Value
    labels: list[Label]

    def front(self, labels: Sequence[Label], places: Sequence[int]) -> None:
        """Bring the axes at `places` to the front, under new labels."""
        rest = [k for k in range(len(self.labels)) if k not in places]
        self.value = permute(self.value, [*places, *rest])
        self.labels = [*labels, *(self.labels[k] for k in rest)]


def _index_shape(slots: Sequence[Slot]) -> Shape:
    shapes = [s.index.shape for s in slots if s.index is not None]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        texts = " ".join("(" + ",".join(map(str, s)) + ("," if len(s) == 1 else "") + ")" for s in shapes)
        raise IndexOutOfBoundsError(
            f"index: shape mismatch: indexing arrays could not be broadcast together with shapes {texts}"
        ) from None


def _cut(x: Value, slots: Sequence[Slot]) -> Labelled:
    """Slices, numbers and progressions applied as one slice; new axes put in, axes of numbers dropped."""
    pieces: list[Piece] = []
    labels: list[Label] = []
    sizes: list[int] = []
    kept = axis = 0
    for number, slot in enumerate(slots):
        piece = slot.piece
        if isinstance(slot.index, Progression):
            piece = (slot.index.start, slot.index.size, slot.index.step)
            label = None if slot.index.axis is None else ("along", slot.index.axis)
        elif slot.index is not None:
            piece, label = (0, x.shape[axis], 1), ("index", number)
        elif piece is not None:
            label, kept = ("kept", kept), kept + 1
        else:
            continue
        if not slot.new:
            pieces.append(piece)
            axis += 1
        if label is not None:
            labels.append(label)
            sizes.append(piece[1])
    return Labelled(reshape(take_slices(x, pieces), sizes), labels)


def _merge_diagonals(state: Labelled, varying: set[int]) -> None:
    """Several progressions along one axis that no traced index varies on: the diagonal of their axes."""
    for axis in {a for kind, a in state.labels if kind == "along" and a not in varying}:
        label = ("along", axis)
        while state.labels.count(label) > 1:
            pair = [k for k, known in enumerate(state.labels) if known == label][:2]
            rest = [k for k in range(len(state.labels)) if k not in pair]
            state.value = matrix_diagonal(permute(state.value, [*rest, *pair]))
            state.labels = [*(state.labels[k] for k in rest), label]


def _gather(state: Labelled, slots: Sequence[Slot], common: Shape, varying: Sequence[int]) -> None:
    """Select by the traced indices, together with the progressions along the axes that they vary on."""
    sizes = tuple(common[a] for a in varying)
    operands: list[Value] = []
    places: list[int] = []
    for place, (kind, number) in enumerate(state.labels):
        index = slots[number].index if kind == "index" else None
        if isinstance(index, Value):
            own = [index.shape[a] if -a <= index.ndim else 1 for a in varying]
            operands.append(broadcast_to(reshape(index, own), sizes))
        elif kind == "along" and number in varying:
            operands.append(iota(sizes, list(varying).index(number)))
        else:
            continue
        places.append(place)
    state.front([("index", k) for k in range(len(places))], places)
    state.value = gather(state.value, *operands)
    state.labels = [("along", a) for a in varying] + state.labels[len(places) :]


def _place_of_index_axes(slots: Sequence[Slot]) -> int:
    """NumPy's rule: where the index arrays stand when they stand together, else in front."""
    at = [k for k, s in enumerate(slots) if s.index is not None]
    together = bool(at) and at == list(range(at[0], at[-1] + 1))
    return sum(s.piece is not None for s in slots[: at[0]]) if together else 0


def getitem(x: Value, key: Any) -> Value:
    """`x[key]` for NumPy's basic and advanced keys; index arrays may be traced, masks must be constant."""
    x = strong(x)
    slots = read_key(x.shape, key)
    if all(s.index is None or (isinstance(s.index, Progression) and not s.index.shape) for s in slots):
        return _cut(x, slots).value
    common = _index_shape(slots)
    kept = [s.piece[1] for s in slots if s.piece is not None]
    at = _place_of_index_axes(slots)
    result = (*kept[:at], *common, *kept[at:])
    if 0 in common:
        return full(result, 0, x.dtype)
    state = _cut(x, slots)
    traced = [s.index for s in slots if isinstance(s.index, Value)]
    ranks = range(-len(common), 0)
    varying = [a for a in ranks if any(-a <= v.ndim and v.shape[a] != 1 for v in traced)]
    _merge_diagonals(state, set(varying))
    if traced:
        _gather(state, slots, common, varying)
    order: list[Label] = [("kept", k) for k in range(at)]
    order += [("along", a) for a in ranks if common[a] != 1]
    order += [("kept", k) for k in range(at, len(kept))]
    return reshape(permute(state.value, [state.labels.index(label) for label in order]), result)


# --- taking by position ---------------------------------------------------------------------------------


def _settled_positions(indices: Any, n: int, mode: str) -> Any:
    """Positions as `take` reads them, by mode; booleans count as 0 and 1."""
    if mode not in ("raise", "wrap", "clip"):
        raise ArgumentError(f"take: clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    if isinstance(indices, (list, tuple)):
        indices = array(indices) if has_values(indices) else np.asarray(indices)
    if isinstance(indices, Value):
        if mode == "wrap":
            return remainder(indices, n)
        if mode == "clip":
            return comparison.minimum(comparison.maximum(indices, 0), n - 1)
        return indices
    concrete = np.asarray(indices)
    if concrete.dtype == np.bool_ or mode != "raise":
        concrete = freeze(concrete).astype(np.int64)
        concrete = {"raise": lambda a: a, "wrap": lambda a: a % n, "clip": lambda a: np.clip(a, 0, n - 1)}[
            mode
        ](concrete)
    return concrete


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Value:
    """`np.take`: elements at positions along an axis, or of the flattened array."""
    refuse_out("take", out)
    x = strong(as_value(a, "take"))
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    k = normalize_axis(axis, x.ndim, "take")
    return getitem(x, (*[slice(None)] * k, _settled_positions(indices, x.shape[k], mode)))


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Value:
    """`np.take_along_axis`: along one axis, at positions given for every place of the others."""
    x = strong(as_value(arr, "take_along_axis"))
    places = array(indices) if isinstance(indices, (list, tuple)) else indices
    if axis is None:
        if len(shape_of(places)) != 1:
            raise ShapeError("take_along_axis: when axis=None, `indices` must have a single dimension.")
        x, axis = reshape(x, (x.size,)), 0
    k = normalize_axis(axis, x.ndim, "take_along_axis")
    if len(shape_of(places)) != x.ndim:
        raise ShapeError("take_along_axis: `indices` and `arr` must have the same number of dimensions")
    key: list[Any] = [
        Progression(tuple(n if j == d else 1 for j in range(x.ndim)), 0) for d, n in enumerate(x.shape)
    ]
    key[k] = places
    return getitem(x, tuple(key))


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Value:
    """`np.delete` of constant positions: what is left between them, end to end."""
    x = strong(as_value(arr, "delete"))
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    k = normalize_axis(axis, x.ndim, "delete")
    if isinstance(obj, Value) or has_values(obj):
        raise TracerError(
            "delete: the positions must be concrete, got a traced value",
            hint="the size of the result would depend on them; keep elements with np.where instead",
        )
    positions = freeze(obj) if isinstance(obj, np.ndarray) else obj
    try:
        left = np.delete(np.arange(x.shape[k]), positions)
    except IndexError as error:
        raise IndexOutOfBoundsError(f"delete: {error}") from None
    found = runs(left.tolist())
    if len(found) > LONGEST_JOIN:
        return getitem(x, (*[slice(None)] * k, left.tolist()))
    return take_runs(x, k, found)


# --- differences ----------------------------------------------------------------------------------------


@implements(np.diff)
def diff(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> Value:
    """`np.diff`: differences of neighbours along an axis, `n` times."""
    times = static_int(n, "diff: n")
    if times < 0:
        raise ShapeError(f"diff: order must be non-negative but got {times}")
    x = strong(as_value(a, "diff"))
    if times == 0:
        return x
    if not x.ndim:
        raise ShapeError("diff: diff requires input that is at least one dimensional")
    k = normalize_axis(axis, x.ndim, "diff")
    ends = [_end_of(end, x, k) for end in (prepend, append)]
    if not all(end is None for end in ends):
        x = concatenate([part for part in (ends[0], x, ends[1]) if part is not None], k)
    subtraction = comparison.not_equal if x.dtype == np.bool_ else subtract
    for _ in range(times):
        left = max(0, x.shape[k] - 1)
        x = subtraction(slice_axis(x, k, min(1, left), left), slice_axis(x, k, 0, left))
    return x


def _end_of(end: Any, x: Value, axis: int) -> Value | None:
    """What `diff` puts before or after `x`: a number becomes a layer of its size."""
    if is_default(end):
        return None
    value = array(end)
    return value if value.ndim else broadcast_to(value, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Value:
    """`np.ediff1d`: differences of the flattened array, between given first and last elements."""
    x = ravel(ary)
    parts = [diff(x)]
    for end, place in ((to_begin, 0), (to_end, 2)):
        if not is_default(end):
            value = ravel(array(end))
            if not can_cast(value.dtype, x.dtype, "same_kind"):
                raise ArgumentError(
                    f"ediff1d: dtype of `{'to_end' if place else 'to_begin'}` must be compatible with input "
                    "`ary` under the `same_kind` rule."
                )
            parts.insert(place, convert(value, x.dtype))
    return join(parts, 0)
