"""Functions of `scipy.special` and of neural networks: sigmoid, softplus, erf, the gamma family, x log y.

SciPy's ufuncs dispatch like NumPy's but cannot be keys without importing SciPy: `SCIPY` holds them by name.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.errors import UnsupportedError
from tracejit.ir import computed_dtype, result_type
from tracejit.ops.arithmetic import choose
from tracejit.ops.comparison import isnan
from tracejit.ops.families import Operation, elementwise, promote, resolve_ufunc
from tracejit.ops.tables import NUMPY
from tracejit.ops.transcendental import LN2, exp, log, log1p
from tracejit.ops.value import Value

SCIPY: dict[str, Callable[..., Any]] = {}

Body = Callable[..., Any]


def scipy_meaning(ufunc: Any) -> Callable[..., Any] | None:
    """The meaning of a `scipy.special` ufunc inside a trace, None for anything else; never imports SciPy."""
    module = sys.modules.get("scipy.special")
    name = getattr(ufunc, "__name__", "")
    # A user's own ufunc may have the same name: only SciPy's very object counts.
    meaning = SCIPY.get(name) if module is not None and getattr(module, name, None) is ufunc else None
    return None if meaning is None else functools.partial(_call_scipy, ufunc, meaning)


def _call_scipy(ufunc: Any, meaning: Callable[..., Any], *args: Any) -> Any:
    """The meaning on operands of the dtypes that SciPy's own table of loops chooses."""
    name = ufunc.__name__
    return meaning(*promote(name, functools.partial(resolve_ufunc, name, ufunc), args))


def resolve_special(*dtypes: Any) -> tuple[np.dtype[Any], ...]:
    """Dtypes in the manner of SciPy's ufuncs: float32 where every array is float32, else float64.

    float16 and bfloat16 stay, as in NumPy's functions.
    """
    arrays = [d for d in dtypes if not isinstance(d, type)]
    is_single = bool(arrays) and all(computed_dtype(d) == np.float32 for d in arrays)
    kind = result_type(*arrays, what="special") if is_single else np.dtype(np.float64)
    return (kind,) * (len(dtypes) + 1)


def _scipy_evaluate(name: str) -> Callable[..., Any]:
    def evaluate(*arrays: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arrays)

    return evaluate


def _special(
    name: str,
    *,
    partials: Callable[..., Any] | None,
    body: Body,
    cost: int,
    evaluate: Callable[..., Any] | None = None,
    scipy_name: str | None = None,
) -> Operation:
    operation = elementwise(
        name,
        partials=partials,
        body=body,
        evaluate=evaluate or _scipy_evaluate(scipy_name or name),
        resolve=resolve_special,
        cost=cost,
    )
    SCIPY[scipy_name or name] = operation
    return operation


def composed(*scipy_names: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Declare a function of float values, made of other operations, under SciPy's names."""

    def enter(function: Callable[..., Value]) -> Callable[..., Value]:
        def call(*args: Any) -> Value:
            return function(*promote(scipy_names[0], resolve_special, args))

        call.__name__, call.__doc__ = scipy_names[0], function.__doc__
        for name in scipy_names:
            SCIPY[name] = call
        return call

    return enter


# --- the identity that stops derivatives ------------------------------------------------------------------

stop_gradient = elementwise(
    "stop_gradient",
    partials=None,
    body=lambda s, x: x,
    evaluate=lambda x: x,
    resolve=lambda d: (np.dtype(d), np.dtype(d)),
    cost=0,
)

# --- logistic ---------------------------------------------------------------------------------------------


def _sigmoid_evaluate(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, x.dtype.type(1), e) / (1 + e)


sigmoid = _special(
    "sigmoid",
    partials=lambda x, out: (out * (1 - out),),
    body=lambda s, x: s.sigmoid(x),
    evaluate=_sigmoid_evaluate,
    scipy_name="expit",
    cost=20,
)
softplus = elementwise(
    "softplus",
    partials=lambda x, out: (sigmoid(x),),
    body=lambda s, x: s.softplus(x),
    evaluate=lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    resolve=resolve_special,
    cost=36,
)


@composed("log_expit")
def log_sigmoid(x: Value) -> Value:
    """log(sigmoid(x)), without overflow or cancellation."""
    return -softplus(-x)


@composed("logit")
def logit(x: Value) -> Value:
    """log(x / (1 - x)), the inverse of the sigmoid."""
    return log(x) - log1p(-x)


def _shares(scale: float) -> Callable[[Value, Value, Value], tuple[Value, Value]]:
    def partials(x: Value, y: Value, out: Value) -> tuple[Value, Value]:
        d = (x - y) * scale
        d = choose(isnan(d), 0, d)  # equal infinities: half each
        return sigmoid(d), sigmoid(-d)

    return partials


logaddexp = elementwise(
    "logaddexp", np.logaddexp, partials=_shares(1.0), body=lambda s, x, y: s.logaddexp(x, y), cost=36
)
logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, partials=_shares(LN2), body=lambda s, x, y: s.logaddexp2(x, y), cost=36
)

# --- error function ---------------------------------------------------------------------------------------

erf = _special(
    "erf",
    partials=lambda x, out: (2 / math.sqrt(math.pi) * exp(-(x * x)),),
    body=lambda s, x: s.erf_given(x, s.exp(-(x * x))),  # the exponential of the derivative
    cost=25,
)
erfc = _special(
    "erfc",
    partials=lambda x, out: (-2 / math.sqrt(math.pi) * exp(-(x * x)),),
    body=lambda s, x: s.erfc(x),
    cost=25,
)


@composed("ndtr")
def ndtr(x: Value) -> Value:
    """The cumulative distribution of the standard normal."""
    return 0.5 * erfc(-x * math.sqrt(0.5))


# --- gamma ------------------------------------------------------------------------------------------------


def _trigamma_evaluate(x: Any) -> Any:
    import scipy.special

    reflected = np.where(x > 0, x, 1 - x)
    direct = scipy.special.polygamma(1, reflected)
    return np.where(x > 0, direct, (np.pi / np.sin(np.pi * x)) ** 2 - direct).astype(x.dtype)


# Bernoulli numbers B2 ... B16: trigamma(z) ~ 1/z + 1/(2 z^2) + sum B_2k / z^(2k+1), NIST DLMF 5.15.8.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def _trigamma_body(s: Any, x: Any) -> Any:
    """Ten steps of trigamma(z) = trigamma(z + 1) + 1 / z^2, the asymptotic series, reflection below 0."""
    z = s.select(x > 0, x, 1 - x)
    total = s.constant(0, like=x)
    for _ in range(10):
        total = total + 1 / (z * z)
        z = z + 1
    r = 1 / z
    r2 = r * r
    series = s.constant(_BERNOULLI[-1], like=x)
    for b in reversed(_BERNOULLI[:-1]):
        series = series * r2 + b
    direct = total + r + 0.5 * r2 + r * r2 * series
    ratio = math.pi / s.sin(math.pi * x)
    return s.select(x > 0, direct, ratio * ratio - direct)


def _no_tetragamma(x: Value, out: Value) -> Any:
    raise UnsupportedError(
        "trigamma: has no derivative here",
        hint="gammaln and gamma have two derivatives, digamma one",
    )


trigamma = elementwise(
    "trigamma",
    partials=_no_tetragamma,
    body=_trigamma_body,
    evaluate=_trigamma_evaluate,
    resolve=resolve_special,
    cost=80,
)
digamma = _special(
    "digamma",
    partials=lambda x, out: (trigamma(x),),
    body=lambda s, x: s.digamma(x),
    scipy_name="psi",
    cost=50,
)
gammaln = _special("gammaln", partials=lambda x, out: (digamma(x),), body=lambda s, x: s.lgamma(x), cost=50)
gamma = _special("gamma", partials=lambda x, out: (out * digamma(x),), body=lambda s, x: s.gamma(x), cost=50)


@composed("betaln")
def betaln(a: Value, b: Value) -> Value:
    """The logarithm of the magnitude of the beta function."""
    return gammaln(a) + gammaln(b) - gammaln(a + b)


# --- x log y ----------------------------------------------------------------------------------------------


def _over(x: Value, y: Value) -> Value:
    """x / y with 0 / 0 = 0, which is where the derivative by y of x log y matters: at probability 0."""
    return x / choose((x == 0) & (y == 0), 1, y)


xlogy = _special(
    "xlogy",
    partials=lambda x, y, out: (log(y), _over(x, y)),
    body=lambda s, x, y: s.select((x == 0) & (y == y), s.constant(0, like=x), x * s.log(y)),
    cost=22,
)
xlog1py = _special(
    "xlog1py",
    partials=lambda x, y, out: (log1p(y), _over(x, 1 + y)),
    body=lambda s, x, y: s.select((x == 0) & (y == y), s.constant(0, like=x), x * s.log1p(y)),
    cost=22,
)


@composed("entr")
def entr(x: Value) -> Value:
    """-x log x, 0 at 0 and -inf below."""
    return choose(x < 0, -math.inf, -xlogy(x, x))


@composed("rel_entr")
def rel_entr(x: Value, y: Value) -> Value:
    """x log(x / y), 0 where x is 0, inf where x or y is negative."""
    return choose((x < 0) | (y < 0), math.inf, xlogy(x, x) - xlogy(x, y))


@composed("kl_div")
def kl_div(x: Value, y: Value) -> Value:
    """x log(x / y) - x + y."""
    return choose((x < 0) | (y < 0), math.inf, rel_entr(x, y) - x + y)


# --- SciPy's own copies of NumPy's functions --------------------------------------------------------------


for _ufunc in (np.expm1, np.log1p, np.exp2, np.cbrt):
    composed(_ufunc.__name__)(NUMPY[_ufunc])
