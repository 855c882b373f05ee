"""The functions around the kernels of a program: elementary functions on lanes, calls of the C library.

Each is printed once for each number of lanes and dtype that the kernels use, and called; LLVM copies those
into the loops that are used in few places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.codegen import formulas
from tracejit.codegen.llvm.code import F32, F64, Code, Reg, suffix, type_text
from tracejit.codegen.loops import (
    Accumulate,
    Combine,
    Compute,
    Fill,
    FillRows,
    JoinCopy,
    Kernel,
    Load,
    Store,
    walk,
)
from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS, Libm, Llvm
from tracejit.errors import InternalError

VECTOR_BYTES = 64  # of the lanes of one value: one register with AVX-512, two with AVX2
MOST_LANES = 32

# Instructions of elementary functions that are copied into the loops of a program. A copy saves a call, 3 to
# 8 % of a loop's time, and costs code generation, whose time grows with the loop: beyond this it was two
# thirds of all compile time.
INLINE_BUDGET = 1000

OUTLINED, INLINED, RARE = "#3", "#1", "#4"
ATTRIBUTES = (
    'attributes #0 = { noinline nounwind "no-trapping-math"="true" }',
    'attributes #1 = { alwaysinline nounwind memory(none) "no-trapping-math"="true" }',
    "attributes #2 = { nounwind willreturn memory(none) }",
    'attributes #3 = { noinline nounwind memory(none) "no-trapping-math"="true" }',
    "attributes #4 = { cold noinline nounwind memory(none) }",
)

# Integer functions with loops, one number at a time, on 64 bits without sign.
LOOPS = {
    "gcd": """\
define internal i64 @loop.gcd(i64 %a, i64 %b) #1 {
entry:
  br label %head
head:
  %x = phi i64 [ %a, %entry ], [ %y, %body ]
  %y = phi i64 [ %b, %entry ], [ %r, %body ]
  %done = icmp eq i64 %y, 0
  br i1 %done, label %exit, label %body
body:
  %r = urem i64 %x, %y
  br label %head
exit:
  ret i64 %x
}""",
    "lcm": """\
define internal i64 @loop.lcm(i64 %a, i64 %b) #1 {
entry:
  %g = call i64 @loop.gcd(i64 %a, i64 %b)
  %none = icmp eq i64 %g, 0
  %d = select i1 %none, i64 1, i64 %g
  %q = udiv i64 %a, %d
  %p = mul i64 %q, %b
  ret i64 %p
}""",
    "int_pow": """\
define internal i64 @loop.int_pow(i64 %a, i64 %n) #1 {
entry:
  br label %head
head:
  %b = phi i64 [ %a, %entry ], [ %b2, %body ]
  %e = phi i64 [ %n, %entry ], [ %e2, %body ]
  %p = phi i64 [ 1, %entry ], [ %p2, %body ]
  %done = icmp eq i64 %e, 0
  br i1 %done, label %exit, label %body
body:
  %odd = trunc i64 %e to i1
  %pb = mul i64 %p, %b
  %p2 = select i1 %odd, i64 %pb, i64 %p
  %b2 = mul i64 %b, %b
  %e2 = lshr i64 %e, 1
  br label %head
exit:
  ret i64 %p
}""",
}
# The least number wins, whichever strand comes first: what is raised does not depend on the threads.
REPORT = """\
define internal void @report(ptr %status, i64 %number) cold noinline nounwind {
entry:
  %seen = load atomic i64, ptr %status monotonic, align 8
  br label %again
again:
  %old = phi i64 [ %seen, %entry ], [ %now, %try ]
  %is_none = icmp eq i64 %old, 0
  %is_later = icmp ult i64 %number, %old
  %takes = or i1 %is_none, %is_later
  br i1 %takes, label %try, label %done
try:
  %pair = cmpxchg ptr %status, i64 %old, i64 %number monotonic monotonic, align 8
  %now = extractvalue { i64, i1 } %pair, 0
  %is_set = extractvalue { i64, i1 } %pair, 1
  br i1 %is_set, label %done, label %again
done:
  ret void
}"""
_NEEDS: dict[str, tuple[str, ...]] = {"gcd": (), "lcm": ("gcd",), "int_pow": ()}


class Module:
    """Declarations and functions, in order of first use."""

    def __init__(self, vector_bytes: int = VECTOR_BYTES, register_bytes: int = VECTOR_BYTES) -> None:
        self.vector_bytes = vector_bytes
        self.register_bytes = min(register_bytes, vector_bytes)
        self.declarations: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.uses: Counter[str] = Counter()  # of elementary functions: places that call them

    def declare(self, symbol: str, signature: str) -> None:
        if symbol not in self.functions:
            self.declarations.setdefault(symbol, signature)

    def text(self, kernels: Sequence[str], entry: str) -> str:
        outside = [f"declare {s}" for n, s in self.declarations.items() if n not in self.functions]
        inlined = self.inlined()
        functions = [
            text.replace(OUTLINED, INLINED, 1) if name in inlined or name not in self.uses else text
            for name, text in self.functions.items()
        ]
        parts = [*outside, *functions, *kernels, entry, *ATTRIBUTES]
        return "\n".join(parts) + "\n"

    def inlined(self) -> set[str]:
        """The elementary functions that are copied to their uses: cheapest first, while the budget lasts."""
        costs = {name: self.functions[name].count("\n") * (n - 1) for name, n in self.uses.items()}
        chosen: set[str] = set()
        left = INLINE_BUDGET
        for name in sorted(costs, key=lambda n: costs[n]):
            left -= costs[name]
            if left < 0:
                break
            chosen.add(name)
        return chosen

    def lanes_of(self, kernel: Kernel, vector_bytes: int | None = None) -> int:
        """As many as fill a vector with the widest type that the kernel computes with."""
        widest = 1
        for s in walk(kernel.body):
            if isinstance(s, Compute) and s.scalar.op == "cast" and s.scalar.dtype == F64:
                continue  # what is computed with it counts; a sum of float32 in float64 does not
            if isinstance(s, (Load, Compute)):
                widest = max(widest, s.scalar.dtype.itemsize)
            elif isinstance(s, (Store, Combine, Fill, FillRows, JoinCopy)):
                widest = max(widest, s.buffer.dtype.itemsize)
            elif isinstance(s, Accumulate) and s.accumulator.dtype != F64:
                widest = max(widest, s.accumulator.dtype.itemsize)
        return min((vector_bytes or self.vector_bytes) // widest, MOST_LANES)

    def report(self) -> str:
        """The function that leaves the number of a failed check, from 1, in a status word."""
        self.functions.setdefault("report", REPORT)
        return "report"

    # --- calls ----------------------------------------------------------------------------------------------

    def call(self, code: Code, op: str, values: Sequence[Reg]) -> Reg:
        """The scalar function `op` of `codegen.scalar_library`."""
        if op in PROGRAMS:
            return self.call_program(code, op, values)
        if op in formulas.EXPRESSIONS:
            return formulas.EXPRESSIONS[op](code, *values)
        entry = SCALAR_FUNCTIONS.get(op)
        if op in LOOPS:
            return self.call_loop(code, op, values)
        if entry is not None and isinstance(entry.form, Libm):
            return code.libm(entry.form.symbol, *values)
        if entry is not None and isinstance(entry.form, Llvm):
            return code.intrinsic(entry.form.name, *values)
        raise InternalError(f"the LLVM printer does not know the scalar function {op}")

    def call_program(self, code: Code, name: str, values: Sequence[Reg]) -> Reg:
        operands, lanes, _ = code.together(*values)
        dtype = operands[0].dtype
        symbol = f"{name}.{suffix(dtype, lanes)}"
        if symbol not in self.functions:
            self.functions[symbol] = ""  # taken, while it is printed
            inner = Code(self)
            arguments = [Reg(f"%a{k}", dtype, lanes) for k in range(len(operands))]
            program: Callable[..., Any] = PROGRAMS[name]
            result = program(*[formulas.Value(inner, a) for a in arguments]).x
            self.functions[symbol] = self.function_text(inner, symbol, arguments, code.splat(result, lanes))
        return self.call_own(code, symbol, operands, dtype, lanes)

    def function_text(self, inner: Code, symbol: str, arguments: Sequence[Reg], result: Reg) -> str:
        inner.put(f"ret {result.type} {result.text}")
        listed = ", ".join(f"{a.type} {a.text}" for a in arguments)
        return f"define internal {result.type} @{symbol}({listed}) {OUTLINED} {{\n{inner.text()}\n}}"

    def call_own(
        self, code: Code, symbol: str, operands: Sequence[Reg], dtype: np.dtype[Any], lanes: int
    ) -> Reg:
        result = type_text(dtype, lanes)
        listed = ", ".join(f"{a.type} {a.text}" for a in operands)
        region = max(a.region for a in operands)
        before = code.count
        found = code.pure(f"call {result} @{symbol}({listed})", dtype, lanes, region)
        self.uses[symbol] += code.count - before  # not where an equal call is found
        return found

    def call_libm(self, code: Code, symbol: str, values: Sequence[Reg], rare: bool = False) -> Reg:
        """The C function on a number, or one lane after the other in a function of its own."""
        lanes = max(v.lanes for v in values)
        values = [code.splat(v, lanes) for v in values]
        dtype = values[0].dtype
        name = f"{symbol}f" if dtype == F32 else symbol
        if not lanes:
            return self._call_c(code, name, values)
        own = f"{'rare' if rare else 'lanes'}.{name}.v{lanes}"
        if own not in self.functions:
            inner = Code(self)
            arguments = [Reg(f"%a{k}", v.dtype, lanes) for k, v in enumerate(values)]
            result = Reg("poison", dtype, lanes)
            for k in range(lanes):
                single = self._call_c(inner, name, [inner.lane(a, k) for a in arguments])
                result = inner.with_lane(result, k, single)
            text = self.function_text(inner, own, arguments, result)
            self.functions[own] = text.replace(OUTLINED, RARE, 1) if rare else text
        return code.effect(
            f"call {values[0].type} @{own}({', '.join(f'{v.type} {v.text}' for v in values)})", dtype, lanes
        )

    def _call_c(self, code: Code, name: str, values: Sequence[Reg]) -> Reg:
        dtype = values[0].dtype
        kind = type_text(dtype)
        self.declare(name, f"{kind} @{name}({', '.join(v.type for v in values)}) #2")
        return code.effect(f"call {kind} @{name}({', '.join(f'{v.type} {v.text}' for v in values)})", dtype)

    def call_loop(self, code: Code, name: str, values: Sequence[Reg]) -> Reg:
        for needed in (*_NEEDS[name], name):
            self.functions.setdefault(f"loop.{needed}", LOOPS[needed])
        (a, b), lanes, _ = code.together(*values)

        def call(*operands: Reg) -> Reg:
            return code.effect(
                f"call i64 @loop.{name}({', '.join(f'i64 {x.text}' for x in operands)})", formulas.U64
            )

        if not lanes:
            return formulas.integer_loop(code, name, call, a, b)
        result = Reg("poison", a.dtype, lanes)
        for k in range(lanes):
            single = formulas.integer_loop(code, name, call, code.lane(a, k), code.lane(b, k))
            result = code.with_lane(result, k, single)
        return result
