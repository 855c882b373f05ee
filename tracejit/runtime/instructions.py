"""The instructions of the scalar library that are neither calls nor loops: formulas, integer rules and casts.

Numba's types tell what an operand means, the builder takes LLVM values. Importing this module imports Numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

Operands = list[Any]
Emit = Callable[[Any, Any, Operands], Any]  # builder, Numba type of the operands, LLVM operands

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


# Expressions ------------------------------------------------------------------------------------------------


class Value:
    """An LLVM value of one float type with Python's operators, to write formulas as formulas."""

    def __init__(self, builder: Any, llvm: Any) -> None:
        self.builder = builder
        self.llvm = llvm

    def constant(self, number: float) -> Value:
        return Value(self.builder, ir.Constant(self.llvm.type, number))

    def _with(self, emit: Callable[[Any, Any], Any], other: Value | float) -> Value:
        right = other if isinstance(other, Value) else self.constant(other)
        return Value(self.builder, emit(self.llvm, right.llvm))

    def __add__(self, other: Value | float) -> Value:
        return self._with(self.builder.fadd, other)

    def __sub__(self, other: Value | float) -> Value:
        return self._with(self.builder.fsub, other)

    def __mul__(self, other: Value | float) -> Value:
        return self._with(self.builder.fmul, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._with(self.builder.fdiv, other)

    def __radd__(self, other: float) -> Value:
        return self.constant(other) + self

    def __rsub__(self, other: float) -> Value:
        return self.constant(other) - self

    def __rmul__(self, other: float) -> Value:
        return self.constant(other) * self

    def __rtruediv__(self, other: float) -> Value:
        return self.constant(other) / self

    def __neg__(self) -> Value:
        return Value(self.builder, self.builder.fneg(self.llvm))

    def compare(self, operator: str, other: Value | float) -> Any:
        """The truth of an ordered comparison, false where either side is nan; `!=` is true there."""
        emit = self.builder.fcmp_unordered if operator == "!=" else self.builder.fcmp_ordered
        return self._with(lambda a, b: emit(operator, a, b), other).llvm

    def where(self, condition: Any, other: Value | float) -> Value:
        """`self` where `condition` holds, else `other`."""
        return self._with(lambda a, b: self.builder.select(condition, a, b), other)

    def fma(self, factor: Value | float, term: Value | float) -> Value:
        # Not `llvm.fma`, which becomes a call of the C library on a machine without the instruction.
        return self.llvm_call("fmuladd", factor, term)

    def absolute(self) -> Value:
        return self.llvm_call("fabs")

    def copysign(self, sign: Value) -> Value:
        return self.llvm_call("copysign", sign)

    def sqrt(self) -> Value:
        return self.llvm_call("sqrt")

    def floor(self) -> Value:
        return self.llvm_call("floor")

    def widened(self) -> Value:
        return Value(self.builder, self.builder.fpext(self.llvm, ir.DoubleType()))

    def narrowed(self) -> Value:
        return Value(self.builder, self.builder.fptrunc(self.llvm, ir.FloatType()))

    def rescue(self, condition: Any, symbol: str, *args: Value) -> Value:
        """`self`, but the C function `symbol` of `args` where `condition` holds; called only if it does."""
        before = self.builder.block
        with self.builder.if_then(condition, likely=False):
            other = call_libm(self.builder, symbol, [a.llvm for a in args])
            then = self.builder.block
        result = self.builder.phi(self.llvm.type)
        result.add_incoming(self.llvm, before)
        result.add_incoming(other, then)
        return Value(self.builder, result)

    @property
    def width(self) -> int:
        return 32 if isinstance(self.llvm.type, ir.FloatType) else 64

    def bits(self) -> BitsValue:
        return BitsValue(self.builder, self.builder.bitcast(self.llvm, ir.IntType(self.width)))

    def llvm_call(self, name: str, *others: Value | float) -> Value:
        return self._call(call_llvm, name, *others)

    def libm_call(self, name: str, *others: Value | float) -> Value:
        return self._call(call_libm, name, *others)

    def _call(self, call: Callable[..., Any], name: str, *others: Value | float) -> Value:
        rest = [x if isinstance(x, Value) else self.constant(x) for x in others]
        return Value(self.builder, call(self.builder, name, [self.llvm, *[x.llvm for x in rest]]))


class BitsValue:
    """A float's bits as an LLVM integer without sign, with the operators of `codegen.math.Bits`."""

    def __init__(self, builder: Any, llvm: Any) -> None:
        self.builder = builder
        self.llvm = llvm

    def _with(self, emit: Callable[[Any, Any], Any], other: BitsValue | int) -> BitsValue:
        right = other.llvm if isinstance(other, BitsValue) else ir.Constant(self.llvm.type, other)
        return BitsValue(self.builder, emit(self.llvm, right))

    def __add__(self, other: BitsValue | int) -> BitsValue:
        return self._with(self.builder.add, other)

    def __sub__(self, other: BitsValue | int) -> BitsValue:
        return self._with(self.builder.sub, other)

    def __and__(self, other: BitsValue | int) -> BitsValue:
        return self._with(self.builder.and_, other)

    def __or__(self, other: BitsValue | int) -> BitsValue:
        return self._with(self.builder.or_, other)

    def __xor__(self, other: BitsValue | int) -> BitsValue:
        return self._with(self.builder.xor, other)

    def __lshift__(self, count: int) -> BitsValue:
        return self._with(self.builder.shl, count)

    def __rshift__(self, count: int) -> BitsValue:
        return self._with(self.builder.lshr, count)

    def has(self, mask: int) -> Any:
        return self.builder.icmp_unsigned("!=", (self & mask).llvm, ir.Constant(self.llvm.type, 0))

    def real(self) -> Value:
        kind = ir.FloatType() if self.llvm.type.width == 32 else ir.DoubleType()
        return Value(self.builder, self.builder.bitcast(self.llvm, kind))


def emit_program(builder: Any, program: Callable[..., Any], args: Operands) -> Any:
    """Print a program of `codegen.math` in place."""
    return program(*[Value(builder, arg) for arg in args]).llvm


def call_llvm(builder: Any, name: str, args: Operands) -> Any:
    """Call `llvm.<name>` overloaded on the type of its arguments."""
    kind = args[0].type
    suffix = {"double": "f64", "float": "f32"}.get(str(kind), str(kind))
    function_type = ir.FunctionType(kind, [arg.type for arg in args])
    return builder.call(
        cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{suffix}"), args
    )


def call_libm(builder: Any, symbol: str, args: Operands) -> Any:
    """Call a C function of floats, marked free of side effects so that repeated calls merge and hoist."""
    kind = args[0].type
    name = f"{symbol}f" if isinstance(kind, ir.FloatType) else symbol
    function_type = ir.FunctionType(kind, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    function.attributes.add("nounwind")
    function.attributes.add("readnone")
    return builder.call(function, args)


def _formula(function: Callable[..., Value]) -> Emit:
    def emit(builder: Any, kind: Any, args: Operands) -> Any:
        return function(*[Value(builder, arg) for arg in args]).llvm

    return emit


def is_signed(kind: Any) -> bool:
    return isinstance(kind, types.Integer) and bool(getattr(kind, "signed", False))


def zero_of(kind: Any) -> Any:
    return ir.Constant(kind, 0)


def _reassociable(float_name: str, int_name: str, bool_name: str) -> Emit:
    def emit(builder: Any, kind: Any, args: Operands) -> Any:
        if isinstance(kind, types.Float):
            return getattr(builder, float_name)(*args, flags=("reassoc",))
        # The sum of booleans is their disjunction, the product their conjunction, as in NumPy.
        return getattr(builder, bool_name if kind == types.boolean else int_name)(*args)

    return emit


def _extremum(float_name: str, int_name: str) -> Emit:
    """An LLVM intrinsic for floats, which vectorises in reductions, and one for integers by their sign."""

    def emit(builder: Any, kind: Any, args: Operands) -> Any:
        if isinstance(kind, types.Float):
            return call_llvm(builder, float_name, args)
        return call_llvm(builder, ("s" if is_signed(kind) else "u") + int_name, args)

    return emit


def absolute(builder: Any, kind: Any, args: Operands) -> Any:
    if isinstance(kind, types.Float):
        return call_llvm(builder, "fabs", args)
    if is_signed(kind):
        negative = builder.icmp_signed("<", args[0], zero_of(args[0].type))
        return builder.select(negative, builder.neg(args[0]), args[0])
    return args[0]


def _sign(builder: Any, kind: Any, args: Operands) -> Any:
    (x,) = args
    if isinstance(kind, types.Float):
        v = Value(builder, x)
        signed = v.constant(1.0).where(v.compare(">", 0.0), v.constant(-1.0).where(v.compare("<", 0.0), 0.0))
        return v.where(v.compare("!=", v), signed).llvm
    zero, one = zero_of(x.type), ir.Constant(x.type, 1)
    nonzero = builder.select(builder.icmp_unsigned("!=", x, zero), one, zero)
    if not is_signed(kind):
        return nonzero
    return builder.select(builder.icmp_signed("<", x, zero), ir.Constant(x.type, -1), nonzero)


def _float_test(test: Callable[[Value], Any], otherwise: bool) -> Emit:
    """A question about floats; for integers the answer is `otherwise`."""

    def emit(builder: Any, kind: Any, args: Operands) -> Any:
        if isinstance(kind, types.Float):
            return test(Value(builder, args[0]))
        return ir.Constant(I1, int(otherwise))

    return emit


def _signbit(builder: Any, kind: Any, args: Operands) -> Any:
    (x,) = args
    if isinstance(kind, types.Float):
        x = builder.bitcast(x, ir.IntType(kind.bitwidth))
    elif not is_signed(kind):
        return ir.Constant(I1, 0)
    return builder.icmp_signed("<", x, zero_of(x.type))


def _truth(builder: Any, x: Any) -> Any:
    if isinstance(x.type, ir.IntType):
        return builder.icmp_unsigned("!=", x, zero_of(x.type))
    return builder.fcmp_unordered("!=", x, ir.Constant(x.type, 0.0))


def _logical(name: str) -> Emit:
    def emit(builder: Any, kind: Any, args: Operands) -> Any:
        return getattr(builder, name)(*[_truth(builder, x) for x in args])

    return emit


def _select(builder: Any, kind: Any, args: Operands) -> Any:
    return builder.select(*args)


# Division: NumPy's formulas (npy_divmod in npy_math_internal.h) with selects in place of branches.


def _remainder(a: Value, b: Value) -> Value:
    mod = _fmod(a, b)
    builder = a.builder
    differs = builder.xor(b.compare("<", 0.0), mod.compare("<", 0.0))
    moved = (
        (mod + b).where(differs, mod).where(mod.compare("!=", 0.0), a.constant(0.0).llvm_call("copysign", b))
    )
    return mod.where(b.compare("==", 0.0), moved)


def _floor_divide(a: Value, b: Value) -> Value:
    mod = _fmod(a, b)
    builder = a.builder
    quotient = (a - mod) / b
    differs = builder.xor(b.compare("<", 0.0), mod.compare("<", 0.0))
    lower = builder.and_(differs, mod.compare("!=", 0.0))
    quotient = (quotient - 1.0).where(lower, quotient)
    floor = quotient.llvm_call("floor")
    floor = (floor + 1.0).where((quotient - floor).compare(">", 0.5), floor)
    floor = floor.where(quotient.compare("!=", 0.0), a.constant(0.0).llvm_call("copysign", a / b))
    return (a / b).where(b.compare("==", 0.0), floor)


def _fmod(a: Value, b: Value) -> Value:
    return Value(a.builder, a.builder.frem(a.llvm, b.llvm))


def _safe_divisor(builder: Any, kind: Any, b: Any) -> tuple[Any, Any]:
    """Whether `b` is zero, and a divisor that traps neither for that nor for the least integer over -1."""
    is_zero = builder.icmp_unsigned("==", b, zero_of(b.type))
    return is_zero, builder.select(is_zero, ir.Constant(b.type, 1), b)


def _int_divide(builder: Any, kind: Any, args: Operands) -> tuple[Any, Any, Any]:
    """Quotient toward zero, remainder of the dividend's sign, and whether the divisor is zero."""
    a, b = args
    is_zero, divisor = _safe_divisor(builder, kind, b)
    if not kind.signed:
        return builder.udiv(a, divisor), builder.urem(a, divisor), is_zero
    # x / -1 is a negation, which wraps where the division instruction traps.
    minus = builder.icmp_signed("==", divisor, ir.Constant(b.type, -1))
    divisor = builder.select(minus, ir.Constant(b.type, 1), divisor)
    quotient = builder.sdiv(a, divisor)
    rest = builder.srem(a, divisor)
    return builder.select(minus, builder.neg(a), quotient), rest, is_zero


def _int_floor_divide(builder: Any, kind: Any, args: Operands) -> Any:
    quotient, rest, is_zero = _int_divide(builder, kind, args)
    if kind.signed:
        down = _rounds_down(builder, rest, args[1])
        quotient = builder.sub(quotient, builder.zext(down, quotient.type))
    return builder.select(is_zero, zero_of(quotient.type), quotient)


def _int_remainder(builder: Any, kind: Any, args: Operands) -> Any:
    _, rest, is_zero = _int_divide(builder, kind, args)
    if kind.signed:
        down = _rounds_down(builder, rest, args[1])
        rest = builder.select(down, builder.add(rest, args[1]), rest)
    return builder.select(is_zero, zero_of(rest.type), rest)


def _int_fmod(builder: Any, kind: Any, args: Operands) -> Any:
    _, rest, is_zero = _int_divide(builder, kind, args)
    return builder.select(is_zero, zero_of(rest.type), rest)


def _rounds_down(builder: Any, rest: Any, divisor: Any) -> Any:
    nonzero = builder.icmp_signed("!=", rest, zero_of(rest.type))
    opposite = builder.icmp_signed("<", builder.xor(rest, divisor), zero_of(rest.type))
    return builder.and_(nonzero, opposite)


def _shift(left: bool) -> Emit:
    """C leaves shifts by the width or more undefined; NumPy shifts everything out, as do negative counts."""

    def emit(builder: Any, kind: Any, args: Operands) -> Any:
        a, count = args
        width = ir.Constant(a.type, kind.bitwidth)
        within = builder.icmp_unsigned("<", count, width)
        if left:
            return builder.select(within, builder.shl(a, count), zero_of(a.type))
        if kind.signed:
            last = ir.Constant(a.type, kind.bitwidth - 1)
            return builder.ashr(a, builder.select(within, count, last))
        return builder.select(within, builder.lshr(a, count), zero_of(a.type))

    return emit


# Float formulas.


def _heaviside(x: Value, at_zero: Value) -> Value:
    step = x.constant(1.0).where(x.compare(">", 0.0), x.constant(0.0).where(x.compare("<", 0.0), x))
    return at_zero.where(x.compare("==", 0.0), step)


def _spacing(x: Value) -> Value:
    away = x.libm_call("nextafter", x.constant(-math.inf).where(x.compare("<", 0.0), math.inf))
    return x.constant(math.nan).where(x.llvm_call("fabs").compare("==", math.inf), away - x)


def _ldexp(builder: Any, kind: Any, args: Operands) -> Any:
    x, exponent = args
    limit = 1 << 20  # beyond every float's range, and within C's int
    exponent = call_llvm(builder, "smin", [exponent, ir.Constant(I64, limit)])
    exponent = call_llvm(builder, "smax", [exponent, ir.Constant(I64, -limit)])
    return call_libm(builder, "ldexp", [x, builder.trunc(exponent, I32)])


def _is_infinite(x: Value) -> Any:
    return x.llvm_call("fabs").compare("==", math.inf)


EXPRESSIONS: dict[str, Emit] = {
    "sum_step": _reassociable("fadd", "add", "or_"),
    "prod_step": _reassociable("fmul", "mul", "and_"),
    "select": _select,
    "maximum": _extremum("maximum", "max"),
    "minimum": _extremum("minimum", "min"),
    "fmax": _extremum("maxnum", "max"),
    "fmin": _extremum("minnum", "min"),
    "absolute": absolute,
    "sign": _sign,
    "isnan": _float_test(lambda x: x.compare("!=", x), False),
    "isinf": _float_test(_is_infinite, False),
    "isfinite": _float_test(lambda x: x.llvm_call("fabs").compare("<", math.inf), True),
    "signbit": _signbit,
    "logical_not": lambda builder, kind, args: builder.not_(_truth(builder, args[0])),
    "logical_and": _logical("and_"),
    "logical_or": _logical("or_"),
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
}


# Casts ------------------------------------------------------------------------------------------------------


def emit_cast(builder: Any, source: Any, target: Any, x: Any) -> Any:
    """`x` of Numba type `source` as `target`; out of range it is what NumPy's `astype` gives on x86."""
    if target == types.boolean:
        return _truth(builder, x)
    if isinstance(source, types.Float):
        if isinstance(target, types.Float):
            return _resize_float(builder, x, target)
        return _float_to_int(builder, source, target, x)
    signed = is_signed(source)
    if isinstance(target, types.Float):
        kind = ir.FloatType() if target == types.float32 else ir.DoubleType()
        return builder.sitofp(x, kind) if signed else builder.uitofp(x, kind)
    return resize_int(builder, x, ir.IntType(target.bitwidth), signed)


def _resize_float(builder: Any, x: Any, target: Any) -> Any:
    if target == types.float32:
        return x if isinstance(x.type, ir.FloatType) else builder.fptrunc(x, ir.FloatType())
    return builder.fpext(x, ir.DoubleType()) if isinstance(x.type, ir.FloatType) else x


def resize_int(builder: Any, x: Any, kind: Any, signed: bool) -> Any:
    if x.type.width == kind.width:
        return x
    if x.type.width > kind.width:
        return builder.trunc(x, kind)
    return builder.sext(x, kind) if signed else builder.zext(x, kind)


def _float_to_int(builder: Any, source: Any, target: Any, x: Any) -> Any:
    """Narrow types go through 32 bits; wide unsigned ones subtract half the range first, as in NumPy."""
    width = max(target.bitwidth, 32)
    half = 2.0 ** (width - 1)
    kind = ir.IntType(width)
    least = ir.Constant(kind, -(1 << (width - 1)))

    def convert(value: Value) -> Any:
        # LLVM leaves out-of-range conversions undefined: what it made there is not selected.
        below = value.compare("<", half)
        above = value.compare(
            ">" if source == types.float64 and width == 32 else ">=", _lower_bound(source, width)
        )
        return builder.select(builder.and_(above, below), builder.fptosi(value.llvm, kind), least)

    v = Value(builder, x)
    direct = convert(v)
    if target.signed or target.bitwidth < 32:
        return resize_int(builder, direct, ir.IntType(target.bitwidth), True)
    return builder.select(v.compare("<", half), direct, builder.xor(convert(v - half), least))


def _lower_bound(source: Any, width: int) -> float:
    """-2**31 - 1 is a float64, and all above it truncate into range; elsewhere -2**(width - 1) counts."""
    return -(2.0**31) - 1.0 if source == types.float64 and width == 32 else -(2.0 ** (width - 1))
