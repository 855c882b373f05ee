"""Rows for `tracejit.ops.transcendental`."""

import numpy as np

from tests.ops.cases.case import Case, normal, uniform

X, Y = normal(3, 4), normal(3, 4, seed=1)
POSITIVE, UNIT, ABOVE_ONE = uniform(0.3, 3, 3, 4), uniform(-0.9, 0.9, 3, 4), uniform(1.2, 4, 3, 4)
ZERO = np.zeros(2)

DOMAINS = {
    "sqrt": POSITIVE,
    "cbrt": X,
    "exp": X,
    "exp2": X,
    "expm1": X,
    "log": POSITIVE,
    "log2": POSITIVE,
    "log10": POSITIVE,
    "log1p": POSITIVE,
    "sin": X,
    "cos": X,
    "tan": UNIT,
    "arcsin": UNIT,
    "arccos": UNIT,
    "arctan": X,
    "sinh": X,
    "cosh": X,
    "tanh": X,
    "arcsinh": X,
    "arccosh": ABOVE_ONE,
    "arctanh": UNIT,
}


def _unary() -> list[Case]:
    cases: list[Case] = []
    for name, x in DOMAINS.items():
        function = getattr(np, name)
        cases += [
            Case(name, function, (x,)),
            Case(name, function, (x.astype("f4"),), label="f32"),
            Case(name, function, (x[0, 0],), label="rank-0"),
            Case(name, function, (x[:0],), label="empty"),
        ]
    return cases


BINARY: list[Case] = [
    Case("hypot", np.hypot, (X, Y)),
    Case("hypot", np.hypot, (ZERO, ZERO), gradients=(ZERO, ZERO), label="at-zero"),
    Case("arctan2", np.arctan2, (X, Y)),
    Case("arctan2", np.arctan2, (X.astype("f4"), Y.astype("f4")), label="f32"),
    Case("arctan2", np.arctan2, (ZERO, ZERO), gradients=(ZERO, ZERO), label="at-zero"),
    Case("power", np.power, (POSITIVE, Y)),
    Case("power", np.power, (POSITIVE.astype("f4"), Y.astype("f4")), label="f32"),
    Case("power", np.power, (POSITIVE[0], 1.7), differentiable=(0,), label="scalar-exponent"),
    Case("power", lambda y: 2.0**y, (Y,), label="constant-base"),
    Case("power", lambda x: x**5, (X,), label="fifth"),
    Case("power", lambda x: x**-3, (POSITIVE,), label="inverse-cube"),
    Case("power", np.power, (np.arange(-3, 4), np.arange(7)), order=0, label="i64"),
    Case("power", np.float_power, (POSITIVE.astype("f4"), Y.astype("f4")), label="float-power"),
    Case(
        "power",
        np.power,
        (np.array([0.0, 0.0, 0.0, 2.0]), np.array([2.0, 1.0, 0.0, 0.0])),
        gradients=(np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, np.log(2)])),
        label="at-zero",
    ),
]

EXPONENTS: list[Case] = [
    Case("multiply", lambda x: x**2, (X,), label="square-by-power"),
    Case("multiply", lambda x: x**3, (X,), label="cube-by-power"),
    Case("multiply", lambda x: x**4, (X,), label="fourth-by-power"),
    Case("divide", lambda x: x**-1, (POSITIVE,), label="inverse-by-power"),
    Case("divide", lambda x: x**-2, (POSITIVE,), label="inverse-square-by-power"),
    Case("sqrt", lambda x: x**0.5, (POSITIVE,), label="root-by-power"),
    Case("multiply", lambda x: x**2, (ZERO,), gradients=(ZERO,), label="square-at-zero"),
    Case("multiply", lambda x: 3 * x**1, (ZERO,), gradients=(ZERO + 3,), label="first-power-at-zero"),
    Case("broadcast", lambda x: x**0, (ZERO,), gradients=(ZERO,), label="zeroth-power-at-zero"),
]

ANGLES: list[Case] = [
    *(Case("multiply", f, (X,), label=f.__name__) for f in (np.degrees, np.radians, np.rad2deg, np.deg2rad)),
    Case("select", np.sinc, (2 * X,), label="sinc"),
    # sinc'' is -pi^2 / 3 at 0, where the quotient sin(t) / t has no derivative at all.
    Case("select", np.sinc, (np.array([0.0, 1e-9, 0.25]),), label="sinc-at-zero"),
]

CASES: list[Case] = _unary() + BINARY + EXPONENTS + ANGLES
