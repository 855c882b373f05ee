"""The error function and its complement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tracejit.codegen.math.exponential import one_plus, power_of_two, reduced
from tracejit.codegen.math.real import Real, limited, polynomial


@dataclass(frozen=True)
class Errors:
    """Polynomials of one float type.

    near: erf(x) / x - 1 as a polynomial in x**2, for |x| <= 1
    far: ln(1 - erf(x)) / x for 1 <= x <= bound, fitted so that erf has one absolute error throughout
    bound: above it erf is 1
    """

    bound: float
    near: tuple[float, ...]
    far: tuple[float, ...]


_F64 = Errors(
    bound=6.0,
    near=(
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
    far=(
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
_F32 = Errors(
    bound=4.0,
    near=(
        0.128379166,
        -0.37612626,
        0.112836003,
        -0.0268544443,
        0.00518953567,
        -0.000802084513,
        7.88913239e-05,
    ),
    far=(
        -1.12847555,
        -0.635846436,
        -0.105096653,
        0.0227860734,
        -0.00318311295,
        0.000210181533,
    ),
)

_ERRORS: Mapping[int, Errors] = MappingProxyType({64: _F64, 32: _F32})


def erf(x: Real) -> Real:
    """The error function: an odd polynomial up to 1, and 1 minus an exponential beyond."""
    f = _ERRORS[x.width]
    size = x.absolute()
    near = polynomial(x * x, f.near).fma(x, x)
    far = limited(size, (0.0, f.bound))
    exponent = far * polynomial(far, f.far)
    k, r, c = reduced(exponent)
    far = (1.0 - power_of_two(k) * one_plus(r, c)).copysign(x)
    return near.where(size.compare("<", 1.0), far)
