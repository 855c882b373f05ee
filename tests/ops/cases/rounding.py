"""Rows for `tracejit.ops.rounding`."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal

X, Y = 3 * normal(3, 4), normal(3, 4, seed=1)
I = integers(-9, 10, 3, 4)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])

CASES: list[Case] = [
    *(Case(f.__name__, f, (X,)) for f in (np.floor, np.ceil, np.trunc, np.rint)),
    *(Case(f.__name__, f, (X.astype("f4"),), label="f32") for f in (np.floor, np.ceil, np.trunc, np.rint)),
    *(Case(f.__name__, f, (I,), order=0, label="i64") for f in (np.floor, np.ceil, np.trunc)),
    *(
        Case(f.__name__, f, (HALVES,), gradients=(np.zeros(6),), label="halves")
        for f in (np.floor, np.ceil, np.trunc, np.rint)
    ),
    Case("rint", lambda x: np.round(x, 2), (X,), label="two-decimals", order=0),
    Case("trunc", np.fix, (X,), label="fix"),
    Case("copysign", np.copysign, (X, Y)),
    Case(
        "copysign",
        np.copysign,
        (np.array([0.0, -1.0, 2.0]), np.array([-1.0, -1.0, -1.0])),
        gradients=(np.array([0.0, 1.0, -1.0]), np.zeros(3)),
        label="at-zero",
    ),
    # Differences of neighbours are far below the step of a central difference.
    Case("nextafter", np.nextafter, (X, Y), order=0),
    Case("nextafter", np.nextafter, (X.astype("f4"), Y.astype("f4")), order=0, label="f32"),
    Case("nextafter", np.nextafter, (np.zeros(2), np.array([1.0, -1.0])), order=0, label="at-zero"),
    Case("spacing", np.spacing, (X,), order=0),
    Case("spacing", np.spacing, (X.astype("f4"),), order=0, label="f32"),
    Case("ldexp", np.ldexp, (X, I)),
    Case("ldexp", np.ldexp, (X.astype("f4"), I.astype("i4")), label="f32"),
    Case("trunc", lambda x: np.modf(x)[0], (X,), label="modf-fraction"),
]
