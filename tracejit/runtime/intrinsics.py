"""The native form of every name in the scalar library: how Numba types it and which LLVM it becomes.

Importing this module imports Numba; only the compiling path does so. Nothing here is registered with Numba's
own target: the registries below belong to the contexts of `tracejit.runtime.numba_pipeline`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import Registry as LoweringRegistry
from numba.core.typing.templates import AbstractTemplate, signature
from numba.core.typing.templates import Registry as TypingRegistry

from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.scalar_library import (
    SCALAR_FUNCTIONS,
    Address,
    Cast,
    Expression,
    Libm,
    Llvm,
    Loop,
    Program,
    ScalarFunction,
)
from tracejit.runtime.instructions import (
    EXPRESSIONS,
    I1,
    I64,
    Operands,
    absolute,
    call_libm,
    call_llvm,
    emit_cast,
    emit_program,
    is_signed,
    resize_int,
    zero_of,
)

TYPES = TypingRegistry()
LOWERINGS = LoweringRegistry("tracejit")


# Typing -----------------------------------------------------------------------------------------------------


def _float_type(args: tuple[Any, ...]) -> Any:
    floats = [t for t in args if isinstance(t, types.Float)]
    return types.float32 if floats and all(t == types.float32 for t in floats) else types.float64


def _common_type(args: tuple[Any, ...]) -> Any:
    """The type that NumPy gives to an operation on `args`; Numba's names for scalar types are NumPy's."""
    if all(t == args[0] for t in args):
        return args[0]
    name = np.result_type(*[str(t) for t in args]).name
    return types.boolean if name == "bool" else getattr(types, name)


def _signature(entry: ScalarFunction, args: tuple[Any, ...]) -> Any:
    if isinstance(entry.form, Cast):
        return signature(getattr(types, entry.form.dtype.replace("bool", "boolean")), *args)
    if isinstance(entry.form, Address):
        return signature(types.CPointer(getattr(types, entry.form.dtype)), types.int64)
    if entry.name == "select":
        kind = _common_type(args[1:])
        return signature(kind, types.boolean, kind, kind)
    if entry.name == "ldexp":
        kind = _float_type(args[:1])
        return signature(kind, kind, types.int64)
    if entry.result == "first":
        return signature(args[0], *[args[0]] * len(args))
    kind = _float_type(args) if entry.result == "float" else _common_type(args)
    return signature(types.boolean if entry.result == "bool" else kind, *[kind] * len(args))


# Loops ------------------------------------------------------------------------------------------------------
# Compiled as functions of their own, in uint64: products of either sign have the same low bits.

_to_u64 = SCALAR_FUNCTIONS["to_u64"].evaluate


def _gcd(a: Any, b: Any) -> Any:
    while b != _to_u64(0):
        rest = a % b
        a = b
        b = rest
    return a


def _lcm(a: Any, b: Any) -> Any:
    if a == _to_u64(0) or b == _to_u64(0):
        return _to_u64(0)
    first, second = a, b
    while b != _to_u64(0):
        rest = a % b
        a = b
        b = rest
    return _to_u64(first // a) * second


def _power(base: Any, exponent: Any) -> Any:
    result = _to_u64(1)
    while exponent != _to_u64(0):
        if exponent & _to_u64(1) != _to_u64(0):
            result = result * base
        base = base * base
        exponent = exponent >> _to_u64(1)
    return result


LOOPS: dict[str, Callable[..., Any]] = {
    "gcd": _gcd,
    "lcm": _lcm,
    "int_pow": _power,
}


def _negative_power(builder: Any, kind: Any, base: Any, exponent: Any, power: Any) -> Any:
    """`power`, or for a negative exponent 1 / base**n truncated: nonzero for base 1 and -1 alone."""
    one, minus = ir.Constant(base.type, 1), ir.Constant(base.type, -1)
    odd = builder.trunc(exponent, I1)
    unit = builder.select(builder.icmp_signed("==", base, one), one, zero_of(base.type))
    alternating = builder.select(odd, minus, one)
    inverse = builder.select(builder.icmp_signed("==", base, minus), alternating, unit)
    return builder.select(builder.icmp_signed("<", exponent, zero_of(base.type)), inverse, power)


def _emit_loop(context: Any, builder: Any, entry: ScalarFunction, kind: Any, args: Operands) -> Any:
    wide = types.uint64
    if entry.name in ("gcd", "lcm"):
        # The absolute value of the least integer is right when read as unsigned.
        operands = [resize_int(builder, absolute(builder, kind, [x]), I64, False) for x in args]
    else:
        operands = [emit_cast(builder, kind, wide, x) for x in args]
    compilation = context.typing_context.compilation
    result = compilation.call(context, builder, LOOPS[entry.name], (wide,) * len(args), operands)
    result = emit_cast(builder, wide, kind, result)
    if entry.name == "int_pow" and is_signed(kind):
        return _negative_power(builder, kind, args[0], args[1], result)
    return result


# Operators --------------------------------------------------------------------------------------------------

# What Numba would compile in its own way: the scalar functions for floats and for integers.
OPERATORS: dict[Any, tuple[str, str]] = {
    operator.floordiv: ("floor_divide", "int_floor_divide"),
    operator.ifloordiv: ("floor_divide", "int_floor_divide"),
    operator.mod: ("remainder", "int_remainder"),
    operator.imod: ("remainder", "int_remainder"),
    operator.pow: ("pow_", "int_pow"),
    operator.ipow: ("pow_", "int_pow"),
    # `math.exp` and its kin, which Numba would make calls of the C library.
    **{getattr(math, name): (name, name) for name in PROGRAMS if hasattr(math, name)},
}


def emit_operator(context: Any, builder: Any, key: Any, sig: Any, args: Operands) -> Any:
    """The operator `key` of `OPERATORS` on operands of the types in `sig`."""
    kind = sig.return_type
    entry = SCALAR_FUNCTIONS[OPERATORS[key][0 if isinstance(kind, types.Float) else 1]]
    operands = [emit_cast(builder, source, kind, x) for source, x in zip(sig.args, args)]
    return _emit(entry, context, builder, signature(kind, *[kind] * len(args)), operands)


# Registration -----------------------------------------------------------------------------------------------


def _emit(entry: ScalarFunction, context: Any, builder: Any, sig: Any, args: Operands) -> Any:
    kind, form = sig.args[-1] if entry.name != "ldexp" else sig.args[0], entry.form
    if isinstance(form, Libm):
        return call_libm(builder, form.symbol, args)
    if isinstance(form, Llvm):
        return call_llvm(builder, form.name, args)
    if isinstance(form, Program):
        return emit_program(builder, PROGRAMS[entry.name], args)
    if isinstance(form, Cast):
        return emit_cast(builder, kind, sig.return_type, args[0])
    if isinstance(form, Address):
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))
    if isinstance(form, Loop):
        return _emit_loop(context, builder, entry, kind, args)
    return EXPRESSIONS[entry.name](builder, kind, args)


def _register(entry: ScalarFunction) -> None:
    def generic(self: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return _signature(entry, args)

    def lower(context: Any, builder: Any, sig: Any, args: Operands) -> Any:
        return _emit(entry, context, builder, sig, args)

    # The plain function itself is the key: kernel source compiles in the namespace in which it also runs.
    template = type(
        f"{entry.name}_template", (AbstractTemplate,), {"key": entry.evaluate, "generic": generic}
    )
    TYPES.register_global(entry.evaluate, types.Function(template))
    LOWERINGS.lower(entry.evaluate, types.VarArg(types.Any))(lower)


def check_tables() -> None:
    """Refuse to start where a name of the scalar library has no native form, or a native form no name.

    >>> check_tables()
    """
    expressions = {name for name, entry in SCALAR_FUNCTIONS.items() if isinstance(entry.form, Expression)}
    loops = {name for name, entry in SCALAR_FUNCTIONS.items() if isinstance(entry.form, Loop)}
    programs = {name for name, entry in SCALAR_FUNCTIONS.items() if isinstance(entry.form, Program)}
    assert programs == PROGRAMS.keys(), programs ^ PROGRAMS.keys()
    assert expressions == EXPRESSIONS.keys(), expressions ^ EXPRESSIONS.keys()
    assert loops == LOOPS.keys(), loops ^ LOOPS.keys()


for _entry in SCALAR_FUNCTIONS.values():
    _register(_entry)
