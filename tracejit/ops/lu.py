"""LU factors, and what is made of them: `np.linalg.solve`, `inv`, `det`, `slogdet`.

A matrix is factored once for a solution and for all its derivatives: the factors stand in one array, `lu`,
which carries no derivative itself; `lu_solve` and `log_abs_det` take the matrix too, for their rules alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracejit.errors import ShapeError
from tracejit.ir import ArrayType, Kind, Routine
from tracejit.ops.arithmetic import full, multiply, sign
from tracejit.ops.axes import refuse
from tracejit.ops.contraction import matmul
from tracejit.ops.core import broadcast, convert, iota, reduce_sum, reshape, stored
from tracejit.ops.diagonal import matrix_diagonal
from tracejit.ops.families import primitive
from tracejit.ops.matrices import (
    check_square,
    float_array,
    matching,
    positions_of,
    square_matrices,
    turned,
)
from tracejit.ops.reduction import prod
from tracejit.ops.slicing import slice_axis
from tracejit.ops.tables import implements, implements_scipy
from tracejit.ops.transcendental import exp
from tracejit.ops.triangular import SINGULAR
from tracejit.ops.value import Value

LOGARITHM = 200  # multiplications that take as long as one, in scalar code

# The array of an n by n matrix A has n + 2 rows: LAPACK's factors of A^T, columns first; the rows that were
# exchanged as 32-bit integers, counted from 1; 1 or -1 for the parity of the exchanges, and zeros.


def _infer_lu(a: ArrayType, strict: bool) -> ArrayType:
    check_square("lu", a)
    return a.with_shape((*a.shape[:-2], a.shape[-1] + 2, a.shape[-1]))


def _evaluate_lu(a: Any, strict: bool) -> Any:
    from scipy.linalg import get_lapack_funcs

    a = np.asarray(a)
    n = a.shape[-1]
    out = np.zeros((*a.shape[:-2], n + 2, n), a.dtype)
    factor: Any = get_lapack_funcs("getrf", dtype=a.dtype)
    for k in positions_of(a.shape[:-2]) if a.size else ():
        factors, rows, info = factor(a[k].T)
        if strict and info:
            raise np.linalg.LinAlgError(SINGULAR)
        out[k][:n] = factors.T
        out[k][n].view(np.int32)[:n] = rows + 1
        out[k][n + 1, 0] = 1 - 2 * (np.count_nonzero(rows != np.arange(n)) % 2)
    return out


def _lu_elsewhere(linalg: Any, a: Any, strict: bool) -> Any:
    n = a.shape[-1]
    out = np.zeros_like(a, shape=(*a.shape[:-2], n + 2, n))
    for k in positions_of(a.shape[:-2]) if a.size else ():
        with warnings.catch_warnings():  # of a singular matrix
            warnings.simplefilter("ignore")
            factors, rows = linalg.lu_factor(a[k].T, check_finite=False)
        if strict and (np.diagonal(factors) == 0).any():
            raise np.linalg.LinAlgError(SINGULAR)
        out[k][:n] = factors.T
        out[k][n].view(np.int32)[:n] = rows + 1
        out[k][n + 1, 0] = 1 - 2 * (sum(row != place for place, row in enumerate(rows.tolist())) % 2)
    return out


lu = primitive(
    "lu",
    Kind.LIBRARY,
    infer=_infer_lu,
    evaluate=_evaluate_lu,
    jvp=lambda primals, tangents, out, strict: None,
    vjp=lambda ct, primals, out, needed, strict: (None,),
    elsewhere=_lu_elsewhere,
    routine=lambda a, strict: Routine(
        "lu", _sizes(a), a.shape[-1] ** 3 // 3, (strict,), failure=SINGULAR if strict else None
    ),
)


def _sizes(a: ArrayType) -> tuple[int, int]:
    return a.size // max(1, a.shape[-1] ** 2), a.shape[-1]


def _unpacked(factors: Any) -> tuple[Any, Any]:
    """LAPACK's factors and rows, counted from 0, of one matrix."""
    n = factors.shape[-1]
    return factors[:n].T, factors[n].view(np.int32)[:n] - 1


# --- solutions ---------------------------------------------------------------------------------------------


def _infer_solve(factors: ArrayType, a: ArrayType, b: ArrayType, transpose: bool) -> ArrayType:
    assert b.shape[:-1] == a.shape[:-1] and a.dtype == b.dtype == factors.dtype
    return b


def _evaluate_solve(factors: Any, a: Any, b: Any, transpose: bool) -> Any:
    from scipy.linalg import get_lapack_funcs

    factors, b = np.ascontiguousarray(factors), np.asarray(b)
    out = np.empty_like(b, order="C")
    solve: Any = get_lapack_funcs("getrs", dtype=b.dtype)
    for k in positions_of(b.shape[:-2]) if b.size else ():
        out[k] = solve(*_unpacked(factors[k]), b[k], trans=int(not transpose))[0]
    return out


def _solve_elsewhere(linalg: Any, factors: Any, a: Any, b: Any, transpose: bool) -> Any:
    out = np.empty_like(b, order="C")
    for k in positions_of(b.shape[:-2]) if b.size else ():
        out[k] = linalg.lu_solve(_unpacked(factors[k]), b[k], trans=int(not transpose), check_finite=False)
    return out


def _jvp_solve(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, transpose: bool
) -> Value | None:
    """op(A) X = B: op(A) dX = dB - op(dA) X."""
    factors, a, _ = primals
    da, right = tangents[1], tangents[2]
    if da is not None:
        moved = -matmul(turned(da) if transpose else da, out)
        right = moved if right is None else right + moved
    return None if right is None else lu_solve(factors, a, right, transpose=transpose)


def _vjp_solve(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool], transpose: bool
) -> tuple[Value | None, ...]:
    factors, a, _ = primals
    ct_b = lu_solve(factors, a, ct, transpose=not transpose)
    if not needed[1]:
        return None, None, ct_b
    product = matmul(out, turned(ct_b)) if transpose else matmul(ct_b, turned(out))
    return None, -product, ct_b


def _solve_routine(factors: ArrayType, a: ArrayType, b: ArrayType, transpose: bool) -> Routine:
    batches, n = _sizes(a)
    k = b.shape[-1]
    return Routine("lu_solve", (batches, n, k), n**2 * k, (transpose,), operands=(0, 2), replaces=2)


lu_solve = primitive(
    "lu_solve",
    Kind.LIBRARY,
    infer=_infer_solve,
    evaluate=_evaluate_solve,
    elsewhere=_solve_elsewhere,
    jvp=_jvp_solve,
    vjp=_vjp_solve,
    routine=_solve_routine,
)


def _solution(a: Value, b: Value) -> Value:
    return lu_solve(lu(a, strict=True), a, b, transpose=False)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Value:
    """`np.linalg.solve`: X with A X = B over broadcast leading axes; a `b` of one axis is one column."""
    matrix, right = square_matrices("solve", a), float_array("solve", b)
    is_vector = right.ndim == 1
    columns = reshape(right, (right.size, 1)) if is_vector else right
    if columns.ndim < 2 or matrix.shape[-1] != columns.shape[-2]:
        raise ShapeError(f"solve: sizes differ, {matrix.type} and {right.type}")
    x = _solution(*matching("solve", matrix, columns))
    return reshape(x, x.shape[:-1]) if is_vector else x


@implements(np.linalg.inv)
def inv(a: Any) -> Value:
    """`np.linalg.inv`: the inverses of the matrices in the last two axes."""
    x = square_matrices("inv", a)
    rows, columns = iota(x.shape, x.ndim - 2), iota(x.shape, x.ndim - 1)
    return _solution(x, convert(rows == columns, x.dtype))


@implements_scipy("linalg.solve")
def scipy_solve(
    a: Any,
    b: Any,
    lower: Any = False,
    overwrite_a: Any = False,
    overwrite_b: Any = False,
    check_finite: Any = True,
    assume_a: Any = None,
    transposed: Any = False,
) -> Value:
    """`scipy.linalg.solve`: X with A X = B of matrices of no special form; with A^T if `transposed`."""
    refuse("scipy.linalg.solve", "assume_a", assume_a, "gen", "general")
    x = square_matrices("solve", a)
    return solve(turned(x) if transposed else x, b)


@implements_scipy("linalg.inv")
def scipy_inv(
    a: Any, overwrite_a: Any = False, check_finite: Any = True, *, assume_a: Any = None, lower: Any = False
) -> Value:
    """`scipy.linalg.inv`: the inverses of matrices of no special form."""
    refuse("scipy.linalg.inv", "assume_a", assume_a, "gen", "general")
    return inv(a)


# --- determinants ------------------------------------------------------------------------------------------


def _infer_log_abs_det(factors: ArrayType, a: ArrayType) -> ArrayType:
    return a.with_shape(a.shape[:-2])


def _evaluate_log_abs_det(factors: Any, a: Any) -> Any:
    factors = stored(factors)
    diagonal = np.diagonal(factors[..., : factors.shape[-1], :], 0, -2, -1)
    with np.errstate(divide="ignore"):
        return np.sum(np.log(np.abs(diagonal)), axis=-1, dtype=factors.dtype)


def _inverse_turned(a: Value) -> Value:
    return turned(inv(a))


def _jvp_log_abs_det(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value | None:
    """The trace of A^-1 dA."""
    if tangents[1] is None:
        return None
    product = multiply(_inverse_turned(primals[1]), tangents[1])
    return reduce_sum(product, (product.ndim - 2, product.ndim - 1))


def _vjp_log_abs_det(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool]
) -> tuple[Value | None, ...]:
    if not needed[1]:
        return None, None
    inverse = _inverse_turned(primals[1])
    return None, multiply(broadcast(ct, inverse.shape, tuple(range(ct.ndim))), inverse)


log_abs_det = primitive(
    "log_abs_det",
    Kind.LIBRARY,
    infer=_infer_log_abs_det,
    evaluate=_evaluate_log_abs_det,
    jvp=_jvp_log_abs_det,
    vjp=_vjp_log_abs_det,
    routine=lambda factors, a: Routine("log_abs_det", _sizes(a), a.shape[-1] * LOGARITHM, operands=(0,)),
)


class SlogdetResult(NamedTuple):
    """What `np.linalg.slogdet` returns."""

    sign: Any
    logabsdet: Any


def _sign_and_log(a: Value) -> tuple[Value, Value]:
    factors = lu(a, strict=False)
    n = a.shape[-1]
    signs = sign(matrix_diagonal(slice_axis(factors, a.ndim - 2, 0, n)))
    parity = slice_axis(slice_axis(factors, a.ndim - 2, n + 1, 1), a.ndim - 1, 0, 1)
    return multiply(prod(signs, -1), reshape(parity, a.shape[:-2])), log_abs_det(factors, a)


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> SlogdetResult:
    """`np.linalg.slogdet`: the sign of the determinant and the logarithm of its magnitude.

    Of a singular matrix these are 0 and -inf, and a derivative there raises as `inv` does.
    """
    x = square_matrices("slogdet", a)
    if not x.shape[-1]:
        ones = full(x.shape[:-2], 1, x.dtype)
        return SlogdetResult(ones, ones - 1)
    return SlogdetResult(*_sign_and_log(x))


@implements(np.linalg.det)
def det(a: Any) -> Value:
    """`np.linalg.det`: the determinants; the derivative is det(A) A^-T, and raises where A is singular."""
    x = square_matrices("det", a)
    if not x.shape[-1]:
        return full(x.shape[:-2], 1, x.dtype)
    signs, logarithm = _sign_and_log(x)
    return multiply(signs, exp(logarithm))


@implements_scipy("linalg.det")
def scipy_det(a: Any, overwrite_a: Any = False, check_finite: Any = True) -> Value:
    """`scipy.linalg.det`: as `np.linalg.det`."""
    return det(a)
