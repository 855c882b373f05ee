"""Hyperbolic functions and their inverses."""

from __future__ import annotations

from tracejit.codegen.math.exponential import EXPONENTIALS, quarter_expm1
from tracejit.codegen.math.real import Real, format_of, limited, two_sum

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
