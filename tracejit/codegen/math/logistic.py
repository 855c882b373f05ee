"""The logistic function, and logarithms of sums of exponentials."""

from __future__ import annotations

import math

from tracejit.codegen.math.exponential import EXPONENTIALS, exp2, exp_parts, scale
from tracejit.codegen.math.logarithm import log1p, log_of_sum, log_of_sum_in_parts
from tracejit.codegen.math.real import Real, Truth, format_of, two_sum


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


def _is_small(x: Real) -> Truth:
    """Is log(1 + e**x) the same as e**x to every digit?"""
    return x.compare("<", -(format_of(x).fraction + 2) * math.log(2.0))


def softplus(x: Real) -> Real:
    """log(1 + e**x)."""
    down = -x.absolute()
    total, low, e, _ = _one_plus_exp(down)
    rest = e.where(_is_small(down), log_of_sum(total, low))
    return (x + rest).where(x.compare(">", 0.0), rest)


def logaddexp(a: Real, b: Real) -> Real:
    """log(e**a + e**b); equal infinities give themselves, as in NumPy."""
    larger = a.where((a - b).compare(">", 0.0), b)
    down = -(a - b).absolute()
    total, low, e, _ = _one_plus_exp(down)
    rest, rest_low = log_of_sum_in_parts(total, low)
    small = _is_small(down)
    # In two parts, for the larger operand may cancel the first digits.
    total, lost = two_sum(larger, e.where(small, rest))
    result = total + (lost + e.constant(0.0).where(small, rest_low))
    result = (larger + 0.0).where(down.compare("==", -math.inf), result)  # -0.0 becomes a sum's 0.0
    return (a + math.log(2.0)).where(a.compare("==", b), result)


def logaddexp2(a: Real, b: Real) -> Real:
    """log2(2**a + 2**b)."""
    larger = a.where((a - b).compare(">", 0.0), b)
    result = larger + log1p(exp2(-(a - b).absolute())) * (1.0 / math.log(2.0))
    return (a + 1.0).where(a.compare("==", b), result)
