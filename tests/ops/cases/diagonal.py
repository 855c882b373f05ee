"""Rows for `tracejit.ops.diagonal`: diagonal and undiagonal."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal

X, CUBE, V = normal(4, 4), normal(2, 3, 4), normal(3)

DIAGONAL: list[Case] = [
    Case("diagonal", lambda x: np.diagonal(x), (X,)),
    Case("diagonal", lambda x: np.diagonal(x, 1), (normal(3, 5),), label="above"),
    Case("diagonal", lambda x: np.diagonal(x, -2), (normal(5, 3),), label="below"),
    Case("diagonal", lambda x: np.diagonal(x, 0, 0, -1), (CUBE,), label="axes"),
    Case("diagonal", lambda x: np.diagonal(x, 7), (X,), label="nothing"),
    Case("diagonal", lambda x: np.trace(x), (X,), label="trace"),
    Case("diagonal", lambda x: x[np.arange(4), np.arange(4)], (X,), label="by-index"),
    Case("diagonal", lambda x: np.diagonal(x), (normal(3, 3, dtype="f4"),), label="f32"),
    Case("diagonal", lambda x: np.diagonal(x), (normal(1, 1),), label="size-1"),
    Case("diagonal", lambda x: np.trace(x), (integers(0, 9, 3, 3, dtype="i4"),), order=0, label="i32-trace"),
]

UNDIAGONAL: list[Case] = [
    Case("undiagonal", lambda x: np.diag(x), (V,)),
    Case("undiagonal", lambda x: np.diag(x, 2), (V,), label="above"),
    Case("undiagonal", lambda x: np.diag(x, -1), (V,), label="below"),
    Case("undiagonal", lambda x: np.diagflat(x), (normal(2, 2),), label="flat"),
    Case("undiagonal", lambda x: np.diag(x), (normal(0),), label="empty"),
    Case("undiagonal", lambda x: np.diag(x, 1), (normal(2, dtype="f4"),), label="f32"),
    Case("undiagonal", lambda x: np.diag(x), (integers(-9, 9, 3),), order=0, label="i64"),
]

TRIANGLES: list[Case] = [
    Case("select", lambda x: np.tril(x), (CUBE,), label="tril"),
    Case("select", lambda x: np.triu(x, -1), (X,), label="triu"),
    Case("select", lambda x: np.tril(x), (V,), label="tril-of-vector"),
]

CASES: list[Case] = DIAGONAL + UNDIAGONAL + TRIANGLES
