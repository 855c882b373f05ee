"""Calls of `tracejit.ops.special`: SciPy's ufuncs, and `logaddexp`."""

from typing import Any

import numpy as np
import scipy.special

from tests.ops.conformance.elementwise_operands import FLOATS, Call, binary, operand

P, UNIT = operand("f8", low=0.2), operand("f8", low=0.05, high=0.95)
EDGES = np.array([-np.inf, -800.0, -1.5, -0.0, 0.0, 1.5, 800.0, np.inf, np.nan])


def _unary(name: str, x: Any, dtypes: tuple[str, ...] = ("f8", "f4", "i8")) -> list[Call]:
    # The ufunc is looked up in the call, so that the row says its name and not an object.
    def call(np: Any, x: Any) -> Any:
        return getattr(scipy.special, name)(x)

    rows: list[Call] = [(f"{name}-{d}", call, (x.astype(d),)) for d in dtypes]
    return [*rows, (f"{name}-rank-0", call, (x[0, 0],)), (f"{name}-empty", call, (x[:0],))]


def _binary(name: str, x: Any, y: Any) -> list[Call]:
    def call(np: Any, x: Any, y: Any) -> Any:
        return getattr(scipy.special, name)(x, y)

    return [
        (f"{name}-f8", call, (x, y)),
        (f"{name}-f4", call, (x.astype("f4"), y.astype("f4"))),
        (f"{name}-f4-f8-row", call, (x.astype("f4"), y[0])),
        (f"{name}-number", lambda np, x: call(np, x, 2.0), (x.astype("f4"),)),
    ]


ANYWHERE = ("erf", "erfc", "expit", "log_expit", "ndtr", "expm1", "exp2", "cbrt")

CALLS: list[Call] = [
    *binary("logaddexp", FLOATS),
    *binary("logaddexp2", FLOATS),
    ("logaddexp-edges", lambda np, x, y: np.logaddexp(x, y), (EDGES[:, None], EDGES)),
    ("logaddexp2-edges", lambda np, x, y: np.logaddexp2(x, y), (EDGES[:, None], EDGES)),
    *(row for name in ANYWHERE for row in _unary(name, operand("f8"))),
    *(row for name in ("gammaln", "psi", "digamma", "gamma", "log1p") for row in _unary(name, P + 1)),
    *_unary("entr", P, FLOATS),
    *_unary("logit", UNIT, FLOATS),
    *(row for name in ("xlogy", "xlog1py", "rel_entr", "kl_div", "betaln") for row in _binary(name, UNIT, P)),
    *(
        (f"{name}-edges", lambda np, x, name=name: getattr(scipy.special, name)(x), (EDGES,))
        for name in ("erf", "erfc", "expit", "log_expit", "ndtr", "entr")
    ),
    ("xlogy-zero", lambda np, x, y: scipy.special.xlogy(x, y), (np.zeros(3), np.array([0.0, 1.0, np.nan]))),
    (
        "rel_entr-edges",
        lambda np, x, y: scipy.special.rel_entr(x, y),
        (np.array([[0.0], [1.0], [-1.0]]), np.array([0.0, 1.0, -1.0])),
    ),
]
