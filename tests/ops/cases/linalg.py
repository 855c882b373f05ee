"""Rows for `tracejit.ops.linalg`."""

import numpy as np

from tests.ops.cases.case import Case, normal, uniform

X, CUBE, S = normal(3, 4), normal(2, 3, 4, seed=1), normal(3, 3, seed=2)
F, V = X.astype("f4"), normal(5, seed=3)
P, Q = normal(4, 3, seed=4), normal(4, 3, seed=5)
T = np.cumsum(uniform(0.5, 1.5, 4))

NORMS: list[Case] = [
    Case("reduce_sum", np.linalg.norm, (X,), label="norm"),
    Case("reduce_sum", np.linalg.norm, (F,), label="norm-f32"),
    Case("reduce_sum", lambda x: np.linalg.norm(x, axis=-1, keepdims=True), (CUBE,), label="norm-axis"),
    Case(
        "reduce_sum",
        lambda x: np.linalg.norm(x, axis=1),
        (np.zeros((2, 3)),),
        order=0,
        gradients=(np.zeros((2, 3)),),
        label="norm-zero",
    ),
    *(
        Case("reduce_sum", lambda x, o=o: np.linalg.norm(x, o), (V,), label=f"norm-{o}")
        for o in (1, 3, 0.5, 2.5, -1, -2)
    ),
    Case(
        "reduce_sum",
        lambda x: np.linalg.norm(x, 3),
        (np.zeros(3),),
        order=0,
        gradients=(np.zeros(3),),
        label="norm-3-zero",
    ),
    *(
        Case(op, lambda x, o=o: np.linalg.norm(x, o, axis=1), (X,), label=f"norm-{o}")
        for op, o in (("reduce_max", np.inf), ("reduce_min", -np.inf))
    ),
    *(
        Case(op, lambda x, o=o: np.linalg.norm(x, o, axis=(0, 2)), (CUBE,), label=f"matrix-norm-{o}")
        for op, o in (("reduce_max", 1), ("reduce_min", -1), ("reduce_max", np.inf), ("reduce_min", -np.inf))
    ),
]

CASES: list[Case] = [
    *NORMS,
    Case("dot_general", lambda a, b, c: np.linalg.multi_dot([a, b, c]), (X, P, S), label="multi-dot"),
    Case("dot_general", lambda x: np.linalg.matrix_power(x, 3), (S,), label="matrix-power"),
    Case("concatenate", np.cross, (P, Q), label="cross"),
    Case("concatenate", lambda x, y: np.cross(x, y, axis=0), (P.T.copy(), Q.T.copy()), label="cross-axis"),
    Case("reduce_sum", np.trapezoid, (X, T), label="trapezoid"),
    Case("reduce_sum", lambda y: np.trapezoid(y, dx=0.5, axis=0), (F,), label="trapezoid-f32"),
]
