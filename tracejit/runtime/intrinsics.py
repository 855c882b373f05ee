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
from numba.core import types
from numba.core.imputils import Registry as LoweringRegistry
from numba.core.typing.templates import AbstractTemplate, signature
from numba.core.typing.templates import Registry as TypingRegistry

from tracejit.codegen import formulas
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
from tracejit.runtime.instructions import BuilderCode, Typed, dtype_of

Operands = list[Any]

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
    if entry.result in ("f32", "u16"):
        return signature(types.float32 if entry.result == "f32" else types.uint16, *args)
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
    code = BuilderCode(builder)
    typed = [Typed(x, dtype_of(source)) for source, x in zip(sig.args, args)]
    operands = [formulas.cast(code, x, dtype_of(kind)) for x in typed]
    return _emit(entry, context, code, operands).llvm


# Registration -----------------------------------------------------------------------------------------------

_REASSOCIABLE = frozenset({"sum_step", "prod_step"})


def _emit(entry: ScalarFunction, context: Any, code: BuilderCode, operands: list[Typed]) -> Typed:
    form = entry.form
    if isinstance(form, Libm):
        return code.libm(form.symbol, *operands)
    if isinstance(form, Llvm):
        return code.intrinsic(form.name, *operands)
    if isinstance(form, Program):
        program: Callable[..., Any] = PROGRAMS[entry.name]
        return program(*[formulas.Value(code, x) for x in operands]).x
    if isinstance(form, Loop):
        return formulas.integer_loop(code, entry.name, _loop_call(context, code, entry.name), *operands)
    return formulas.EXPRESSIONS[entry.name](code, *operands)


def _loop_call(context: Any, code: BuilderCode, name: str) -> Callable[..., Typed]:
    compilation = context.typing_context.compilation

    def call(*operands: Typed) -> Typed:
        kinds = (types.uint64,) * len(operands)
        values = [x.llvm for x in operands]
        return Typed(compilation.call(context, code.builder, LOOPS[name], kinds, values), formulas.U64)

    return call


def _lower(entry: ScalarFunction, context: Any, builder: Any, sig: Any, args: Operands) -> Any:
    if isinstance(entry.form, Address):
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))
    code = BuilderCode(builder, reassociable=entry.name in _REASSOCIABLE)
    operands = [Typed(x, dtype_of(kind)) for kind, x in zip(sig.args, args)]
    if isinstance(entry.form, Cast):
        return formulas.cast(code, operands[0], dtype_of(sig.return_type)).llvm
    return _emit(entry, context, code, operands).llvm


def _register(entry: ScalarFunction) -> None:
    def generic(self: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return _signature(entry, args)

    def lower(context: Any, builder: Any, sig: Any, args: Operands) -> Any:
        return _lower(entry, context, builder, sig, args)

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
    assert expressions == formulas.EXPRESSIONS.keys(), expressions ^ formulas.EXPRESSIONS.keys()
    assert loops == LOOPS.keys(), loops ^ LOOPS.keys()


for _entry in SCALAR_FUNCTIONS.values():
    _register(_entry)
