"""Rows for `tracejit.ops.shape`, whose functions are built on the primitives of `core`."""

import numpy as np

from tests.ops.cases.case import Case, normal

X, CUBE = normal(3, 4), normal(2, 3, 4)

CASES: list[Case] = [
    Case("reshape", lambda x: np.ravel(x), (CUBE,), label="ravel"),
    Case("reshape", lambda x: np.reshape(x, (4, 3), order="F"), (X,), label="column-major"),
    Case("reshape", lambda x: np.expand_dims(x, (0, -1)), (X,), label="expand_dims"),
    Case("reshape", lambda x: np.squeeze(x, axis=(0, -1)), (normal(1, 3, 1),), label="squeeze-axes"),
    Case("reshape", lambda x: np.atleast_3d(x), (X,), label="atleast_3d"),
    Case("permute", lambda x: np.moveaxis(x, 0, -1), (CUBE,), label="moveaxis"),
    Case("permute", lambda x: np.rollaxis(x, 2), (CUBE,), label="rollaxis"),
    Case("broadcast", lambda x: np.tile(x, (2, 3)), (X,), label="tile"),
    Case("broadcast", lambda x: np.repeat(x, 3, axis=0), (X,), label="repeat"),
    Case("broadcast", lambda x, y: np.broadcast_arrays(x, y)[0], (normal(3, 1), normal(4)), label="arrays"),
    Case("broadcast", lambda x, y: np.meshgrid(x, y)[1], (normal(3), normal(4)), label="meshgrid"),
]
