"""Triangular systems: the primitive `triangular_solve` and `scipy.linalg.solve_triangular`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError, DTypeError, ShapeError
from tracejit.ir import ArrayType, Kind, Routine
from tracejit.ops.contraction import matmul
from tracejit.ops.core import permute_p, reshape, stored
from tracejit.ops.families import primitive
from tracejit.ops.matrices import (
    check_square,
    float_array,
    matching,
    positions_of,
    square_matrices,
    triangle,
    turned,
)
from tracejit.ops.tables import implements_scipy
from tracejit.ops.value import Value

SINGULAR = "Singular matrix"


def _infer(a: ArrayType, b: ArrayType, lower: bool, transpose: bool, unit: bool) -> ArrayType:
    check_square("triangular_solve", a)
    if a.dtype != b.dtype:
        raise DTypeError(f"triangular_solve: operands must be promoted first, {a} and {b}")
    if b.rank != a.rank or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(f"triangular_solve: {b} does not fit {a}")
    return b


def solve_each(a: Any, b: Any, lower: bool, transpose: bool, unit: bool, linalg: Any = None) -> Any:
    """The reference, by SciPy or a module like `scipy.linalg`, matrix after matrix."""
    if linalg is None:
        from scipy import linalg

    a, b = stored(a), stored(b)
    out = np.empty_like(b, order="C")
    if not unit and (np.diagonal(a, 0, -2, -1) == 0).any():
        raise np.linalg.LinAlgError(SINGULAR)
    if out.size:
        options: Any = {"trans": int(transpose), "lower": lower, "unit_diagonal": unit, "check_finite": False}
        for k in positions_of(a.shape[:-2]):
            out[k] = linalg.solve_triangular(a[k], b[k], **options)
    return out


def _routine(a: ArrayType, b: ArrayType, lower: bool, transpose: bool, unit: bool) -> Routine:
    n, k = b.shape[-2:]
    failure = None if unit else SINGULAR
    return Routine(
        "triangular_solve",
        (a.size // max(1, n**2), n, k),
        work=n**2 * k // 2,
        flags=(lower, transpose, unit),
        failure=failure,
        replaces=1,
    )


def _product(a: Value, b: Value, lower: bool, transpose: bool, unit: bool) -> Value:
    """`op(a) @ b`, of a tangent `a`: of its triangle only what the solution depends on."""
    matrix = triangle(a, lower, int(unit))
    return matmul(turned(matrix) if transpose else matrix, b)


def _jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any
) -> Value | None:
    """op(A) X = B: op(A) dX = dB - op(dA) X."""
    da, db = tangents
    right = db
    if da is not None:
        moved = -_product(da, out, **params)
        right = moved if right is None else right + moved
    return None if right is None else triangular_solve(primals[0], right, **params)


def _vjp(
    ct: Value,
    primals: Sequence[Value],
    out: Value,
    needed: Sequence[bool],
    lower: bool,
    transpose: bool,
    unit: bool,
) -> tuple[Value | None, ...]:
    """The transposed system for B; the triangle of -(ct of B) X^T, or of its transpose, for A."""
    ct_b = triangular_solve(primals[0], ct, lower=lower, transpose=not transpose, unit=unit)
    if not needed[0]:
        return None, ct_b
    product = matmul(out, turned(ct_b)) if transpose else matmul(ct_b, turned(out))
    return -triangle(product, lower, int(unit)), ct_b


_triangular_solve = primitive(
    "triangular_solve",
    Kind.LIBRARY,
    infer=_infer,
    evaluate=solve_each,
    elsewhere=lambda linalg, a, b, **params: solve_each(a, b, **params, linalg=linalg),
    jvp=_jvp,
    vjp=_vjp,
    routine=_routine,
)


def triangular_solve(
    a: Value, b: Value, *, lower: bool = True, transpose: bool = False, unit: bool = False
) -> Value:
    """X with op(A) X = B, of matrices with equal batches; op exchanges rows and columns if `transpose`.

    Only one triangle of `a` is read, and not its diagonal where that is `unit`: all ones.
    """
    eqn = a.definition
    if eqn is not None and eqn.primitive is permute_p:
        n = a.ndim
        if eqn.params["axes"] == (*range(n - 2), n - 1, n - 2):
            a, lower, transpose = Value(a.builder, eqn.inputs[0]), not lower, not transpose
    return _triangular_solve(a, b, lower=lower, transpose=transpose, unit=unit)


# --- SciPy's name -------------------------------------------------------------------------------------------

_TRANS = {0: False, 1: True, 2: True, "N": False, "T": True, "C": True}


def solve_by_columns(name: str, a: Any, b: Any, solve: Any) -> Value:
    """`solve(a, b)` on matrices of one dtype and batch, where a `b` of one axis is one column."""
    matrix, right = square_matrices(name, a), float_array(name, b)
    if not right.ndim:
        raise ShapeError(f"{name}: the right side needs one axis or more, got {right.type}")
    is_vector = right.ndim == 1
    columns = reshape(right, (right.size, 1)) if is_vector else right
    if matrix.shape[-1] != columns.shape[-2]:
        raise ShapeError(f"{name}: sizes differ, {matrix.type} and {right.type}")
    x = solve(*matching(name, matrix, columns))
    return reshape(x, x.shape[:-1]) if is_vector else x


@implements_scipy("linalg.solve_triangular")
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: Any = False,
    unit_diagonal: Any = False,
    overwrite_b: Any = False,
    check_finite: Any = True,
) -> Value:
    """`scipy.linalg.solve_triangular`, also for batches in front of the last two axes.

    `overwrite_b` and `check_finite` are of no account: operands stay as they are, and what is not finite
    gives results that are not.
    """
    if trans not in _TRANS:
        raise ArgumentError(f"solve_triangular: trans is {trans!r}, not one of 0, 1, 2, 'N', 'T', 'C'")
    options = {"lower": bool(lower), "transpose": _TRANS[trans], "unit": bool(unit_diagonal)}
    return solve_by_columns("solve_triangular", a, b, lambda m, right: triangular_solve(m, right, **options))
