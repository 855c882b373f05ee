"""Numba's instruction builder as the `Instructions` of `codegen.formulas`: LLVM's names on typed operands.

Importing this module imports Numba.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

BOOL = np.dtype(np.bool_)

_FLOATS = {4: ir.FloatType(), 8: ir.DoubleType()}
_PREDICATES = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


@dataclass(frozen=True)
class Typed:
    """An LLVM value of the builder, and how its bits are meant."""

    llvm: Any
    dtype: np.dtype[Any]


def dtype_of(kind: Any) -> np.dtype[Any]:
    """The dtype of a Numba scalar type, whose names are NumPy's."""
    return BOOL if kind == types.boolean else np.dtype(str(kind))


def llvm_type(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return _FLOATS[dtype.itemsize]
    return ir.IntType(1 if dtype == BOOL else 8 * dtype.itemsize)


class BuilderCode:
    """The instructions; `reassociable` float sums and products may become vectors."""

    def __init__(self, builder: Any, reassociable: bool = False) -> None:
        self.builder = builder
        self.flags = ("reassoc",) if reassociable else ()

    def constant(self, value: Any, dtype: np.dtype[Any]) -> Typed:
        number = float(value) if dtype.kind == "f" else int(value)
        return Typed(ir.Constant(llvm_type(dtype), number), dtype)

    def binary(self, op: str, a: Typed, b: Typed) -> Typed:
        emit = getattr(self.builder, {"and": "and_", "or": "or_"}.get(op, op))
        flags = {"flags": self.flags} if op[0] == "f" else {}
        return Typed(emit(a.llvm, b.llvm, **flags), a.dtype)

    def divide(self, op: str, a: Typed, b: Typed) -> Typed:
        return self.binary(op, a, b)

    def compare(self, predicate: str, a: Typed, b: Typed) -> Typed:
        """`slt`, `ult`, `eq`, ... of integers, `olt`, `une`, ... of floats."""
        operator = _PREDICATES[predicate[-2:]]
        if a.dtype.kind == "f":
            emit = self.builder.fcmp_unordered if predicate[0] == "u" else self.builder.fcmp_ordered
        else:
            emit = self.builder.icmp_signed if predicate[0] == "s" else self.builder.icmp_unsigned
        return Typed(emit(operator, a.llvm, b.llvm), BOOL)

    def select(self, condition: Typed, a: Typed, b: Typed) -> Typed:
        return Typed(self.builder.select(condition.llvm, a.llvm, b.llvm), a.dtype)

    def negate(self, x: Typed) -> Typed:
        return Typed((self.builder.fneg if x.dtype.kind == "f" else self.builder.neg)(x.llvm), x.dtype)

    def convert(self, op: str, x: Typed, dtype: np.dtype[Any]) -> Typed:
        target = llvm_type(dtype)
        return Typed(x.llvm if x.llvm.type == target else getattr(self.builder, op)(x.llvm, target), dtype)

    def intrinsic(self, name: str, *args: Typed) -> Typed:
        """Call `llvm.<name>` overloaded on the type of its arguments."""
        dtype = args[0].dtype
        kind = llvm_type(dtype)
        suffix = f"f{8 * dtype.itemsize}" if dtype.kind == "f" else str(kind)
        return Typed(self._call(f"llvm.{name}.{suffix}", kind, args), dtype)

    def libm(self, symbol: str, *args: Typed) -> Typed:
        """Call a C function of floats, marked free of side effects so that repeated calls merge and hoist."""
        dtype = args[0].dtype
        name = f"{symbol}f" if dtype.itemsize == 4 else symbol
        result = self._call(name, llvm_type(dtype), args)
        for attribute in ("nounwind", "readnone"):
            result.callee.attributes.add(attribute)
        return Typed(result, dtype)

    def _call(self, name: str, kind: Any, args: tuple[Typed, ...]) -> Any:
        function_type = ir.FunctionType(kind, [x.llvm.type for x in args])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, [x.llvm for x in args])

    def rescue(self, value: Typed, condition: Typed, symbol: str, *args: Typed) -> Typed:
        """`value`, but the C function of `args` where `condition` holds; called only if it does."""
        before = self.builder.block
        with self.builder.if_then(condition.llvm, likely=False):
            other = self.libm(symbol, *args)
            then = self.builder.block
        result = self.builder.phi(value.llvm.type)
        result.add_incoming(value.llvm, before)
        result.add_incoming(other.llvm, then)
        return Typed(result, value.dtype)
