"""The logarithm of the gamma function and its derivative: asymptotic series above 8, recurrences below."""

from __future__ import annotations

import math

from tracejit.codegen.math.logarithm import log
from tracejit.codegen.math.real import Real, Truth, format_of, polynomial

_LARGE = 8.0  # from here on the series are used

# lgamma(2 + t) / t as a polynomial in t + 5/16, for -0.8 <= t <= 0.2: its one zero there is a factor.
_NEAR_TWO = (
    0.3147276063191975,
    0.37165640899417257,
    -0.09206600029827947,
    0.0335806040499245,
    -0.014391169042780587,
    0.006718424100970856,
    -0.00330205409563108,
    0.001678337573649991,
    -0.0008731285815520381,
    0.0004619804604792244,
    -0.00024758465012605376,
    0.00013402579390072328,
    -7.315485009190695e-05,
    4.0149025563338316e-05,
    -2.2081363832129596e-05,
    1.2448363105579868e-05,
    -7.2477033043483e-06,
    3.4363942142115073e-06,
    -1.3773147598749279e-06,
    1.8735236286524844e-06,
    -1.4724578825338247e-06,
)
_NEAR_TWO_CENTRE = 0.3125
# (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2) x as a polynomial in 1 / x**2, for x >= 8.
_STIRLING = (
    0.0833333333333331,
    -0.0027777777773628403,
    0.0007936505776949529,
    -0.0005951898373664188,
    0.0008364674535648468,
    -0.001633621351169267,
)
_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)

# digamma(t + 3/2) / (t + 3/2 - root) for |t| <= 1/2, and the root in two parts.
_NEAR_ROOT = (
    0.9510558760318328,
    -0.42362742128145614,
    0.24054248424082122,
    -0.1484049230551457,
    0.0949887244485135,
    -0.061922133169639064,
    0.040760834151958684,
    -0.02697580072858958,
    0.017907243364478485,
    -0.011908134003507391,
    0.007927083532257491,
    -0.005281034074884707,
    0.003517715791898113,
    -0.0023367258893095704,
    0.0015640378474673575,
    -0.0010807793265599358,
    0.0006976933421779118,
    -0.00034844926158442466,
    0.0002762698013078223,
    -0.00038380842732746163,
    0.00021987438196443654,
)
_ROOT = (1.4616321449683622, 9.549995429965697e-17)
# (log(x) - 1 / (2 x) - digamma(x)) x**2 as a polynomial in 1 / x**2, for x >= 8.
_ASYMPTOTIC = (
    0.08333333333332585,
    -0.008333333323907233,
    0.003968250008212577,
    -0.004165898124152059,
    0.007499541553612656,
    -0.017270896848876033,
)
# (pi / tan(pi f) - 1 / f) / f as a polynomial in f**2, for |f| <= 1/2.
_COTANGENT = (
    -3.2898681336964524,
    -2.164646467423052,
    -2.0346861237716345,
    -2.008154732111021,
    -2.001988124754407,
    -2.0005240226229093,
    -1.9994843231015729,
    -2.0086625619896417,
    -1.9192529025571485,
    -2.526429660438498,
    0.36777672295445835,
    -9.10650636041151,
    11.17686524829612,
    -14.395957906098023,
)


def lgamma(x: Real) -> Real:
    """The logarithm of |gamma(x)|; the C library's for x <= 0, where no recurrence keeps the digits."""
    wide = x.widened() if x.width == 32 else x
    result = _log_gamma(wide)
    result = result.narrowed() if x.width == 32 else result
    return result.rescue(x.compare("<=", 0.0), "lgamma", x)


def _log_gamma(x: Real) -> Real:
    """lgamma(x) for x > 0.

    With k and t such that x = k + 2 + t and -0.8 <= t <= 0.2, it is lgamma(2 + t) and the logarithm of the
    factors between 2 + t and x. The bounds of t keep the two from cancelling, near the zero at 1 and the
    least value at 1.46 too.
    """
    large = x.compare(">=", _LARGE)
    magic = format_of(x).magic
    k = ((x - 1.7) + magic) - magic
    t = x - (k + 2.0)
    factors = [(x - float(j)).where(k.compare(">=", float(j)), 1.0) for j in range(1, 7)]
    below, far_below = k.compare("<", 0.0), k.compare("<", -1.0)
    factors += [x.where(below, 1.0), (x + 1.0).where(far_below, 1.0)]
    logarithm = log(x.where(large, _product(factors)))
    signed = (-logarithm).where(below, logarithm)
    small = t.fma(polynomial(t + _NEAR_TWO_CENTRE, _NEAR_TWO), signed)
    inverse = 1.0 / x
    series = inverse * polynomial(inverse * inverse, _STIRLING)
    main = (x - 0.5).fma(logarithm - 1.0, _HALF_LOG_2_PI - 0.5)
    return (main + series).where(large, small)


def _product(factors: list[Real]) -> Real:
    while len(factors) > 1:
        pairs = [a * b for a, b in zip(factors[::2], factors[1::2])]
        factors = pairs + factors[len(factors) - len(factors) % 2 :]
    return factors[0]


def digamma(x: Real) -> Real:
    """The derivative of lgamma, by reflection below 0; nan at the poles, but infinite at 0 by its sign."""
    wide = x.widened() if x.width == 32 else x
    negative = wide.compare("<", 0.0)
    reflected = (1.0 - wide).where(negative, wide)
    result = _positive_digamma(reflected)
    result = (result - _cotangent(wide)).where(negative, result)
    result = (-(1.0 / wide)).where(wide.compare("==", 0.0), result)
    return result.narrowed() if x.width == 32 else result


def _positive_digamma(x: Real) -> Real:
    """digamma(x) for x > 0: the recurrence leads to 1..2, where the root is a factor."""
    large = x.compare(">=", _LARGE)
    steps = x.floor() - 1.0
    y = x - steps
    above, below = _reciprocals(x, steps)
    # 1 / (2 x) for the series, the sum of the reciprocals elsewhere.
    ratio = x.constant(0.5).where(large, above) / x.where(large, below)
    near = (y - _ROOT[0]) - _ROOT[1]
    small = near.fma(polynomial(y - 1.5, _NEAR_ROOT), ratio)
    z = 4.0 * (ratio * ratio)
    series = z * polynomial(z, _ASYMPTOTIC)
    result = ((log(x) - ratio) - series).where(large, small)
    return x.where(x.compare("==", math.inf), result)


def _reciprocals(x: Real, steps: Real) -> tuple[Real, Real]:
    """The sum of 1 / (x - k) for k = 1 ... steps, or -1 / x for -1 steps, as numerator and denominator."""
    up: Truth = steps.compare("<", 0.0)
    above, below = x.constant(-1.0).where(up, 0.0), x.where(up, 1.0)
    for k in range(1, 7):
        taken = steps.compare(">=", float(k))
        factor = (x - float(k)).where(taken, 1.0)
        above = above.fma(factor, below.where(taken, 0.0))
        below = below * factor
    return above, below


def _cotangent(x: Real) -> Real:
    """pi / tan(pi x); nan where x is an integer."""
    f = x - (x + 0.5).floor()
    result = f.fma(polynomial(f * f, _COTANGENT), 1.0 / f)
    return result.where(x.floor().compare("!=", x), math.nan)
