"""Hyperbolic functions and their inverses."""

from __future__ import annotations

import math

from tracejit.codegen.math.exponential import EXPONENTIALS, quarter_expm1
from tracejit.codegen.math.logarithm import log_of_sum
from tracejit.codegen.math.real import Real, Truth, format_of, limited, two_sum

_TANH_BOUND = {64: 22.0, 32: 10.0}  # above it tanh is 1


def quotient(a: Real, a_low: Real, b: Real, b_low: Real) -> tuple[Real, Real]:
    """(a + a_low) / (b + b_low) as a sum of two floats."""
    inverse = 1.0 / b
    q = a * inverse
    rest = b_low.fma(-q, b.fma(-q, a) + a_low)
    return q, rest * inverse


def tanh(x: Real) -> Real:
    """The hyperbolic tangent, t / (t + 2) for t = e**(2|x|) - 1."""
    f = format_of(x)
    size = x.absolute()
    t, t_low = quarter_expm1(2.0 * limited(size, (0.0, _TANH_BOUND[x.width])))
    below, below_low = two_sum(t, 0.5)
    q, rest = quotient(t, t_low, below, below_low + t_low)
    result = (q + rest).copysign(x)
    return x.where(size.compare("<", f.tiny), result)


def sinh(x: Real) -> Real:
    """The hyperbolic sine, (t + t / (t + 1)) / 2 for t = e**|x| - 1."""
    f = format_of(x)
    size = x.absolute()
    t, t_low = quarter_expm1(limited(size, (0.0, EXPONENTIALS[x.width].exp_bounds[1] + 0.6)))
    above, above_low = two_sum(t, 0.25)
    q, rest = quotient(t, t_low, above, above_low + t_low)
    result = 2.0 * (t + (q.fma(0.25, t_low + 0.25 * rest))).copysign(x)
    return x.where(size.compare("<", f.tiny), result)


def cosh(x: Real) -> Real:
    """The hyperbolic cosine, E / 2 + 1 / (2 E) for E = e**|x|."""
    t, t_low = quarter_expm1(limited(x.absolute(), (0.0, EXPONENTIALS[x.width].exp_bounds[1] + 0.6)))
    e, e_low = two_sum(t, 0.25)
    return 2.0 * (e + (e_low + t_low + 0.0625 / e))


# Inverses: the logarithm of a sum in two parts --------------------------------------------------------------


def _is_large(x: Real) -> Truth:
    """Is x**2 + 1 the same as x**2 to every digit of its root?"""
    return x.compare(">", 2.0 ** (format_of(x).fraction // 2 + 2))


def _log_plus_one(x: Real, x_low: Real, size: Real) -> Real:
    """log(1 + x + x_low), but log(2 size) where `size` is large."""
    total, lost = two_sum(x, 1.0)
    large = _is_large(size)
    infinite = size.compare("==", math.inf)
    doublings = x.constant(1.0).where(large, 0.0)
    total = size.where(large, total)
    result = log_of_sum(total, x.constant(0.0).where(large, lost + x_low), doublings)
    return size.where(infinite, result)


def asinh(x: Real) -> Real:
    """The inverse hyperbolic sine, log(1 + a + a**2 / (1 + sqrt(1 + a**2))) for a = |x|."""
    size = x.absolute()
    square = size * size
    rest = square / (1.0 + (1.0 + square).sqrt())
    total = size + rest
    result = _log_plus_one(total, (size - total) + rest, size)
    # A comparison that is false for nan lets nan through.
    return result.copysign(x).where(size.compare(">=", format_of(x).tiny), x)


def acosh(x: Real) -> Real:
    """The inverse hyperbolic cosine, log(1 + t + sqrt(t (t + 2))) for t = x - 1; nan below 1."""
    t = x - 1.0
    above, above_low = two_sum(x, 1.0)
    product = t * above
    product_low = t.fma(above, -product) + t * above_low
    root = product.sqrt()
    root_low = (root.fma(-root, product) + product_low) / (2.0 * root)
    total = root + t
    low = ((root - total) + t) + root_low.where(root.compare(">", 0.0), 0.0)
    return _log_plus_one(total, low, x).where(x.compare(">=", 1.0), math.nan)


def atanh(x: Real) -> Real:
    """The inverse hyperbolic tangent, log(1 + 2 a / (1 - a)) / 2 for a = |x|; nan beyond 1."""
    size = x.absolute()
    below = 1.0 - size
    below_low = (1.0 - below) - size
    inverse = 1.0 / below
    double = 2.0 * size
    q = double * inverse
    q_low = below_low.fma(-q, below.fma(-q, double)) * inverse
    total, lost = two_sum(q, 1.0)
    result = (0.5 * log_of_sum(total, lost + q_low)).where(size.compare("<", 1.0), math.nan)
    result = x.constant(math.inf).where(size.compare("==", 1.0), result).copysign(x)
    return x.where(size.compare("<", format_of(x).tiny), result)
