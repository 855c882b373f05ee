"""How much a kernel computes: the instructions of its loop nest, times the trips of the loops around them.

An addition, subtraction, multiplication, division, square root, minimum or maximum of floats counts as one
flop, a fused multiply-add as two. An elementary function counts as what its program in `codegen.math` is made
of, equal instructions once, as they are printed; one of the C library as one. Comparisons, selections,
conversions, bit operations and integers are instructions and no flops. Loads, stores, indices and what a rest
of a vector wastes do not count.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from tracejit.codegen import formulas
from tracejit.codegen.llvm.kernel import BITWISE, FLOAT_OPS, PREDICATES, RENAMED
from tracejit.codegen.loops import (
    Accumulate,
    CheckIndex,
    Combine,
    Compute,
    Kernel,
    Loop,
    Scalar,
    Stage,
    Statement,
)
from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS, Libm, Llvm
from tracejit.ir import Eqn, Kind, Source

F32 = np.dtype(np.float32)
_FLOP = frozenset({"fadd", "fsub", "fmul", "fdiv", "frem"})
_FLOPS_OF_INTRINSICS = {"fmuladd": 2, "sqrt": 1, "maximum": 1, "minimum": 1, "maxnum": 1, "minnum": 1}
_REDUCERS = {"sum": "sum_step", "prod": "prod_step", "max": "maximum", "min": "minimum"}


@dataclass
class Work:
    """What runs: flops by dtype, and instructions in all.

    lines: flops (and a trifle for other instructions) by the user's line
    """

    f64: int = 0
    f32: int = 0
    instructions: int = 0
    lines: Counter[Source] = field(default_factory=Counter[Source])

    @property
    def flops(self) -> int:
        return self.f64 + self.f32

    @property
    def main_line(self) -> Source | None:
        """The line with most of the work."""
        return max(self.lines, key=lambda s: self.lines[s], default=None)

    def add(self, other: Work, times: int, source: Source | None) -> None:
        self.f64 += times * other.f64
        self.f32 += times * other.f32
        self.instructions += times * other.instructions
        if source is not None:
            self.lines[source] += times * (64 * other.flops + other.instructions + 1)


@dataclass(frozen=True)
class _Operand:
    """A value while instructions are counted; equal instructions give the same number."""

    number: int
    dtype: np.dtype[Any]


class _Count:
    """An `Instructions` that counts."""

    def __init__(self) -> None:
        self.work = Work()
        self.known: dict[Any, _Operand] = {}

    def name(self, key: Any, dtype: np.dtype[Any]) -> _Operand:
        """The value that `key` describes."""
        return self.known.setdefault((key, dtype), _Operand(len(self.known), dtype))

    def put(self, op: str, operands: Sequence[_Operand], dtype: np.dtype[Any], flops: int) -> _Operand:
        before = len(self.known)
        made = self.name((op, *[x.number for x in operands]), dtype)
        if len(self.known) > before:
            self.work.instructions += 1
            if operands and operands[0].dtype == F32:
                self.work.f32 += flops
            else:
                self.work.f64 += flops
        return made

    def constant(self, value: Any, dtype: np.dtype[Any]) -> _Operand:
        return self.name(("constant", str(value)), dtype)

    def binary(self, op: str, a: _Operand, b: _Operand) -> _Operand:
        return self.put(op, (a, b), a.dtype, int(op in _FLOP))

    def divide(self, op: str, a: _Operand, b: _Operand) -> _Operand:
        return self.put(op, (a, b), a.dtype, 0)

    def compare(self, predicate: str, a: _Operand, b: _Operand) -> _Operand:
        return self.put(predicate, (a, b), formulas.BOOL, 0)

    def select(self, condition: _Operand, a: _Operand, b: _Operand) -> _Operand:
        return self.put("select", (condition, a, b), a.dtype, 0)

    def negate(self, x: _Operand) -> _Operand:
        return self.put("negate", (x,), x.dtype, 0)

    def convert(self, op: str, x: _Operand, dtype: np.dtype[Any]) -> _Operand:
        if op == "bitcast":  # the same register
            return self.name((op, x.number), dtype)
        return self.put(f"{op} {dtype}", (x,), dtype, 0)

    def intrinsic(self, name: str, *args: _Operand) -> _Operand:
        return self.put(name, args, args[0].dtype, _FLOPS_OF_INTRINSICS.get(name, 0))

    def libm(self, symbol: str, *args: _Operand) -> _Operand:
        return self.put(symbol, args, args[0].dtype, 1)

    def rescue(self, value: _Operand, condition: Any, symbol: str, *args: _Operand) -> _Operand:
        return value  # rare arguments are what it says


@cache
def function_work(op: str, dtypes: tuple[np.dtype[Any], ...], result: np.dtype[Any]) -> Work:
    """What one call of a scalar function consists of.

    >>> f64 = np.dtype(float)
    >>> function_work("mul", (f64, f64), f64).flops
    1
    >>> function_work("exp", (f64,), f64).flops > 10
    True
    """
    count = _Count()
    args = [count.name(("argument", k), dtype) for k, dtype in enumerate(dtypes)]
    if op == "cast":
        formulas.cast(count, args[0], result)
    else:
        _call(count, op, args)
    return count.work


def _call(count: _Count, op: str, args: Sequence[_Operand]) -> None:
    """One scalar function, as `llvm.kernel` and `llvm.module` print it."""
    name = RENAMED.get(op, op)
    form = SCALAR_FUNCTIONS[name].form if name in SCALAR_FUNCTIONS else None
    if op in PREDICATES:
        count.compare(op, args[0], args[1])
    elif op in BITWISE or op in FLOAT_OPS:
        is_float = args[0].dtype.kind == "f" and op in FLOAT_OPS
        count.binary(FLOAT_OPS[op] if is_float else op, args[0], args[1])
    elif op in ("neg", "not"):
        count.negate(args[0])
    elif name in PROGRAMS:
        program: Callable[..., Any] = PROGRAMS[name]
        program(*[formulas.Value(count, a) for a in args])
    elif name in formulas.EXPRESSIONS:
        formulas.EXPRESSIONS[name](count, *args)
    elif isinstance(form, Libm):
        count.libm(form.symbol, *args)
    elif isinstance(form, Llvm):
        count.intrinsic(form.name, *args)
    else:  # a loop over integers
        count.put(name, args, args[0].dtype, 0)


def kernel_work(kernel: Kernel) -> Work:
    """What one run of a kernel computes.

    >>> from tracejit.ops.reading import read_graph
    >>> from tracejit.codegen.program import build_program
    >>> from tracejit.schedule.fusion import schedule_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[5,100]', v1: 'f64[100]'):
    ...     v2: 'f64[5,100]' = broadcast(v1, dims=(1,), shape=(5, 100))
    ...     v3: 'f64[5,100]' = multiply(v0, v2)
    ...     v4: 'f64[5]' = reduce_sum(v3, axes=(1,))
    ...     return (v4,)
    ... ''')
    >>> (kernel,) = build_program(schedule_graph(graph)).kernels
    >>> kernel_work(kernel).flops  # a multiplication and an addition for each of 500 elements
    1000
    """
    total = Work()
    _add_body(kernel.body, 1, total)
    return total


def _add_body(body: Sequence[Statement], times: int, total: Work) -> None:
    for statement in body:
        if isinstance(statement, Loop):
            stages = [s for s in statement.body if isinstance(s, Stage)]
            for stage in stages:  # each runs once a row of its own
                _add_body(stage.body, times * stage.extent, total)
            _add_body([] if stages else statement.body, times * statement.extent, total)
            continue
        work = _statement_work(statement)
        if work is not None:
            total.add(work, times, getattr(statement, "source", None))


def _statement_work(statement: Statement) -> Work | None:
    if isinstance(statement, Compute):
        return _scalar_work(statement.scalar)
    if isinstance(statement, Accumulate):
        return _reduction_work(statement.accumulator.reducer, statement.accumulator.dtype)
    if isinstance(statement, Combine):
        return _reduction_work(statement.reducer, statement.buffer.dtype)
    if isinstance(statement, CheckIndex):
        return Work(instructions=4)  # compare, add, select, compare
    return None


def _scalar_work(scalar: Scalar) -> Work:
    if scalar.op in ("index", "guard"):
        return Work(instructions=1)
    return function_work(scalar.op, tuple(a.dtype for a in scalar.args), scalar.dtype)


def _reduction_work(reducer: str, dtype: np.dtype[Any]) -> Work:
    if reducer in _REDUCERS:
        return function_work(_REDUCERS[reducer], (dtype, dtype), dtype)
    return Work(instructions=1 if reducer in ("any", "all") else 3)  # a position: compare and two selections


def library_work(eqn: Eqn) -> Work | None:
    """What a library call computes: two flops for each product of a contraction; None where nobody knows.

    >>> import tracejit as tj
    >>> row = tj.inspect(np.matmul)(np.ones((40, 50)), np.ones((50, 60))).roofline.fused.rows[0]
    >>> row.work.flops == 2 * 40 * 50 * 60
    True
    """
    if eqn.primitive.kind is not Kind.CONTRACTION:
        return None
    left = eqn.inputs[0].type.shape
    flops = 2 * eqn.out.type.size * math.prod(left[a] for a in eqn.params["contract"][0])
    work = Work(f32=flops) if eqn.out.type.dtype == F32 else Work(f64=flops)
    work.instructions = flops // 2
    if eqn.source is not None:
        work.lines[eqn.source] = 1
    return work
