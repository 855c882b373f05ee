"""The logistic function, and logarithms of sums of exponentials."""

from __future__ import annotations

import math

from tracejit.codegen.math.exponential import EXPONENTIALS, exp2, exp_parts, scale
from tracejit.codegen.math.logarithm import log1p, log_of_sum
from tracejit.codegen.math.real import Real, format_of


def _at_least(x: Real, least: float) -> Real:
    return x.constant(least).where(x.compare("<", least), x)


def _one_plus_exp(x: Real) -> tuple[Real, Real, Real, Real]:
    """1 + e**x in two parts and e**x in two parts, for x <= 0."""
    k, high, low = exp_parts(_at_least(x, EXPONENTIALS[x.width].exp_bounds[0]))
    e = scale(high, k)
    total = 1.0 + e
    # The power of 2 belongs here, from which e is not far.
    e_low = low * e
    return total, ((1.0 - total) + e) + e_low, e, e_low


def sigmoid(x: Real) -> Real:
    """1 / (1 + e**-x), for negative x as e**x / (1 + e**x)."""
    below, below_low, e, e_low = _one_plus_exp(-x.absolute())
    negative = x.compare("<", 0.0)
    above, above_low = e.where(negative, 1.0), e_low.where(negative, 0.0)
    inverse = 1.0 / below
    q = above * inverse
    return below_low.fma(-q, below.fma(-q, above) + above_low).fma(inverse, q)


def _log_one_plus_exp(x: Real) -> Real:
    """log(1 + e**x) for x <= 0."""
    total, low, e, _ = _one_plus_exp(x)
    small = x.compare("<", -(format_of(x).fraction + 2) * math.log(2.0))
    return e.where(small, log_of_sum(total, low))


def softplus(x: Real) -> Real:
    """log(1 + e**x)."""
    rest = _log_one_plus_exp(-x.absolute())
    return (x + rest).where(x.compare(">", 0.0), rest)


def logaddexp(a: Real, b: Real) -> Real:
    """log(e**a + e**b); equal infinities give themselves, as in NumPy."""
    larger = a.where((a - b).compare(">", 0.0), b)
    result = larger + _log_one_plus_exp(-(a - b).absolute())
    return (a + math.log(2.0)).where(a.compare("==", b), result)


def logaddexp2(a: Real, b: Real) -> Real:
    """log2(2**a + 2**b)."""
    larger = a.where((a - b).compare(">", 0.0), b)
    result = larger + log1p(exp2(-(a - b).absolute())) * (1.0 / math.log(2.0))
    return (a + 1.0).where(a.compare("==", b), result)
