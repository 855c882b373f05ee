"""Calls of `tracejit.ops.transcendental`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import FLOATS, NUMBERS, Call, binary, operand, unary

X, P, I, J = operand("f8"), operand("f8", low=0.2), operand("i8"), operand("i8", 1, 1)
F = operand("f4", low=0.2)
MIXED = ("f8", "f4", "i8", "i4")
EDGES = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan])

ANYWHERE = ("exp", "exp2", "expm1", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "arcsinh", "cbrt")
POSITIVE = ("sqrt", "log", "log2", "log10", "log1p")
UNIT = ("arcsin", "arccos", "arctanh")
ANGLES = ("degrees", "radians", "rad2deg", "deg2rad")

CALLS: list[Call] = [
    ("bool-squared", lambda np, x: x**2, (np.array([True, False]),)),
    ("bool-scalar-squared", lambda np, x: x**2, (np.bool_(True),)),
    *(row for name in (*ANYWHERE, *ANGLES, "sinc") for row in unary(name, MIXED)),
    *(row for name in POSITIVE for row in unary(name, MIXED, low=1)),
    *(row for name in UNIT for row in unary(name, FLOATS, low=-0.9, high=0.9)),
    *unary("arccosh", MIXED, low=1),
    *(row for name in ("hypot", "arctan2") for row in binary(name, MIXED)),
    *binary("power", NUMBERS, low=1),
    *binary("float_power", NUMBERS, low=1),
    *((f"{name}-edges", lambda np, x, name=name: getattr(np, name)(x), (EDGES,)) for name in ANYWHERE),
    *(
        (f"{name}-edges", lambda np, x, name=name: getattr(np, name)(x), (EDGES,))
        for name in (*POSITIVE, *UNIT)
    ),
    *(
        (f"power-f8-{n}", lambda np, x, n=n: x**n, (P,))
        for n in (0, 1, 2, 3, 4, 5, -1, -2, -3, 0.5, -0.5, 1.5)
    ),
    *(
        (f"power-f4-{n}", lambda np, x, n=n: np.power(x, n), (F,))
        for n in (0, 1, 2, 3, 4, 5, -1, -2, 0.5, 2.5)
    ),
    *((f"power-i8-{n}", lambda np, x, n=n: x**n, (I,)) for n in (0, 1, 2, 3, 4, 5)),
    ("power-i8-half", lambda np, x: x**0.5, (J,)),
    ("power-i8-minus-float", lambda np, x: x**-1.0, (J,)),
    ("power-nan-zero", lambda np, x: np.power(x, 0), (EDGES,)),
    ("power-strong-exponent", lambda np, x: x ** np.float64(2), (F,)),
    ("power-exponent-array", lambda np, x: x ** np.array([[2.0], [3.0], [0.5]]), (P[:, 0],)),
    ("power-reflected", lambda np, x: 2**x, (X,)),
    ("sinc-zero", lambda np, x: np.sinc(x), (np.array([0.0, 1e-9, 1e-300, 0.3, 0.32, 5.0]),)),
    ("hypot-large", lambda np, x: np.hypot(x, x), (np.array([1e200, 1e-200]),)),
]
