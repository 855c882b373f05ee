"""Calls of `tracejit.ops.rounding`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import FLOATS, NUMBERS, Call, binary, operand, unary

X, F, I = 100 * operand("f8"), 100 * operand("f4"), 100 * operand("i8")
EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 2.0, 0.75, 1e-40, -1e-45, 3e-310, 5e-324, 2.3e-308, np.inf, -np.inf, np.nan]
)
HALVES = np.array([-2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, np.inf, np.nan])

CALLS: list[Call] = [
    *(row for name in ("floor", "ceil", "trunc", "fix") for row in unary(name, (*NUMBERS, "?"))),
    *(row for name in ("round", "around") for row in unary(name, NUMBERS)),
    *unary("rint", ("f8", "f4", "i8", "i4")),
    *(
        (f"{name}-halves", lambda np, x, name=name: getattr(np, name)(x), (HALVES,))
        for name in ("floor", "ceil", "trunc", "rint", "round", "fix")
    ),
    *((f"round-f8-{d}", lambda np, x, d=d: np.round(x, d), (X,)) for d in (-2, -1, 1, 3)),
    *((f"round-f4-{d}", lambda np, x, d=d: np.round(x, decimals=d), (F,)) for d in (-1, 1)),
    *((f"round-i8-{d}", lambda np, x, d=d: np.round(x, d), (I,)) for d in (-2, -1, 0, 2)),
    *(row for name in ("copysign", "nextafter") for row in binary(name, FLOATS)),
    *unary("spacing", FLOATS),
    *unary("modf", ("f8", "f4", "i8")),
    *unary("frexp", ("f8", "f4", "i4")),
    ("frexp-edges", lambda np, x: np.frexp(x), (EDGES,)),
    ("frexp-edges-f4", lambda np, x: np.frexp(x), (EDGES.astype("f4"),)),
    ("modf-edges", lambda np, x: np.modf(x), (HALVES,)),
    ("ldexp-f8", lambda np, x, n: np.ldexp(x, n), (X, operand("i8"))),
    ("ldexp-f4", lambda np, x, n: np.ldexp(x, n), (F, operand("i4"))),
    ("ldexp-number", lambda np, x: np.ldexp(x, 3), (F,)),
    ("ldexp-of-number", lambda np, n: np.ldexp(1.5, n), (operand("i8"),)),
    ("copysign-ints", lambda np, x, y: np.copysign(x, y), (I, -I)),
]
