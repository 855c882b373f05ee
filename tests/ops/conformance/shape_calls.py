"""Calls of `tracejit.ops.shape`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import Call, operand

X, CUBE = operand("f8"), operand("f8", shape=(2, 3, 4))
ONES, SCALAR, EMPTY = operand("f8", shape=(1, 3, 1)), operand("f8")[0, 0], operand("f8", shape=(0, 3))
DTYPES = ("f8", "f4", "i8", "i4", "u1", "?")

RESHAPES = [(4, 3), (2, 6), 12, -1, (2, -1), (3, 2, -1), (1, 12), (3, 1, 4), (np.int64(6), 2)]

CALLS: list[Call] = [
    *((f"reshape-{d}", lambda np, x: np.reshape(x, (2, 6)), (operand(d),)) for d in DTYPES),
    *((f"reshape-{s}", lambda np, x, s=s: np.reshape(x, s), (X,)) for s in RESHAPES),
    ("reshape-list", lambda np, x: np.reshape(x, [4, 3]), (X,)),
    ("reshape-order-F", lambda np, x: np.reshape(x, (4, 6), order="F"), (CUBE,)),
    ("reshape-rank-0", lambda np, x: np.reshape(x, (1, 1)), (SCALAR,)),
    ("reshape-to-rank-0", lambda np, x: np.reshape(x, ()), (X[:1, :1],)),
    ("reshape-empty", lambda np, x: np.reshape(x, (3, -1)), (EMPTY,)),
    ("ravel", lambda np, x: np.ravel(x), (CUBE,)),
    ("ravel-order-F", lambda np, x: np.ravel(x, order="F"), (CUBE,)),
    ("ravel-rank-0", lambda np, x: np.ravel(x), (SCALAR,)),
    ("ravel-empty", lambda np, x: np.ravel(x), (EMPTY,)),
    *((f"transpose-{d}", lambda np, x: np.transpose(x), (operand(d),)) for d in DTYPES),
    ("transpose-axes", lambda np, x: np.transpose(x, (2, 0, 1)), (CUBE,)),
    ("transpose-negative", lambda np, x: np.transpose(x, [-1, 0, -2]), (CUBE,)),
    ("transpose-rank-0", lambda np, x: np.transpose(x), (SCALAR,)),
    ("transpose-empty", lambda np, x: np.transpose(x), (EMPTY,)),
    ("permute_dims", lambda np, x: np.permute_dims(x, (1, 0)), (X,)),
    ("matrix_transpose", lambda np, x: np.matrix_transpose(x), (CUBE,)),
    ("swapaxes", lambda np, x: np.swapaxes(x, 0, -1), (CUBE,)),
    ("swapaxes-same", lambda np, x: np.swapaxes(x, 1, 1), (CUBE,)),
    *(
        (f"moveaxis-{s}-{d}", lambda np, x, s=s, d=d: np.moveaxis(x, s, d), (CUBE,))
        for s, d in ((0, -1), (2, 0), (-1, 1), ((0, 1), (2, 0)), ((2, 0), (0, 1)))
    ),
    *(
        (f"rollaxis-{a}-{s}", lambda np, x, a=a, s=s: np.rollaxis(x, a, s), (CUBE,))
        for a in (0, 1, -1)
        for s in (0, 1, 3, -1, -3)
    ),
    ("squeeze", lambda np, x: np.squeeze(x), (ONES,)),
    ("squeeze-axis", lambda np, x: np.squeeze(x, axis=-1), (ONES,)),
    ("squeeze-axes", lambda np, x: np.squeeze(x, (0, 2)), (ONES,)),
    ("squeeze-rank-0", lambda np, x: np.squeeze(x), (SCALAR,)),
    *(
        (f"expand_dims-{a}", lambda np, x, a=a: np.expand_dims(x, a), (X,))
        for a in (0, 1, -1, (0, 2), (0, -1), (1, 0))
    ),
    ("expand_dims-rank-0", lambda np, x: np.expand_dims(x, 0), (SCALAR,)),
    *(
        (f"{name}-{k}", lambda np, x, name=name: getattr(np, name)(x), (a,))
        for name in ("atleast_1d", "atleast_2d", "atleast_3d")
        for k, a in enumerate((SCALAR, X[0], X, CUBE, EMPTY))
    ),
    ("atleast_1d-several", lambda np, x, y: np.atleast_1d(x, y, 3), (X, SCALAR)),
    ("atleast_2d-several", lambda np, x, y: np.atleast_2d(x, y), (X[0], SCALAR)),
    ("broadcast_to", lambda np, x: np.broadcast_to(x, (2, 3, 4)), (X,)),
    ("broadcast_to-int", lambda np, x: np.broadcast_to(x, 5), (SCALAR,)),
    ("broadcast_to-list", lambda np, x: np.broadcast_to(x, [3, 4]), (X[:1],)),
    ("broadcast_to-empty", lambda np, x: np.broadcast_to(x, (0, 4)), (X[0],)),
    ("broadcast_arrays", lambda np, x, y: np.broadcast_arrays(x, y), (X[:, :1], X[0])),
    ("broadcast_arrays-number", lambda np, x: np.broadcast_arrays(x, 2, np.arange(4)), (X,)),
    ("shape", lambda np, x: np.zeros(np.shape(x)) + np.ndim(x) + np.size(x) + x, (X,)),
    ("size-axis", lambda np, x: x * np.size(x, 1), (X,)),
    *((f"astype-{a}-{b}", lambda np, x, b=b: x.astype(b), (operand(a),)) for a in DTYPES for b in DTYPES),
    ("astype-function", lambda np, x: np.astype(x, np.float32), (X,)),
    ("astype-python-type", lambda np, x: x.astype(int), (X,)),
    *(
        (f"tile-{r}", lambda np, x, r=r: np.tile(x, r), (X,))
        for r in (2, (2, 3), (1, 2), (2, 1, 2), 0, (1,), [3, 1], ())
    ),
    ("tile-cube", lambda np, x: np.tile(x, 2), (CUBE,)),
    ("tile-rank-0", lambda np, x: np.tile(x, (2, 2)), (SCALAR,)),
    ("tile-empty", lambda np, x: np.tile(x, (2, 2)), (EMPTY,)),
    *(
        (
            f"meshgrid-{i}-{s}",
            lambda np, x, y, i=i, s=s: np.meshgrid(x, y, indexing=i, sparse=s),
            (X[0], X[:, 0]),
        )
        for i in ("xy", "ij")
        for s in (False, True)
    ),
    ("meshgrid-three", lambda np, x, y: np.meshgrid(x, y, np.arange(2)), (X[0], X[:, 0])),
    ("meshgrid-one", lambda np, x: np.meshgrid(x), (X[0],)),
]
