"""The scalar functions that kernel source may call: one table of names, plain-Python meaning and native form.

A kernel printed as Python source runs as it stands with `plain_namespace()`, on NumPy arrays or raw
addresses; `tracejit.runtime.intrinsics` reads the same table to compile the same names.

Rules that hold in both worlds, for whoever prints kernel source:

- Functions of floats return float32 only when every floating argument is float32; otherwise float64.
- Python's operators follow the compiler: integers widen to 64 bits (cast back with `to_i32(a + b)`), and a
  literal such as `2.0` is float64 (write `to_f32(2.0) * x` beside float32).
- Booleans in memory are bytes: load `x[i] != 0`, store `to_u8(b)` through a `ptr_bool`.
- `math.*` is there too, but `math.floor` and its kin return integers: the bare names return floats.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal

import numpy as np

Scalar = Any  # a NumPy or Python scalar; the functions below dispatch on it at run time

_FLOATS: Any = (float, np.floating)

Result = Literal["float", "common", "bool", "first", "f32", "u16"]


@dataclass(frozen=True)
class Libm:
    """A function of the C mathematics library; float32 calls the name with an `f` behind it."""

    symbol: str


@dataclass(frozen=True)
class Llvm:
    """An LLVM intrinsic overloaded on its type, such as `floor` for `llvm.floor.f64`."""

    name: str


@dataclass(frozen=True)
class Program:
    """Straight-line code printed in place from the program of that name in `codegen.math`."""


@dataclass(frozen=True)
class Expression:
    """Straight-line instructions, given in the runtime under the function's own name."""


@dataclass(frozen=True)
class Loop:
    """A Python function of integers with loops, compiled apart for 64 bits and called."""


@dataclass(frozen=True)
class Cast:
    """Conversion to `dtype`, with NumPy's `astype` meaning."""

    dtype: str


@dataclass(frozen=True)
class Address:
    """An integer address read as memory of `dtype`."""

    dtype: str


Form = Libm | Llvm | Program | Expression | Loop | Cast | Address


@dataclass(frozen=True)
class ScalarFunction:
    """One name of the kernel language: how plain Python evaluates it and how the compiler makes it.

    `result` is the type rule: `float` (all arguments become one float type), `common` (all arguments become
    their common type), `bool` (arguments become their common type, the result is a truth value), `first`
    (the first argument's type), or the name of a type that the result always has.
    """

    name: str
    evaluate: Callable[..., Scalar]
    form: Form
    result: Result = "float"


# Casts -----------------------------------------------------------------------------------------------

INTEGER_DTYPES = MappingProxyType(
    {
        "i8": "int8",
        "i16": "int16",
        "i32": "int32",
        "i64": "int64",
        "u8": "uint8",
        "u16": "uint16",
        "u32": "uint32",
        "u64": "uint64",
    }
)
FLOAT_DTYPES = MappingProxyType({"f32": "float32", "f64": "float64"})


def _truncate(x: float, low: int, high: int) -> int:
    """The integer part of `x` where it lies in low..high, else `low`: what x86 conversions give."""
    return int(x) if low - 1 < x < high + 1 else low


def _cast_integer(short: str) -> Callable[[Scalar], Scalar]:
    kind = np.dtype(INTEGER_DTYPES[short]).type
    signed, width = short[0] == "i", int(short[1:])

    def wrap(value: int) -> Scalar:
        value &= (1 << width) - 1
        return kind(value - (1 << width) if signed and value >> (width - 1) else value)

    def cast(x: Scalar) -> Scalar:
        if not isinstance(x, _FLOATS):
            return wrap(int(x))
        value = float(x)
        # Narrow types go through 32 bits; wide unsigned ones subtract half the range first, as NumPy does.
        half = 1 << (max(width, 32) - 1)
        if signed or width < 32 or value < half:
            return wrap(_truncate(value, -half, half - 1))
        return wrap(_truncate(value - half, -half, half - 1) ^ half)

    return cast


def _cast_float(name: str) -> Callable[[Scalar], Scalar]:
    kind = np.dtype(name).type

    def cast(x: Scalar) -> Scalar:
        with np.errstate(all="ignore"):
            return kind(x)

    return cast


def _cast_bool(x: Scalar) -> Scalar:
    return np.bool_(x != 0)


# Adaptors: NumPy's functions with the compiler's types -----------------------------------------------


def _scalar(x: Scalar) -> Scalar:
    """A NumPy scalar of the type that the compiler gives to `x`: Python numbers are 64 bits wide."""
    if isinstance(x, np.generic):
        return x
    return np.bool_(x) if isinstance(x, bool) else np.int64(x) if isinstance(x, int) else np.float64(x)


def _common(*args: Scalar) -> tuple[type[Any], list[Scalar]]:
    scalars = [_scalar(x) for x in args]
    kind = np.result_type(*[x.dtype for x in scalars]).type
    return kind, [kind(x) for x in scalars]


def _floating(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """`function` on arguments made one float type: float32 when every floating one is, else float64."""

    def evaluate(*args: Scalar) -> Scalar:
        floats = [x for x in args if isinstance(x, _FLOATS)]
        single = bool(floats) and all(x.dtype == np.float32 for x in map(_scalar, floats))
        kind = np.float32 if single else np.float64
        with np.errstate(all="ignore"):
            return kind(function(*[kind(x) for x in args]))

    return evaluate


def _numeric(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """`function` on arguments made their common type, which the result has too."""

    def evaluate(*args: Scalar) -> Scalar:
        kind, scalars = _common(*args)
        with np.errstate(all="ignore"):
            return kind(function(*scalars))

    return evaluate


def _predicate(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
    def evaluate(*args: Scalar) -> Scalar:
        return np.bool_(function(*_common(*args)[1]))

    return evaluate


def _first(function: Callable[[Scalar, Scalar], Scalar]) -> Callable[[Scalar, Scalar], Scalar]:
    """`function` in the type of its first argument, the accumulator."""

    def evaluate(acc: Scalar, x: Scalar) -> Scalar:
        acc = _scalar(acc)
        kind = type(acc)
        with np.errstate(all="ignore"):
            return kind(function(acc, kind(x)))

    return evaluate


# Functions that NumPy lacks --------------------------------------------------------------------------


def _digamma(x: float) -> float:
    import scipy.special

    return float(scipy.special.psi(x))


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # a pole, or beyond the largest float
        return math.inf


def _gamma(x: float) -> float:
    try:
        return math.gamma(x)
    except OverflowError:
        return math.copysign(math.inf, x)
    except ValueError:  # zero, a negative integer or -inf
        return math.copysign(math.inf, x) if x == 0.0 else math.nan


def _pow(a: Scalar, b: Scalar) -> Scalar:
    # On arrays: for a scalar exponent of 0.5 NumPy takes the square root, which is nan for -inf.
    return np.power(np.array([a]), np.array([b]))[0]


def _sigmoid(x: float) -> float:
    e = np.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)


def _fma(a: float, b: float, c: float) -> float:
    """a * b + c rounded once; the two-step value where an argument is not finite, or the result zero."""
    naive = a * b + c
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return c if math.isfinite(a) and math.isfinite(b) else naive  # a product of finite numbers is finite
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return naive
    if _scalar(a).dtype == np.float32:
        return _round_to_float32(exact)
    try:
        return exact.numerator / exact.denominator
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _round_to_float32(exact: Fraction) -> Scalar:
    """The float32 nearest to `exact`: rounding to odd in float64 first avoids rounding twice."""
    try:
        double = exact.numerator / exact.denominator
    except OverflowError:
        return np.float32(math.inf if exact > 0 else -math.inf)
    if Fraction(double) != exact and np.float64(double).view(np.int64) % 2 == 0:
        double = float(np.nextafter(double, math.inf if exact > Fraction(double) else -math.inf))
    return np.float32(double)


def _gcd(a: Scalar, b: Scalar) -> Scalar:
    return np.gcd(a, b)


def _int_pow(base: Scalar, exponent: Scalar) -> int:
    """NumPy refuses negative exponents; a kernel cannot, so 1/base**n is truncated (0 for base 0)."""
    b, n = int(base), int(exponent)
    if n >= 0:
        return pow(b, n, 1 << 64)
    return 1 if b == 1 else (1 - 2 * (n % 2)) if b == -1 else 0


def _wrapped(function: Callable[..., int]) -> Callable[..., Scalar]:
    """`function` of Python integers, its result wrapped into the arguments' common integer type."""

    def evaluate(*args: Scalar) -> Scalar:
        kind, scalars = _common(*args)
        return kind(np.array([function(*scalars) & (2**64 - 1)], np.uint64).astype(kind)[0])

    return evaluate


def _left_shift(a: Scalar, b: Scalar) -> int:
    width = a.dtype.itemsize * 8
    return int(a) << int(b) if 0 <= b < width else 0


def _right_shift(a: Scalar, b: Scalar) -> int:
    width = a.dtype.itemsize * 8
    return int(a) >> (int(b) if 0 <= b < width else width)


def _is_float(x: Scalar) -> bool:
    return isinstance(x, _FLOATS)


def _select(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    _, (x, y) = _common(a, b)
    return x if condition else y


def _ldexp(x: Scalar, exponent: Scalar) -> Scalar:
    limited = max(-(2**31), min(2**31 - 1, int(exponent)))
    return _floating(lambda value: np.ldexp(value, np.int32(limited)))(x)


# Memory ----------------------------------------------------------------------------------------------


class Memory:
    """Raw memory as an array: `Memory(address, "float64")[i]` reads element i, which may be negative.

    >>> x = np.arange(3.0)
    >>> float(Memory(x.ctypes.data, "float64")[2])
    2.0
    """

    def __init__(self, address: int, dtype: str) -> None:
        self._address = int(address)
        self._scalar = np.dtype(dtype).type
        self._ctype = np.ctypeslib.as_ctypes_type(np.dtype(dtype))
        self._size = ctypes.sizeof(self._ctype)

    def _at(self, index: int) -> Any:
        return self._ctype.from_address(self._address + int(index) * self._size)

    def __getitem__(self, index: int) -> Scalar:
        return self._scalar(self._at(index).value)

    def __setitem__(self, index: int, value: Scalar) -> None:
        item = value.item() if isinstance(value, np.generic) else value
        self._at(index).value = item


def _address(dtype: str) -> Callable[[Any], Any]:
    def evaluate(address: Any) -> Any:
        # An array stands for itself, so that a kernel can be called on arrays without addresses.
        return address if isinstance(address, (np.ndarray, Memory)) else Memory(address, dtype)

    return evaluate


# The table -------------------------------------------------------------------------------------------


def _programs() -> list[ScalarFunction]:
    names = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "logaddexp2")
    names += ("sin", "cos", "tan", "tanh", "sinh", "cosh", "cbrt", "hypot")
    functions: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in names}
    for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2"):
        functions[name] = getattr(np, f"arc{name[1:]}")
    functions |= {"sigmoid": _sigmoid, "softplus": lambda x: np.logaddexp(type(x)(0), x)}
    functions |= {
        "pow_": _pow,
        "erf_given": lambda x, _: math.erf(x),
        "erfc": math.erfc,
        "lgamma": _lgamma,
        "digamma": _digamma,
    }
    return [ScalarFunction(name, _floating(f), Program()) for name, f in functions.items()]


def _llvm() -> list[ScalarFunction]:
    names: dict[str, Callable[..., Any]] = {
        "sqrt": np.sqrt,
        "floor": np.floor,
        "ceil": np.ceil,
        "trunc": np.trunc,
        "rint": np.rint,
        "copysign": np.copysign,
    }
    functions = [ScalarFunction(name, _floating(f), Llvm(name)) for name, f in names.items()]
    # Not `llvm.fma`, which becomes a call of the C library on a machine without the instruction.
    return [*functions, ScalarFunction("fma", _floating(_fma), Llvm("fmuladd"))]


def _float_functions() -> list[ScalarFunction]:
    return [
        ScalarFunction("gamma", _floating(_gamma), Libm("tgamma")),
        ScalarFunction("nextafter", _floating(np.nextafter), Libm("nextafter")),
        ScalarFunction("fmod", _floating(np.fmod), Expression()),
        ScalarFunction("remainder", _floating(np.remainder), Expression()),
        ScalarFunction("floor_divide", _floating(np.floor_divide), Expression()),
        ScalarFunction("heaviside", _floating(np.heaviside), Expression()),
        ScalarFunction("spacing", _floating(np.spacing), Expression()),
        ScalarFunction("ldexp", _ldexp, Expression()),
    ]


def _numeric_functions() -> list[ScalarFunction]:
    return [
        ScalarFunction("sum_step", _first(lambda acc, x: acc + x), Expression(), "first"),
        ScalarFunction("prod_step", _first(lambda acc, x: acc * x), Expression(), "first"),
        ScalarFunction("select", _select, Expression(), "common"),
        ScalarFunction("maximum", _numeric(np.maximum), Expression(), "common"),
        ScalarFunction("minimum", _numeric(np.minimum), Expression(), "common"),
        ScalarFunction("fmax", _numeric(np.fmax), Expression(), "common"),
        ScalarFunction("fmin", _numeric(np.fmin), Expression(), "common"),
        ScalarFunction("absolute", _numeric(np.absolute), Expression(), "common"),
        ScalarFunction("sign", _numeric(np.sign), Expression(), "common"),
        ScalarFunction("isnan", _predicate(lambda x: x != x), Expression(), "bool"),
        ScalarFunction("isinf", _predicate(lambda x: _is_float(x) and np.isinf(x)), Expression(), "bool"),
        ScalarFunction(
            "isfinite", _predicate(lambda x: not _is_float(x) or np.isfinite(x)), Expression(), "bool"
        ),
        ScalarFunction(
            "signbit", _predicate(lambda x: np.signbit(x) if _is_float(x) else x < 0), Expression(), "bool"
        ),
        ScalarFunction("logical_not", _predicate(lambda x: x == 0), Expression(), "bool"),
        ScalarFunction("logical_and", _predicate(lambda a, b: a != 0 and b != 0), Expression(), "bool"),
        ScalarFunction("logical_or", _predicate(lambda a, b: a != 0 or b != 0), Expression(), "bool"),
        ScalarFunction("logical_xor", _predicate(lambda a, b: (a != 0) != (b != 0)), Expression(), "bool"),
    ]


def _integer_functions() -> list[ScalarFunction]:
    return [
        ScalarFunction("int_floor_divide", _numeric(np.floor_divide), Expression(), "common"),
        ScalarFunction("int_remainder", _numeric(np.remainder), Expression(), "common"),
        ScalarFunction("int_fmod", _numeric(np.fmod), Expression(), "common"),
        ScalarFunction("left_shift", _wrapped(_left_shift), Expression(), "common"),
        ScalarFunction("right_shift", _wrapped(_right_shift), Expression(), "common"),
        ScalarFunction("gcd", _numeric(_gcd), Loop(), "common"),
        ScalarFunction("lcm", _numeric(np.lcm), Loop(), "common"),
        ScalarFunction("int_pow", _wrapped(_int_pow), Loop(), "common"),
    ]


def _halves() -> list[ScalarFunction]:
    """Floats of two bytes as their bits; bfloat16 is the upper half of a float32."""
    return [
        ScalarFunction("read_f16", lambda x: np.float32(np.uint16(x).view(np.float16)), Expression(), "f32"),
        ScalarFunction("read_bf16", _read_bf16, Expression(), "f32"),
        ScalarFunction("write_f16", _write_f16, Expression(), "u16"),
        ScalarFunction("write_bf16", _write_bf16, Expression(), "u16"),
        ScalarFunction("odd_f32", _odd_f32, Expression(), "f32"),
    ]


def _read_bf16(x: Scalar) -> Scalar:
    return np.uint32(int(x) << 16).view(np.float32)


def _write_f16(x: Scalar) -> Scalar:
    with np.errstate(all="ignore"):
        return np.float32(x).astype(np.float16).view(np.uint16)


def _write_bf16(x: Scalar) -> Scalar:
    bits = int(np.float32(x).view(np.uint32))
    rounded = bits | 0x400000 if x != x else bits + 0x7FFF + (bits >> 16 & 1)
    return np.uint16(rounded >> 16)


def _odd_f32(x: Scalar) -> Scalar:
    x = np.float64(x)
    with np.errstate(all="ignore"):
        near = np.float32(x)
    if near == x or x != x:
        return near
    bits = int(near.view(np.uint32)) - (abs(np.float64(near)) > abs(x))
    return np.uint32(bits | 1).view(np.float32)


def _casts_and_addresses() -> list[ScalarFunction]:
    casts = {short: _cast_integer(short) for short in INTEGER_DTYPES}
    casts |= {short: _cast_float(name) for short, name in FLOAT_DTYPES.items()}
    casts["bool"] = _cast_bool
    dtypes = {**INTEGER_DTYPES, **FLOAT_DTYPES, "bool": "bool"}
    memory = {**dtypes, "bool": "uint8"}
    return [
        *[ScalarFunction(f"to_{short}", cast, Cast(dtypes[short]), "first") for short, cast in casts.items()],
        *[ScalarFunction(f"ptr_{short}", _address(d), Address(d), "first") for short, d in memory.items()],
    ]


SCALAR_FUNCTIONS: Mapping[str, ScalarFunction] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            *_programs(),
            *_llvm(),
            *_float_functions(),
            *_numeric_functions(),
            *_integer_functions(),
            *_halves(),
            *_casts_and_addresses(),
        )
    }
)

# Builtins under which kernel source finds functions of the table; `max` and `min` take two arguments.
BUILTINS: Mapping[str, str] = MappingProxyType(
    {
        "abs": "absolute",
        "max": "maximum",
        "min": "minimum",
        "int": "to_i64",
        "float": "to_f64",
        "bool": "to_bool",
    }
)

# NumPy's results in place of the exceptions of Python's own `math`, under the names that both have.
_PLAIN_MATH = SimpleNamespace(
    pi=math.pi,
    e=math.e,
    inf=math.inf,
    nan=math.nan,
    fabs=SCALAR_FUNCTIONS["absolute"].evaluate,
    pow=SCALAR_FUNCTIONS["pow_"].evaluate,
    **{name: entry.evaluate for name, entry in SCALAR_FUNCTIONS.items() if hasattr(math, name)},
)


def plain_namespace() -> dict[str, Any]:
    """The global names with which kernel source runs as plain Python.

    >>> names = plain_namespace()
    >>> exec("def double(x, out):\\n    out[0] = sum_step(x[0], x[0])", names)
    >>> out = np.zeros(1)
    >>> names["double"](np.array([2.0]), out)
    >>> out.tolist()
    [4.0]
    """
    names = {name: entry.evaluate for name, entry in SCALAR_FUNCTIONS.items()}
    return {"math": _PLAIN_MATH, **names, **{name: names[target] for name, target in BUILTINS.items()}}


def plain_program(source: str) -> Callable[[Any, Any], None]:
    """The `program(ip, fp)` of kernel source as plain Python; both arguments are arrays or addresses.

    >>> program = plain_program("def program(ip, fp):\\n    ptr_f64(ip[0])[ip[1]] = fp[0]")
    >>> x = np.zeros(3)
    >>> program(np.array([x.ctypes.data, 1]), np.array([5.0]))
    >>> x.tolist()
    [0.0, 5.0, 0.0]
    """
    names = plain_namespace()
    # Literals as NumPy's numbers: two of Python's raise where one divides the other.
    source = re.sub(r"\b[01]\.0\b", r"to_f64(\g<0>)", source)
    exec(compile(source, "<kernel>", "exec"), names)

    def program(ip: Any, fp: Any) -> None:
        with np.errstate(all="ignore"):
            names["program"](names["ptr_i64"](ip), names["ptr_f64"](fp))

    return program
