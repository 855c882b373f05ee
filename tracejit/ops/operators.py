"""Python's operators on `Value`s: NumPy's functions, except that Python numbers among themselves stay weak.

`OPERATORS` maps `"add"`, `"lt"`, ... to functions of the operands; importing this module makes them methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.ops import arithmetic, bits, comparison, transcendental
from tracejit.ops.arithmetic import literal
from tracejit.ops.core import convert
from tracejit.ops.value import Value, as_value

Operator = Callable[..., Any]

_WEAK_KINDS: dict[str, type] = {"f": float, "i": int, "u": int}


def stays_weak(*operands: Any) -> bool:
    """Do all operands stem from Python numbers, so that the result must not promote a later operand?"""
    for x in operands:
        if isinstance(x, Value):
            if x.weak is None:
                return False
        elif isinstance(x, np.generic) or not isinstance(x, (bool, int, float)):
            return False
    return True


def weaken(value: Value) -> Value:
    """The same value, to be promoted as a Python number is (NEP 50)."""
    return Value(value.builder, value.atom, _WEAK_KINDS.get(value.dtype.kind))


def _operator(function: Callable[..., Value]) -> Operator:
    call = getattr(function, "call", function)

    def operate(*operands: Any) -> Value:
        result = call(*operands)
        return weaken(result) if stays_weak(*operands) else result

    operate.__name__ = getattr(function, "name", None) or function.__name__
    return operate


def _power(x: Any, y: Any) -> Value:
    """`x ** y`; Python's own integers have float powers where the exponent is negative, NumPy's have none."""
    if stays_weak(x, y):
        base, exponent = as_value(x), as_value(y)
        n = literal(exponent)
        if n is not None and n < 0:
            return transcendental.power(convert(base, np.float64), exponent)
    elif type(y) is int and y == 2 and isinstance(x, Value) and x.ndim and x.dtype == np.bool_:
        return arithmetic.square(x)  # NumPy's short cut, which shows in the dtype
    return transcendental.power(x, y)


UNARY: dict[str, Operator] = {
    "neg": _operator(arithmetic.negative),
    "pos": _operator(arithmetic.positive),
    "abs": _operator(arithmetic.absolute),
    "invert": _operator(bits.invert),
}
BINARY: dict[str, Operator] = {
    "add": _operator(arithmetic.add),
    "sub": _operator(arithmetic.subtract),
    "mul": _operator(arithmetic.multiply),
    "truediv": _operator(arithmetic.divide),
    "floordiv": _operator(arithmetic.floor_divide),
    "mod": _operator(arithmetic.remainder),
    "pow": _operator(_power),
    "and": _operator(bits.bitwise_and),
    "or": _operator(bits.bitwise_or),
    "xor": _operator(bits.bitwise_xor),
    "lshift": _operator(bits.left_shift),
    "rshift": _operator(bits.right_shift),
}
BINARY["divmod"] = lambda x, y: (BINARY["floordiv"](x, y), BINARY["mod"](x, y))
COMPARISONS: dict[str, Operator] = {
    "lt": comparison.less,
    "le": comparison.less_equal,
    "gt": comparison.greater,
    "ge": comparison.greater_equal,
    "eq": comparison.equal,
    "ne": comparison.not_equal,
}
OPERATORS: dict[str, Operator] = {**UNARY, **BINARY, **COMPARISONS}


def _attach() -> None:
    """Make the operators methods of `Value`; `==` compares elements, and hashing stays by identity."""
    for name, operate in OPERATORS.items():
        setattr(Value, f"__{name}__", getattr(operate, "call", operate))  # functions, which bind
    for name, operate in BINARY.items():
        setattr(Value, f"__r{name}__", lambda y, x, operate=operate: operate(x, y))


_attach()
