"""Calls of `tracejit.ops.creation`."""

from tests.ops.conformance.elementwise_operands import Call, operand

X = operand("f8")
DTYPES = ("f8", "f4", "i8", "i4", "u1", "?")
LIKE = ("zeros_like", "ones_like")

CALLS: list[Call] = [
    *(
        (f"{name}-{d}", lambda np, x, f=name: getattr(np, f)(x), (operand(d),))
        for name in LIKE
        for d in DTYPES
    ),
    *((f"{name}-dtype", lambda np, x, f=name: getattr(np, f)(x, dtype=np.int32), (X,)) for name in LIKE),
    *((f"{name}-shape", lambda np, x, f=name: getattr(np, f)(x, shape=(2, 5)), (X,)) for name in LIKE),
    *((f"{name}-rank-0", lambda np, x, f=name: getattr(np, f)(x), (X[0, 0],)) for name in LIKE),
    *((f"{name}-empty", lambda np, x, f=name: getattr(np, f)(x), (X[:0],)) for name in LIKE),
    ("empty_like", lambda np, x: 0 * np.empty_like(x, dtype=int), (X,)),
    *((f"full_like-{d}", lambda np, x: np.full_like(x, 2), (operand(d),)) for d in DTYPES),
    ("full_like-truncates", lambda np, x: np.full_like(x, 2.7), (operand("i8"),)),
    ("full_like-dtype", lambda np, x: np.full_like(x, 2.7, dtype=np.float32), (operand("i8"),)),
    ("full_like-array", lambda np, x: np.full_like(x, [1, 2, 3, 4]), (X,)),
    ("full_like-traced", lambda np, x: np.full_like(x, x[0, 0]), (X,)),
    *((f"copy-{d}", lambda np, x: np.copy(x), (operand(d),)) for d in DTYPES),
]
