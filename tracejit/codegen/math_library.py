"""Elementary functions as branch-free programs of arithmetic, selects and bit moves on abstract floats.

Each function is written once, for float64 and float32, with no call, table or branch, so that whoever prints
it into a loop gets vector code. `tracejit/codegen/README.md` has the errors that were measured.

Rules for a program:

- No instruction may carry a fast-math flag: `(x + MAGIC) - MAGIC` is how floats are rounded to integers.
- Products of an integer and the high part of a split constant are exact, so that a machine without a fused
  multiply-add, where `fma` rounds twice, loses some accuracy and nothing else.
- Integers have the float's width and only wrap, shift logically and mask: AVX2 has no arithmetic right shift
  of 64 bits and no conversion between doubles and 64-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

Truth = Any  # the answer of a comparison, which only `where` takes


class Real(Protocol):
    """A float64 or float32 of the program that is being printed; a Python number beside it has its type."""

    @property
    def width(self) -> int: ...
    def __add__(self, other: Real | float) -> Real: ...
    def __radd__(self, other: float) -> Real: ...
    def __sub__(self, other: Real | float) -> Real: ...
    def __rsub__(self, other: float) -> Real: ...
    def __mul__(self, other: Real | float) -> Real: ...
    def __rmul__(self, other: float) -> Real: ...
    def __truediv__(self, other: Real | float) -> Real: ...
    def __rtruediv__(self, other: float) -> Real: ...
    def __neg__(self) -> Real: ...
    def constant(self, number: float) -> Real: ...
    def fma(self, factor: Real | float, term: Real | float) -> Real:
        """`self * factor + term`, rounded once where the machine can."""
        ...

    def absolute(self) -> Real: ...
    def copysign(self, sign: Real) -> Real: ...
    def compare(self, operator: str, other: Real | float) -> Truth:
        """An ordered comparison, false where either side is nan; `!=` is true there."""
        ...

    def where(self, condition: Truth, other: Real | float) -> Real:
        """`self` where `condition` holds, else `other`."""
        ...

    def bits(self) -> Bits: ...


class Bits(Protocol):
    """An integer as wide as the program's float, without sign; arithmetic wraps."""

    def __add__(self, other: Bits | int) -> Bits: ...
    def __sub__(self, other: Bits | int) -> Bits: ...
    def __and__(self, other: Bits | int) -> Bits: ...
    def __or__(self, other: Bits | int) -> Bits: ...
    def __lshift__(self, count: int) -> Bits: ...
    def __rshift__(self, count: int) -> Bits: ...
    def real(self) -> Real: ...


@dataclass(frozen=True)
class Format:
    """What a program needs to know of a float type, and its polynomials.

    fraction: stored bits of the significand; bias: of the exponent
    ln2, log10_2: high part, short enough for exact products with an exponent, and low part
    exp_tail: (e**r - 1 - r) / r**2 for |r| <= ln(2)/2
    log_tail: (2 atanh(s)/s - 2) / s**2 as a polynomial in s**2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)
    ln2_low, log2_e_low, log10_e_low: what the type's ln(2), log2(e) and log10(e) lack
    erf_near: erf(x) / x - 1 as a polynomial in x**2, for |x| <= 1
    erf_far: ln(1 - erf(x)) / x for 1 <= x <= erf_bound, fitted so that erf has one absolute error throughout
    """

    fraction: int
    bias: int
    ln2: tuple[float, float]
    log10_2: tuple[float, float]
    exp_tail: tuple[float, ...]
    log_tail: tuple[float, ...]
    ln2_low: float
    log2_e_low: float
    log10_e_low: float
    exp_bounds: tuple[float, float]  # beyond them e**x is 0 or inf
    exp2_bounds: tuple[float, float]
    expm1_least: float  # below it e**x - 1 is -1
    tanh_bound: float  # above it tanh is 1
    erf_bound: float  # above it erf is 1
    erf_near: tuple[float, ...]
    erf_far: tuple[float, ...]

    @property
    def magic(self) -> float:
        """Adding it rounds a small float to an integer, which then lies in the low bits."""
        return 1.5 * 2.0**self.fraction

    @property
    def tiny(self) -> float:
        """|x| below which odd functions are x itself to the last bit."""
        return 2.0 ** -(self.fraction // 2 + 3)


_F64 = Format(
    fraction=52,
    bias=1023,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    log10_2=(0.30102999566383914, 1.42050232272661e-13),
    exp_tail=(
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
    log_tail=(
        0.666666666666667,
        0.3999999999989726,
        0.2857142862693511,
        0.22222210985565924,
        0.18182899561347945,
        0.15331386657715407,
        0.1462046596538706,
    ),
    ln2_low=2.3190468138462996e-17,
    log2_e_low=2.0355273740931033e-17,
    log10_e_low=6.649434773342547e-17,
    exp_bounds=(-746.0, 710.0),
    exp2_bounds=(-1076.0, 1025.0),
    expm1_least=-40.0,
    tanh_bound=22.0,
    erf_bound=6.0,
    erf_near=(
        0.12837916709551256,
        -0.3761263890318355,
        0.11283791670945252,
        -0.026866170643276073,
        0.005223977607422485,
        -0.0008548325989657271,
        0.00012055295319497324,
        -1.4924744647109295e-05,
        1.6447517507905382e-06,
        -1.620917480530334e-07,
        1.3722972195066833e-08,
        -7.801182409834947e-10,
    ),
    erf_far=(
        -1.1283791081989745,
        -0.6366202771986569,
        -0.10277072217003573,
        0.01912468811196365,
        0.00021253947541974383,
        -0.001693277789143737,
        0.0005753347901320128,
        4.4667017831419123e-07,
        -9.51632636767684e-05,
        5.588261220052349e-05,
        -2.029211548036989e-05,
        5.367602787175687e-06,
        -1.0740626383959051e-06,
        1.6231367676182193e-07,
        -1.803990255784557e-08,
        1.39440642469259e-09,
        -6.701191883565733e-11,
        1.5078666231757806e-12,
    ),
)

_F32 = Format(
    fraction=23,
    bias=127,
    ln2=(0.693145751953125, 1.4286068203094173e-06),
    log10_2=(0.301025390625, 4.605038981195214e-06),
    exp_tail=(0.5, 0.166666672, 0.041666463, 0.00833328534, 0.00139338232, 0.000199078204),
    log_tail=(0.666666687, 0.400001228, 0.285506576, 0.233345702),
    ln2_low=-1.904654299957768e-09,
    log2_e_low=1.9259629911266175e-08,
    log10_e_low=-1.0103050052231683e-08,
    exp_bounds=(-105.0, 89.0),
    exp2_bounds=(-152.0, 129.0),
    expm1_least=-20.0,
    tanh_bound=10.0,
    erf_bound=4.0,
    erf_near=(
        0.128379166,
        -0.37612626,
        0.112836003,
        -0.0268544443,
        0.00518953567,
        -0.000802084513,
        7.88913239e-05,
    ),
    erf_far=(
        -1.12847555,
        -0.635846436,
        -0.105096653,
        0.0227860734,
        -0.00318311295,
        0.000210181533,
    ),
)

_FORMATS: Mapping[int, Format] = MappingProxyType({64: _F64, 32: _F32})


def _format(x: Real) -> Format:
    return _FORMATS[x.width]


def _polynomial(x: Real, coefficients: Sequence[float]) -> Real:
    """The sum of c[i] * x**i by Estrin's scheme, whose chains of dependent steps are short."""
    terms = [x.constant(c) for c in coefficients]
    while len(terms) > 1:
        pairs = [high.fma(x, low) for low, high in zip(terms[::2], terms[1::2])]
        terms = pairs + terms[len(terms) - len(terms) % 2 :]
        x = x * x
    return terms[0]


def _two_sum(a: Real, b: float) -> tuple[Real, Real]:
    """a + b and its rounding error, whichever is larger."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _limited(x: Real, bounds: tuple[float, float]) -> Real:
    """`x` held within `bounds`; nan stays."""
    low, high = bounds
    x = x.constant(low).where(x.compare("<", low), x)
    return x.constant(high).where(x.compare(">", high), x)


# Exponentials ---------------------------------------------------------------------------------------


def _power_of_two(exponent: Real, offset: int = 0) -> Real:
    """2**exponent for an integral `exponent` in the range of normal numbers."""
    f = _format(exponent)
    return ((exponent + (f.magic + f.bias + offset)).bits() << f.fraction).real()


def _scale(x: Real, exponent: Real) -> Real:
    """x * 2**exponent in two exact halves: one factor alone may overflow where the product does not.

    `exponent` is an integer with |exponent| < 2 * bias; only a subnormal result is rounded.
    """
    f = _format(x)
    shifted = (exponent + (f.magic + 2 * f.bias)).bits()
    half = shifted >> 1
    return x * (half << f.fraction).real() * ((shifted - half) << f.fraction).real()


def _reduced(x: Real) -> tuple[Real, Real, Real]:
    """k, r and c such that x = k ln(2) + r + c, k is integral, |r| <= ln(2)/2 and c is r's rounding error."""
    f = _format(x)
    k = x.fma(1.0 / math.log(2.0), f.magic) - f.magic
    high = k.fma(-f.ln2[0], x)
    low = k * f.ln2[1]
    r = high - low
    return k, r, (high - r) - low


def _tail(r: Real) -> Real:
    """e**r - 1 - r."""
    return _polynomial(r, _format(r).exp_tail) * (r * r)


def _one_plus(r: Real, low: Real | float) -> Real:
    """e**(r + low) for tiny `low`, with the rounding error of 1 + r made good."""
    f = _format(r)
    total = 1.0 + r
    return total + _polynomial(r, f.exp_tail).fma(r * r, ((1.0 - total) + r) + low)


def exp(x: Real) -> Real:
    """e**x."""
    f = _format(x)
    x = _limited(x, f.exp_bounds)
    k = x.fma(1.0 / math.log(2.0), f.magic) - f.magic
    r = k.fma(-f.ln2[1], k.fma(-f.ln2[0], x))
    return _scale(_one_plus(r, -0.0), k)


def exp2(x: Real) -> Real:
    """2**x."""
    f = _format(x)
    x = _limited(x, f.exp2_bounds)
    k = (x + f.magic) - f.magic
    rest = x - k
    r = rest * math.log(2.0)
    c = rest.fma(f.ln2_low, rest.fma(math.log(2.0), -r))
    return _scale(_one_plus(r, c), k)


def _quarter_expm1(x: Real) -> tuple[Real, Real]:
    """(e**x - 1) / 4 as a sum of two floats, the second far smaller; up to 4 times the largest float.

    x must not lie below `expm1_least`.
    """
    k, r, c = _reduced(x)
    power = _power_of_two(k, -2)
    base = power - 0.25
    scaled = power * r
    # Without the tail, the sum is exact in two parts: base is 0 or the larger one.
    high = base + scaled
    error = (base - high) + scaled
    tail = power.fma(_tail(r) + c, error)
    total = high + tail
    return total, (high - total) + tail


def expm1(x: Real) -> Real:
    """e**x - 1 without cancellation."""
    f = _format(x)
    result = 4.0 * _quarter_expm1(_limited(x, (f.expm1_least, f.exp_bounds[1])))[0]
    # Below this the result is x, of either sign, subnormal or zero.
    return x.where(x.absolute().compare("<", 2.0 ** -(f.fraction + 3)), result)


def _quotient(a: Real, a_low: Real, b: Real, b_low: Real) -> tuple[Real, Real]:
    """(a + a_low) / (b + b_low) as a sum of two floats."""
    inverse = 1.0 / b
    q = a * inverse
    rest = b_low.fma(-q, b.fma(-q, a) + a_low)
    return q, rest * inverse


def tanh(x: Real) -> Real:
    """The hyperbolic tangent, t / (t + 2) for t = e**(2|x|) - 1."""
    f = _format(x)
    size = x.absolute()
    t, t_low = _quarter_expm1(2.0 * _limited(size, (0.0, f.tanh_bound)))
    below, below_low = _two_sum(t, 0.5)
    q, rest = _quotient(t, t_low, below, below_low + t_low)
    result = (q + rest).copysign(x)
    return x.where(size.compare("<", f.tiny), result)


def sinh(x: Real) -> Real:
    """The hyperbolic sine, (t + t / (t + 1)) / 2 for t = e**|x| - 1."""
    f = _format(x)
    size = x.absolute()
    t, t_low = _quarter_expm1(_limited(size, (0.0, f.exp_bounds[1] + 0.6)))
    above, above_low = _two_sum(t, 0.25)
    q, rest = _quotient(t, t_low, above, above_low + t_low)
    result = 2.0 * (t + (q.fma(0.25, t_low + 0.25 * rest))).copysign(x)
    return x.where(size.compare("<", f.tiny), result)


def cosh(x: Real) -> Real:
    """The hyperbolic cosine, E / 2 + 1 / (2 E) for E = e**|x|."""
    f = _format(x)
    t, t_low = _quarter_expm1(_limited(x.absolute(), (0.0, f.exp_bounds[1] + 0.6)))
    e, e_low = _two_sum(t, 0.25)
    return 2.0 * (e + (e_low + t_low + 0.0625 / e))


def erf(x: Real) -> Real:
    """The error function: an odd polynomial up to 1, and 1 minus an exponential beyond."""
    f = _format(x)
    size = x.absolute()
    near = _polynomial(x * x, f.erf_near).fma(x, x)
    far = _limited(size, (0.0, f.erf_bound))
    exponent = far * _polynomial(far, f.erf_far)
    k, r, c = _reduced(exponent)
    far = (1.0 - _power_of_two(k) * _one_plus(r, c)).copysign(x)
    return near.where(size.compare("<", 1.0), far)


# Logarithms -----------------------------------------------------------------------------------------


def _split(x: Real) -> tuple[Real, Real]:
    """e and m such that x = 2**e * m with sqrt(1/2) <= m < sqrt(2), for positive normal x."""
    f = _format(x)
    one = f.bias << f.fraction
    root = ((f.bias - 1) << f.fraction) + int((math.sqrt(2.0) - 1.0) * 2**f.fraction)
    shifted = x.bits() + (one - root)
    m = ((shifted & ((1 << f.fraction) - 1)) + root).real()
    # The exponent in the low bits of a float whose last bit counts 1.
    whole = 2.0**f.fraction
    e = ((shifted >> f.fraction) | ((f.bias + f.fraction) << f.fraction)).real() - (whole + f.bias)
    return e, m


def _split_any(x: Real) -> tuple[Real, Real]:
    """`_split` for subnormal x also."""
    f = _format(x)
    subnormal = x.compare("<", 2.0 ** (1 - f.bias))
    shift = f.fraction + 2
    e, m = _split((x * 2.0**shift).where(subnormal, x))
    return (e - float(shift)).where(subnormal, e), m


def _log_parts(fraction: Real) -> tuple[Real, Real]:
    """a and b such that log(1 + fraction) = fraction - (a - b), with a = fraction**2 / 2.

    With s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - f**2 / 2 + s * (f**2 / 2 + R(s**2)).
    """
    s = fraction / (2.0 + fraction)
    z = s * s
    half_square = fraction * fraction * 0.5
    return half_square, s * _polynomial(z, _format(z).log_tail).fma(z, half_square)


def _log_limits(x: Real, result: Real) -> Real:
    """The logarithm's values at 0, inf, negative numbers and nan in place of `result`."""
    result = x.where(x.compare("==", math.inf), result)
    result = x.constant(-math.inf).where(x.compare("==", 0.0), result)
    return result.where(x.compare(">=", 0.0), math.nan)


def log(x: Real) -> Real:
    """The natural logarithm."""
    f = _format(x)
    e, m = _split_any(x)
    fraction = m - 1.0
    half_square, rest = _log_parts(fraction)
    low = e.fma(f.ln2[1], rest)
    return _log_limits(x, e.fma(f.ln2[0], fraction - (half_square - low)))


def log1p(x: Real) -> Real:
    """log(1 + x) without cancellation: the logarithm of the rounded sum and a first-order correction."""
    f = _format(x)
    u, lost = _two_sum(x, 1.0)
    e, m = _split(u)
    fraction = m - 1.0
    half_square, rest = _log_parts(fraction)
    low = e.fma(f.ln2[1], rest) + lost / u
    result = e.fma(f.ln2[0], fraction - (half_square - low))
    result = _log_limits(u, result)
    return x.where(x.absolute().compare("<", 2.0 ** -(f.fraction + 2)), result)


def _log_with_low(x: Real, factor: float, factor_low: float) -> tuple[Real, Real, Real]:
    """e, and log(m) * factor as a sum of two floats, where x = 2**e * m."""
    e, m = _split_any(x)
    fraction = m - 1.0
    half_square, rest = _log_parts(fraction)
    error = fraction.fma(fraction * -0.5, half_square)
    tail = rest - half_square + error
    high = fraction + tail
    low = (fraction - high) + tail
    product = high * factor
    return e, product, low.fma(factor, high.fma(factor_low, high.fma(factor, -product)))


def log2(x: Real) -> Real:
    """The logarithm to base 2; exact for powers of 2."""
    e, high, low = _log_with_low(x, 1.0 / math.log(2.0), _format(x).log2_e_low)
    total = e + high
    return _log_limits(x, total + (((e - total) + high) + low))


def log10(x: Real) -> Real:
    """The logarithm to base 10."""
    f = _format(x)
    e, high, low = _log_with_low(x, 1.0 / math.log(10.0), f.log10_e_low)
    base = e * f.log10_2[0]
    total = base + high
    return _log_limits(x, total + (((base - total) + high) + e.fma(f.log10_2[1], low)))


def logaddexp(a: Real, b: Real) -> Real:
    """log(e**a + e**b); equal infinities give themselves, as in NumPy."""
    larger = a.where((a - b).compare(">", 0.0), b)
    result = larger + log1p(exp(-(a - b).absolute()))
    return (a + math.log(2.0)).where(a.compare("==", b), result)


def logaddexp2(a: Real, b: Real) -> Real:
    """log2(2**a + 2**b)."""
    larger = a.where((a - b).compare(">", 0.0), b)
    result = larger + log1p(exp2(-(a - b).absolute())) * (1.0 / math.log(2.0))
    return (a + 1.0).where(a.compare("==", b), result)


PROGRAMS: Mapping[str, Callable[..., Real]] = MappingProxyType(
    {
        program.__name__: program
        for program in (
            exp,
            exp2,
            expm1,
            log,
            log2,
            log10,
            log1p,
            tanh,
            sinh,
            cosh,
            erf,
            logaddexp,
            logaddexp2,
        )
    }
)
