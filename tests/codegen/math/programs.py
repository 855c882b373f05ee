"""All elementary functions as loops over vectors in one compiled module, and the error of a result in ulp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
import pytest

from tracejit.codegen.llvm.code import Code, Reg, type_text
from tracejit.codegen.llvm.module import VECTOR_BYTES, Module
from tracejit.codegen.math import PROGRAMS
from tracejit.runtime import native

Array = np.ndarray[Any, Any]

DTYPES = {"f64": np.dtype(np.float64), "f32": np.dtype(np.float32)}
BINARY = frozenset({"pow_", "hypot", "atan2", "logaddexp", "logaddexp2"})
ALL = [(name, short) for name in PROGRAMS for short in DTYPES]

IS_X86 = "x86_64" in native.host_description()


def arity(name: str) -> int:
    return 2 if name in BINARY else 1


def loop_text(module: Module, name: str, dtype: np.dtype[Any], symbol: str, vector_bytes: int) -> str:
    """A function of two operands, a result and a whole number of vectors of elements."""
    lanes = vector_bytes // dtype.itemsize
    code = Code(module)
    operands = [Reg(f"%x{k}", dtype, lanes) for k in range(arity(name))]
    if name == "erf_given":
        minus_square = code.negate(code.binary("fmul", operands[0], operands[0]))
        operands.append(module.call_program(code, "exp", [minus_square]))
    result = module.call_program(code, name, operands)
    element, vector = type_text(dtype), type_text(dtype, lanes)
    loads = [
        f"%p{k} = getelementptr {element}, ptr %{'ab'[k]}, i64 %i\n%x{k} = load {vector}, ptr %p{k}, align 4"
        for k in range(arity(name))
    ]
    return "\n".join(
        [
            f"define void @{symbol}(ptr %a, ptr %b, ptr %out, i64 %n) noinline {{",
            "entry:\n br label %loop\nloop:\n %i = phi i64 [ 0, %entry ], [ %j, %loop ]",
            *loads,
            *code.lines,
            f"%q = getelementptr {element}, ptr %out, i64 %i",
            f"store {vector} {result.text}, ptr %q, align 4",
            f"%j = add i64 %i, {lanes}",
            "%more = icmp slt i64 %j, %n\nbr i1 %more, label %loop, label %done\ndone:\nret void\n}",
        ]
    )


def module_text(cases: Sequence[tuple[str, str]], vector_bytes: int = VECTOR_BYTES) -> str:
    """`program(ip, fp)` runs the case of number ip[0] on the addresses ip[1:4] and the length ip[4]."""
    module = Module(vector_bytes)
    loops = [
        loop_text(module, name, DTYPES[short], f"case{k}", vector_bytes)
        for k, (name, short) in enumerate(cases)
    ]
    labels = " ".join(f"i64 {k}, label %run{k}" for k in range(len(cases)))
    numbers = "\n".join(
        f"%q{k} = getelementptr i64, ptr %ip, i64 {k}\n%v{k} = load {kind}, ptr %q{k}, align 8"
        for k, kind in enumerate(["i64", "ptr", "ptr", "ptr", "i64"])
    )
    runs = "\n".join(
        f"run{k}:\ncall void @case{k}(ptr %v1, ptr %v2, ptr %v3, i64 %v4)\nbr label %done"
        for k in range(len(cases))
    )
    entry = (
        f"define void @program(ptr %ip, ptr %fp) {{\nentry:\n{numbers}\n"
        f"switch i64 %v0, label %done [ {labels} ]\n{runs}\ndone:\nret void\n}}"
    )
    return module.text(loops, entry)


class Programs:
    """Compiled cases, called on arrays: `programs("exp", "f64", x)`."""

    def __init__(self, cases: Sequence[tuple[str, str]] = ALL, vector_bytes: int = VECTOR_BYTES) -> None:
        self.cases = list(cases)
        self.vector_bytes = vector_bytes
        self.native = native.load(native.compile_llvm(module_text(cases, vector_bytes)))

    def __call__(self, name: str, short: str, *arrays: Array) -> Array:
        dtype = DTYPES[short]
        lanes = self.vector_bytes // dtype.itemsize
        count = len(arrays[0])
        size = -(-count // lanes) * lanes
        padded = [np.concatenate([x.astype(dtype), np.ones(size - count, dtype)]) for x in arrays]
        out = np.empty(size, dtype)
        addresses = [x.ctypes.data for x in (padded[0], padded[-1], out)]
        ip = np.array([self.cases.index((name, short)), *addresses, size], np.int64)
        self.native(ip.ctypes.data, 0)
        return out[:count]


def programs_without_fma() -> Programs:
    """The same for a processor that has SSE4.2 and no fused multiply-add."""
    if not IS_X86:
        pytest.skip("names a processor of the x86 family")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_host", lambda: ("x86-64-v2", ""))
        return Programs()


def error_in_ulps(actual: float, exact: Any, size: Any, dtype: np.dtype[Any]) -> float:
    """|actual - exact| in units of the last place of `size`, mostly `exact`; 0 where both overflow."""
    info = np.finfo(dtype)
    if not math.isfinite(actual):
        # The first number that rounds to infinity.
        limit = mpmath.mpf(float(info.max)) * (1 + mpmath.mpf(2) ** (-info.nmant - 2))
        return 0.0 if not math.isnan(actual) and actual * exact > 0 and abs(exact) >= limit else math.inf
    exponent = mpmath.frexp(size)[1] - 1 if size else info.minexp
    unit = mpmath.mpf(2) ** (max(exponent, info.minexp) - info.nmant)
    return float(abs(mpmath.mpf(actual) - exact) / unit)
