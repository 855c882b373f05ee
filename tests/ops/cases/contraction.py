"""Rows for `tracejit.ops.contraction`."""

from typing import Any

import numpy as np

from tests.ops.cases.case import Case, integers, normal
from tracejit.ops import as_value, contraction

M, N, V, W = normal(2, 3), normal(3, 4, seed=1), normal(3, seed=2), normal(4, seed=3)
BATCH_M, BATCH_N = normal(5, 2, 3, seed=4), normal(5, 3, 4, seed=5)


def _general(contract: Any, batch: Any) -> Any:
    return lambda a, b: contraction.dot_general(a, b, contract, batch)


GENERAL: list[Case] = [
    Case(
        "dot_general",
        _general(((2, 0), (1, 3)), ((1,), (0,))),
        (normal(2, 3, 4), normal(3, 4, 5, 2, seed=1)),
        expected=lambda a, b: np.einsum("cbd,bdec->be", a, b),
        label="two-axes-batch",
    ),
    Case(
        "dot_general",
        _general(((1,), (0,)), ((3, 0), (1, 2))),
        (normal(2, 3, 4, 5), normal(3, 5, 2, seed=1)),
        expected=lambda a, b: np.einsum("bcfa,cab->abf", a, b),
        label="no-free-right",
    ),
    Case(
        "dot_general",
        _general(((0, 1), (1, 0)), ((), ())),
        (normal(3, 4), normal(4, 3, seed=1)),
        expected=lambda a, b: np.einsum("ij,ji->", a, b),
        label="all-contracted",
    ),
    Case(
        "multiply",
        lambda a, b: contraction.lower_contraction(as_value(a), as_value(b), ((2, 0), (1, 3)), ((1,), (0,))),
        (normal(2, 3, 4), normal(3, 4, 5, 2, seed=1)),
        expected=lambda a, b: np.einsum("cbd,bdec->be", a, b),
        label="lowered",
    ),
]

PRODUCTS: list[Case] = [
    Case("dot_general", np.matmul, (M, N), label="matmul"),
    Case("dot_general", np.matmul, (M.astype("f4"), N.astype("f4")), label="matmul-f32"),
    Case("dot_general", np.matmul, (M, V), label="matrix-vector"),
    Case("dot_general", np.matmul, (V, N), label="vector-matrix"),
    Case("dot_general", np.matmul, (V, V), label="vector-vector"),
    Case("dot_general", np.matmul, (BATCH_M, BATCH_N), label="batch"),
    Case("dot_general", np.matmul, (BATCH_M, N), label="batch-left"),
    Case("dot_general", np.matmul, (M, BATCH_N), label="batch-right"),
    Case("dot_general", np.matmul, (BATCH_M[:, None], BATCH_N[:1]), label="batch-broadcast"),
    Case("dot_general", np.matmul, (BATCH_M, V), label="batch-vector"),
    Case("dot_general", np.matmul, (np.zeros((0, 3)), N), label="empty"),
    Case("dot_general", np.matmul, (np.zeros((2, 0)), np.zeros((0, 4))), label="empty-inner"),
    Case("dot_general", np.matmul, (normal(1, 1), normal(1, 4)), label="size-1"),
    Case(
        "dot_general",
        np.matmul,
        (integers(-9, 9, 2, 3, dtype="i4"), integers(-9, 9, 3, 4, dtype="i4")),
        order=0,
        label="i32",
    ),
    Case("dot_general", np.matmul, (M > 0, N > 0), order=0, label="bool"),
    Case("dot_general", lambda x: x @ x.T, (M,), label="gram"),
    Case("dot_general", np.dot, (BATCH_M, normal(6, 3, 2)), label="dot"),
    Case("multiply", np.dot, (M, np.array(2.0)), label="dot-scalar"),
    Case("dot_general", np.inner, (M, N.T.copy()), label="inner"),
    Case("dot_general", np.vdot, (M, normal(3, 2)), label="vdot"),
    Case("dot_general", np.vecdot, (BATCH_M, M), label="vecdot"),
    Case(
        "dot_general",
        lambda x, y: np.tensordot(x, y, axes=([0, 2], [1, 0])),
        (normal(2, 3, 4), normal(4, 2, 5)),
        label="tensordot",
    ),
    Case("multiply", np.outer, (V, W), label="outer"),
    Case("multiply", np.kron, (M, normal(2, 2)), label="kron"),
    Case("multiply", lambda x, y: np.tensordot(x, y, 0), (V, M), label="tensordot-0"),
]

CASES: list[Case] = [*GENERAL, *PRODUCTS]
