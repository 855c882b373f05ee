"""What scalar functions mean in instructions: NumPy's rules for division, casts, shifts, signs and the rest.

Each takes an `Instructions` and typed operands, and is the only place that knows the rule: the LLVM printer
runs it on scalars and vectors of text, the Numba road on the builder that Numba hands out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

BOOL = np.dtype(np.bool_)
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
I32, I64, U64 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint64)
U16, U32 = np.dtype(np.uint16), np.dtype(np.uint32)


class Operand(Protocol):
    """A value of the code that is being printed; `dtype` says how its bits are meant."""

    @property
    def dtype(self) -> np.dtype[Any]: ...


class Instructions(Protocol):
    """What a printer offers: LLVM's instructions by their names, on operands of one dtype."""

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Any: ...
    def binary(self, op: str, a: Any, b: Any) -> Any: ...
    def divide(self, op: str, a: Any, b: Any) -> Any: ...
    def compare(self, predicate: str, a: Any, b: Any) -> Any: ...
    def select(self, condition: Any, a: Any, b: Any) -> Any: ...
    def negate(self, x: Any) -> Any: ...
    def convert(self, op: str, x: Any, dtype: np.dtype[Any]) -> Any: ...
    def intrinsic(self, name: str, *args: Any) -> Any: ...
    def libm(self, symbol: str, *args: Any) -> Any: ...
    def rescue(self, value: Any, condition: Any, symbol: str, *args: Any) -> Any: ...


Emit = Callable[..., Any]  # (Instructions, *operands) -> operand


# Floats as numbers ------------------------------------------------------------------------------------------


class Value:
    """A float operand with Python's operators: `codegen.math.Real` for whoever prints instructions."""

    __slots__ = ("code", "x")

    def __init__(self, code: Instructions, x: Any) -> None:
        self.code = code
        self.x = x

    @property
    def width(self) -> int:
        return 8 * self.x.dtype.itemsize

    def constant(self, number: float) -> Value:
        return Value(self.code, self.code.constant(number, self.x.dtype))

    def _operand(self, other: Value | float) -> Any:
        return other.x if isinstance(other, Value) else self.code.constant(other, self.x.dtype)

    def _with(self, op: str, other: Value | float) -> Value:
        return Value(self.code, self.code.binary(op, self.x, self._operand(other)))

    def _after(self, op: str, other: float) -> Value:
        return Value(self.code, self.code.binary(op, self.code.constant(other, self.x.dtype), self.x))

    def __add__(self, other: Value | float) -> Value:
        return self._with("fadd", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._with("fsub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._with("fmul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._with("fdiv", other)

    def __radd__(self, other: float) -> Value:
        return self._after("fadd", other)

    def __rsub__(self, other: float) -> Value:
        return self._after("fsub", other)

    def __rmul__(self, other: float) -> Value:
        return self._after("fmul", other)

    def __rtruediv__(self, other: float) -> Value:
        return self._after("fdiv", other)

    def __neg__(self) -> Value:
        return Value(self.code, self.code.negate(self.x))

    def compare(self, operator: str, other: Value | float) -> Any:
        """The truth of an ordered comparison, false where either side is nan; `!=` is true there."""
        return self.code.compare(_ORDERED[operator], self.x, self._operand(other))

    def where(self, condition: Any, other: Value | float) -> Value:
        """`self` where `condition` holds, else `other`."""
        return Value(self.code, self.code.select(condition, self.x, self._operand(other)))

    def fma(self, factor: Value | float, term: Value | float) -> Value:
        # Not `llvm.fma`, which becomes a call of the C library on a machine without the instruction.
        return self.llvm_call("fmuladd", factor, term)

    def absolute(self) -> Value:
        return self.llvm_call("fabs")

    def sqrt(self) -> Value:
        return self.llvm_call("sqrt")

    def floor(self) -> Value:
        return self.llvm_call("floor")

    def widened(self) -> Value:
        return Value(self.code, self.code.convert("fpext", self.x, F64))

    def narrowed(self) -> Value:
        return Value(self.code, self.code.convert("fptrunc", self.x, F32))

    def copysign(self, sign: Value) -> Value:
        return self.llvm_call("copysign", sign)

    def bits(self) -> BitsValue:
        return BitsValue(self.code, self.code.convert("bitcast", self.x, np.dtype(f"u{self.width // 8}")))

    def rescue(self, condition: Any, symbol: str, *args: Value) -> Value:
        """`self`, but the C function `symbol` of `args` where `condition` holds; called only if it does."""
        return Value(self.code, self.code.rescue(self.x, condition, symbol, *[a.x for a in args]))

    def llvm_call(self, name: str, *others: Value | float) -> Value:
        return Value(self.code, self.code.intrinsic(name, self.x, *[self._operand(o) for o in others]))

    def libm_call(self, name: str, *others: Value | float) -> Value:
        return Value(self.code, self.code.libm(name, self.x, *[self._operand(o) for o in others]))


_ORDERED = {"<": "olt", "<=": "ole", ">": "ogt", ">=": "oge", "==": "oeq", "!=": "une"}


class BitsValue:
    """A float's bits as an integer without sign, with the operators of `codegen.math.Bits`."""

    __slots__ = ("code", "x")

    def __init__(self, code: Instructions, x: Any) -> None:
        self.code = code
        self.x = x

    def _with(self, op: str, other: BitsValue | int) -> BitsValue:
        right = other.x if isinstance(other, BitsValue) else self.code.constant(other, self.x.dtype)
        return BitsValue(self.code, self.code.binary(op, self.x, right))

    def __add__(self, other: BitsValue | int) -> BitsValue:
        return self._with("add", other)

    def __sub__(self, other: BitsValue | int) -> BitsValue:
        return self._with("sub", other)

    def __and__(self, other: BitsValue | int) -> BitsValue:
        return self._with("and", other)

    def __or__(self, other: BitsValue | int) -> BitsValue:
        return self._with("or", other)

    def __xor__(self, other: BitsValue | int) -> BitsValue:
        return self._with("xor", other)

    def __lshift__(self, count: int) -> BitsValue:
        return self._with("shl", count)

    def __rshift__(self, count: int) -> BitsValue:
        return self._with("lshr", count)

    def has(self, mask: int) -> Any:
        """Is any bit of `mask` set?"""
        return self.code.compare("ne", (self & mask).x, self.code.constant(0, self.x.dtype))

    def real(self) -> Value:
        return Value(self.code, self.code.convert("bitcast", self.x, np.dtype(f"f{self.x.dtype.itemsize}")))


def _formula(function: Callable[..., Value]) -> Emit:
    def emit(code: Instructions, *args: Any) -> Any:
        return function(*[Value(code, a) for a in args]).x

    return emit


# Numbers of any kind ----------------------------------------------------------------------------------------


def truth(code: Instructions, x: Any) -> Any:
    """Is `x` nonzero? nan is."""
    if x.dtype == BOOL:
        return x
    return code.compare("une" if x.dtype.kind == "f" else "ne", x, code.constant(0, x.dtype))


def _by_kind(float_op: str, int_op: str, bool_op: str) -> Emit:
    def emit(code: Instructions, a: Any, b: Any) -> Any:
        # The sum of booleans is their disjunction, the product their conjunction, as in NumPy.
        return code.binary({"f": float_op, "b": bool_op}.get(a.dtype.kind, int_op), a, b)

    return emit


def _extremum(float_name: str, int_name: str, bool_op: str) -> Emit:
    """An intrinsic for floats, and one for integers by their sign."""

    def emit(code: Instructions, a: Any, b: Any) -> Any:
        if a.dtype == BOOL:
            return code.binary(bool_op, a, b)
        sign = {"f": "", "i": "s"}.get(a.dtype.kind, "u")
        return code.intrinsic(sign + (int_name if sign else float_name), a, b)

    return emit


def absolute(code: Instructions, x: Any) -> Any:
    if x.dtype.kind == "f":
        return code.intrinsic("fabs", x)
    if x.dtype.kind != "i":
        return x
    return code.select(code.compare("slt", x, code.constant(0, x.dtype)), code.negate(x), x)


def _sign(code: Instructions, x: Any) -> Any:
    if x.dtype.kind == "f":
        v = Value(code, x)
        signed = v.constant(1.0).where(v.compare(">", 0.0), v.constant(-1.0).where(v.compare("<", 0.0), 0.0))
        return v.where(v.compare("!=", v), signed).x
    zero, one = code.constant(0, x.dtype), code.constant(1, x.dtype)
    nonzero = code.select(code.compare("ne", x, zero), one, zero)
    if x.dtype.kind != "i":
        return nonzero
    return code.select(code.compare("slt", x, zero), code.constant(-1, x.dtype), nonzero)


def _float_test(test: Callable[[Value], Any], otherwise: bool) -> Emit:
    """A question about floats; for integers the answer is `otherwise`."""

    def emit(code: Instructions, x: Any) -> Any:
        return test(Value(code, x)) if x.dtype.kind == "f" else code.constant(otherwise, BOOL)

    return emit


def _signbit(code: Instructions, x: Any) -> Any:
    if x.dtype.kind == "f":
        x = code.convert("bitcast", x, np.dtype(f"i{x.dtype.itemsize}"))
    elif x.dtype.kind != "i":
        return code.constant(False, BOOL)
    return code.compare("slt", x, code.constant(0, x.dtype))


def _logical(op: str) -> Emit:
    def emit(code: Instructions, a: Any, b: Any) -> Any:
        return code.binary(op, truth(code, a), truth(code, b))

    return emit


def _logical_not(code: Instructions, x: Any) -> Any:
    return code.binary("xor", truth(code, x), code.constant(True, BOOL))


def _select(code: Instructions, condition: Any, a: Any, b: Any) -> Any:
    return code.select(condition, a, b)


# Division: NumPy's formulas (npy_divmod in npy_math_internal.h) with selects in place of branches -----------


def _fmod(a: Value, b: Value) -> Value:
    return Value(a.code, a.code.binary("frem", a.x, b.x))


def _opposite_signs(a: Value, b: Value) -> Any:
    return a.code.binary("xor", b.compare("<", 0.0), a.compare("<", 0.0))


def _remainder(a: Value, b: Value) -> Value:
    mod = _fmod(a, b)
    nonzero = (mod + b).where(_opposite_signs(mod, b), mod)
    moved = nonzero.where(mod.compare("!=", 0.0), a.constant(0.0).copysign(b))
    return mod.where(b.compare("==", 0.0), moved)


def _floor_divide(a: Value, b: Value) -> Value:
    mod = _fmod(a, b)
    quotient = (a - mod) / b
    lower = a.code.binary("and", _opposite_signs(mod, b), mod.compare("!=", 0.0))
    quotient = (quotient - 1.0).where(lower, quotient)
    floor = quotient.llvm_call("floor")
    floor = (floor + 1.0).where((quotient - floor).compare(">", 0.5), floor)
    floor = floor.where(quotient.compare("!=", 0.0), a.constant(0.0).copysign(a / b))
    return (a / b).where(b.compare("==", 0.0), floor)


def _int_divide(code: Instructions, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Quotient toward zero, remainder of the dividend's sign, and whether the divisor is zero."""
    one = code.constant(1, b.dtype)
    is_zero = code.compare("eq", b, code.constant(0, b.dtype))
    divisor = code.select(is_zero, one, b)
    if b.dtype.kind != "i":
        return code.divide("udiv", a, divisor), code.divide("urem", a, divisor), is_zero
    # x / -1 is a negation, which wraps where the division instruction traps.
    minus = code.compare("eq", divisor, code.constant(-1, b.dtype))
    divisor = code.select(minus, one, divisor)
    quotient, rest = code.divide("sdiv", a, divisor), code.divide("srem", a, divisor)
    return code.select(minus, code.negate(a), quotient), rest, is_zero


def _rounds_down(code: Instructions, rest: Any, divisor: Any) -> Any:
    zero = code.constant(0, rest.dtype)
    opposite = code.compare("slt", code.binary("xor", rest, divisor), zero)
    return code.binary("and", code.compare("ne", rest, zero), opposite)


def _int_floor_divide(code: Instructions, a: Any, b: Any) -> Any:
    quotient, rest, is_zero = _int_divide(code, a, b)
    if a.dtype.kind == "i":
        down = code.convert("zext", _rounds_down(code, rest, b), a.dtype)
        quotient = code.binary("sub", quotient, down)
    return code.select(is_zero, code.constant(0, a.dtype), quotient)


def _int_remainder(code: Instructions, a: Any, b: Any) -> Any:
    _, rest, is_zero = _int_divide(code, a, b)
    if a.dtype.kind == "i":
        rest = code.select(_rounds_down(code, rest, b), code.binary("add", rest, b), rest)
    return code.select(is_zero, code.constant(0, a.dtype), rest)


def _int_fmod(code: Instructions, a: Any, b: Any) -> Any:
    _, rest, is_zero = _int_divide(code, a, b)
    return code.select(is_zero, code.constant(0, a.dtype), rest)


def integer_loop(code: Instructions, name: str, call: Callable[..., Any], a: Any, b: Any) -> Any:
    """gcd, lcm or int_pow by `call`, a loop on 64 bits without sign.

    gcd and lcm are of magnitudes, and a negative power is 1 / base**n truncated.
    """
    dtype = a.dtype
    operands = [a, b]
    if name != "int_pow":
        # The magnitude of the least integer is right when its bits are read without sign.
        unsigned = np.dtype(f"u{dtype.itemsize}")
        operands = [code.convert("bitcast", absolute(code, x), unsigned) for x in operands]
    result = resize(code, call(*[resize(code, x, U64) for x in operands]), dtype)
    if name != "int_pow" or dtype.kind != "i":
        return result
    one, minus, zero = (code.constant(n, dtype) for n in (1, -1, 0))
    odd = code.compare("ne", code.binary("and", b, one), zero)
    inverse = code.select(code.compare("eq", a, one), one, zero)
    inverse = code.select(code.compare("eq", a, minus), code.select(odd, minus, one), inverse)
    return code.select(code.compare("slt", b, zero), inverse, result)


def _shift(left: bool) -> Emit:
    """C leaves shifts by the width or more undefined; NumPy shifts everything out, as do negative counts."""

    def emit(code: Instructions, a: Any, count: Any) -> Any:
        bits = 8 * a.dtype.itemsize
        within = code.compare("ult", count, code.constant(bits, a.dtype))
        zero = code.constant(0, a.dtype)
        if a.dtype.kind == "i" and not left:
            return code.binary("ashr", a, code.select(within, count, code.constant(bits - 1, a.dtype)))
        # A shifted-out count must not reach the instruction, whose result would be poison.
        shifted = code.binary("shl" if left else "lshr", a, code.select(within, count, zero))
        return code.select(within, shifted, zero)

    return emit


# Float formulas ---------------------------------------------------------------------------------------------


def _heaviside(x: Value, at_zero: Value) -> Value:
    step = x.constant(1.0).where(x.compare(">", 0.0), x.constant(0.0).where(x.compare("<", 0.0), x))
    return at_zero.where(x.compare("==", 0.0), step)


def _spacing(x: Value) -> Value:
    away = x.libm_call("nextafter", x.constant(-math.inf).where(x.compare("<", 0.0), math.inf))
    return x.constant(math.nan).where(x.absolute().compare("==", math.inf), away - x)


def _ldexp(code: Instructions, x: Any, exponent: Any) -> Any:
    limit = 1 << 20  # beyond every float's range, and within C's int
    exponent = cast(code, exponent, I64)
    exponent = code.intrinsic("smin", exponent, code.constant(limit, I64))
    exponent = code.intrinsic("smax", exponent, code.constant(-limit, I64))
    return code.libm("ldexp", x, code.convert("trunc", exponent, I32))


# Floats of two bytes ----------------------------------------------------------------------------------------


def _read_f16(code: Instructions, x: Any) -> Any:
    """The bits of a float16 as a float32: exponent and fraction in place, the bias changed by a product."""
    bits = BitsValue(code, code.convert("zext", x, U32))
    size = (bits & 0x7FFF) << 13
    number = (size.real() * 2.0**112).bits()  # exact for subnormals too
    is_special = code.compare("uge", size.x, code.constant(0x0F800000, U32))
    number = BitsValue(code, code.select(is_special, (size | 0x7F800000).x, number.x))
    return (number | ((bits & 0x8000) << 16)).real().x


def _write_f16(code: Instructions, x: Any) -> Any:
    """A float32 rounded to float16, half to even; too large is infinite, and a nan stays one."""
    bits = Value(code, x).bits()
    size = bits & 0x7FFFFFFF
    # The lowest bits of a subnormal are what a sum with 0.5 leaves of it, rounded.
    small = (size.real() + 0.5).bits() - 0x3F000000
    normal = (size + 0xC8000FFF + ((size >> 13) & 1)) >> 13
    is_small = code.compare("ult", size.x, code.constant(0x38800000, U32))
    found = code.select(is_small, small.x, normal.x)
    is_large = code.compare("uge", size.x, code.constant(0x47800000, U32))
    is_nan = code.compare("ugt", size.x, code.constant(0x7F800000, U32))
    special = code.select(is_nan, code.constant(0x7E00, U32), code.constant(0x7C00, U32))
    found = BitsValue(code, code.select(is_large, special, found))
    return code.convert("trunc", (found | ((bits >> 16) & 0x8000)).x, U16)


def _read_bf16(code: Instructions, x: Any) -> Any:
    """The bits of a bfloat16 as a float32, whose upper half they are."""
    return (BitsValue(code, code.convert("zext", x, U32)) << 16).real().x


def _write_bf16(code: Instructions, x: Any) -> Any:
    """A float32 rounded to bfloat16, half to even; a nan stays one."""
    value = Value(code, x)
    bits = value.bits()
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    found = BitsValue(code, code.select(value.compare("!=", value), (bits | 0x400000).x, rounded.x))
    return code.convert("trunc", (found >> 16).x, U16)


def _odd_f32(code: Instructions, x: Any) -> Any:
    """A float64 cut to float32, its last bit set where that loses anything: to be rounded once more, rightly.

    Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE TC 57(4), 2008.
    """
    exact = Value(code, x)
    near = exact.narrowed()
    back = near.widened()
    zero, one = code.constant(0, U32), code.constant(1, U32)
    above = code.select(back.absolute().compare(">", exact.absolute()), one, zero)
    is_lost = code.select(back.compare("!=", exact), one, zero)
    bits = near.bits() - BitsValue(code, above)
    return (bits | BitsValue(code, is_lost)).real().x


EXPRESSIONS: Mapping[str, Emit] = MappingProxyType(
    {
        "sum_step": _by_kind("fadd", "add", "or"),
        "prod_step": _by_kind("fmul", "mul", "and"),
        "select": _select,
        "maximum": _extremum("maximum", "max", "or"),
        "minimum": _extremum("minimum", "min", "and"),
        "fmax": _extremum("maxnum", "max", "or"),
        "fmin": _extremum("minnum", "min", "and"),
        "absolute": absolute,
        "sign": _sign,
        "isnan": _float_test(lambda x: x.compare("!=", x), False),
        "isinf": _float_test(lambda x: x.absolute().compare("==", math.inf), False),
        "isfinite": _float_test(lambda x: x.absolute().compare("<", math.inf), True),
        "signbit": _signbit,
        "logical_not": _logical_not,
        "logical_and": _logical("and"),
        "logical_or": _logical("or"),
        "logical_xor": _logical("xor"),
        "fmod": _formula(_fmod),
        "remainder": _formula(_remainder),
        "floor_divide": _formula(_floor_divide),
        "int_floor_divide": _int_floor_divide,
        "int_remainder": _int_remainder,
        "int_fmod": _int_fmod,
        "left_shift": _shift(left=True),
        "right_shift": _shift(left=False),
        "heaviside": _formula(_heaviside),
        "spacing": _formula(_spacing),
        "ldexp": _ldexp,
        "read_f16": _read_f16,
        "read_bf16": _read_bf16,
        "write_f16": _write_f16,
        "write_bf16": _write_bf16,
        "odd_f32": _odd_f32,
    }
)


# Casts ------------------------------------------------------------------------------------------------------


def cast(code: Instructions, x: Any, dtype: np.dtype[Any]) -> Any:
    """`x` as `dtype`; out of range it is what NumPy's `astype` gives on x86."""
    if x.dtype == dtype:
        return x
    if dtype == BOOL:
        return truth(code, x)
    if x.dtype.kind == "f":
        if dtype.kind == "f":
            return code.convert("fptrunc" if dtype == F32 else "fpext", x, dtype)
        return _float_to_int(code, x, dtype)
    if dtype.kind == "f":
        return code.convert("sitofp" if x.dtype.kind == "i" else "uitofp", x, dtype)
    return resize(code, x, dtype)


def resize(code: Instructions, x: Any, dtype: np.dtype[Any]) -> Any:
    """An integer or bool in another width: wrapped, or extended by its sign."""
    size = 0 if x.dtype == BOOL else x.dtype.itemsize
    op = "trunc" if size >= dtype.itemsize else "sext" if x.dtype.kind == "i" else "zext"
    return code.convert(op, x, dtype)


def _float_to_int(code: Instructions, x: Any, dtype: np.dtype[Any]) -> Any:
    """Narrow types go through 32 bits; wide unsigned ones subtract half the range first, as in NumPy."""
    width = max(8 * dtype.itemsize, 32)
    half = 2.0 ** (width - 1)
    wide = np.dtype(f"i{width // 8}")
    least = code.constant(-(1 << (width - 1)), wide)
    through_32 = x.dtype == F64 and width == 32

    def convert(value: Value) -> Any:
        # LLVM leaves out-of-range conversions undefined: what it made there is not selected.
        below = value.compare("<", half)
        # -2**31 - 1 is a float64, and all above it truncate into range; elsewhere -2**(width - 1) counts.
        above = value.compare(">", -half - 1.0) if through_32 else value.compare(">=", -half)
        return code.select(code.binary("and", above, below), code.convert("fptosi", value.x, wide), least)

    v = Value(code, x)
    direct = convert(v)
    if dtype.kind == "i" or dtype.itemsize < 4:
        return resize(code, direct, dtype)
    wrapped = code.binary("xor", convert(v - half), least)
    return resize(code, code.select(v.compare("<", half), direct, wrapped), dtype)
