"""Rows for `tracejit.ops.special`; SciPy's own ufuncs are the calls wherever it has one."""

from typing import Any

import numpy as np
import scipy.special as sc

from tests.ops.cases.case import Case, normal, uniform
from tracejit.ops import special

X, Y = normal(3, 4), normal(3, 4, seed=1)
POSITIVE, UNIT = uniform(0.3, 6, 3, 4), uniform(0.05, 0.95, 3, 4)
LARGE = np.array([-800.0, -40.0, 0.0, 40.0, 800.0])
INF = np.inf


def _softplus(x: Any) -> Any:
    return np.logaddexp(0, x).astype(x.dtype)


LOGISTIC: list[Case] = [
    Case("sigmoid", sc.expit, (X,)),
    Case("sigmoid", sc.expit, (X.astype("f4"),), label="f32"),
    Case("sigmoid", sc.expit, (LARGE,), gradients=(np.array([0, sc.expit(-40), 0.25, 0, 0]),), label="large"),
    Case("softplus", special.softplus, (X,), expected=_softplus),
    Case("softplus", special.softplus, (X.astype("f4"),), expected=_softplus, label="f32"),
    Case(
        "softplus",
        special.softplus,
        (LARGE,),
        expected=_softplus,
        gradients=(sc.expit(LARGE),),
        label="large",
    ),
    Case("softplus", sc.log_expit, (X,), label="log-expit"),
    Case("log", sc.logit, (UNIT,), label="logit"),
    Case("stop_gradient", special.stop_gradient, (X,), expected=lambda x: x, gradients=(np.zeros((3, 4)),)),
    Case(
        "stop_gradient",
        lambda x: special.stop_gradient(x) * x,
        (X,),
        expected=lambda x: x * x,
        gradients=(X,),
        label="factor",
    ),
    Case("logaddexp", np.logaddexp, (X, Y)),
    Case("logaddexp", np.logaddexp, (X.astype("f4"), Y.astype("f4")), label="f32"),
    Case("logaddexp", np.logaddexp, (X, X.copy()), label="equal"),
    Case(
        "logaddexp",
        np.logaddexp,
        (np.array([INF, -INF, INF, -INF, 1.0]), np.array([INF, -INF, 1.0, 1.0, 1.0])),
        gradients=(np.array([0.5, 0.5, 1, 0, 0.5]), np.array([0.5, 0.5, 0, 1, 0.5])),
        label="infinite",
    ),
    Case("logaddexp2", np.logaddexp2, (X, Y)),
    Case("logaddexp2", np.logaddexp2, (X, X.copy()), label="equal"),
]

ERROR_FUNCTION: list[Case] = [
    Case("erf", sc.erf, (X,)),
    Case("erf", sc.erf, (X.astype("f4"),), label="f32"),
    Case("erfc", sc.erfc, (X,)),
    Case("erfc", sc.erfc, (X.astype("f4"),), label="f32"),
    Case("erfc", sc.ndtr, (X,), label="ndtr"),
]

GAMMA: list[Case] = [
    Case("gammaln", sc.gammaln, (POSITIVE,)),
    Case("gammaln", sc.gammaln, (POSITIVE.astype("f4"),), label="f32"),
    Case("gammaln", sc.betaln, (POSITIVE, POSITIVE[::-1].copy()), label="betaln"),
    Case("gamma", sc.gamma, (POSITIVE,)),
    Case("gamma", sc.gamma, (np.array([-2.5, -1.3, -0.4, 0.2]),), label="negative"),
    Case("digamma", sc.digamma, (POSITIVE,), order=1),
    Case("digamma", sc.digamma, (np.array([-2.5, -1.3, -0.4, 0.2]),), order=1, label="negative"),
    Case("trigamma", special.trigamma, (POSITIVE,), order=0, expected=lambda x: sc.polygamma(1, x)),
]

X_LOG_Y: list[Case] = [
    Case("xlogy", sc.xlogy, (X, POSITIVE)),
    Case("xlogy", sc.xlogy, (X.astype("f4"), POSITIVE.astype("f4")), label="f32"),
    Case(
        "xlogy",
        sc.xlogy,
        (np.array([0.0, 0.0, 2.0]), np.array([0.0, 3.0, 3.0])),
        gradients=(np.array([-INF, np.log(3), np.log(3)]), np.array([0.0, 0.0, 2 / 3])),
        label="at-zero",
    ),
    Case("xlog1py", sc.xlog1py, (X, POSITIVE)),
    Case("xlogy", sc.entr, (UNIT,), label="entr"),
    Case("xlogy", sc.rel_entr, (UNIT, POSITIVE), label="rel-entr"),
    Case("xlogy", sc.kl_div, (UNIT, POSITIVE), label="kl-div"),
]

CASES: list[Case] = LOGISTIC + ERROR_FUNCTION + GAMMA + X_LOG_Y
