"""Rows for `tracejit.ops.einsum`."""

import numpy as np

from tests.ops.cases.case import Case, normal

M, N, S, V = normal(2, 3), normal(3, 4, seed=1), normal(3, 3, seed=2), normal(3, seed=3)
CUBE, OTHER = normal(2, 3, 4, seed=4), normal(2, 4, 3, seed=5)

CASES: list[Case] = [
    Case("dot_general", lambda x, y: np.einsum("ij,jk->ki", x, y), (M, N), label="einsum"),
    Case("dot_general", lambda x, y: np.einsum("ijk,ikj->i", x, y), (CUBE, OTHER), label="einsum-batch"),
    Case("dot_general", lambda x, y: np.einsum("...j,...jk->...k", x, y), (M, CUBE), label="einsum-ellipsis"),
    Case("multiply", lambda x, y: np.einsum("ij,jk", x, y), (M[:, :1], N), label="einsum-broadcast"),
    Case("dot_general", lambda x, y, z: np.einsum("ij,jk,j->ik", x, y, z), (M, N, V), label="einsum-three"),
    Case("dot_general", lambda x: np.einsum("ij,kj->ik", x, x), (M.astype("f4"),), label="einsum-same-f32"),
    Case("diagonal", lambda x: np.einsum("ii->i", x), (S,), label="einsum"),
    Case("diagonal", lambda x: np.einsum("ii", x), (S,), label="einsum-trace"),
    Case(
        "diagonal", lambda x, y: np.einsum("jij,jk->ik", x, y), (normal(3, 2, 3), N), label="einsum-product"
    ),
    Case("permute", lambda x: np.einsum("ijk->kij", x), (CUBE,), label="einsum"),
    Case("reduce_sum", lambda x: np.einsum("ijk->j", x), (CUBE,), label="einsum"),
    Case("multiply", lambda x, y: np.einsum("i,jk->kij", x, y), (V, M), label="einsum-outer"),
]
