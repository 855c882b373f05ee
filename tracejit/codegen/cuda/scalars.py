"""Scalar functions in the Python that Numba compiles for CUDA: typed constants, `math` and `libdevice` names.

Functions of the device's own library are called by name; the others are printed in place from the formulas
and programs that every printer shares, so that a kernel calls no function of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tracejit.codegen.formulas import BOOL, EXPRESSIONS, F32, F64, I64, U64, Value, cast, integer_loop
from tracejit.codegen.math import PROGRAMS

# What CUDA's library of device functions has, under its names for float64; those for float32 end in "f".
DEVICE: Mapping[str, str] = MappingProxyType(
    {
        **{
            name: name
            for name in (
                *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "cbrt", "hypot"),
                *("sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
                *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
                *("erfc", "lgamma", "nextafter", "floor", "ceil", "trunc", "rint", "copysign", "fma", "fmod"),
            )
        },
        "pow_": "pow",
        "gamma": "tgamma",
    }
)

_INFIX = {
    **{"fadd": "+", "fsub": "-", "fmul": "*", "fdiv": "/", "add": "+", "sub": "-", "mul": "*"},
    **{"and": "&", "or": "|", "xor": "^", "shl": "<<", "lshr": ">>", "ashr": ">>"},
}
_LOGICAL = {"and": "and", "or": "or", "xor": "!="}
_COMPARED = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_INTRINSICS = {"fmuladd": "fma", "minnum": "fmin", "maxnum": "fmax"}
_BITCASTS = {
    ("f", 8): "libdevice.double_as_longlong",
    ("f", 4): "libdevice.float_as_int",
    ("i", 8): "libdevice.longlong_as_double",
    ("i", 4): "libdevice.int_as_float",
}


@dataclass(frozen=True)
class Text:
    """A value: a name or a short expression, which binds more closely than any operator."""

    text: str
    dtype: np.dtype[Any]


class PythonCode:
    """`Instructions` as lines of Python; `put` takes a line, `fresh` gives a name."""

    def __init__(self, put: Callable[[str], None], fresh: Callable[[], str]) -> None:
        self.put = put
        self.fresh = fresh

    def let(self, text: str, dtype: np.dtype[Any]) -> Text:
        name = self.fresh()
        self.put(f"{name} = {text}")
        return Text(name, dtype)

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Text:
        return Text(literal(value, dtype), dtype)

    def binary(self, op: str, a: Text, b: Text) -> Text:
        if a.dtype == BOOL:
            return self.let(f"{a.text} {_LOGICAL[op]} {b.text}", BOOL)
        if op == "frem":
            return self.let(device_call("fmod", a.dtype, a.text, b.text), a.dtype)
        return self.let(narrowed(f"{a.text} {_INFIX[op]} {b.text}", a.dtype), a.dtype)

    def divide(self, op: str, a: Text, b: Text) -> Text:
        """Python's `//` and `%` round down; the instructions that are asked for, towards zero."""
        if op[0] == "u":
            return self.let(narrowed(f"{a.text} {'//' if op == 'udiv' else '%'} {b.text}", a.dtype), a.dtype)
        quotient = self.let(narrowed(f"{a.text} // {b.text}", a.dtype), a.dtype)
        rest = self.let(narrowed(f"{a.text} - {quotient.text} * {b.text}", a.dtype), a.dtype)
        one, zero = literal(1, a.dtype), literal(0, a.dtype)
        is_off = self.let(f"{rest.text} != {zero} and ({a.text} < {zero}) != ({b.text} < {zero})", BOOL)
        if op == "sdiv":
            return self.let(
                narrowed(f"{quotient.text} + ({one} if {is_off.text} else {zero})", a.dtype), a.dtype
            )
        return self.let(narrowed(f"{rest.text} - ({b.text} if {is_off.text} else {zero})", a.dtype), a.dtype)

    def compare(self, predicate: str, a: Text, b: Text) -> Text:
        left, right = a.text, b.text
        if predicate[0] == "u" and predicate != "une" and a.dtype.kind == "i":
            unsigned = np.dtype(f"u{a.dtype.itemsize}")
            left, right = f"{type_name(unsigned)}({left})", f"{type_name(unsigned)}({right})"
        return self.let(f"{left} {_COMPARED[predicate[-2:]]} {right}", BOOL)

    def select(self, condition: Text, a: Text, b: Text) -> Text:
        return self.let(f"{a.text} if {condition.text} else {b.text}", a.dtype)

    def negate(self, x: Text) -> Text:
        return self.let(narrowed(f"-{x.text}", x.dtype), x.dtype)

    def convert(self, op: str, x: Text, dtype: np.dtype[Any]) -> Text:
        if op != "bitcast" or "f" not in (x.dtype.kind, dtype.kind):
            return self.let(f"{type_name(dtype)}({x.text})", dtype)
        signed = np.dtype(f"i{dtype.itemsize}")
        if x.dtype.kind == "f":
            bits = f"{_BITCASTS['f', x.dtype.itemsize]}({x.text})"
            return self.let(bits if dtype == signed else f"{type_name(dtype)}({bits})", dtype)
        text = x.text if x.dtype == signed else f"{type_name(signed)}({x.text})"
        return self.let(f"{_BITCASTS['i', dtype.itemsize]}({text})", dtype)

    def intrinsic(self, name: str, *args: Text) -> Text:
        dtype, texts = args[0].dtype, [a.text for a in args]
        if name in ("maximum", "minimum"):  # nan goes through
            a, b = texts
            return self.let(
                f"{a} if {a} {'>=' if name == 'maximum' else '<='} {b} or {a} != {a} else {b}", dtype
            )
        if dtype.kind != "f":
            a, b = texts
            return self.let(f"{a} if {a} {'>' if name.endswith('max') else '<'} {b} else {b}", dtype)
        return self.let(device_call(_INTRINSICS.get(name, name), dtype, *texts), dtype)

    def libm(self, symbol: str, *args: Text) -> Text:
        return self.let(device_call(symbol, args[0].dtype, *[a.text for a in args]), args[0].dtype)

    def rescue(self, value: Text, condition: Text, symbol: str, *args: Text) -> Text:
        return self.select(condition, self.libm(symbol, *args), value)


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """A constant with its type: without it, Python's float would make float32 kernels compute in float64."""
    if dtype == BOOL:
        return str(bool(value))
    if dtype.kind != "f":
        return f"{type_name(dtype)}({int(value)})"
    number = float(dtype.type(value))
    text = repr(number) if math.isfinite(number) else "math.nan" if number != number else "math.inf"
    return f"{type_name(dtype)}({'-' if number == -math.inf else ''}{text})"


def type_name(dtype: np.dtype[Any]) -> str:
    return "bool" if dtype == BOOL else f"np.{dtype.name}"


def narrowed(text: str, dtype: np.dtype[Any]) -> str:
    """Numba computes integers in 64 bits with the sign of its choice: back to their own type."""
    return f"{type_name(dtype)}({text})" if dtype.kind in "iu" and dtype != I64 else text


def device_call(name: str, dtype: np.dtype[Any], *args: str) -> str:
    return f"libdevice.{name}{'f' if dtype == F32 else ''}({', '.join(args)})"


def emit(code: PythonCode, name: str, operands: list[Text]) -> Text:
    """A named function of the scalar language on operands, which it brings to a common type itself."""
    if name in _HALVES:
        call, dtype = _HALVES[name]
        return code.let(call.format(operands[0].text), dtype)
    if name in _OWN:
        return Text(_OWN[name](*[Value(code, x) for x in operands]).x.text, operands[0].dtype)
    if name in DEVICE:
        return code.let(
            device_call(DEVICE[name], operands[0].dtype, *[x.text for x in operands]), operands[0].dtype
        )
    if name in PROGRAMS:
        return PROGRAMS[name](*[Value(code, x) for x in operands]).x  # type: ignore[attr-defined]
    if name in _INTEGER_LOOPS:
        return integer_loop(code, name, lambda a, b: _INTEGER_LOOPS[name](code, a, b), *operands)
    return EXPRESSIONS[name](code, *operands)


# Functions with short ways by the device's library, which cost less than a program of bits and selects.


def _sigmoid(x: Value) -> Value:
    small = (-x.absolute()).libm_call("exp")
    inverse = 1.0 / (1.0 + small)
    return inverse.where(x.compare(">=", 0.0), small * inverse).where(x.compare("==", x), x)


def _softplus(x: Value) -> Value:
    return _maximum(x, x.constant(0.0)) + (-x.absolute()).libm_call("exp").libm_call("log1p")


def _maximum(a: Value, b: Value) -> Value:
    return Value(a.code, a.code.intrinsic("maximum", a.x, b.x))


def _logaddexp(a: Value, b: Value) -> Value:
    distance = (a - b).absolute()
    apart = _maximum(a, b) + (-distance).libm_call("exp").libm_call("log1p")
    return (a + math.log(2.0)).where(a.compare("==", b), apart)


def _logaddexp2(a: Value, b: Value) -> Value:
    distance = (a - b).absolute()
    apart = _maximum(a, b) + (-distance).libm_call("exp2").libm_call("log1p") * (1.0 / math.log(2.0))
    return (a + 1.0).where(a.compare("==", b), apart)


_OWN: Mapping[str, Callable[..., Value]] = MappingProxyType(
    {
        "sigmoid": _sigmoid,
        "softplus": _softplus,
        "logaddexp": _logaddexp,
        "logaddexp2": _logaddexp2,
        "erf_given": lambda x, _: x.libm_call("erf"),
    }
)


# One instruction each, where the formulas that hold anywhere take ten.
_HALVES: Mapping[str, tuple[str, np.dtype[Any]]] = MappingProxyType(
    {
        "read_f16": ("libdevice.half2float(np.int16({}))", F32),
        "write_f16": ("np.uint16(libdevice.float2half_rn({}))", np.dtype(np.uint16)),
    }
)

# Loops on unsigned integers, as `codegen.formulas.integer_loop` wants them.


def _gcd(code: PythonCode, a: Text, b: Text) -> Text:
    x, y = code.let(a.text, U64), code.let(b.text, U64)
    code.put(f"while {y.text} != np.uint64(0):")
    code.put(f"    {x.text}, {y.text} = {y.text}, np.uint64({x.text} % {y.text})")
    return x


def _lcm(code: PythonCode, a: Text, b: Text) -> Text:
    common = _gcd(code, a, b)
    divisor = code.let(f"{common.text} if {common.text} != np.uint64(0) else np.uint64(1)", U64)
    return code.let(f"np.uint64(np.uint64({a.text} // {divisor.text}) * {b.text})", U64)


def _int_pow(code: PythonCode, a: Text, b: Text) -> Text:
    result, base, rest = code.let("np.uint64(1)", U64), code.let(a.text, U64), code.let(b.text, U64)
    code.put(f"while {rest.text} != np.uint64(0):")
    code.put(f"    if {rest.text} & np.uint64(1) != np.uint64(0):")
    code.put(f"        {result.text} = np.uint64({result.text} * {base.text})")
    code.put(f"    {base.text} = np.uint64({base.text} * {base.text})")
    code.put(f"    {rest.text} = np.uint64({rest.text} >> np.uint64(1))")
    return result


_INTEGER_LOOPS: Mapping[str, Callable[[PythonCode, Text, Text], Text]] = MappingProxyType(
    {"gcd": _gcd, "lcm": _lcm, "int_pow": _int_pow}
)

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "PythonCode",
    "Text",
    "cast",
    "device_call",
    "emit",
    "literal",
    "narrowed",
    "type_name",
]
