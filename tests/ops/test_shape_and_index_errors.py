"""The whole text of every error of shape, slicing, indexing, joining, diagonal and creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit.errors import (
    ArgumentError,
    IndexOutOfBoundsError,
    ShapeError,
    TracejitError,
    TracerError,
    UnsupportedError,
)
from tracejit.frontend.trace import argument_of, trace

X, CUBE, V, I = np.ones((3, 4)), np.ones((2, 3, 4)), np.ones(5), np.array([0, 1])
SCALAR, MASK = np.array(1.0), np.ones((3, 4), bool)

INVALID = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are "
    "valid indices"
)

Row = tuple[Callable[..., Any], tuple[Any, ...], type[TracejitError], str]

# Calls that NumPy refuses too, with an error that a handler written for NumPy catches here as well.
REFUSED_BY_NUMPY: list[Row] = [
    (
        lambda x: np.reshape(x, (5, 2)),
        (X,),
        ShapeError,
        "reshape: cannot reshape array of size 12 into shape (5,2)",
    ),
    (
        lambda x: np.reshape(x, 7),
        (X,),
        ShapeError,
        "reshape: cannot reshape array of size 12 into shape (7,)",
    ),
    (
        lambda x: np.reshape(x, (-1, 5)),
        (X,),
        ShapeError,
        "reshape: cannot reshape array of size 12 into shape (-1,5)",
    ),
    (
        lambda x: np.reshape(x, (0, -1)),
        (X[:0],),
        ShapeError,
        "reshape: cannot reshape array of size 0 into shape (0,-1)",
    ),
    (lambda x: np.reshape(x, (-1, -1)), (X,), ShapeError, "reshape: can only specify one unknown dimension"),
    (lambda x: np.reshape(x, (2, "a")), (X,), ArgumentError, "reshape: shape must be an integer, got str"),
    (lambda x: np.transpose(x, (0,)), (X,), ShapeError, "transpose: axes don't match array"),
    (lambda x: np.transpose(x, (0, 0)), (X,), ShapeError, "transpose: repeated axis in transpose"),
    (
        lambda x: np.transpose(x, (0, 2)),
        (X,),
        ShapeError,
        "transpose: axis 2 is out of bounds for array of dimension 2",
    ),
    (
        lambda x: np.swapaxes(x, 0, 5),
        (X,),
        ShapeError,
        "swapaxes: axis 5 is out of bounds for array of dimension 2",
    ),
    (
        lambda x: np.matrix_transpose(x),
        (V,),
        ShapeError,
        "matrix_transpose: Input array must be at least 2-dimensional, it is 1",
    ),
    (
        lambda x: np.moveaxis(x, (0, 1), 0),
        (X,),
        ShapeError,
        "moveaxis: `source` and `destination` arguments must have the same number of elements",
    ),
    (lambda x: np.moveaxis(x, (0, 0), (1, 0)), (X,), ShapeError, "moveaxis: duplicate value in 'axis'"),
    (
        lambda x: np.rollaxis(x, 0, 4),
        (X,),
        ShapeError,
        "rollaxis: start arg requires -2 <= start < 3, but 4 was passed in",
    ),
    (
        lambda x: np.squeeze(x, 0),
        (X,),
        ShapeError,
        "squeeze: cannot select an axis to squeeze out which has size not equal to one",
    ),
    (
        lambda x: np.expand_dims(x, 3),
        (X,),
        ShapeError,
        "expand_dims: axis 3 is out of bounds for array of dimension 3",
    ),
    (
        lambda x: np.broadcast_to(x, (3, 5)),
        (X,),
        ShapeError,
        "broadcast_to: f64[3,4] does not broadcast to [3, 5]",
    ),
    (
        lambda x: np.broadcast_to(x, (-1, 4)),
        (X[0],),
        ShapeError,
        "broadcast_to: all elements of broadcast shape must be non-negative",
    ),
    (
        lambda x, y: np.broadcast_arrays(x, y),
        (X, V),
        ShapeError,
        "broadcast_arrays: shapes do not broadcast, f64[3,4], f64[5]",
    ),
    (lambda x: np.tile(x, -1), (X,), ShapeError, "tile: negative repetitions are not allowed"),
    (
        lambda x: np.meshgrid(x, indexing="no"),
        (V,),
        ShapeError,
        "meshgrid: Valid values for `indexing` are 'xy' and 'ij'.",
    ),
    (lambda x: np.fliplr(x), (V,), ShapeError, "fliplr: Input must be >= 2-d."),
    (lambda x: np.flipud(x), (SCALAR,), ShapeError, "flipud: Input must be >= 1-d."),
    (lambda x: np.rot90(x, axes=(0,)), (X,), ShapeError, "rot90: len(axes) must be 2."),
    (lambda x: np.rot90(x, axes=(0, -2)), (X,), ShapeError, "rot90: Axes must be different."),
    (lambda x: np.array_split(x, 0), (V,), ShapeError, "array_split: number sections must be larger than 0."),
    (lambda x: np.split(x, 2), (V,), ShapeError, "split: array split does not result in an equal division"),
    (lambda x: np.vsplit(x, 1), (V,), ShapeError, "vsplit only works on arrays of 2 or more dimensions"),
    (lambda x: x[3], (X,), IndexOutOfBoundsError, "index: index 3 is out of bounds for axis 0 with size 3"),
    (
        lambda x: x[:, -5],
        (X,),
        IndexOutOfBoundsError,
        "index: index -5 is out of bounds for axis 1 with size 4",
    ),
    (
        lambda x: x[[0, 9]],
        (X,),
        IndexOutOfBoundsError,
        "index: index 9 is out of bounds for axis 0 with size 3",
    ),
    (
        lambda x: x[0, 0, 0],
        (X,),
        IndexOutOfBoundsError,
        "index: too many indices for array: array is 2-dimensional, but 3 were indexed",
    ),
    (
        lambda x: x[..., 0, ...],
        (X,),
        IndexOutOfBoundsError,
        "index: an index can only have a single ellipsis ('...')",
    ),
    (lambda x: x["a"], (X,), IndexOutOfBoundsError, f"index: {INVALID}"),
    (lambda x: x[1.0], (X,), IndexOutOfBoundsError, f"index: {INVALID}"),
    (
        lambda x: x[[0.5]],
        (X,),
        IndexOutOfBoundsError,
        "index: arrays used as indices must be of integer (or boolean) type",
    ),
    (
        lambda x: x[[0, 1], [0, 1, 2]],
        (X,),
        IndexOutOfBoundsError,
        "index: shape mismatch: indexing arrays could not be broadcast together with shapes (2,) (3,)",
    ),
    (
        lambda x: x[np.array([True, False])],
        (X,),
        IndexOutOfBoundsError,
        "index: boolean index did not match indexed array along axis 0; size of axis is 3 but size of "
        "corresponding boolean axis is 2",
    ),
    (
        lambda x: np.take(x, 5),
        (V,),
        IndexOutOfBoundsError,
        "index: index 5 is out of bounds for axis 0 with size 5",
    ),
    (
        lambda x: np.take_along_axis(x, I, 0),
        (X,),
        ShapeError,
        "take_along_axis: `indices` and `arr` must have the same number of dimensions",
    ),
    (
        lambda x: np.take_along_axis(x, I[None], None),
        (X,),
        ShapeError,
        "take_along_axis: when axis=None, `indices` must have a single dimension.",
    ),
    (
        lambda x: np.delete(x, 5),
        (V,),
        IndexOutOfBoundsError,
        "delete: index 5 is out of bounds for axis 0 with size 5",
    ),
    (lambda x: np.diff(x, -1), (V,), ShapeError, "diff: order must be non-negative but got -1"),
    (
        lambda x: np.diff(x),
        (SCALAR,),
        ShapeError,
        "diff: diff requires input that is at least one dimensional",
    ),
    (
        lambda x: np.ediff1d(x, to_end=1.5),
        (I,),
        ArgumentError,
        "ediff1d: dtype of `to_end` must be compatible with input `ary` under the `same_kind` rule.",
    ),
    (
        lambda x, y: np.concatenate([x, y]),
        (X, V),
        ShapeError,
        "concatenate: all the input arrays must have same number of dimensions, but the array at index 0 has "
        "2 dimension(s) and the array at index 1 has 1 dimension(s)",
    ),
    (
        lambda x, y: np.concatenate([x, y.T]),
        (X, X),
        ShapeError,
        "concatenate: all the input array dimensions except for the concatenation axis must match exactly, "
        "but along dimension 1, the array at index 0 has size 4 and the array at index 1 has size 3",
    ),
    (
        lambda x: np.concatenate([x, x]),
        (SCALAR,),
        ShapeError,
        "concatenate: zero-dimensional arrays cannot be concatenated",
    ),
    (
        lambda x: np.concatenate([x, x], dtype=int),
        (V,),
        ArgumentError,
        "concatenate: cannot cast float64 to int64 with casting='same_kind'",
    ),
    (lambda x, y: np.stack([x, y]), (X, V), ShapeError, "stack: all input arrays must have the same shape"),
    (
        lambda x: np.roll(x, (1, 2, 3), axis=(0, 1)),
        (X,),
        ShapeError,
        "roll: 'shift' and 'axis' should be scalars or 1D sequences",
    ),
    (lambda x: np.repeat(x, -1), (V,), ShapeError, "repeat: repeats may not contain negative values."),
    (
        lambda x: np.repeat(x, [1, 2]),
        (V,),
        ShapeError,
        "repeat: operands could not be broadcast together with shape (5,) (2,)",
    ),
    (lambda x: np.pad(x, -1), (V,), ShapeError, "pad: index can't contain negative values"),
    (
        lambda x: np.pad(x, ((1, 1),) * 3),
        (X,),
        ShapeError,
        "pad: pad_width does not broadcast to one pair for each of 2 axes",
    ),
    (
        lambda x: np.pad(x, 1, mode="edge"),
        (V[:0],),
        ShapeError,
        "pad: can't extend empty axis 0 using modes other than 'constant' or 'empty'",
    ),
    (
        lambda x: np.diagonal(x),
        (V,),
        ShapeError,
        "diagonal: diag requires an array of at least two dimensions",
    ),
    (lambda x: np.diagonal(x, 0, 1, 1), (X,), ShapeError, "diagonal: axis1 and axis2 cannot be the same"),
    (lambda x: np.diag(x), (CUBE,), ShapeError, "diag: Input must be 1- or 2-d."),
    (
        lambda x: np.astype(x, int, copy=False).astype(bool, casting="safe"),
        (X,),
        ArgumentError,
        "astype: cannot cast from int64 to bool with casting='safe'",
    ),
]

# Calls that mean something to NumPy and cannot be traced: (call, arguments, class, text, hint).
REFUSED_HERE: list[tuple[Callable[..., Any], tuple[Any, ...], type[TracejitError], str, str]] = [
    (
        lambda x, m: x[m],
        (X, MASK),
        UnsupportedError,
        "index: a traced boolean mask makes an array whose size is not known while tracing",
        "write np.where(mask, x, 0), or multiply by the mask",
    ),
    (
        lambda x, i: np.delete(x, i),
        (V, I),
        TracerError,
        "delete: the positions must be concrete, got a traced value",
        "the size of the result would depend on them; keep elements with np.where instead",
    ),
    (
        lambda x, n: np.repeat(x, n),
        (V, np.array(2)),
        TracerError,
        "repeat: repeats must be a concrete integer, got a traced i64",
        "sizes, axes and repeats shape the kernel: pass them as static arguments",
    ),
    (
        lambda x: np.pad(x, 1, mode="mean"),
        (V,),
        UnsupportedError,
        "pad: mode='mean' is not supported",
        "use one of constant, edge, reflect, symmetric, wrap",
    ),
    (
        lambda x: np.pad(x, 1, mode="reflect", reflect_type="odd"),
        (V,),
        UnsupportedError,
        "pad: reflect_type='odd' is not supported",
        "use one of constant, edge, reflect, symmetric, wrap",
    ),
    (
        lambda x: np.ravel(x, order="K"),
        (X,),
        UnsupportedError,
        "ravel: order='K' is not supported",
        "leave order out",
    ),
    (
        lambda x: np.zeros_like(x, order="F"),
        (X,),
        UnsupportedError,
        "zeros_like: order='F' is not supported",
        "leave order out",
    ),
]


def _error(call: Callable[..., Any], args: tuple[Any, ...]) -> TracejitError:
    with pytest.raises(TracejitError) as caught:
        trace(call, [argument_of(a) for a in args], "f")
    return caught.value


@pytest.mark.parametrize(
    ("call", "args", "kind", "text"), REFUSED_BY_NUMPY, ids=[r[3] for r in REFUSED_BY_NUMPY]
)
def test_what_numpy_refuses_is_refused_with_a_text_and_a_class_that_fit(
    call: Callable[..., Any], args: tuple[Any, ...], kind: type[TracejitError], text: str
) -> None:
    error = _error(call, args)
    assert (type(error), error.message) == (kind, text)
    with pytest.raises(Exception) as numpy_error:
        call(*args)
    builtins = {c for c in type(numpy_error.value).__mro__ if c.__module__ == "builtins"}
    assert any(isinstance(error, c) for c in builtins - {Exception, BaseException, object})


@pytest.mark.parametrize(
    ("call", "args", "kind", "text", "hint"), REFUSED_HERE, ids=[r[3] for r in REFUSED_HERE]
)
def test_what_cannot_be_traced_is_refused_with_what_to_write_instead(
    call: Callable[..., Any], args: tuple[Any, ...], kind: type[TracejitError], text: str, hint: str
) -> None:
    error = _error(call, args)
    assert (type(error), error.message, error.hint) == (kind, text, hint)


def test_a_slice_with_a_traced_bound_names_the_way_to_index_with_positions() -> None:
    error = _error(lambda x, i: x[i : i + 2], (V, np.array(1)))
    assert isinstance(error, TracerError)
    assert error.message == "index: the bounds of a slice must be concrete integers, got a traced value"
    assert error.hint == "index with positions instead: x[start + np.arange(size)]"
