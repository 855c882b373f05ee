"""Calls of `tracejit.ops.cholesky`, `tracejit.ops.triangular` and `tracejit.ops.lu`."""

import numpy as np
import scipy.linalg as sl

from tests.ops.cases.factorization import positive, triangular
from tests.ops.conformance.elementwise_operands import Call, operand

A, BATCH, F = positive(4, 4), positive(2, 3, 3, seed=1), positive(4, 4, dtype="f4")
WHOLE = np.array([[4, 1, 0], [1, 5, 2], [0, 2, 6]])
T, TS = triangular(4, 4, seed=2), triangular(2, 1, 3, 3, seed=3)
V, M, MS = operand("f8", shape=(4,)), operand("f8", 4, shape=(4, 2)), operand("f8", 5, shape=(5, 3, 2))
G, GS = triangular(4, 4, seed=4)[::-1], triangular(2, 1, 3, 3, seed=5)
EMPTY = np.zeros((0, 0))

CHOLESKY: list[Call] = [
    *(
        (f"cholesky-{x.dtype}-{x.ndim}", lambda np, x: np.linalg.cholesky(x), (x,))
        for x in (A, BATCH, F, WHOLE)
    ),
    ("cholesky-upper", lambda np, x: np.linalg.cholesky(x, upper=True), (BATCH,)),
    ("cholesky-wide-batch", lambda np, x: np.linalg.cholesky(x[None, :, None]), (BATCH,)),
    ("cholesky-empty", lambda np, x: np.linalg.cholesky(x), (EMPTY,)),
    ("cholesky-no-matrices", lambda np, x: np.linalg.cholesky(x[:0]), (BATCH,)),
    *(
        (f"scipy-cholesky-{x.dtype}-{lower}", lambda np, x, lower=lower: sl.cholesky(x, lower=lower), (x,))
        for x in (A, F, WHOLE)
        for lower in (False, True)
    ),
    *(
        (
            f"cho_solve-{lower}-{right.ndim}",
            lambda np, x, b, lower=lower: sl.cho_solve(sl.cho_factor(x, lower), b),
            (A, right),
        )
        for lower in (False, True)
        for right in (V, M)
    ),
    ("cho_factor-triangle", lambda np, x: np.triu(sl.cho_factor(x)[0]), (A,)),
    ("cho_solve-i8", lambda np, x, b: sl.cho_solve(sl.cho_factor(x), b), (WHOLE, np.arange(3))),
]

TRIANGULAR: list[Call] = [
    *(
        (
            f"solve_triangular-{trans}-{lower}-{unit}-{right.ndim}",
            lambda np, a, b, o=(trans, lower, unit): sl.solve_triangular(a, b, *o),
            (T, right),
        )
        for trans in (0, 1, 2, "N", "T", "C")
        for lower in (False, True)
        for unit in (False, True)
        for right in (V, M)
    ),
    ("solve_triangular-f4", lambda np, a, b: sl.solve_triangular(a, b), (T.astype("f4"), V.astype("f4"))),
    ("solve_triangular-mixed", lambda np, a, b: sl.solve_triangular(a, b), (T.astype("f4"), V)),
    ("solve_triangular-i8", lambda np, a, b: sl.solve_triangular(a, b), (WHOLE, np.arange(3))),
    ("solve_triangular-turned", lambda np, a, b: sl.solve_triangular(a.T, b, lower=True), (T, M)),
]

LU: list[Call] = [
    *((f"solve-{b.ndim}", lambda np, a, b: np.linalg.solve(a, b), (G, b)) for b in (V, M)),
    ("solve-broadcast", lambda np, a, b: np.linalg.solve(a, b), (GS, MS)),
    ("solve-vector-batch", lambda np, a, b: np.linalg.solve(a, b), (GS, V[:3])),
    ("solve-f4", lambda np, a, b: np.linalg.solve(a, b), (G.astype("f4"), V.astype("f4"))),
    ("solve-i8", lambda np, a, b: np.linalg.solve(a, b), (WHOLE, np.arange(3))),
    ("solve-empty", lambda np, a, b: np.linalg.solve(a, b), (EMPTY, np.zeros((0, 2)))),
    ("solve-no-columns", lambda np, a, b: np.linalg.solve(a, b), (G, np.zeros((4, 0)))),
    *(
        (f"inv-{x.dtype}-{x.ndim}", lambda np, x: np.linalg.inv(x), (x,))
        for x in (G, GS, G.astype("f4"), WHOLE)
    ),
    *(
        (f"{name}-{x.dtype}-{x.ndim}", call, (x,))
        for name, call in (
            ("det", lambda np, x: np.linalg.det(x)),
            ("slogdet", lambda np, x: list(np.linalg.slogdet(x))),
        )
        for x in (G, GS, -GS, F, WHOLE)
    ),
    ("slogdet-names", lambda np, x: np.linalg.slogdet(x).sign * np.linalg.slogdet(x).logabsdet, (G,)),
    ("det-singular", lambda np, x: np.linalg.det(x * 0.0), (G,)),
    ("slogdet-singular", lambda np, x: list(np.linalg.slogdet(x * 0.0)), (G,)),
    ("det-empty", lambda np, x: np.linalg.det(x), (EMPTY,)),
    ("slogdet-empty", lambda np, x: list(np.linalg.slogdet(x)), (EMPTY,)),
    ("scipy-solve", lambda np, a, b: sl.solve(a, b), (G, M)),
    ("scipy-solve-transposed", lambda np, a, b: sl.solve(a, b, transposed=True), (G, V)),
    ("scipy-inv", lambda np, a: sl.inv(a), (G,)),
    ("scipy-det", lambda np, a: sl.det(a), (G,)),
    ("matrix_power-negative", lambda np, x: np.linalg.matrix_power(x, -2), (G,)),
]

CALLS: list[Call] = [*CHOLESKY, *TRIANGULAR, *LU]
