"""Rows for `tracejit.ops.comparison`."""

import numpy as np

from tests.ops.cases.case import Case, integers, normal

X, Y = normal(3, 4), normal(3, 4, seed=1)
I, J = integers(-3, 4, 3, 4), integers(-3, 4, 3, 4, seed=1)
B, C = X > 0, Y > 0
SPECIAL = np.array([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan])
EDGES_I, EDGES_U = np.array([-(2**63), -1, 0, 2**63 - 1]), np.array([0, 1, 2**63, 2**64 - 1], np.uint64)

COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
LOGICAL = (np.logical_and, np.logical_or, np.logical_xor)
EXTREMES = (np.maximum, np.minimum, np.fmax, np.fmin)


def _pairs() -> list[Case]:
    cases: list[Case] = []
    for f in (*COMPARISONS, *LOGICAL):
        cases += [
            Case(f.__name__, f, (X, Y), order=0),
            Case(f.__name__, f, (I, J[0]), order=0, label="i64-row"),
            Case(f.__name__, f, (B, C), order=0, label="bool"),
            Case(f.__name__, f, (SPECIAL[:, None], SPECIAL), order=0, label="nan-inf"),
        ]
    cases += [Case(f.__name__, f, (EDGES_I[:, None], EDGES_U), order=0, label="i64-u64") for f in COMPARISONS]
    cases += [Case(f.__name__, f, (EDGES_U[:, None], EDGES_I), order=0, label="u64-i64") for f in COMPARISONS]
    return cases


def _extremes() -> list[Case]:
    cases: list[Case] = []
    for f in EXTREMES:
        by_x = np.array([1.0, 0.0, 0.5]) if f in (np.maximum, np.fmax) else np.array([0.0, 1.0, 0.5])
        cases += [
            Case(f.__name__, f, (X, Y)),
            Case(f.__name__, f, (X.astype("f4"), Y.astype("f4")), label="f32"),
            Case(f.__name__, f, (I, J), order=0, label="i64"),
            Case(f.__name__, f, (EDGES_U, EDGES_U[::-1].copy()), order=0, label="u64"),
            Case(f.__name__, f, (B, C), order=0, label="bool"),
            Case(f.__name__, f, (SPECIAL[:, None], SPECIAL), order=0, label="nan-inf"),
            Case(
                f.__name__,
                f,
                (np.array([2.0, 1.0, 3.0]), np.array([1.0, 2.0, 3.0])),
                gradients=(by_x, 1 - by_x),
                label="tie",
            ),
        ]
    return cases


def _tests() -> list[Case]:
    functions = (np.isnan, np.isinf, np.isfinite, np.signbit, np.logical_not)
    cases = [Case(f.__name__, f, (SPECIAL,), order=0) for f in functions]
    cases += [Case(f.__name__, f, (SPECIAL.astype("f4"),), order=0, label="f32") for f in functions]
    cases += [Case(f.__name__, f, (I,), order=0, label="i64") for f in functions if f is not np.signbit]
    return cases + [
        Case(f.__name__, f, (B,), order=0, label="bool") for f in functions if f is not np.signbit
    ]


CLIP: list[Case] = [
    Case("minimum", lambda x: np.clip(x, -0.5, 0.5), (X,), label="clip"),
    Case("maximum", lambda x: np.clip(x, 0, None), (X,), label="clip-below"),
    Case("minimum", np.clip, (X, -abs(Y), abs(Y)), label="clip-arrays"),
    Case(
        "minimum",
        lambda x: np.clip(x, 0, 1),
        (np.array([-1.0, 0.0, 0.5, 1.0, 2.0]),),
        gradients=(np.array([0.0, 0.5, 1.0, 0.5, 0.0]),),
        label="clip-at-bounds",
    ),
    Case("select", np.nan_to_num, (SPECIAL[1:5],), label="nan-to-num"),
    Case(
        "select",
        np.nan_to_num,
        (SPECIAL,),
        gradients=(np.array([0.0, 1, 1, 1, 1, 0, 0]),),
        label="nan-to-num-replaced",
    ),
    Case("select", lambda x, y: np.select([x > 1, x > 0], [x * y, y], x), (X, Y), label="select"),
]

CASES: list[Case] = _pairs() + _extremes() + _tests() + CLIP
