"""Arcsine, arccosine and arctangent, in the plane too."""

from __future__ import annotations

import math

from tracejit.codegen.math.real import Real, format_of, polynomial

_PI_LOW = 1.2246467991473532e-16  # what the float64 pi lacks

# (atan(t)/t - 1) / t**2 as a polynomial in t**2, for 0 <= t <= 1.
_ATAN = (
    -0.3333333333333307,
    0.19999999999951765,
    -0.1428571428258498,
    0.11111111007123789,
    -0.09090907001909994,
    0.07692279799327208,
    -0.06666403540484486,
    0.058805237478317576,
    -0.052534965079109305,
    0.047222351943236346,
    -0.042189213466294444,
    0.03663610013474485,
    -0.029893801212731594,
    0.02197150426942747,
    -0.013887085188475597,
    0.007186343232808971,
    -0.0028793778469167913,
    0.0008292579061015825,
    -0.00015169103806793254,
    1.3175783504869323e-05,
)
# (asin(s)/s - 1) / s**2 as a polynomial in s**2, for 0 <= s <= 1/2.
_ASIN = (
    0.1666666666666676,
    0.07499999999970812,
    0.04464285717464391,
    0.03038194270481123,
    0.022372215101894292,
    0.017351609521817926,
    0.01398085483638423,
    0.011398600366124377,
    0.010782156582962596,
    0.0036986847500821156,
    0.021727431485519824,
    -0.021028910792801406,
    0.03264821000307296,
)
# The same for results in float32, which are computed in float64.
_ATAN_SHORT = (
    -0.3333332690126062,
    0.19999671158930815,
    -0.14279833591535646,
    0.11058228584409785,
    -0.08811115796699828,
    0.06741666359171604,
    -0.04469109263852345,
    0.022540979143059817,
    -0.007318534870169075,
    0.001113913947035811,
)
_ASIN_SHORT = (
    0.16666659986168322,
    0.07500504532155411,
    0.04451685955562846,
    0.03180876928805642,
    0.01443374985488783,
    0.03752438071532148,
)


def _from(base: Real, base_low: Real | float, term: Real, rest: Real) -> Real:
    """base + base_low + term + rest, where the last float of `term` counts and |base| is 0 or the largest."""
    total = base + term
    return total + (((base - total) + term) + (rest + base_low))


# Arcsine ----------------------------------------------------------------------------------------------------


def _arcsine(x: Real) -> tuple[Real, Real, Real]:
    """s, the rest of asin(s), and |x|: with s = |x| up to 1/2 and sqrt((1 - |x|) / 2) beyond."""
    size = x.absolute()
    large = size.compare(">", 0.5)
    z = (0.5 - 0.5 * size).where(large, x * x)
    root = z.sqrt()
    s = root.where(large, size)
    # The error of the root, divided by 2 s: by a line through 1 / (2 s) where s is large enough to matter.
    lost = (s.fma(-s, z) * s.fma(-4.0, 3.0)).where(large, 0.0)
    return s, (z * s).fma(polynomial(z, _ASIN), lost), size


def asin(x: Real) -> Real:
    """The arcsine; nan beyond 1."""
    if x.width == 32:
        return _arcsine_short(x, of_cosine=False)
    s, rest, size = _arcsine(x)
    far = _from(x.constant(math.pi / 2), _PI_LOW / 2, -2.0 * s, -2.0 * rest)
    result = far.where(size.compare(">", 0.5), s + rest).copysign(x)
    return x.where(size.compare("<", format_of(x).tiny), result)


def acos(x: Real) -> Real:
    """The arccosine; nan beyond 1."""
    if x.width == 32:
        return _arcsine_short(x, of_cosine=True)
    s, rest, size = _arcsine(x)
    large, negative = size.compare(">", 0.5), x.compare("<", 0.0)
    # pi/2 - asin(x) near 0; 2 asin(s) near 1; pi - 2 asin(s) near -1.
    far = x.constant(math.pi).where(negative, 0.0)
    base = far.where(large, math.pi / 2)
    base_low = x.constant(_PI_LOW).where(negative, 0.0).where(large, _PI_LOW / 2)
    factor = x.constant(2.0).where(large, -1.0)
    factor = (-factor).where(negative, factor)
    return _from(base, base_low, factor * s, factor * rest)


def _arcsine_short(x: Real, of_cosine: bool) -> Real:
    wide = x.widened()
    size = wide.absolute()
    large = size.compare(">", 0.5)
    z = (0.5 - 0.5 * size).where(large, wide * wide)
    s = z.sqrt().where(large, size)
    angle = (z * s).fma(polynomial(z, _ASIN_SHORT), s)
    if of_cosine:
        near = (math.pi / 2) - angle.copysign(wide)
        far = 2.0 * angle
        far = (math.pi - far).where(wide.compare("<", 0.0), far)
        return far.where(large, near).narrowed()
    angle = (math.pi / 2 - 2.0 * angle).where(large, angle).narrowed().copysign(x)
    return x.where(x.absolute().compare("<", format_of(x).tiny), angle)


# Arctangent -------------------------------------------------------------------------------------------------


def _rest_of_arctangent(t: Real, t_low: Real) -> Real:
    """atan(t + t_low) - t for 0 <= t <= 1."""
    z = t * t
    # The largest terms last, or their rounding errors would be multiplied.
    series = polynomial(z, _ATAN[4:])
    for coefficient in reversed(_ATAN[:4]):
        series = series.fma(z, coefficient)
    # The derivative 1 / (1 + z) by a line.
    return (z * t).fma(series, t_low * z.fma(-0.5, 1.0))


def atan(x: Real) -> Real:
    """The arctangent."""
    wide = x.widened() if x.width == 32 else x
    size = wide.absolute()
    large = size.compare(">", 1.0)
    inverse = 1.0 / size
    t = inverse.where(large, size)
    if x.width == 32:
        z = t * t
        angle = (z * t).fma(polynomial(z, _ATAN_SHORT), t)
        angle = (math.pi / 2 - angle).where(large, angle).narrowed().copysign(x)
    else:
        lost = inverse.fma(-size, 1.0) * inverse
        lost = lost.where(large, 0.0).where(size.compare("<", math.inf), 0.0)
        rest = _rest_of_arctangent(t, lost)
        far = _from(x.constant(math.pi / 2), _PI_LOW / 2, -t, -rest)
        angle = far.where(large, t + rest).copysign(x)
    return x.where(x.absolute().compare("<", format_of(x).tiny), angle)


def _ratio(y: Real, x: Real) -> tuple[Real, Real]:
    """The smaller over the larger of two magnitudes, and its rounding error; 0/0 is 0, inf/inf is 1."""
    above = y.compare(">", x)
    larger, smaller = y.where(above, x), x.where(above, y)
    # So that neither the inverse nor the products of the error leave the range of normal numbers.
    high, low = larger.compare(">", 2.0**500), larger.compare("<", 2.0**-500)
    factor = x.constant(2.0**-600).where(high, x.constant(2.0**600).where(low, 1.0))
    below = (larger * factor).where(larger.compare(">", 0.0), 1.0)
    smaller = smaller * factor
    both = smaller.compare("==", math.inf)
    smaller = x.constant(1.0).where(both, smaller)
    infinite = below.compare("==", math.inf)
    smaller = smaller.where(both, x.constant(0.0).where(infinite, smaller))
    below = x.constant(1.0).where(infinite, below)
    inverse = 1.0 / below
    t = smaller * inverse
    return t, t.fma(-below, smaller) * inverse


def atan2(y: Real, x: Real) -> Real:
    """The angle of the point (x, y), in -pi..pi, with the signs of its zeros."""
    if x.width == 32:
        angle = _angle_short(y, x)
    else:
        size, other = y.absolute(), x.absolute()
        t, t_low = _ratio(size, other)
        rest = _rest_of_arctangent(t, t_low)
        steep, left = size.compare(">", other), x.constant(1.0).copysign(x).compare("<", 0.0)
        base = x.constant(math.pi / 2).where(steep, x.constant(math.pi).where(left, 0.0))
        base_low = x.constant(_PI_LOW / 2).where(steep, x.constant(_PI_LOW).where(left, 0.0))
        sign = x.constant(-1.0).where(left, 1.0)
        sign = (-sign).where(steep, sign)
        angle = _from(base, base_low, sign * t, sign * rest)
    angle = angle.copysign(y)
    angle = x.where(x.compare("!=", x), angle)
    return y.where(y.compare("!=", y), angle)


def _angle_short(y: Real, x: Real) -> Real:
    size, other = y.widened().absolute(), x.widened().absolute()
    steep, left = size.compare(">", other), x.constant(1.0).copysign(x).compare("<", 0.0)
    larger, smaller = size.where(steep, other), other.where(steep, size)
    t = smaller / larger.where(larger.compare(">", 0.0), 1.0)
    t = t.constant(1.0).where(smaller.compare("==", math.inf), t)
    z = t * t
    angle = (z * t).fma(polynomial(z, _ATAN_SHORT), t)
    angle = (math.pi / 2 - angle).where(steep, angle)
    return (math.pi - angle).where(left, angle).narrowed()
