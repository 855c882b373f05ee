"""Rounding, and the parts that a floating point number is made of: sign, whole part, exponent, neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.errors import UnsupportedError
from tracejit.ir import float_info
from tracejit.ops.arithmetic import absolute, choose, full, is_float, operand, sign
from tracejit.ops.comparison import isfinite, isinf
from tracejit.ops.core import convert
from tracejit.ops.families import Operation, elementwise
from tracejit.ops.tables import implements
from tracejit.ops.transcendental import log2
from tracejit.ops.value import Value, as_value

# --- to whole numbers -------------------------------------------------------------------------------------


def _rounding(name: str, ufunc: Any, form: Callable[[Any, Any], Any]) -> Operation:
    # Integers are whole already; every derivative is 0, also at the jumps.
    return elementwise(name, ufunc, partials=None, body=lambda s, x: form(s, x) if is_float(x) else x)


floor = _rounding("floor", np.floor, lambda s, x: s.floor(x))
ceil = _rounding("ceil", np.ceil, lambda s, x: s.ceil(x))
trunc = _rounding("trunc", np.trunc, lambda s, x: s.trunc(x))
rint = _rounding("rint", np.rint, lambda s, x: s.rint(x))


def _refuse_out(name: str, out: Any) -> None:
    if out is not None:
        raise UnsupportedError(
            f"{name}: out= is not supported in a trace", hint="assign the result to a name instead"
        )


@implements(np.round, np.around)
def round_(a: Any, decimals: int = 0, out: Any = None) -> Value:
    """`np.round`: half to even, after scaling by a power of ten as NumPy does."""
    _refuse_out("round", out)
    x = as_value(a, "round: a")
    decimals = int(decimals)
    if x.dtype.kind in "iu" and decimals >= 0:
        return Value(x.builder, x.atom)
    if decimals == 0:
        return rint(x)
    power = 10.0 ** abs(decimals)
    rounded = rint(x * power) / power if decimals > 0 else rint(x / power) * power
    return convert(rounded, x.dtype)


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Value:
    """`np.fix`: towards zero."""
    _refuse_out("fix", out)
    return trunc(x)


# --- parts of a number ------------------------------------------------------------------------------------

copysign = elementwise(
    "copysign",
    np.copysign,
    # |x| times the sign of y, so sign(x) times the sign of y; 0 at x = 0, as for the absolute value.
    partials=lambda x, y, out: (sign(x) * copysign(full((), 1, x.dtype), y), None),
    body=lambda s, x, y: s.copysign(x, y),
)
nextafter = elementwise(
    "nextafter", np.nextafter, partials=lambda x, y, out: (1, None), body=lambda s, x, y: s.nextafter(x, y)
)
spacing = elementwise("spacing", np.spacing, partials=None, body=lambda s, x: s.spacing(x))
ldexp = elementwise(
    "ldexp",
    np.ldexp,
    partials=lambda x, n, out: (ldexp(full((), 1, x.dtype), n), None),
    body=lambda s, x, n: s.ldexp(x, n),
)


@implements(np.modf)
def modf(x: Any) -> tuple[Value, Value]:
    """`np.modf`: the fractional part, whose derivative is 1, and the whole part, whose derivative is 0."""
    x = operand(np.modf, x)
    whole = trunc(x)
    return choose(isinf(x), 0, x - whole), whole


@implements(np.frexp)
def frexp(x: Any) -> tuple[Value, Value]:
    """`np.frexp`: the mantissa in [0.5, 1), whose derivative is a power of two, and the exponent (int32)."""
    x = operand(np.frexp, x)
    info = float_info(x.dtype)
    digits = info.nmant + 1
    # The spacing of a normal number is a power of two, `digits` below its exponent; subnormals are scaled.
    size = absolute(x)
    small = size < float(info.tiny)
    scaled = choose(small, size * 2.0**digits, size)
    exponent = rint(log2(spacing(scaled))) + choose(small, 0.0, float(digits), dtype=x.dtype)
    known = choose(isfinite(x), exponent, 0)
    places = convert(choose(x == 0, 0, known), np.int32)
    return ldexp(x, -places), places
