"""Hyperbolic functions and their inverses."""

from __future__ import annotations

import math

from tracejit.codegen.math.exponential import EXPONENTIALS, one_plus, power_of_two, quarter_expm1
from tracejit.codegen.math.logarithm import log_of_sum
from tracejit.codegen.math.real import Real, Truth, format_of, limited, polynomial, two_sum

_TANH_BOUND = {64: 22.0, 32: 10.0}  # above it tanh is 1
_TANH_NEAR = 0.6

# 1 - tanh(x)/x = z P(z) / Q(z) with z = x**2, for |x| <= 0.6: the coefficients of P and of Q.
_TANH = {
    64: (
        (0.33333333333333326, 0.020498088916213093, 0.00019914660093037562),
        (1.0, 0.4614942667486295, 0.023290384597664526, 0.00020650006758815854),
    ),
    32: (
        (0.3333333432674408, 0.014768444932997227),
        (1.0, 0.44430533051490784, 0.01581745035946369),
    ),
}


def quotient(a: Real, a_low: Real, b: Real, b_low: Real) -> tuple[Real, Real]:
    """(a + a_low) / (b + b_low) as a sum of two floats."""
    inverse = 1.0 / b
    q = a * inverse
    rest = b_low.fma(-q, b.fma(-q, a) + a_low)
    return q, rest * inverse


def tanh(x: Real) -> Real:
    """The hyperbolic tangent, a - p / q with one division for both of its forms.

    Up to 0.6 it is x - x**3 P(x**2) / Q(x**2), then 1 - 2 E / (1 + E) with E = e**(-2 |x|).
    """
    f = format_of(x)
    size = x.absolute()
    near = size.compare("<", _TANH_NEAR)
    z = size * size
    above, below = (polynomial(z, coefficients) for coefficients in _TANH[x.width])
    bound = _TANH_BOUND[x.width]
    double = -2.0 * x.constant(bound).where(size.compare(">", bound), size)
    k = double.fma(1.0 / math.log(2.0), f.magic) - f.magic
    r = k.fma(-f.ln2[1], k.fma(-f.ln2[0], double))
    e = one_plus(r, -0.0, EXPONENTIALS[x.width].exp_tail) * power_of_two(k)
    above = (z * size * above).where(near, e + e)
    below = below.where(near, 1.0 + e)
    return (size.where(near, 1.0) - above / below).copysign(x)


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
