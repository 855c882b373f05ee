"""Roots, powers, exponentials, logarithms, and the trigonometric and hyperbolic functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.errors import DTypeError
from tracejit.ops.arithmetic import absolute, choose, full, is_float, literal, multiply, operand
from tracejit.ops.core import convert
from tracejit.ops.families import broadcast_values, elementwise, promote, resolve_ufunc
from tracejit.ops.tables import NUMPY, implements
from tracejit.ops.value import Value, as_value, emit

LN2, LN10 = math.log(2), math.log(10)

# --- roots ------------------------------------------------------------------------------------------------

sqrt = elementwise("sqrt", np.sqrt, partials=lambda x, out: (0.5 / out,), body=lambda s, x: s.sqrt(x), cost=6)
cbrt = elementwise(
    "cbrt", np.cbrt, partials=lambda x, out: (1 / (3 * (out * out)),), body=lambda s, x: s.cbrt(x), cost=20
)


def _hypot_partials(x: Value, y: Value, out: Value) -> tuple[Value, Value]:
    # At the origin, the tip of the cone, the subgradient 0 is taken; the divisor 1 makes it so.
    r = choose(out == 0, 1, out)
    return x / r, y / r


hypot = elementwise("hypot", np.hypot, partials=_hypot_partials, body=lambda s, x, y: s.hypot(x, y), cost=10)

# --- exponentials and logarithms --------------------------------------------------------------------------

exp = elementwise("exp", np.exp, partials=lambda x, out: (out,), body=lambda s, x: s.exp(x), cost=15)
exp2 = elementwise(
    "exp2", np.exp2, partials=lambda x, out: (out * LN2,), body=lambda s, x: s.exp2(x), cost=15
)
expm1 = elementwise(
    "expm1", np.expm1, partials=lambda x, out: (out + 1,), body=lambda s, x: s.expm1(x), cost=15
)
log = elementwise("log", np.log, partials=lambda x, out: (1 / x,), body=lambda s, x: s.log(x), cost=20)
log2 = elementwise(
    "log2", np.log2, partials=lambda x, out: (1 / LN2 / x,), body=lambda s, x: s.log2(x), cost=20
)
log10 = elementwise(
    "log10", np.log10, partials=lambda x, out: (1 / LN10 / x,), body=lambda s, x: s.log10(x), cost=20
)
log1p = elementwise(
    "log1p", np.log1p, partials=lambda x, out: (1 / (1 + x),), body=lambda s, x: s.log1p(x), cost=20
)

# --- powers -----------------------------------------------------------------------------------------------


def _power_partials(x: Value, y: Value, out: Value) -> tuple[Value | None, Value | None]:
    n, b = literal(y), literal(x)
    if n is not None:
        return float(n) * power(x, float(n) - 1), None
    if b is not None and b > 0:
        return None, out * math.log(b)
    # x**0 is 1 everywhere, so its derivative is 0 and not 0 * 0**-1 = NaN at x = 0.
    by_x = choose(y == 0, 0, y * power_p(x, choose(y == 0, 1, y - 1)))
    # 0**y is 0 for every y > 0: the logarithm of 1 in place of that of 0 gives 0 and not 0 * -inf = NaN.
    by_y = out * log(choose(x == 0, 1, x))
    return by_x, by_y


power_p = elementwise(
    "power",
    np.power,
    partials=_power_partials,
    body=lambda s, x, y: s.pow_(x, y) if is_float(x) else s.int_pow(x, y),
    cost=50,
)


def _known_power(x: Value, n: float) -> Value | None:
    """`x ** n` by products, quotients and roots, where few of them do."""
    whole: dict[float, Callable[[], Value]] = {
        0: lambda: full(x.shape, 1, x.dtype),
        1: lambda: Value(x.builder, x.atom),
        2: lambda: x * x,
        3: lambda: x * x * x,
        4: lambda: (x * x) * (x * x),
    }
    parts: dict[float, Callable[[], Value]] = {
        -1: lambda: 1 / x,
        -2: lambda: 1 / (x * x),
        0.5: lambda: sqrt(x),
        -0.5: lambda: 1 / sqrt(x),
    }
    build = whole.get(n) or (parts.get(n) if is_float(x) else None)
    return build() if build is not None else None


@implements(np.power)
def power(x1: Any, x2: Any) -> Value:
    """`np.power`; small constant exponents become products, quotients and square roots.

    Negative exponents of integers, which NumPy refuses at run time, are refused here when they are constant,
    and are undefined when they are data.
    """
    x, y = promote("power", functools.partial(resolve_ufunc, "power", np.power), [x1, x2])
    n = literal(y)
    if n is not None and n < 0 and not is_float(x):
        raise DTypeError(
            "power: integers to negative integer powers are not allowed",
            hint=f"make the base a float: x.astype(float) ** {n}",
        )
    x, y = broadcast_values("power", [x, y])
    known = None if n is None else _known_power(x, float(n))
    return known if known is not None else emit(power_p.primitive, x, y)


@implements(np.float_power)
def float_power(x1: Any, x2: Any) -> Value:
    """`np.float_power`: the power in float64."""
    return power(*(convert(as_value(x, "float_power"), np.float64) for x in (x1, x2)))


# --- trigonometric ----------------------------------------------------------------------------------------

sin = elementwise("sin", np.sin, partials=lambda x, out: (cos(x),), body=lambda s, x: s.sin(x), cost=20)
cos = elementwise("cos", np.cos, partials=lambda x, out: (-sin(x),), body=lambda s, x: s.cos(x), cost=20)
tan = elementwise(
    "tan", np.tan, partials=lambda x, out: (1 + out * out,), body=lambda s, x: s.tan(x), cost=25
)


def _inverse_sine_partial(x: Value) -> Value:
    # (1 - x) (1 + x) keeps the digits that 1 - x x loses next to |x| = 1.
    return 1 / sqrt((1 - x) * (1 + x))


arcsin = elementwise(
    "arcsin",
    np.arcsin,
    partials=lambda x, out: (_inverse_sine_partial(x),),
    body=lambda s, x: s.asin(x),
    cost=20,
)
arccos = elementwise(
    "arccos",
    np.arccos,
    partials=lambda x, out: (-_inverse_sine_partial(x),),
    body=lambda s, x: s.acos(x),
    cost=20,
)
arctan = elementwise(
    "arctan", np.arctan, partials=lambda x, out: (1 / (1 + x * x),), body=lambda s, x: s.atan(x), cost=20
)


def _arctan2_partials(y: Value, x: Value, out: Value) -> tuple[Value, Value]:
    # The angle jumps at the origin; both partials are taken as 0 there.
    square = x * x + y * y
    r2 = choose(square == 0, 1, square)
    return x / r2, -(y / r2)


arctan2 = elementwise(
    "arctan2", np.arctan2, partials=_arctan2_partials, body=lambda s, y, x: s.atan2(y, x), cost=25
)

# --- hyperbolic -------------------------------------------------------------------------------------------

sinh = elementwise("sinh", np.sinh, partials=lambda x, out: (cosh(x),), body=lambda s, x: s.sinh(x), cost=20)
cosh = elementwise("cosh", np.cosh, partials=lambda x, out: (sinh(x),), body=lambda s, x: s.cosh(x), cost=20)
tanh = elementwise(
    "tanh", np.tanh, partials=lambda x, out: (1 - out * out,), body=lambda s, x: s.tanh(x), cost=20
)
arcsinh = elementwise(
    "arcsinh",
    np.arcsinh,
    partials=lambda x, out: (1 / sqrt(x * x + 1),),
    body=lambda s, x: s.asinh(x),
    cost=25,
)
arccosh = elementwise(
    "arccosh",
    np.arccosh,
    partials=lambda x, out: (1 / sqrt((x - 1) * (x + 1)),),
    body=lambda s, x: s.acosh(x),
    cost=25,
)
arctanh = elementwise(
    "arctanh",
    np.arctanh,
    partials=lambda x, out: (1 / ((1 - x) * (1 + x)),),
    body=lambda s, x: s.atanh(x),
    cost=25,
)

# --- angles -----------------------------------------------------------------------------------------------


def _scaled(ufunc: Any, factor: float) -> None:
    NUMPY[ufunc] = lambda x: multiply(operand(ufunc, x), factor)


for _ufunc in (np.degrees, np.rad2deg):
    _scaled(_ufunc, 180 / math.pi)
for _ufunc in (np.radians, np.deg2rad):
    _scaled(_ufunc, math.pi / 180)


@implements(np.sinc)
def sinc(x: Any) -> Value:
    """`np.sinc`: sin(pi x) / (pi x), and 1 at 0; its derivatives of any order are right at 0 too."""
    x = as_value(x, "sinc: x")
    x = x if is_float(x) else convert(x, np.float64)
    t = math.pi * x
    near = absolute(t) < 1
    # sin(t) / t = sum (-1)^k t^2k / (2k + 1)!: next to 0 the quotient's derivatives would cancel to noise.
    t2 = choose(near, t * t, 0)
    coefficients = [(-1) ** k / math.factorial(2 * k + 1) for k in range(11)]
    series: Any = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        series = series * t2 + coefficient
    away = choose(near, 1, t)
    return choose(near, series, sin(away) / away)
