"""The elementary functions as branch-free programs of arithmetic, selects and bit moves on abstract floats.

Each is written once, for float64 and float32, with no table or branch, so that whoever prints it into a loop
gets vector code. The README beside this file has the errors and times that were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tracejit.codegen.math.error import erf_given, erfc
from tracejit.codegen.math.exponential import exp, exp2, expm1
from tracejit.codegen.math.gamma import digamma, lgamma
from tracejit.codegen.math.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from tracejit.codegen.math.inverse_trigonometric import acos, asin, atan, atan2
from tracejit.codegen.math.logarithm import log, log1p, log2, log10
from tracejit.codegen.math.logistic import logaddexp, logaddexp2, sigmoid, softplus
from tracejit.codegen.math.power import cbrt, hypot, pow_
from tracejit.codegen.math.real import Bits, Real, Truth
from tracejit.codegen.math.trigonometric import cos, sin, tan

__all__ = ["ALIKE", "PROGRAMS", "Bits", "Real", "Truth"]

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
            sin,
            cos,
            tan,
            pow_,
            cbrt,
            hypot,
            asin,
            acos,
            atan,
            atan2,
            asinh,
            acosh,
            atanh,
            erf_given,
            erfc,
            lgamma,
            digamma,
            sigmoid,
            softplus,
            logaddexp,
            logaddexp2,
        )
    }
)

# Programs that begin with the same work: of two with one argument the compiler should do it once.
ALIKE = (frozenset({"sin", "cos", "tan"}), frozenset({"sigmoid", "softplus"}))
