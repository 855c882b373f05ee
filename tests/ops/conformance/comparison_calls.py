"""Calls of `tracejit.ops.comparison`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import NUMBERS, Call, binary, operand, unary

X, Y, F, I, U, B = operand("f8"), operand("f8", 1), operand("f4"), operand("i8"), operand("u1"), operand("?")
EDGES = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan])
EDGES_I, EDGES_U = np.array([-(2**63), -1, 0, 2**63 - 1]), np.array([0, 1, 2**63, 2**64 - 1], np.uint64)

COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
LOGICAL = ("logical_and", "logical_or", "logical_xor")
EXTREMES = ("maximum", "minimum", "fmax", "fmin")
TESTS = ("isnan", "isinf", "isfinite", "isposinf", "isneginf", "logical_not")

CALLS: list[Call] = [
    *(row for name in (*COMPARISONS, *LOGICAL, *EXTREMES) for row in binary(name, (*NUMBERS, "?"))),
    *(row for name in TESTS for row in unary(name, NUMBERS)),
    *unary("signbit", ("f8", "f4", "i8", "i4")),
    *unary("nan_to_num", (*NUMBERS, "?")),
    *(
        (f"{name}-edges", lambda np, x, name=name: getattr(np, name)(x), (EDGES,))
        for name in (*TESTS, "signbit", "nan_to_num")
    ),
    *(
        (f"{name}-edges", lambda np, x, y, name=name: getattr(np, name)(x, y), (EDGES[:, None], EDGES))
        for name in (*COMPARISONS, *LOGICAL, *EXTREMES)
    ),
    *(
        (f"{name}-i64-u64", lambda np, x, y, name=name: getattr(np, name)(x, y), (EDGES_I[:, None], EDGES_U))
        for name in COMPARISONS
    ),
    *(
        (f"{name}-beyond-{n}", lambda np, x, name=name, n=n: getattr(np, name)(x, n), (U,))
        for name in COMPARISONS
        for n in (-1, 300)
    ),
    ("nan_to_num-values", lambda np, x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-2.0), (EDGES,)),
    ("nan_to_num-edges-f4", lambda np, x: np.nan_to_num(x), (EDGES.astype("f4"),)),
    ("clip-floats", lambda np, x: np.clip(x, -0.5, 0.5), (X,)),
    ("clip-f4", lambda np, x: np.clip(x, 0, 1.5), (F,)),
    ("clip-ints", lambda np, x: np.clip(x, -1, 2), (I,)),
    ("clip-ints-float", lambda np, x: np.clip(x, -0.5, 2), (I,)),
    ("clip-u8", lambda np, x: np.clip(x, 1, 2), (U,)),
    ("clip-min-none", lambda np, x: np.clip(x, None, 1), (X,)),
    ("clip-max-none", lambda np, x: np.clip(x, 0, None), (X,)),
    ("clip-none", lambda np, x: np.clip(x, None, None), (X,)),
    ("clip-a-min", lambda np, x: np.clip(x, a_min=-1, a_max=1), (X,)),
    ("clip-min-max", lambda np, x: np.clip(x, min=-1, max=1), (X,)),
    ("clip-max-only", lambda np, x: np.clip(x, max=1), (X,)),
    ("clip-arrays", lambda np, x, lo, hi: np.clip(x, lo, hi), (X, -abs(Y), abs(Y[0]))),
    ("clip-crossed", lambda np, x: np.clip(x, 1, -1), (X,)),
    ("clip-nan", lambda np, x: np.clip(x, -1, 1), (EDGES,)),
    ("clip-rank-0", lambda np, x: np.clip(x, 0, 1), (np.array(2.5),)),
    ("select-two", lambda np, x: np.select([x > 1, x > 0], [x, -x], 7.0), (X,)),
    ("select-default", lambda np, x: np.select([x > 1, x > 0], [x, x * 2]), (X,)),
    ("select-f4", lambda np, x: np.select([x > 0], [x], 1.5), (F,)),
    ("select-ints", lambda np, x: np.select([x > 0, x < -1], [1, 2], 0), (I,)),
    ("select-broadcast", lambda np, x, y: np.select([x > 0], [y], -1), (X, Y[0])),
]
