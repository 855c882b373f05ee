"""The error function and its complement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracejit.codegen.math.exponential import EXPONENTIALS, reduced, scale
from tracejit.codegen.math.power import exp2_short, upper
from tracejit.codegen.math.real import Real, limited, polynomial


@dataclass(frozen=True)
class Errors:
    """Polynomials of one float type.

    near: erf(x) / x - 1 as a polynomial in x**2, for |x| <= `_NEAR`
    far: e**(x**2) erfc(x) as a polynomial in t = (x - `_FAR_CENTRE`) / (x + `_FAR_CENTRE`) for x >= `_NEAR`,
        fitted so that erf has one absolute error throughout
    """

    near: tuple[float, ...]
    far: tuple[float, ...]


_NEAR, _FAR_CENTRE = 0.875, 2.25
_F64 = Errors(
    near=(
        0.12837916709551256,
        -0.3761263890318299,
        0.11283791670915559,
        -0.02686617063713896,
        0.005223977542405639,
        -0.0008548321975711971,
        0.00012055141030846757,
        -1.4920941152992047e-05,
        1.6387365291088125e-06,
        -1.5619201761998045e-07,
        1.0456646199203804e-08,
    ),
    far=(
        0.23108725873039088,
        -0.39818926263931015,
        0.24966144242976523,
        -0.1050506389265363,
        0.021688775480612717,
        0.0033932397975850207,
        -0.0027679568273834255,
        -0.0001862796347451422,
        0.0003819388129537825,
        4.686037540254276e-05,
        -5.762795994972151e-05,
        -2.0305609174740717e-05,
    ),
)
_F32 = Errors(
    near=(
        0.128379151,
        -0.376125515,
        0.112824544,
        -0.0267914478,
        0.00503216684,
        -0.000620319974,
    ),
    far=(
        0.231087223,
        -0.39818719,
        0.249716371,
        -0.104583398,
        0.0235244241,
        0.00689134886,
    ),
)

# (1 + 2 x) e**(x**2) erfc(x) as a polynomial in t = (x - 2.5) / (x + 2.5), for 0.75 <= x <= 27.3.
_SCALED = (
    1.2648381843668615,
    -0.12235676308240614,
    -0.0990245395735924,
    0.15762991902347445,
    -0.10296705603938276,
    0.03276089325849278,
    0.0009318928466875554,
    -0.004382078164987515,
    0.0004918652668146919,
    0.0006321228639206717,
    -8.847356628887365e-05,
    -0.00011351693201175917,
    6.23221352864898e-06,
    2.2701966126598833e-05,
    2.7214188335103817e-06,
    -4.305028805951567e-06,
    -1.766377472078459e-06,
    7.966695446472283e-07,
    5.913181808758587e-07,
    -2.553741377522092e-07,
)
_SCALED_CENTRE = 2.5
_ERFC_BOUND = 27.3  # beyond it erfc is 0

# For results in float32, which are computed in float64: the same in t = (x - 2) / (x + 2) for x <= 10.1, and
# erf(x) / x - 1 in x**2 for |x| <= 1.
_SCALED_SHORT = (
    1.2769783803279655,
    -0.09276381247763897,
    -0.16603017428796998,
    0.1640502868221093,
    -0.05422597052904387,
    -0.008012884971161927,
    0.008767684382740943,
    0.001099910104886011,
    -0.001509574107048259,
)
_SHORT_CENTRE, _SHORT_BOUND = 2.0, 10.1
_NEAR_SHORT = (
    0.12837916707827068,
    -0.3761263881819323,
    0.11283790367470975,
    -0.026866076562522455,
    0.005223600564389809,
    -0.0008539265613694801,
    0.00011920978291276656,
    -1.3709400011258997e-05,
    1.0125554403671382e-06,
)

_ERRORS: Mapping[int, Errors] = MappingProxyType({64: _F64, 32: _F32})


def erf_given(x: Real, density: Real) -> Real:
    """The error function, given e**(-x**2): an odd polynomial near 0, and 1 minus a tail beyond.

    The exponential is the caller's, for the derivative is that as well.
    """
    own = _ERRORS[x.width]
    size = x.absolute()
    near = polynomial(x * x, own.near).fma(x, x)
    t = (1.0 / (size + _FAR_CENTRE)).fma(-2.0 * _FAR_CENTRE, 1.0)
    far = density.fma(-polynomial(t, own.far), 1.0).copysign(x)
    return near.where(size.compare("<", _NEAR), far)


def erfc(x: Real) -> Real:
    """1 - erf(x) without cancellation."""
    if x.width == 32:
        return _complement_short(x.widened()).narrowed()
    size = x.absolute()
    high = 1.0 - x
    z = x * x
    first, second, *others = _F64.near
    # The largest terms last: each step of a scheme that starts from them would round them again.
    series = polynomial(z, others).fma(z, second).fma(z, first)
    near = high + series.fma(-x, (1.0 - high) - x)
    far = _far_complement(limited(size, (0.0, _ERFC_BOUND)))
    far = (2.0 - far).where(x.compare("<", 0.0), far)
    return near.where(size.compare("<", 0.75), far)


def _far_complement(x: Real) -> Real:
    """erfc(x) for x >= 0.75 as e**(-x**2) / (1 + 2 x) times a polynomial, all but its error in two parts."""
    cut = upper(x)
    rest_of_square = (x - cut) * (x + cut)
    k, r, c = reduced(-(cut * cut))
    exponent = r - rest_of_square
    low = ((r - exponent) - rest_of_square) + c
    one = 1.0 + exponent
    tail = polynomial(exponent, EXPONENTIALS[64].expm1_tail)
    tail = tail.fma(exponent * exponent, ((1.0 - one) + exponent) + low)
    t = (x - _SCALED_CENTRE) / (x + _SCALED_CENTRE)
    series = polynomial(t, _SCALED[1:]).fma(t, _SCALED[0])
    double = 2.0 * x
    below = 1.0 + double
    below_low = (double - below) + 1.0
    inverse = 1.0 / below
    q = series * inverse
    q_low = below_low.fma(-q, below.fma(-q, series)) * inverse
    return scale(one.fma(q, tail.fma(q, one * q_low)), k)


def _complement_short(x: Real) -> Real:
    near = 1.0 - polynomial(x * x, _NEAR_SHORT).fma(x, x)
    size = limited(x.absolute(), (0.0, _SHORT_BOUND))
    series = polynomial((size - _SHORT_CENTRE) / (size + _SHORT_CENTRE), _SCALED_SHORT)
    far = exp2_short(size * size * -(1.0 / math.log(2.0))) * series / (1.0 + 2.0 * size)
    far = (2.0 - far).where(x.compare("<", 0.0), far)
    return near.where(x.absolute().compare("<", 1.0), far)
