"""Each elementary function in many digits: where its interesting arguments lie, and the error allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath
import numpy as np

from tests.codegen.math.programs import DTYPES, Array, arity

mpf = mpmath.mpf


@dataclass(frozen=True)
class Exact:
    """`function` of mpmath numbers on low..high.

    ulps: the bound on the error; ulps_without_fma: on a machine without a fused multiply-add
    edges: arguments whose neighbourhood is tried
    held: beyond these the exact value is taken there: it is 0, 1 or inf to every digit
    domain: where the function is a finite number
    size: what an error counts against where that is larger than the result
    """

    function: Callable[..., Any]
    low: float
    high: float
    ulps: float = 1.5
    edges: tuple[float, ...] = ()
    held: tuple[float, float] = (-math.inf, math.inf)
    domain: Callable[..., Any] = lambda *x: np.isfinite(x[0])
    ulps_without_fma: float = 2.0
    size: Callable[..., Any] | None = None


LN2 = math.log(2.0)
TINY = (2.2250738585072014e-308, 1.1754943508222875e-38)
EXP_EDGES = (
    709.782712893384,
    88.72283905206835,
    -708.3964185322641,
    -745.1332191019412,
    -87.3365447505,
    LN2 / 2,
)
LOG_EDGES = (math.sqrt(0.5), math.sqrt(2.0), math.sqrt(2.0) - 1.0, *TINY)
CIRCLE_EDGES = (
    *[k * math.pi / 4 for k in (1, 2, 3, 4, 6, 1000, 2**17, 2**18 - 1)],
    *[45.553093477052, 46066.74387591393, 2.0**18, -(2.0**18)],
)


def positive(x: Array) -> Array:
    return np.isfinite(x) & (x > 0)


EXACT: dict[str, Exact] = {
    "exp": Exact(mpmath.exp, -750, 715, 1.0, EXP_EDGES, (-800, 800)),
    "exp2": Exact(
        lambda x: mpf(2) ** x, -1080, 1030, edges=(1024, 128, -1022, -126, -1075, 0.5), held=(-1200, 1200)
    ),
    "expm1": Exact(mpmath.expm1, -45, 715, edges=(*EXP_EDGES, -LN2 / 2), held=(-800, 800)),
    "log": Exact(mpmath.log, 0.01, 4, 1.0, LOG_EDGES, domain=positive),
    "log2": Exact(lambda x: mpmath.log(x) / mpmath.log(2), 0.01, 4, edges=LOG_EDGES, domain=positive),
    "log10": Exact(lambda x: mpmath.log(x) / mpmath.log(10), 0.01, 4, edges=LOG_EDGES, domain=positive),
    "log1p": Exact(mpmath.log1p, -0.999, 4, edges=LOG_EDGES, domain=lambda x: np.isfinite(x) & (x > -1)),
    "tanh": Exact(mpmath.tanh, -23, 23, edges=(LN2 / 4, 9, 20), held=(-400, 400)),
    "sinh": Exact(mpmath.sinh, -715, 715, edges=(*EXP_EDGES, 710.4758600739439), held=(-800, 800)),
    "cosh": Exact(mpmath.cosh, -715, 715, edges=(*EXP_EDGES, 710.4758600739439), held=(-800, 800)),
    "sigmoid": Exact(lambda x: 1 / (1 + mpmath.exp(-x)), -750, 40, edges=EXP_EDGES, held=(-800, 800)),
    "softplus": Exact(
        lambda x: mpmath.log1p(mpmath.exp(x)),
        -750,
        40,
        edges=(*EXP_EDGES, -37.4, -17.3),
        held=(-800, math.inf),
    ),
    "logaddexp": Exact(
        lambda x, y: max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y))),
        -8,
        8,
        size=lambda x, y: max(abs(x), abs(y)),
    ),
    "sin": Exact(mpmath.sin, -300, 2.7e5, 1.0, CIRCLE_EDGES),
    "cos": Exact(mpmath.cos, -300, 2.7e5, 1.0, CIRCLE_EDGES),
    "tan": Exact(mpmath.tan, -300, 2.7e5, edges=CIRCLE_EDGES),
    "erf_given": Exact(mpmath.erf, -6.5, 6.5, 2.0, (0.875, -0.875, 4, 6, 1e-300), (-40, 40)),
    "erfc": Exact(
        mpmath.erfc, -6.5, 27.5, 2.0, (0.75, 1, -1, 10.1, 26.5, 27.2), (-40, 40), ulps_without_fma=2.5
    ),
    "lgamma": Exact(
        mpmath.loggamma,
        0,
        12,
        4.0,
        (1, 2, 8),
        domain=positive,
        ulps_without_fma=4.0,
        size=lambda x: abs(x * mpmath.digamma(x)),
    ),
    "digamma": Exact(
        mpmath.digamma,
        -12,
        12,
        4.0,
        (1.4616321449683622, -0.504083008264455, 1, 2, 8),
        domain=lambda x: (abs(x) < 1e6) & ((x > 0) | (x != np.floor(x))),
        ulps_without_fma=4.0,
        size=lambda x: abs(x * mpmath.polygamma(1, x)),
    ),
    "cbrt": Exact(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), -10, 10, edges=(*LOG_EDGES, 2, 4, 8, 27)),
    "hypot": Exact(lambda x, y: mpmath.sqrt(x * x + y * y), 0, 4, edges=(2.0**500, 2.0**-450, *TINY)),
    "asin": Exact(mpmath.asin, -1, 1, edges=(0.5, -0.5, 1.0), domain=lambda x: abs(x) <= 1),
    "acos": Exact(mpmath.acos, -1, 1, edges=(0.5, -0.5, 1.0), domain=lambda x: abs(x) <= 1),
    "atan": Exact(mpmath.atan, -10, 10, edges=(1.0, -1.0)),
    "atan2": Exact(mpmath.atan2, -4, 4, edges=(2.0**500, 2.0**-500, *TINY), domain=lambda y, x: x != 0),
    "asinh": Exact(mpmath.asinh, -10, 10, edges=(2.0**28, 2.0**14)),
    "acosh": Exact(mpmath.acosh, 1, 10, edges=(2.0**28, 2.0**14), domain=lambda x: x >= 1),
    "atanh": Exact(mpmath.atanh, -1, 1, edges=(0.5, 1.0), domain=lambda x: abs(x) < 1),
    "pow_": Exact(
        lambda x, y: x**y, 0, 4, 2.0, (1.0, *LOG_EDGES), domain=lambda x, y: positive(x) & np.isfinite(y)
    ),
}


def points(name: str, short: str) -> tuple[Array, ...]:
    """A sweep, fine steps around 0 and 1, bit patterns of every kind, and neighbours of the edges."""
    rng = np.random.default_rng(7)
    dtype, exact = DTYPES[short], EXACT[name]
    x = _numbers(exact, dtype, rng)
    if arity(name) == 1:
        x = x[exact.domain(x)]
        return (x[:: 4 if exact.size else 1],)  # mpmath takes its time over the gamma family
    with np.errstate(all="ignore"):
        y = _seconds(name, x, rng).astype(dtype)
    valid = exact.domain(x, y) & np.isfinite(y)
    return x[valid], y[valid]


def _numbers(exact: Exact, dtype: np.dtype[Any], rng: np.random.Generator) -> Array:
    info = np.finfo(dtype)
    signs = rng.choice([-1.0, 1.0], 800)
    words = rng.integers(0, 2**64, 800, np.uint64)
    patterns = words.view(np.float64) if dtype == np.float64 else words.astype(np.uint32).view(np.float32)
    near = 1 + np.arange(-12, 13) * float(info.eps)
    parts: list[Any] = [
        np.linspace(exact.low, exact.high, 1500),
        np.linspace(-2.0, 2.0, 1500),
        signs * 2.0 ** rng.uniform(-70, 3, 800),
        1.0 + signs * 2.0 ** rng.uniform(-info.nmant, 0, 800),
        [info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal],
        [m * float(info.smallest_subnormal) for m in (3, 5, 1001, -7)],
        *[edge * near for edge in exact.edges],
    ]
    with np.errstate(all="ignore"):
        x = np.concatenate([np.asarray(part, np.float64).astype(dtype) for part in parts] + [patterns])
    return x[np.isfinite(x)]


def _seconds(name: str, x: Array, rng: np.random.Generator) -> Array:
    """Second operands that keep the result within range, mostly."""
    with np.errstate(all="ignore"):
        if name != "pow_":
            return x * 2.0 ** rng.uniform(-20, 20, len(x)) * rng.choice([-1.0, 1.0], len(x))
        info = np.finfo(x.dtype)
        largest = rng.uniform(info.minexp - info.nmant - 2, info.maxexp + 1, len(x))
        limit = np.where(rng.random(len(x)) < 0.6, largest / np.log2(np.abs(x.astype(float))), 0)
        return np.where(limit == 0, rng.uniform(-20, 20, len(x)), limit)


@cache
def exact_values(name: str, short: str) -> tuple[tuple[Array, ...], list[Any], list[Any]]:
    """The points of a function, its values there to 160 bits, and the sizes of which errors are a part."""
    exact = EXACT[name]
    arguments = points(name, short)
    low, high = exact.held
    rows = list(zip(*[x.tolist() for x in arguments]))
    with mpmath.workprec(160):
        held = [[mpf(min(max(v, low), high)) for v in row] for row in rows]
        values = [exact.function(*row) for row in held]
        size = exact.size
        sizes = values if size is None else [max(abs(v), size(*row)) for v, row in zip(values, held)]
    return arguments, values, sizes
