"""Cholesky factors: the primitives `cholesky` and `cholesky_adjoint`, and NumPy's and SciPy's names for them.

A factorisation reads one triangle and so do its derivatives: the gradient of a function of a matrix is that
of the elements that were read. Where the matrix is built to be symmetric, both conventions give one result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracejit.errors import ArgumentError
from tracejit.ir import ArrayType, Kind, Routine
from tracejit.ops.contraction import matmul
from tracejit.ops.core import stored
from tracejit.ops.families import add_values, primitive
from tracejit.ops.matrices import check_square, half_lower, mirrored, square_matrices, triangle, turned
from tracejit.ops.tables import implements, implements_scipy
from tracejit.ops.triangular import solve_by_columns, solve_each, triangular_solve
from tracejit.ops.value import Value

NOT_POSITIVE = "Matrix is not positive definite"


def _sizes(t: ArrayType) -> tuple[int, int]:
    return t.size // max(1, t.shape[-1] ** 2), t.shape[-1]


def _evaluate_cholesky(a: Any) -> Any:
    return np.linalg.cholesky(stored(a))


def _jvp_cholesky(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value | None:
    """dL = L half_lower(L^-1 dA L^-T), from differentiating A = L L^T."""
    if tangents[0] is None:
        return None
    return matmul(out, half_lower(_between_inverses(out, mirrored(tangents[0]))))


def _between_inverses(factor: Value, s: Value) -> Value:
    """L^-1 S L^-T for symmetric S."""
    return triangular_solve(factor, turned(triangular_solve(factor, s)))


def _between_transposed_inverses(factor: Value, s: Value) -> Value:
    """L^-T S L^-1 for symmetric S."""
    half = triangular_solve(factor, s, transpose=True)
    return triangular_solve(factor, turned(half), transpose=True)


_cholesky = primitive(
    "cholesky",
    Kind.LIBRARY,
    infer=lambda a: check_square("cholesky", a),
    evaluate=_evaluate_cholesky,
    jvp=_jvp_cholesky,
    vjp=lambda ct, primals, out, needed: (cholesky_adjoint(out, ct) if needed[0] else None,),
    routine=lambda a: Routine("cholesky", _sizes(a), a.shape[-1] ** 3 // 6, failure=NOT_POSITIVE, replaces=0),
)


# --- the adjoint -------------------------------------------------------------------------------------------
#
# With P = half_lower(L^T ct), M = L^-T (P + P^T) L^-1 is the cotangent of A and of A^T together: an element
# below the diagonal gets M, one on it half of M. Compiled code does not multiply these out (3 n^3 operations
# and two more arrays) but runs the recursion of the factorisation backwards in place, as in I. Murray,
# "Differentiation of the Cholesky decomposition" (2016), section 4.2: 2/3 n^3 operations in products of
# blocks, twice those of the factorisation, as any adjoint in reverse mode.


def _evaluate_adjoint(factor: Any, ct: Any, linalg: Any = None) -> Any:
    factor, ct = stored(factor), stored(ct)
    product = np.swapaxes(factor, -1, -2) @ np.tril(ct)
    doubled = np.tril(product) + np.swapaxes(np.tril(product, -1), -1, -2)
    half = solve_each(factor, doubled, True, True, False, linalg)
    both = solve_each(factor, np.swapaxes(half, -1, -2), True, True, False, linalg)
    below = np.tril(both, -1)
    return below + (np.tril(both) - below) * both.dtype.type(0.5)


def _infer_adjoint(factor: ArrayType, ct: ArrayType) -> ArrayType:
    assert factor == ct
    return check_square("cholesky_adjoint", ct)


def _symmetric(x: Value) -> Value:
    """`x + x^T` of a lower triangle `x`."""
    return x + turned(x)


def _jvp_adjoint(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value | None:
    """d(M) with dL: L^-T d(P + P^T) L^-1 - M dL L^-1 - its transpose."""
    factor, ct = primals
    d_factor, d_ct = tangents
    linear = cholesky_adjoint(factor, d_ct) if d_ct is not None else None
    if d_factor is None:
        return linear
    d_factor = triangle(d_factor, True)
    inner = _symmetric(half_lower(matmul(turned(d_factor), triangle(ct, True))))
    # X L^-1 is the transpose of L^-T X^T.
    outer = turned(triangular_solve(factor, turned(matmul(_symmetric(out), d_factor)), transpose=True))
    moved = _between_transposed_inverses(factor, inner) - _symmetric(outer)
    return add_values([linear, half_lower(moved)])


def _vjp_adjoint(
    ct: Value, primals: Sequence[Value], out: Value, needed: Sequence[bool]
) -> tuple[Value | None, ...]:
    """With Q the symmetric matrix of `ct` and R = half_lower(L^-1 Q L^-T): L R for the linear operand, and
    for L the lower triangle of (its partner) R^T - M Q L^-T, from dP = half_lower(dL^T ct) and d(L^-1)."""
    factor, linear = primals
    q = _symmetric(half_lower(ct))
    r = half_lower(_between_inverses(factor, q))
    ct_linear = matmul(factor, r) if needed[1] else None
    if not needed[0]:
        return None, ct_linear
    # X L^-T is the transpose of L^-1 X^T.
    product = turned(triangular_solve(factor, turned(matmul(_symmetric(out), q))))
    return triangle(matmul(triangle(linear, True), turned(r)) - product, True), ct_linear


_cholesky_adjoint = primitive(
    "cholesky_adjoint",
    Kind.LIBRARY,
    infer=_infer_adjoint,
    evaluate=_evaluate_adjoint,
    elsewhere=lambda linalg, factor, ct: _evaluate_adjoint(factor, ct, linalg),
    jvp=_jvp_adjoint,
    vjp=_vjp_adjoint,
    routine=lambda factor, ct: Routine("cholesky_adjoint", _sizes(ct), ct.shape[-1] ** 3 // 3, replaces=1),
)


def cholesky_adjoint(factor: Value, ct: Value) -> Value:
    """The cotangent of the lower triangle of A for the cotangent `ct` of its factor L, zero above.

    `factor` must be zero above the diagonal; what `ct` has there is not read.
    """
    return _cholesky_adjoint(factor, ct)


# --- NumPy's and SciPy's names -----------------------------------------------------------------------------


def _factor(name: str, a: Any, lower: bool) -> Value:
    x = square_matrices(name, a)
    return _cholesky(x) if lower else turned(_cholesky(turned(x)))


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: Any = False) -> Value:
    """`np.linalg.cholesky`: L with A = L L^T from the lower triangle, or U with A = U^T U from the upper."""
    return _factor("cholesky", a, not upper)


@implements_scipy("linalg.cholesky")
def scipy_cholesky(a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True) -> Value:
    """`scipy.linalg.cholesky`: the upper factor, from the upper triangle, or the lower one."""
    return _factor("cholesky", a, bool(lower))


@implements_scipy("linalg.cho_factor")
def cho_factor(
    a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True
) -> tuple[Value, bool]:
    """`scipy.linalg.cho_factor`: the factor and `lower`; zeros where SciPy leaves anything."""
    return _factor("cho_factor", a, bool(lower)), bool(lower)


@implements_scipy("linalg.cho_solve")
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: Any = False, check_finite: Any = True) -> Value:
    """`scipy.linalg.cho_solve`: the solution of A x = b from the factor that `cho_factor` gave."""
    if not isinstance(c_and_lower, (tuple, list)) or len(c_and_lower) != 2:
        raise ArgumentError("cho_solve: the first argument is a factor and whether it is the lower one")
    factor, lower = c_and_lower
    lower = bool(lower)

    def solve(c: Value, right: Value) -> Value:
        half = triangular_solve(c, right, lower=lower, transpose=not lower)
        return triangular_solve(c, half, lower=lower, transpose=lower)

    return solve_by_columns("cho_solve", factor, b, solve)
