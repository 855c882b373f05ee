"""Logarithms to bases e, 2 and 10, and of sums in two parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracejit.codegen.math.real import Real, format_of, polynomial, two_sum


@dataclass(frozen=True)
class Logarithms:
    """Polynomials and constants of one float type.

    log10_2: log10(2) as a high part, short enough for exact products with an exponent, and a low part
    log_tail: (2 atanh(s)/s - 2) / s**2 as a polynomial in s**2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)
    log2_e_low, log10_e_low: what the type's log2(e) and log10(e) lack
    """

    log10_2: tuple[float, float]
    log_tail: tuple[float, ...]
    log2_e_low: float
    log10_e_low: float


_F64 = Logarithms(
    log10_2=(0.30102999566383914, 1.42050232272661e-13),
    log_tail=(
        0.666666666666667,
        0.3999999999989726,
        0.2857142862693511,
        0.22222210985565924,
        0.18182899561347945,
        0.15331386657715407,
        0.1462046596538706,
    ),
    log2_e_low=2.0355273740931033e-17,
    log10_e_low=6.649434773342547e-17,
)
_F32 = Logarithms(
    log10_2=(0.301025390625, 4.605038981195214e-06),
    log_tail=(0.666666687, 0.400001228, 0.285506576, 0.233345702),
    log2_e_low=1.9259629911266175e-08,
    log10_e_low=-1.0103050052231683e-08,
)

LOGARITHMS: Mapping[int, Logarithms] = MappingProxyType({64: _F64, 32: _F32})


def split(x: Real) -> tuple[Real, Real]:
    """e and m such that x = 2**e * m with sqrt(1/2) <= m < sqrt(2), for positive normal x."""
    f = format_of(x)
    one = f.bias << f.fraction
    root = ((f.bias - 1) << f.fraction) + int((math.sqrt(2.0) - 1.0) * 2**f.fraction)
    shifted = x.bits() + (one - root)
    m = ((shifted & ((1 << f.fraction) - 1)) + root).real()
    # The exponent in the low bits of a float whose last bit counts 1.
    whole = 2.0**f.fraction
    e = ((shifted >> f.fraction) | ((f.bias + f.fraction) << f.fraction)).real() - (whole + f.bias)
    return e, m


def split_any(x: Real) -> tuple[Real, Real]:
    """`split` for subnormal x also."""
    f = format_of(x)
    subnormal = x.compare("<", 2.0 ** (1 - f.bias))
    shift = f.fraction + 2
    e, m = split((x * 2.0**shift).where(subnormal, x))
    return (e - float(shift)).where(subnormal, e), m


def log_parts(fraction: Real) -> tuple[Real, Real]:
    """a and b such that log(1 + fraction) = fraction - (a - b), with a = fraction**2 / 2.

    With s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - f**2 / 2 + s * (f**2 / 2 + R(s**2)).
    """
    s = fraction / (2.0 + fraction)
    z = s * s
    half_square = fraction * fraction * 0.5
    return half_square, s * polynomial(z, LOGARITHMS[z.width].log_tail).fma(z, half_square)


def log_limits(x: Real, result: Real) -> Real:
    """The logarithm's values at 0, inf, negative numbers and nan in place of `result`."""
    result = x.where(x.compare("==", math.inf), result)
    result = x.constant(-math.inf).where(x.compare("==", 0.0), result)
    return result.where(x.compare(">=", 0.0), math.nan)


def log(x: Real) -> Real:
    """The natural logarithm."""
    f = format_of(x)
    e, m = split_any(x)
    fraction = m - 1.0
    half_square, rest = log_parts(fraction)
    low = e.fma(f.ln2[1], rest)
    return log_limits(x, e.fma(f.ln2[0], fraction - (half_square - low)))


def log_of_sum(high: Real, low: Real, doublings: Real | None = None) -> Real:
    """log(2**doublings * (high + low)) for normal, positive `high` and a far smaller `low`."""
    f = format_of(high)
    e, m = split(high)
    if doublings is not None:
        e = e + doublings
    fraction = m - 1.0
    half_square, rest = log_parts(fraction)
    rest = e.fma(f.ln2[1], rest) + low / high
    return e.fma(f.ln2[0], fraction - (half_square - rest))


def log_of_sum_in_parts(high: Real, low: Real) -> tuple[Real, Real]:
    """The same as a sum of two floats, the second far smaller."""
    f = format_of(high)
    e, m = split(high)
    fraction = m - 1.0
    half_square, rest = log_parts(fraction)
    rest = e.fma(f.ln2[1], rest) + low / high
    base = e * f.ln2[0]  # exact, and 0 or the larger one
    total = base + fraction
    return total, ((base - total) + fraction) + (rest - half_square)


def log1p(x: Real) -> Real:
    """log(1 + x) without cancellation: the logarithm of the rounded sum and a first-order correction."""
    u, lost = two_sum(x, 1.0)
    result = log_limits(u, log_of_sum(u, lost))
    return x.where(x.absolute().compare("<", 2.0 ** -(format_of(x).fraction + 2)), result)


def _log_in_base(x: Real, factor: float, factor_low: float) -> tuple[Real, Real]:
    """e and log(m) * factor, where x = 2**e * m and the factor is a sum of two floats."""
    e, m = split_any(x)
    fraction = m - 1.0
    half_square, rest = log_parts(fraction)
    # One rounding of the largest product; the others are of smaller terms.
    low = (rest - half_square).fma(factor, fraction * factor_low)
    return e, fraction.fma(factor, low)


def log2(x: Real) -> Real:
    """The logarithm to base 2; exact for powers of 2."""
    e, part = _log_in_base(x, 1.0 / math.log(2.0), LOGARITHMS[x.width].log2_e_low)
    return log_limits(x, e + part)


def log10(x: Real) -> Real:
    """The logarithm to base 10."""
    own = LOGARITHMS[x.width]
    e, part = _log_in_base(x, 1.0 / math.log(10.0), own.log10_e_low)
    return log_limits(x, e.fma(own.log10_2[0], e.fma(own.log10_2[1], part)))
