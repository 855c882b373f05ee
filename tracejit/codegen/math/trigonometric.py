"""Sine, cosine and tangent: reduction by multiples of pi/2, then both polynomials and a choice.

Beyond `_LIMIT` the reduction would need more digits of pi; there the C library is called, for vectors in
which some element lies there and for those only.
"""

from __future__ import annotations

import math

from tracejit.codegen.math.real import Bits, Real, format_of, polynomial

_LIMIT = 2.0**18  # quotients by pi/2 have 18 bits there

# pi/2 in parts of 35 and 35 bits, whose products with the quotient are exact, and a rest that is right to
# 2**-130. The nearest that a float64 below the limit comes to a multiple of pi/2 is 2**-60.
_PI_2 = (1.5707963267923333, 2.5633441515839558e-12, 1.0562999066987428e-23)

# (sin(r)/r - 1) / r**2 and (cos(r) - 1 + r**2/2) / r**4 as polynomials in r**2, for |r| <= pi/4.
_SIN = (
    -0.1666666666666663,
    0.00833333333332184,
    -0.00019841269829358989,
    2.755731353879805e-06,
    -2.50507344470991e-08,
    1.5895437233086043e-10,
)
_COS = (
    0.041666666666666595,
    -0.0013888888888873344,
    2.480158728900411e-05,
    -2.7557314217717895e-07,
    2.0875705493374617e-09,
    -1.1358754320974541e-11,
)
# The same for results in float32, which are computed in float64.
_SIN_SHORT = (-0.16666654610974613, 0.008332160479895687, -0.0001951522676751656)
_COS_SHORT = (0.041666645732439514, -0.0013887318438271668, 2.443338740481227e-05)


def _quotient(x: Real) -> tuple[Real, Bits]:
    """The integer nearest to x / (pi/2), and as bits of which the lowest are right."""
    magic = format_of(x).magic
    shifted = x.fma(2.0 / math.pi, magic)
    return shifted - magic, shifted.bits()


def _reduced(x: Real) -> tuple[Real, Real, Bits]:
    """r, c and the bits of k such that x = k pi/2 + r + c, |r| <= pi/4 and c is r's rounding error."""
    k, bits = _quotient(x)
    first = k.fma(-_PI_2[0], x)
    second = k.fma(-_PI_2[1], first)
    error = k.fma(-_PI_2[1], first - second)
    r = k.fma(-_PI_2[2], second)
    return r, k.fma(-_PI_2[2], second - r) + error, bits


def _sine(r: Real, c: Real, z: Real) -> Real:
    """sin(r + c) - r for z = r**2 and tiny c."""
    return (z * r).fma(polynomial(z, _SIN), c)


def _cosine(r: Real, c: Real, z: Real) -> tuple[Real, Real]:
    """cos(r + c) in two parts, the first at least 0.69, for z = r**2 and tiny c."""
    half = 0.5 * z
    high = 1.0 - half
    rest = (z * z).fma(polynomial(z, _COS), ((1.0 - high) - half) - r * c)
    return high, rest


def _both(x: Real) -> tuple[Real, Real, Bits]:
    """sin(r), cos(r) and the bits of k for x = k pi/2 + r."""
    r, c, bits = _reduced(x)
    z = r * r
    high, rest = _cosine(r, c, z)
    return r + _sine(r, c, z), high + rest, bits


def _both_short(x: Real) -> tuple[Real, Real, Bits]:
    """What `_both` gives, right to 28 bits."""
    k, bits = _quotient(x)
    r = k.fma(-(_PI_2[1] + _PI_2[2]), k.fma(-_PI_2[0], x))
    z = r * r
    sine = (z * r).fma(polynomial(z, _SIN_SHORT), r)
    cosine = (z * z).fma(polynomial(z, _COS_SHORT), z.fma(-0.5, 1.0))
    return sine, cosine, bits


def _circular(x: Real, turn: int) -> Real:
    """sin(x + turn * pi/2)."""
    sine, cosine, bits = _both_short(x.widened()) if x.width == 32 else _both(x)
    if turn:
        bits = bits + turn
    result = cosine.where(bits.has(1), sine)
    result = (result.bits() ^ ((bits & 2) << 62)).real()
    return result.narrowed() if x.width == 32 else result


def _checked(x: Real, result: Real, symbol: str, odd: bool) -> Real:
    """`result`, but x itself where an odd function is that, and the C library's where x is large."""
    if odd:
        result = x.where(x.absolute().compare("<", format_of(x).tiny), result)
    return result.rescue(x.absolute().compare(">", _LIMIT), symbol, x)


def sin(x: Real) -> Real:
    """The sine."""
    return _checked(x, _circular(x, 0), "sin", odd=True)


def cos(x: Real) -> Real:
    """The cosine."""
    return _checked(x, _circular(x, 1), "cos", odd=False)


def tan(x: Real) -> Real:
    """The tangent, sine over cosine or its negative inverse."""
    return _checked(x, _tangent_short(x) if x.width == 32 else _tangent(x), "tan", odd=True)


def _tangent_short(x: Real) -> Real:
    sine, cosine, bits = _both_short(x.widened())
    odd = bits.has(1)
    return ((-cosine).where(odd, sine) / sine.where(odd, cosine)).narrowed()


def _tangent(x: Real) -> Real:
    r, c, bits = _reduced(x)
    z = r * r
    rest = _sine(r, c, z)
    sine = r + rest
    sine_low = (r - sine) + rest
    high, rest = _cosine(r, c, z)
    cosine = high + rest
    cosine_low = (high - cosine) + rest
    odd = bits.has(1)
    above, above_low = (-cosine).where(odd, sine), (-cosine_low).where(odd, sine_low)
    below, below_low = sine.where(odd, cosine), sine_low.where(odd, cosine_low)
    inverse = 1.0 / below
    q = above * inverse
    return (below_low.fma(-q, below.fma(-q, above) + above_low)).fma(inverse, q)
