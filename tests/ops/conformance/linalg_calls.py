"""Calls of `tracejit.ops.linalg`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import FLOATS, NUMBERS, Call, operand

X, F, I = operand("f8"), operand("f4"), operand("i4")
CUBE = operand("f8", 2, shape=(2, 3, 4))
SQUARES = operand("f8", 3, shape=(2, 3, 3))
P, Q = operand("f8", 4, shape=(4, 3)), operand("f8", 5, shape=(4, 3))
A, B, C, D = (operand("f8", k, shape=(k + 2, k + 3)) for k in range(4))
T = np.sort(operand("f8", 6, shape=(4,)))

VECTOR_ORDERS = (None, 0, 1, 2, 3, 0.5, 2.5, -1, -2, np.inf, -np.inf)
MATRIX_ORDERS = (None, "fro", 1, -1, np.inf, -np.inf)

NORMS: list[Call] = [
    *((f"norm-{d}", lambda np, x: np.linalg.norm(x), (operand(d),)) for d in (*NUMBERS, "?")),
    *(
        (f"norm-vector-{o}-{d}", lambda np, x, o=o: np.linalg.norm(x, o), (operand(d)[0] + 0.25,))
        for o in VECTOR_ORDERS
        for d in FLOATS
    ),
    *(
        (f"norm-axis-{o}", lambda np, x, o=o: np.linalg.norm(x, ord=o, axis=1, keepdims=True), (CUBE,))
        for o in VECTOR_ORDERS
    ),
    *((f"norm-matrix-{o}", lambda np, x, o=o: np.linalg.norm(x, o), (X,)) for o in MATRIX_ORDERS),
    *(
        (f"norm-axes-{o}-{keep}", lambda np, x, o=o, keep=keep: np.linalg.norm(x, o, (2, 0), keep), (CUBE,))
        for o in MATRIX_ORDERS
        for keep in (False, True)
    ),
    *(
        (f"matrix_norm-{o}", lambda np, x, o=o: np.linalg.matrix_norm(x, ord=o), (CUBE,))
        for o in MATRIX_ORDERS[1:]
    ),
    ("norm-cube", lambda np, x: np.linalg.norm(x, keepdims=True), (CUBE,)),
    ("norm-rank-0", lambda np, x: np.linalg.norm(x), (np.array(-2.0),)),
    ("norm-zero", lambda np, x: np.linalg.norm(x), (np.zeros(3),)),
    ("norm-empty", lambda np, x: np.linalg.norm(x), (np.zeros(0),)),
    ("norm-empty-inf", lambda np, x: np.linalg.norm(x, np.inf), (np.zeros(0),)),
    ("norm-i4-1", lambda np, x: np.linalg.norm(x, 1, axis=0), (I,)),
    ("vector_norm", lambda np, x: np.linalg.vector_norm(x), (CUBE,)),
    ("vector_norm-axes", lambda np, x: np.linalg.vector_norm(x, axis=(0, 2), ord=1, keepdims=True), (CUBE,)),
]

CALLS: list[Call] = [
    *NORMS,
    ("multi_dot-2", lambda np, a, b: np.linalg.multi_dot([a, b]), (A, B)),
    ("multi_dot-3", lambda np, a, b, c: np.linalg.multi_dot([a, b, c]), (A, B, C)),
    ("multi_dot-4", lambda np, a, b, c, d: np.linalg.multi_dot((a, b, c, d)), (A, B, C, D)),
    ("multi_dot-vectors", lambda np, a, b, c: np.linalg.multi_dot([a[0], b, c[:, 0]]), (A, B, C)),
    ("multi_dot-row", lambda np, a, b, c: np.linalg.multi_dot([a[0], b, c]), (A, B, C)),
    *(
        (f"matrix_power-{n}", lambda np, x, n=n: np.linalg.matrix_power(x, n), (SQUARES,))
        for n in (0, 1, 2, 3, 7)
    ),
    ("matrix_power-i4", lambda np, x: np.linalg.matrix_power(x, 3), (I[:, :3],)),
    ("matrix_power-i4-0", lambda np, x: np.linalg.matrix_power(x, 0), (I[:, :3],)),
    ("matrix_transpose", lambda np, x: np.linalg.matrix_transpose(x), (CUBE,)),
    ("linalg.diagonal", lambda np, x: np.linalg.diagonal(x, offset=1), (CUBE,)),
    ("linalg.trace", lambda np, x: np.linalg.trace(x), (SQUARES,)),
    ("linalg.trace-i4", lambda np, x: np.linalg.trace(x, offset=-1), (I,)),
    ("cross", lambda np, x, y: np.cross(x, y), (P, Q)),
    ("cross-f32", lambda np, x, y: np.cross(x, y), (P.astype("f4"), Q.astype("f4"))),
    ("cross-i4", lambda np, x, y: np.cross(x, y), (I[:, :3], I[:, 1:])),
    ("cross-broadcast", lambda np, x, y: np.cross(x, y), (P, Q[0])),
    ("cross-axis", lambda np, x, y: np.cross(x, y, axis=0), (P.T, Q.T)),
    ("cross-axes", lambda np, x, y: np.cross(x, y, axisa=0, axisb=1, axisc=0), (P.T, Q)),
    ("linalg.cross", lambda np, x, y: np.linalg.cross(x, y), (P, Q)),
    ("trapezoid", lambda np, y: np.trapezoid(y), (X,)),
    ("trapezoid-f32", lambda np, y: np.trapezoid(y), (F,)),
    ("trapezoid-i4", lambda np, y: np.trapezoid(y, dx=2), (I,)),
    ("trapezoid-dx-f32", lambda np, y: np.trapezoid(y, dx=0.5, axis=0), (F,)),
    ("trapezoid-x", lambda np, y, x: np.trapezoid(y, x), (X, T)),
    ("trapezoid-x-axis", lambda np, y, x: np.trapezoid(y, x=x, axis=1), (CUBE, T[:3])),
    ("trapezoid-x-full", lambda np, y: np.trapezoid(y, x=y * 2, axis=0), (X,)),
    ("trapezoid-1", lambda np, y: np.trapezoid(y), (np.ones((2, 1)),)),
]
