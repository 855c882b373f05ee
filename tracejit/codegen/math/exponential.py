"""Exponentials to bases e and 2 and the sums that hyperbolic functions are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracejit.codegen.math.real import Bits, Real, format_of, limited, polynomial


@dataclass(frozen=True)
class Exponentials:
    """Polynomials and bounds of one float type.

    exp_tail: (e**r - 1 - r) / r**2 for |r| <= ln(2)/2, for results of one float near 1
    expm1_tail: the same with another term, where the result is near r or has a second float
    ln2_low: what the type's ln(2) lacks
    """

    exp_tail: tuple[float, ...]
    expm1_tail: tuple[float, ...]
    ln2_low: float
    exp_bounds: tuple[float, float]  # beyond them e**x is 0 or inf
    exp2_bounds: tuple[float, float]
    expm1_least: float  # below it e**x - 1 is -1


_F64 = Exponentials(
    exp_tail=(
        0.5000000000000011,
        0.16666666666666471,
        0.04166666666652764,
        0.008333333333461793,
        0.0013888888944107872,
        0.00019841269570389035,
        2.4801492712262268e-05,
        2.755753364483712e-06,
        2.763036202344758e-07,
        2.5015763842162122e-08,
    ),
    expm1_tail=(
        0.5,
        0.1666666666666667,
        0.041666666666666685,
        0.008333333333326025,
        0.0013888888888874181,
        0.00019841269875206828,
        2.4801587347860986e-05,
        2.755725491170079e-06,
        2.7557252404603097e-07,
        2.510541983029037e-08,
        2.092176222230822e-09,
    ),
    ln2_low=2.3190468138462996e-17,
    exp_bounds=(-746.0, 710.0),
    exp2_bounds=(-1076.0, 1025.0),
    expm1_least=-40.0,
)
_F32_TAIL = (0.5, 0.166666672, 0.041666463, 0.00833328534, 0.00139338232, 0.000199078204)
_F32 = Exponentials(
    exp_tail=_F32_TAIL,
    expm1_tail=_F32_TAIL,
    ln2_low=-1.904654299957768e-09,
    exp_bounds=(-105.0, 89.0),
    exp2_bounds=(-152.0, 129.0),
    expm1_least=-20.0,
)

EXPONENTIALS: Mapping[int, Exponentials] = MappingProxyType({64: _F64, 32: _F32})


def power_of_two(exponent: Real, offset: int = 0) -> Real:
    """2**exponent for an integral `exponent` in the range of normal numbers."""
    f = format_of(exponent)
    return ((exponent + (f.magic + f.bias + offset)).bits() << f.fraction).real()


def scale(x: Real, exponent: Real) -> Real:
    """x * 2**exponent in two exact halves: one factor alone may overflow where the product does not.

    `exponent` is an integer with |exponent| < 2 * bias; only a subnormal result is rounded.
    """
    f = format_of(x)
    first, second = powers((exponent + (f.magic + 2 * f.bias)).bits())
    return x * first * second


def powers(exponent: Bits) -> tuple[Real, Real]:
    """Two powers of two whose product is 2**k, from the low bits of k + 2 * bias; both are normal numbers."""
    fraction = format_of(exponent.real()).fraction
    half = exponent >> 1
    return (half << fraction).real(), ((exponent - half) << fraction).real()


def reduced(x: Real) -> tuple[Real, Real, Real]:
    """k, r and c such that x = k ln(2) + r + c, k is integral, |r| <= ln(2)/2 and c is r's rounding error."""
    f = format_of(x)
    k = x.fma(1.0 / math.log(2.0), f.magic) - f.magic
    high = k.fma(-f.ln2[0], x)
    low = k * f.ln2[1]
    r = high - low
    return k, r, (high - r) - low


def expm1_tail(r: Real) -> Real:
    """e**r - 1 - r."""
    return polynomial(r, EXPONENTIALS[r.width].expm1_tail) * (r * r)


def one_plus(r: Real, low: Real | float, tail: tuple[float, ...] | None = None) -> Real:
    """e**(r + low) for tiny `low`, with the rounding error of 1 + r made good; `tail` or `expm1_tail`."""
    total = 1.0 + r
    terms = polynomial(r, tail or EXPONENTIALS[r.width].expm1_tail)
    return total + terms.fma(r * r, ((1.0 - total) + r) + low)


def exp_parts(x: Real) -> tuple[Real, Real, Real]:
    """k, high and low such that e**x = 2**k (high + low), for x within `exp_bounds`."""
    k, r, c = reduced(x)
    total = 1.0 + r
    tail = polynomial(r, EXPONENTIALS[x.width].expm1_tail).fma(r * r, ((1.0 - total) + r) + c)
    high = total + tail
    return k, high, (total - high) + tail


def exp(x: Real) -> Real:
    """e**x."""
    f = format_of(x)
    x = limited(x, EXPONENTIALS[x.width].exp_bounds)
    # The exponent k in the low bits, twice the bias added: `powers` needs no more than shifts.
    offset = f.magic + 2 * f.bias
    shifted = x.fma(1.0 / math.log(2.0), offset)
    k = shifted - offset
    high = k.fma(-f.ln2[0], x)
    low = k * f.ln2[1]
    r = high - low
    # r + r**2 tail with one rounding of what is large.
    rest = high + polynomial(r, EXPONENTIALS[x.width].exp_tail).fma(r * r, -low)
    first, second = powers(shifted.bits())
    return rest.fma(first, first) * second


def exp2(x: Real) -> Real:
    """2**x."""
    f = format_of(x)
    x = limited(x, EXPONENTIALS[x.width].exp2_bounds)
    k = (x + f.magic) - f.magic
    rest = x - k
    r = rest * math.log(2.0)
    c = rest.fma(EXPONENTIALS[x.width].ln2_low, rest.fma(math.log(2.0), -r))
    return scale(one_plus(r, c), k)


def quarter_expm1(x: Real) -> tuple[Real, Real]:
    """(e**x - 1) / 4 as a sum of two floats, the second far smaller; up to 4 times the largest float.

    x must not lie below `expm1_least`.
    """
    k, r, c = reduced(x)
    power = power_of_two(k, -2)
    base = power - 0.25
    scaled = power * r
    # Without the tail, the sum is exact in two parts: base is 0 or the larger one.
    high = base + scaled
    error = (base - high) + scaled
    tail = power.fma(expm1_tail(r) + c, error)
    total = high + tail
    return total, (high - total) + tail


def expm1(x: Real) -> Real:
    """e**x - 1 without cancellation."""
    bounds = EXPONENTIALS[x.width]
    result = 4.0 * quarter_expm1(limited(x, (bounds.expm1_least, bounds.exp_bounds[1])))[0]
    # Below this the result is x, of either sign, subnormal or zero.
    return x.where(x.absolute().compare("<", 2.0 ** -(format_of(x).fraction + 3)), result)
