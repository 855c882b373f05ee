"""The whole text of every error of reductions, scans, products and norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from tracejit.errors import ArgumentError, DTypeError, ShapeError, TracejitError, UnsupportedError
from tracejit.frontend.trace import argument_of, trace

X, M, W, V = np.ones((3, 4)), np.ones((5, 3)), np.ones((4, 2)), np.ones(5)
S, I, E, SQ, CUBE = np.array(1.0), np.arange(3), np.zeros((0, 3)), np.ones((3, 3)), np.ones((2, 3, 4))

Row = tuple[Callable[..., Any], tuple[Any, ...], type[TracejitError], str, "str | None"]

# Calls that NumPy refuses too, with an error that a handler written for NumPy catches here as well.
REFUSED_BY_NUMPY: list[Row] = [
    (
        np.linalg.cholesky,
        (X,),
        ShapeError,
        "cholesky: the last two axes must be of one size, got f64[3,4]",
        None,
    ),
    (np.linalg.inv, (V,), ShapeError, "inv: the last two axes must be of one size, got f64[5]", None),
    (np.linalg.solve, (SQ, V), ShapeError, "solve: sizes differ, f64[3,3] and f64[5]", None),
    (
        lambda a, b: np.linalg.solve(a[None][[0, 0]], np.ones((3, 3, 1)) * b),
        (SQ, S),
        ShapeError,
        "solve: batch shapes do not broadcast, f64[2,3,3] and f64[3,3,1]",
        "the axes in front of the last two must be equal or 1, counted from the last of them",
    ),
    (
        lambda a: scipy.linalg.solve_triangular(a, V),
        (SQ,),
        ShapeError,
        "solve_triangular: sizes differ, f64[3,3] and f64[5]",
        None,
    ),
    (
        lambda a: scipy.linalg.cho_factor(a),
        (X,),
        ShapeError,
        "cho_factor: the last two axes must be of one size, got f64[3,4]",
        None,
    ),
    (
        lambda x: np.sum(x, axis=2),
        (X,),
        ShapeError,
        "sum: axis 2 is out of bounds for array of dimension 2",
        None,
    ),
    (lambda x: np.sum(x, axis=(0, 0)), (X,), ShapeError, "sum: duplicate value in 'axis'", None),
    (
        lambda x: np.max(x),
        (E,),
        ShapeError,
        "max: f64[0,3] has no elements along axes [0, 1]",
        "give initial=, the result for no elements",
    ),
    (
        lambda x: np.min(x, axis=0),
        (E,),
        ShapeError,
        "min: f64[0,3] has no elements along axes [0]",
        "give initial=, the result for no elements",
    ),
    (
        lambda x: np.max(x, where=[True, False, True, True]),
        (X,),
        ShapeError,
        "max: where= needs initial=, the result where nothing is selected",
        None,
    ),
    (lambda x: np.argmax(x, axis=0), (E,), ShapeError, "argmax: f64[0,3] has no elements along axis 0", None),
    (
        lambda x: np.var(x, ddof=1, correction=1),
        (X,),
        ShapeError,
        "var: ddof and correction can't be provided simultaneously.",
        None,
    ),
    (
        lambda x: np.average(x, axis=0, weights=np.ones(4)),
        (X,),
        ShapeError,
        "average: weights f64[4] do not fit f64[3,4] along axes [0]",
        None,
    ),
    (
        lambda x: np.average(x, weights=np.ones(4)),
        (X,),
        ArgumentError,
        "average: axis must be given when the shapes differ, f64[3,4] and f64[4]",
        None,
    ),
    (
        lambda x: np.cumsum(x, axis=2),
        (X,),
        ShapeError,
        "cumsum: axis 2 is out of bounds for array of dimension 2",
        None,
    ),
    (lambda x: np.add.accumulate(x), (S,), ArgumentError, "accumulate: cannot accumulate on a scalar", None),
    (
        lambda x: np.cumulative_sum(x),
        (X,),
        ShapeError,
        "cumulative_sum: axis must be given for f64[3,4]",
        None,
    ),
    (
        lambda x: np.sum(x, where=x),
        (X,),
        DTypeError,
        "sum: where must be bool, got f64[3,4]",
        "write where=x > 0 or x != 0",
    ),
    (
        lambda x, w: x @ w,
        (
            M,
            W,
        ),
        ShapeError,
        "matmul: inner sizes differ, f64[5,3] @ f64[4,2]",
        "the last axis of the left operand (3) must equal the second to last of the right one (4)",
    ),
    (
        lambda x, v: x @ v,
        (
            M,
            V,
        ),
        ShapeError,
        "matmul: inner sizes differ, f64[5,3] @ f64[5]",
        "the last axis of the left operand (3) must equal the only axis of the right one (5)",
    ),
    (
        lambda x: x @ 2.0,
        (M,),
        ShapeError,
        "matmul: the right operand needs 1 dimension(s) or more, got f64",
        "use * to multiply by a scalar",
    ),
    (
        lambda x, s: np.matmul(s, x),
        (
            M,
            S,
        ),
        ShapeError,
        "matmul: the left operand needs 1 dimension(s) or more, got f64",
        "use * to multiply by a scalar",
    ),
    (
        lambda x, y: np.matmul(x, y),
        (
            np.ones((2, 3, 4)),
            np.ones((3, 4, 2)),
        ),
        ShapeError,
        "matmul: batch shapes do not broadcast, f64[2,3,4] @ f64[3,4,2]",
        "the leading axes [2] and [3] must be equal or 1, counted from the last",
    ),
    (
        lambda x, w: np.dot(x, w),
        (
            M,
            W,
        ),
        ShapeError,
        "dot: inner sizes differ, f64[5,3] @ f64[4,2]",
        "the last axis of the left operand (3) must equal the second to last of the right one (4)",
    ),
    (
        lambda x, v: np.dot(x, v),
        (
            M,
            V,
        ),
        ShapeError,
        "dot: inner sizes differ, f64[5,3] @ f64[5]",
        "the last axis of the left operand (3) must equal the only axis of the right one (5)",
    ),
    (
        lambda x, v: np.inner(x, v),
        (
            M,
            V,
        ),
        ShapeError,
        "inner: inner sizes differ, f64[5,3] @ f64[5]",
        "the last axis of the left operand (3) must equal the last of the right one (5)",
    ),
    (
        lambda x, v: np.vdot(x, v),
        (
            M,
            V,
        ),
        ShapeError,
        "vdot: sizes differ, f64[5,3] and f64[5]",
        None,
    ),
    (
        lambda x, v: np.vecdot(x, v),
        (
            M,
            V,
        ),
        ShapeError,
        "vecdot: inner sizes differ, f64[5,3] @ f64[5]",
        "the last axis of the left operand (3) must equal the last of the right one (5)",
    ),
    (
        lambda x, v: np.linalg.outer(x, v),
        (
            M,
            V,
        ),
        ShapeError,
        "linalg.outer: both operands must be vectors, got f64[5,3] and f64[5]",
        None,
    ),
    (
        lambda x, w: np.tensordot(x, w, 1),
        (
            M,
            W,
        ),
        ShapeError,
        "tensordot: sizes differ, f64[5,3] and f64[4,2] along (1,) and (0,)",
        None,
    ),
    (
        lambda x, w: np.tensordot(x, w, ([0, 1], [0])),
        (
            M,
            W,
        ),
        ShapeError,
        "tensordot: axes ([0, 1], [0]) do not pair distinct axes of f64[5,3] and f64[4,2]",
        None,
    ),
    (
        lambda x, w: np.tensordot(x, w, 1.5),
        (
            M,
            W,
        ),
        ArgumentError,
        "tensordot: axes must be an integer or two sequences of integers",
        None,
    ),
    (
        lambda x, w: np.einsum("ij,jk", x, w),
        (
            M,
            W,
        ),
        ShapeError,
        "einsum: label 'j' has sizes 3 and 4, f64[5,3], f64[4,2]",
        None,
    ),
    (
        lambda x: np.einsum("ijk", x),
        (X,),
        ShapeError,
        "einsum: subscripts 'ijk' do not fit an operand of 2 dimension(s)",
        None,
    ),
    (lambda x: np.einsum("i,j", x), (X,), ShapeError, "einsum: 'i,j' names 2 operand(s), 1 were given", None),
    (
        lambda x: np.einsum("ij->ik", x),
        (X,),
        ShapeError,
        "einsum: the result of 'ij->ik' repeats a label or has one that no operand has",
        None,
    ),
    (
        lambda x: np.einsum("i1", x),
        (X,),
        ShapeError,
        "einsum: invalid subscripts 'i1'",
        "use letters, one '...' a term, ',' and '->'",
    ),
    (lambda x: np.einsum("ii", x), (X,), ShapeError, "einsum: label 'i' has sizes 3 and 4, f64[3,4]", None),
    (
        lambda x: np.einsum("...j->j", x),
        (X,),
        ShapeError,
        "einsum: the result of '...j->j' lacks the axes under '...'",
        "write '->...'",
    ),
    (
        lambda x: np.einsum(x, ["a", 1]),
        (X,),
        ArgumentError,
        "einsum: a sublist must hold integers below 52 and Ellipsis, got ['a', 1]",
        None,
    ),
    (lambda x: np.linalg.norm(x, 0), (X,), ShapeError, "norm: invalid norm order 0 for matrices", None),
    (lambda x: np.linalg.norm(x, "fro"), (V,), ShapeError, "norm: order 'fro' is not one of vectors", None),
    (
        lambda x: np.linalg.norm(x, 1),
        (CUBE,),
        ShapeError,
        "norm: vectors have one axis and matrices two, not 3",
        "give axis=",
    ),
    (
        lambda x, w: np.linalg.multi_dot([x, w]),
        (
            M,
            W,
        ),
        ShapeError,
        "multi_dot: inner sizes differ, f64[5,3] @ f64[4,2]",
        None,
    ),
    (lambda x: np.linalg.multi_dot([x]), (M,), ShapeError, "multi_dot: two arrays or more are needed", None),
    (
        lambda x, w: np.linalg.multi_dot([x, w, x]),
        (
            M,
            CUBE,
        ),
        ShapeError,
        "multi_dot: every array must be a matrix, the first and the last may be vectors",
        None,
    ),
    (
        lambda x: np.linalg.matrix_power(x, 2),
        (X,),
        ShapeError,
        "matrix_power: the last two axes must be of one size, got f64[3,4]",
        None,
    ),
    (
        lambda x: np.cross(x, x),
        (X,),
        ShapeError,
        "cross: a must have 2 or 3 components along axis 1, got f64[3,4]",
        None,
    ),
    (
        lambda x, v: np.linalg.cross(x, v),
        (
            M,
            np.ones(2),
        ),
        ShapeError,
        "linalg.cross: both operands need 3 components, got 3 and 2",
        None,
    ),
    (
        lambda x: np.logical_or.reduce(x, dtype=int),
        (X,),
        DTypeError,
        "logical reduce: the result is bool, not int64",
        None,
    ),
]

REFUSED_HERE: list[Row] = [
    (
        lambda a: scipy.linalg.solve_triangular(a, SQ, trans="H"),
        (SQ,),
        ArgumentError,
        "solve_triangular: trans is 'H', not one of 0, 1, 2, 'N', 'T', 'C'",
        None,
    ),
    (
        lambda a: scipy.linalg.cho_solve(a, SQ),
        (SQ,),
        ArgumentError,
        "cho_solve: the first argument is a factor and whether it is the lower one",
        None,
    ),
    (
        lambda x, w: np.tensordot(x, w, 3),
        (
            M,
            W,
        ),
        ShapeError,
        "tensordot: cannot sum over 3 axes of f64[5,3] and f64[4,2]",
        None,
    ),
    (
        lambda x: np.linalg.norm(x, 2),
        (X,),
        UnsupportedError,
        "norm: the matrix norm of order 2 needs singular values, which are not supported yet",
        "use the Frobenius norm (ord=None), or ord=1 or np.inf",
    ),
    (
        lambda x: np.linalg.norm(x, "nuc", axis=(0, 1)),
        (CUBE,),
        UnsupportedError,
        "norm: the matrix norm of order 'nuc' needs singular values, which are not supported yet",
        "use the Frobenius norm (ord=None), or ord=1 or np.inf",
    ),
    (
        lambda x: np.bitwise_or.reduce(x),
        (I,),
        UnsupportedError,
        "bitwise reduce: supported for bools only, got i64[3]",
        None,
    ),
    (
        lambda x: np.logaddexp.reduce(x, initial=0.0),
        (X,),
        UnsupportedError,
        "logaddexp.reduce: initial=0.0 is not supported",
        "leave initial out",
    ),
    (
        lambda x: np.einsum("ij", x, order="F"),
        (X,),
        UnsupportedError,
        "einsum: order='F' is not supported",
        "leave order out",
    ),
]


def _error(call: Callable[..., Any], args: tuple[Any, ...]) -> TracejitError:
    with pytest.raises(TracejitError) as caught:
        trace(call, [argument_of(a) for a in args], "f")
    return caught.value


@pytest.mark.parametrize(
    ("call", "args", "kind", "text", "hint"),
    [*REFUSED_BY_NUMPY, *REFUSED_HERE],
    ids=[r[3] for r in [*REFUSED_BY_NUMPY, *REFUSED_HERE]],
)
def test_what_cannot_be_traced_is_refused_with_a_text_and_a_hint(
    call: Callable[..., Any], args: tuple[Any, ...], kind: type[TracejitError], text: str, hint: str | None
) -> None:
    error = _error(call, args)
    assert (type(error), error.message, error.hint) == (kind, text, hint)


@pytest.mark.parametrize(
    ("call", "args"), [r[:2] for r in REFUSED_BY_NUMPY], ids=[r[3] for r in REFUSED_BY_NUMPY]
)
def test_the_class_of_an_error_fits_the_one_that_numpy_raises(
    call: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    error = _error(call, args)
    with pytest.raises(Exception) as numpy_error:
        call(*args)
    builtins = {c for c in type(numpy_error.value).__mro__ if c.__module__ == "builtins"}
    assert any(isinstance(error, c) for c in builtins - {Exception, BaseException, object})


def test_the_error_of_a_matrix_product_names_the_line_and_both_types() -> None:
    error = _error(lambda x, w: x @ w, (M, W))
    lines = str(error).splitlines()
    assert lines[0] == "matmul: inner sizes differ, f64[5,3] @ f64[4,2]"
    assert lines[1].endswith("error = _error(lambda x, w: x @ w, (M, W))")
    assert lines[2] == (
        "  hint: the last axis of the left operand (3) must equal the second to last of the right one (4)"
    )
