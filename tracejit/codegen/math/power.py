"""Powers and roots: x**y, the cube root and the hypotenuse."""

from __future__ import annotations

import math

from tracejit.codegen.math.exponential import one_plus, power_of_two, scale
from tracejit.codegen.math.logarithm import split, split_any
from tracejit.codegen.math.real import Real, format_of, limited, polynomial

# (3 atanh(s)/s - 3 - s**2) / s**4 as a polynomial in s**2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1).
_ATANH_TAIL = (
    0.5999999999999996,
    0.42857142857168806,
    0.33333333326026793,
    0.27272728339678115,
    0.2307683296669361,
    0.20004566344166327,
    0.17510393159654797,
    0.17998820979430413,
)
# 2 / (3 ln(2)) and ln(2): the whole, a high part of 26 bits, and what that lacks.
_TWO_THIRDS_LOG2_E = (0.9617966939259756, 0.9617966860532761, 7.872699542894897e-09)
_LN2 = (0.6931471805599453, 0.6931471675634384, 1.2996506893889889e-08)
_POW_BOUND = 1100.0  # |log2(x**y)| beyond which the result is 0 or inf
_LARGE_EXPONENT = 2.0**70  # |y| beyond which x**y is 0, 1 or inf for every x

# For results in float32: 2 atanh(s) / (s ln(2)) as a polynomial in s**2, and 2**r for |r| <= 1/2.
_LOG2_SHORT = (
    2.8853900817900806,
    0.9617966733486765,
    0.5770835835386793,
    0.4116728107670121,
    0.3407283071342318,
)
_EXP2_SHORT = (
    1.0000000005550602,
    0.6931472057656715,
    0.2402264689090884,
    0.05550328688935128,
    0.00961848862830902,
    0.0013399975330774454,
    0.00015345812399100532,
)


def upper(x: Real, bits: int = 26) -> Real:
    """x cut to its leading bits: products of two such float64 are exact, on every machine."""
    cleared = format_of(x).fraction + 1 - bits
    return (x.bits() & (2**x.width - 2**cleared)).real()


def _log2(x: Real) -> tuple[Real, Real]:
    """log2(x) for positive x as 26 bits and a rest, right to about 2**-66 of log2(x).

    With s = (m - 1) / (m + 1), log(m) = 2/3 s (3 + s**2 + 3/5 s**4 + ...), each factor in two parts as in
    FreeBSD's e_pow.c.
    """
    e, m = split_any(x)
    u, v = m - 1.0, 1.0 / (m + 1.0)
    s = u * v
    s_high = upper(s)
    below = upper(m + 1.0)
    s_low = v * ((u - s_high * below) - s_high * (m - (below - 1.0)))
    z, z_high = s * s, s_high * s_high
    rest = (z * z).fma(polynomial(z, _ATANH_TAIL), s_low * (s_high + s))
    factor = upper(3.0 + z_high + rest)
    factor_low = rest - ((factor - 3.0) - z_high)
    product = s_high * factor
    product_low = s_low * factor + factor_low * s
    high = upper(product + product_low)
    low = product_low - (high - product)
    whole, part, part_low = _TWO_THIRDS_LOG2_E
    scaled = part * high
    scaled_low = part_low * high + low * whole
    total = upper((scaled + scaled_low) + e)
    return total, scaled_low - ((total - e) - scaled)


def _magnitude(x: Real, y: Real) -> Real:
    """x**y for positive, finite x, as 2**(y log2(x)); y not beyond `_LARGE_EXPONENT`."""
    log, log_low = _log2(x)
    y_high = upper(y)
    high = y_high * log
    low = (y - y_high) * log + y * log_low
    within = high.absolute().compare("<", _POW_BOUND)
    high, low = limited(high, (-_POW_BOUND, _POW_BOUND)), low.where(within, 0.0)
    magic = format_of(x).magic
    k = (high + magic) - magic
    high = high - k
    total = upper(high + low)
    ln2, ln2_high, ln2_low = _LN2
    first = total * ln2_high
    second = (low - (total - high)) * ln2 + total * ln2_low
    r = first + second
    return scale(one_plus(r, second - (r - first)), k)


def _magnitude_short(x: Real, y: Real) -> Real:
    """The same in float32, by way of float64."""
    e, m = split(x.widened())
    s = (m - 1.0) / (m + 1.0)
    log = s.fma(polynomial(s * s, _LOG2_SHORT), e)
    return exp2_short(limited(y.widened() * log, (-200.0, 200.0))).narrowed()


def exp2_short(x: Real) -> Real:
    """2**x in float64, right to 29 bits, for |x| < 1000."""
    magic = format_of(x).magic
    k = (x + magic) - magic
    return polynomial(x - k, _EXP2_SHORT) * power_of_two(k)


def pow_(x: Real, y: Real) -> Real:
    """x**y with the special cases of C99, which are NumPy's."""
    size = x.absolute()
    magnitude = _magnitude if x.width == 64 else _magnitude_short
    result = magnitude(size, limited(y, (-_LARGE_EXPONENT, _LARGE_EXPONENT)))
    integral = y.floor().compare("==", y)
    result = result.where(integral, math.nan).where(x.compare("<", 0.0), result)
    grows = y.compare(">", 0.0)
    result = x.constant(math.inf).where(grows, 0.0).where(size.compare("==", math.inf), result)
    result = x.constant(0.0).where(grows, math.inf).where(size.compare("==", 0.0), result)
    half = y * 0.5
    signed = result.copysign(x).where(half.floor().compare("!=", half), result)
    result = signed.where(integral, result)
    result = result.where(x.compare("==", x), x)
    result = result.where(y.compare("==", y), y)
    result = x.constant(1.0).where(y.compare("==", 0.0), result)
    return x.constant(1.0).where(x.compare("==", 1.0), result)


# Roots ------------------------------------------------------------------------------------------------------

# The cube root of m for sqrt(1/2) <= m <= sqrt(2), right to 2**-16 and 2**-10, and bits with an exact cube.
_CBRT = {
    64: (
        0.4516676893600385,
        0.904815046536909,
        -0.5356247970934673,
        0.21693344004242426,
        -0.03778712831584361,
    ),
    32: (0.5537050366401672, 0.5536631345748901, -0.10747741162776947),
}
_CBRT_BITS = {64: 17, 32: 8}
_CBRT_2 = 2.0 ** (1.0 / 3.0)


def cbrt(x: Real) -> Real:
    """The cube root: a polynomial, and one step of the series of (1 + d)**(1/3)."""
    magic = format_of(x).magic
    e, m = split_any(x.absolute())
    k = e.fma(1.0 / 3.0, magic) - magic
    rest = e - 3.0 * k
    factor = x.constant(_CBRT_2).where(rest.compare(">", 0.5), 1.0)
    factor = x.constant(1.0 / _CBRT_2).where(rest.compare("<", -0.5), factor)
    guess = upper(polynomial(m, _CBRT[x.width]) * factor, _CBRT_BITS[x.width])
    cube = guess * guess * guess
    d = (m * power_of_two(rest) - cube) / cube
    root = guess.fma(d * polynomial(d, (1.0 / 3.0, -1.0 / 9.0, 5.0 / 81.0)), guess) * power_of_two(k)
    usual = root.where(x.absolute().compare("<", math.inf), x).copysign(x)
    return x.where(x.compare("==", 0.0), usual)


def hypot(x: Real, y: Real) -> Real:
    """sqrt(x**2 + y**2) without overflow or underflow; infinite if either is, whatever the other."""
    x, y = x.absolute(), y.absolute()
    if x.width == 32:
        wide, other = x.widened(), y.widened()
        result = wide.fma(wide, other * other).sqrt().narrowed()
    else:
        larger = x.where(x.compare(">", y), y)
        smaller = y.where(x.compare(">", y), x)
        high, low = larger.compare(">", 2.0**500), larger.compare("<", 2.0**-450)
        down = x.constant(2.0**-600).where(high, x.constant(2.0**600).where(low, 1.0))
        up = x.constant(2.0**600).where(high, x.constant(2.0**-600).where(low, 1.0))
        a, b = larger * down, smaller * down
        result = a.fma(a, b * b).sqrt() * up
    result = x.where(x.compare("==", math.inf), result)
    return y.where(y.compare("==", math.inf), result)
