"""Rows for `tracejit.ops.triangular` and `tracejit.ops.cholesky`."""

import numpy as np
import scipy.linalg as sl

from tests.ops.cases.case import Case, normal
from tracejit.ops.cholesky import cholesky_adjoint


def positive(*shape: int, seed: int = 0, dtype: str = "f8") -> np.ndarray:
    """Symmetric matrices that are well positive definite."""
    x = normal(*shape, seed=seed)
    return (x @ np.swapaxes(x, -1, -2) + shape[-1] * np.eye(shape[-1])).astype(dtype)


def triangular(*shape: int, seed: int = 0, dtype: str = "f8") -> np.ndarray:
    """Matrices with a good diagonal and both triangles filled, of which one is read."""
    return (0.5 * normal(*shape, seed=seed) + 2 * np.eye(shape[-1])).astype(dtype)


A, BATCH, F = positive(4, 4), positive(2, 3, 3, seed=1), positive(4, 4, dtype="f4")
# Far from symmetric: what is above the diagonal must not count.
TORN = A + np.triu(normal(4, 4, seed=2), 1)
T, TS, S = triangular(4, 4, seed=3), triangular(2, 3, 3, seed=4), triangular(4, 4, seed=3, dtype="f4")
V, M = normal(4, seed=5), normal(4, 2, seed=6)

SOLVES: list[Case] = [
    Case(
        "triangular_solve",
        lambda a, b, o=(trans, lower, unit): sl.solve_triangular(a, b, *o),
        (T, right),
        label=f"{trans}-{'lower' if lower else 'upper'}-{'unit' if unit else 'plain'}-{right.ndim}",
    )
    for trans in (0, 1)
    for lower in (False, True)
    for unit in (False, True)
    for right in (V, M)
]

G, GS = triangular(4, 4, seed=9), triangular(2, 3, 3, seed=10)  # neither symmetric nor singular
PERMUTED = np.roll(G, 1, axis=0)  # its factorisation exchanges rows

LU: list[Case] = [
    Case("lu", np.linalg.solve, (PERMUTED, V)),
    Case("lu_solve", np.linalg.solve, (PERMUTED, M)),
    Case("lu_solve", np.linalg.solve, (GS, normal(3, 2, seed=11)), label="broadcast"),
    Case("lu_solve", np.linalg.solve, (S, M.astype("f4")), label="f32"),
    Case("lu_solve", np.linalg.inv, (PERMUTED,), label="inv"),
    Case("lu_solve", np.linalg.inv, (GS,), label="inv-batch"),
    Case("log_abs_det", lambda a: np.linalg.slogdet(a)[1], (PERMUTED,)),
    Case("log_abs_det", lambda a: list(np.linalg.slogdet(a)), (GS,), label="batch"),
    Case("log_abs_det", np.linalg.det, (PERMUTED,), label="det"),
    Case("log_abs_det", np.linalg.det, (S,), label="det-f32"),
    Case("log_abs_det", np.linalg.det, (-np.eye(3),), label="det-negative"),
]

CASES: list[Case] = [
    *LU,
    *SOLVES,
    Case(
        "triangular_solve",
        lambda a, b: sl.solve_triangular(a, b, lower=True),
        (S, M.astype("f4")),
        label="f32",
    ),
    Case(
        "triangular_solve",
        lambda a, b: sl.solve_triangular(a, b, trans="T", lower=True),
        (TS, normal(2, 3, 2, seed=7)),
        label="batch",
    ),
    Case("cholesky", np.linalg.cholesky, (A,)),
    Case("cholesky", np.linalg.cholesky, (TORN,), label="torn"),
    Case("cholesky", np.linalg.cholesky, (F,), label="f32"),
    Case("cholesky", np.linalg.cholesky, (BATCH,), label="batch"),
    Case("cholesky", np.linalg.cholesky, (positive(1, 1),), label="one"),
    Case("cholesky", lambda a: np.linalg.cholesky(a, upper=True), (TORN.T.copy(),), label="upper"),
    Case("cholesky", sl.cholesky, (A,), label="scipy"),
    Case("cholesky", lambda a, b: sl.cho_solve(sl.cho_factor(a), b), (A, M), label="cho-solve"),
    Case(
        "cholesky",
        lambda a, b: sl.cho_solve(sl.cho_factor(a, lower=True), b),
        (F, V.astype("f4")),
        label="cho-f32",
    ),
    Case(
        "cholesky_adjoint",
        lambda factor, ct: cholesky_adjoint(factor, ct),
        (np.linalg.cholesky(A), normal(4, 4, seed=8)),
        order=0,
        expected=lambda factor, ct: _adjoint_by_pairs(factor, ct),
    ),
]


def _adjoint_by_pairs(factor: np.ndarray, ct: np.ndarray) -> np.ndarray:
    """The definition: the derivative of the factor for each element of the lower triangle, times `ct`."""
    n = len(factor)
    out = np.zeros((n, n))
    inverse = np.linalg.inv(factor)
    for i in range(n):
        for j in range(i + 1):
            moved = np.zeros((n, n))
            moved[i, j] = moved[j, i] = 1
            middle = inverse @ moved @ inverse.T
            out[i, j] = np.sum(ct * (factor @ (np.tril(middle, -1) + np.diag(np.diag(middle)) / 2)))
    return out
