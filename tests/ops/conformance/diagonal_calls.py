"""Calls of `tracejit.ops.diagonal`."""

from tests.ops.conformance.elementwise_operands import Call, operand

X, CUBE, V = operand("f8"), operand("f8", shape=(2, 3, 4)), operand("f8", shape=(3,))
EMPTY = operand("f8", shape=(0, 3))
DTYPES = ("f8", "f4", "i8", "i4", "u1", "?")
OFFSETS = (0, 1, -1, 3, -2, 9, -9)

CALLS: list[Call] = [
    *((f"diagonal-{k}", lambda np, x, k=k: np.diagonal(x, k), (X,)) for k in OFFSETS),
    *(
        (f"diagonal-axes-{a}-{b}", lambda np, x, a=a, b=b: np.diagonal(x, 1, a, b), (CUBE,))
        for a, b in ((0, 1), (1, 0), (0, -1), (2, 1))
    ),
    *((f"diag-matrix-{k}", lambda np, x, k=k: np.diag(x, k), (X,)) for k in OFFSETS),
    *((f"diag-vector-{k}", lambda np, x, k=k: np.diag(x, k), (V,)) for k in OFFSETS),
    *((f"diagflat-{k}", lambda np, x, k=k: np.diagflat(x, k), (X,)) for k in (0, 1, -2)),
    ("diagflat-rank-0", lambda np, x: np.diagflat(x), (X[0, 0],)),
    ("diag-empty", lambda np, x: np.diag(x), (EMPTY[:, 0],)),
    *((f"trace-{d}", lambda np, x: np.trace(x), (operand(d),)) for d in DTYPES),
    *((f"trace-{k}", lambda np, x, k=k: np.trace(x, k), (X,)) for k in OFFSETS),
    ("trace-axes", lambda np, x: np.trace(x, 0, 1, 2), (CUBE,)),
    ("trace-dtype", lambda np, x: np.trace(x, dtype=np.float32), (operand("i8"),)),
    *(
        (f"{name}-{k}-rank-{a.ndim}", lambda np, x, name=name, k=k: getattr(np, name)(x, k), (a,))
        for name in ("tril", "triu")
        for k in OFFSETS
        for a in (X, CUBE)
    ),
    *(
        (f"{name}-{d}", lambda np, x, name=name: getattr(np, name)(x), (operand(d),))
        for name in ("tril", "triu")
        for d in DTYPES
    ),
    ("tril-vector", lambda np, x: np.tril(x), (V,)),
    ("triu-vector", lambda np, x: np.triu(x, 1), (V,)),
    ("tril-empty", lambda np, x: np.tril(x), (EMPTY,)),
]
