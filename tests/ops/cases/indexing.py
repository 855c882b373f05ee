"""Rows for `tracejit.ops.gather` and `tracejit.ops.indexing`: gather and scatter_add."""

from typing import Any

import numpy as np

from tests.ops.cases.case import Case, integers, normal
from tracejit.ops.gather import gather, scatter_add

X, CUBE, LABELS = normal(4, 5), normal(3, 4, 5), np.array([1, 0, -1, 3])
REPEATED = np.array([0, 2, 2, -1, 0])
MASK = normal(4, 5, seed=1) > 0


def added(ct: Any, *indices: Any, shape: tuple[int, ...]) -> Any:
    out = np.zeros(shape, ct.dtype)
    np.add.at(out, indices, ct)
    return out


GATHER: list[Case] = [
    Case("gather", lambda x, i: x[i], (X, REPEATED), label="rows"),
    Case("gather", lambda x, i: x[:, i], (X, REPEATED), label="columns"),
    Case("gather", lambda x, i: x[i], (X, np.array(2)), label="traced-number"),
    Case("gather", lambda x, i: x[..., i], (normal(5), np.array(-1)), label="traced-number-of-vector"),
    Case("gather", lambda x, i: x[np.arange(4), i], (X, LABELS), label="one-a-row"),
    Case("gather", lambda x, i: x[np.arange(4), i] ** 2, (X, LABELS), label="one-a-row-squared"),
    Case("gather", lambda x, i: x[:, np.arange(4), i], (CUBE, LABELS), label="one-a-row-of-each"),
    Case("gather", lambda x, i: x[i, np.arange(5)], (X, REPEATED), label="one-a-column"),
    Case("gather", lambda x, i: x[np.arange(1, 4), i], (X, LABELS[:3]), label="one-a-row-of-some"),
    Case("gather", lambda x, i, j: x[i, j], (X, LABELS, LABELS), label="pairs"),
    Case("gather", lambda x, i, j: x[i, :, j], (CUBE, LABELS[:2], LABELS[:2]), label="apart"),
    Case("gather", lambda x, i: x[i[:, None], i], (X, LABELS[:2]), label="outer"),
    Case("gather", lambda x: x[[[0, 3], [3, 1]]], (X,), label="constant"),
    Case(
        "gather",
        lambda x, i: gather(x, i),
        (X, integers(0, 4, 0)),
        expected=lambda x, i: x[i],
        label="no-index",
    ),
    Case("gather", lambda x, i: x[i], (X, REPEATED.astype("i4")), label="i32-index"),
    Case("gather", lambda x, i: x[i], (X.astype("f4"), abs(REPEATED).astype("u1")), label="f32-u8-index"),
    Case("gather", lambda x, i: x[i], (integers(-9, 9, 4, 3), REPEATED), order=0, label="i64"),
    Case("gather", lambda x: x[MASK], (X,), label="mask"),
    Case("gather", lambda x, i: np.take(x, i, axis=1), (X, REPEATED), label="take"),
    Case("gather", lambda x, i: np.take_along_axis(x, i, 1), (X, LABELS[:, None]), label="take_along_axis"),
    Case("gather", lambda x: np.repeat(x, [2, 0, 1, 3], axis=0), (X,), label="repeat"),
]

SCATTER_ADD: list[Case] = [
    Case(
        "scatter_add",
        lambda ct, i: scatter_add(ct, i, shape=(4,)),
        (normal(5), REPEATED),
        expected=lambda ct, i: added(ct, i, shape=(4,)),
        label="repeated",
    ),
    Case(
        "scatter_add",
        lambda ct, i, j: scatter_add(ct, i, j, shape=(4, 5, 3)),
        (normal(4, 3), LABELS, LABELS),
        expected=lambda ct, i, j: added(ct, i, j, shape=(4, 5, 3)),
        label="pairs-of-rows",
    ),
    Case(
        "scatter_add",
        lambda ct, i: scatter_add(ct, i, shape=(4, 2)),
        (normal(2, dtype="f4"), np.array(-1)),
        expected=lambda ct, i: added(ct, i, shape=(4, 2)),
        label="f32-number",
    ),
    Case(
        "scatter_add",
        lambda ct, i: scatter_add(ct, i, shape=(4, 2)),
        (normal(0, 2), integers(0, 4, 0)),
        expected=lambda ct, i: added(ct, i, shape=(4, 2)),
        label="empty",
    ),
]

CASES: list[Case] = GATHER + SCATTER_ADD
