"""The logistic function, and logarithms of sums of exponentials."""

from __future__ import annotations

import math

from tracejit.codegen.math.exponential import (
    EXPONENTIALS,
    exp2,
    exp_parts,
    power_of_two,
    scale,
)
from tracejit.codegen.math.logarithm import log1p, log_of_sum
from tracejit.codegen.math.real import Real, format_of


def _at_least(x: Real, least: float) -> Real:
    return x.constant(least).where(x.compare("<", least), x)


def _one_plus_exp(x: Real) -> tuple[Real, Real, tuple[Real, Real, Real]]:
    """1 + e**x in two parts for x <= 0, and the parts of e**x."""
    k, high, low = exp_parts(_at_least(x, EXPONENTIALS[x.width].exp_bounds[0]))
    power = power_of_two(_at_least(k, 1.0 - format_of(x).bias))
    e = power * high
    total = 1.0 + e
    return total, ((1.0 - total) + e) + power * low, (k, high, low)


def sigmoid(x: Real) -> Real:
    """1 / (1 + e**-x), for negative x as e**x / (1 + e**x)."""
    negative = x.compare("<", 0.0)
    below, below_low, (k, high, low) = _one_plus_exp(-x.absolute())
    above, above_low = high.where(negative, 1.0), low.where(negative, 0.0)
    inverse = 1.0 / below
    q = above * inverse
    rest = below_low.fma(-q, below.fma(-q, above) + above_low)
    return scale(rest.fma(inverse, q), k.where(negative, 0.0))


def _log_one_plus_exp(x: Real) -> Real:
    """log(1 + e**x) for x <= 0."""
    total, low, (k, high, _) = _one_plus_exp(x)
    small = x.compare("<", -(format_of(x).fraction + 2) * math.log(2.0))
    return scale(high, k).where(small, log_of_sum(total, low))


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
