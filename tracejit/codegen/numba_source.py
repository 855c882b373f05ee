"""Loop nests printed as Python source: Numba compiles it, `tj.inspect` shows it, plain Python runs it.

Enters: `Kernel`s. Leaves: the text of one module whose `program(ip, fp)` runs the kernels of a segment; `ip`
holds object addresses, sizes and strides, `fp` constants, so that the text is the same for every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tracejit.codegen.loops import (
    Accumulate,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    Kernel,
    Layouts,
    Load,
    Loop,
    Reset,
    Scalar,
    SetRegister,
    Stage,
    Statement,
    Store,
    neutral,
    walk,
)
from tracejit.codegen.nest import NestPrinter, handled
from tracejit.codegen.program import Segment
from tracejit.codegen.symbols import Symbols
from tracejit.codegen.table import KernelText, ProgramText, Slot, arrange
from tracejit.ir import DTYPE_NAMES, Source
from tracejit.schedule.index import AxisRef, Guard, Index, Loaded, Quotient, Remainder

INDENT = "    "
INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
}
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
BITWISE = {"and": "&", "or": "|", "xor": "^"}
LOGICAL = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}
RENAMED = {"abs": "absolute"}
IN_MATH = frozenset(
    {"exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh"}
)


class KernelPrinter(NestPrinter[str]):
    """Prints one kernel as Python."""

    def __init__(self, kernel: Kernel, symbols: Symbols, strided: Layouts) -> None:
        super().__init__(kernel, symbols, strided)
        self.axis_names: dict[int, str] = {}
        self.lines: list[str] = []
        self.counters: dict[str, int] = {}
        self.last_source: Source | None = None
        self.depth = 1

    def run(self) -> KernelText:
        self.symbols.start_kernel()
        self.block(self.kernel.body)
        strides = tuple(self.strides)
        symbols = tuple(self.symbols.used)
        arguments = [b.name for b in self.kernel.buffers]
        arguments += [self.strides[s] for s in strides] + list(symbols)
        if self.kernel.checks_indices:
            arguments.append("status")
        header = f"def {self.kernel.name}({', '.join(arguments)}):"
        described = [f"{INDENT}# {line}" for line in describe_buffers(self.kernel)]
        return KernelText(self.kernel, "\n".join([header, *described, *self.lines]), strides, symbols)

    # --- statements -----------------------------------------------------------------------------------

    def put(self, deeper: int, text: str, source: Source | None = None) -> None:
        line = INDENT * (self.depth + deeper) + text
        if source is not None and source != self.last_source:
            text = source.text
            line = f"{line:<48}  # {source}  {text if len(text) <= 60 else text[:57] + '...'}"
            self.last_source = source
        self.lines.append(line.rstrip())

    @cached_property
    def _handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return handled(self)

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return self._handlers

    def compute(self, s: Compute) -> None:
        if not self.settle(s.scalar):
            self.put(0, f"{self.define(s.scalar)} = {self.expression(s.scalar)}", s.source)

    def load(self, s: Load) -> None:
        zero = self.typed(0, s.buffer.dtype)
        if self.fails(s.guards):
            self.names[s.scalar] = zero
            return
        text = self.memory(s.buffer, s.index)
        if s.buffer.dtype.kind == "b":
            text = f"{text} != 0"
        guards = self.undecided(s.guards)
        if guards:
            text = f"{text} if {self.conditions(guards)} else {zero}"
        self.put(0, f"{self.define(s.scalar)} = {text}", s.source)

    def check_index(self, s: CheckIndex) -> None:
        name, operand, extent = self.define(s.scalar), self.value(s.operand), self.symbols.size(s.extent)
        self.put(0, f"{name} = {self.integer(operand)}", s.source)
        self.put(0, f"if {name} < 0:")
        self.put(1, f"{name} += {extent}")
        self.put(0, f"if {name} < 0 or {name} >= {extent}:")
        self.put(1, self.failed(self.symbols.check(s)))
        self.put(1, f"{name} = 0")

    def failed(self, number: int) -> str:
        """What a check does that fails, by its number from 1."""
        return f"status[0] = {number}"

    def integer(self, text: str) -> str:
        return f"to_i64({text})"

    def store(self, s: Store) -> None:
        value = self.value(s.value)
        if s.buffer.dtype.kind == "b":
            value = f"to_u8({value})"
        self.put(0, f"{self.memory(s.buffer, s.index)} = {value}")

    def reset(self, s: Reset) -> None:
        name = self.fresh("acc")
        self.names[s.accumulator] = name
        reducer = s.accumulator.reducer
        self.put(0, f"{name} = {self.typed(neutral(reducer, s.accumulator.dtype), s.accumulator.dtype)}")
        if reducer.startswith("arg"):
            self.put(0, f"{name}_at = 0")
            self.put(0, f"{name}_first = True")

    def accumulate(self, s: Accumulate) -> None:
        name, value, reducer = self.names[s.accumulator], self.value(s.value), s.accumulator.reducer
        if not reducer.startswith("arg"):
            self.put(0, f"{name} = {self.combined(reducer, name, value, s.accumulator.dtype)}", s.source)
            return
        assert s.position is not None
        better = f"{value} {'>' if reducer == 'argmax' else '<'} {name}"
        if s.accumulator.dtype.kind == "f":
            better = f"({better} or {value} != {value}) and {name} == {name}"
        self.put(0, f"if {name}_first or {better}:", s.source)
        self.put(1, f"{name} = {value}")
        self.put(1, f"{name}_at = {self.index(s.position)}")
        self.put(1, f"{name}_first = False")

    def set_register(self, s: SetRegister) -> None:
        if s.register not in self.names:
            self.names[s.register] = self.fresh("state")
        self.put(0, f"{self.names[s.register]} = {self.value(s.value)}")

    def fill(self, s: Fill) -> None:
        count = 1
        for n in s.buffer.shape:
            count *= n
        value = self.typed(neutral(s.reducer, s.buffer.dtype), s.buffer.dtype)
        self.put(0, f"for i in range({self.symbols.size(count)}):")
        self.put(1, f"{s.buffer.name}[i] = {f'to_u8({value})' if s.buffer.dtype.kind == 'b' else value}")

    def combine(self, s: Combine) -> None:
        place = self.memory(s.buffer, s.index)
        old = f"({place} != 0)" if s.buffer.dtype.kind == "b" else place
        text = self.combined(s.reducer, old, self.value(s.value), s.buffer.dtype)
        if s.buffer.dtype.kind == "b":
            text = f"to_u8({text})"
        self.put(0, f"{place} = {text}", s.source)

    def combined(self, reducer: str, old: str, value: str, dtype: np.dtype[Any]) -> str:
        names = {"sum": "sum_step", "prod": "prod_step", "max": "maximum", "min": "minimum"}
        if reducer in ("any", "all"):
            return f"{'logical_or' if reducer == 'any' else 'logical_and'}({old}, {value})"
        if dtype.kind == "b":
            reducer = {"sum": "logical_or", "prod": "logical_and", "max": "logical_or", "min": "logical_and"}[
                reducer
            ]
            return f"{reducer}({old}, {value})"
        return f"{names[reducer]}({old}, {value})"

    # --- loops ----------------------------------------------------------------------------------------

    def loop(self, s: Loop) -> None:
        """A loop, in pieces where guards on its counter are decided."""
        cut = self.cut(s)
        if not cut.around:
            sizes = self.symbols.size
            for low, high, known in [(sizes(p.low), sizes(p.high), p.known) for p in cut.pieces]:
                self.copy(s, low, high, known)
            return
        first, last, extent = self.fresh("low"), self.fresh("high"), self.symbols.size(s.extent)
        self.put(0, f"{first}, {last} = {extent}, {extent}")
        self.put(0, f"if {self.conditions(cut.tested)}:")
        low, high = self.symbols.size(cut.longest.low), self.symbols.size(cut.longest.high)
        self.put(1, f"{first}, {last} = {low}, {high}")
        self.copy(s, "0", first, {})
        self.copy(s, first, last, cut.known)
        self.copy(s, last, extent, {})

    def copy(self, s: Loop, low: str, high: str, known: Mapping[Guard, bool]) -> None:
        """The loop over one range, printed with what is known there."""
        bounds = high if low == "0" else f"{low}, {high}"
        self.put(0, f"for {self.name_axis(s.axis)} in range({bounds}):")
        self.depth += 1
        self.with_known(known, lambda: self.block(s.body))
        if not s.body:
            self.put(0, "pass")
        self.depth -= 1

    def stage(self, s: Stage) -> None:
        row, extent = self.name_axis(s.axis), self.symbols.size(s.extent)
        self.put(0, f"{row} = {self.index(Index.factor(AxisRef(s.time)) - s.lag)}")
        self.branch(f"{row} >= 0 and {row} < {extent}", s.body)
        if s.zeros:
            self.branch(f"{row} >= {extent}", s.zeros)

    def branch(self, condition: str, body: Sequence[Statement]) -> None:
        self.put(0, f"if {condition}:")
        self.depth += 1
        self.block(body)
        self.depth -= 1

    # --- expressions ----------------------------------------------------------------------------------

    def expression(self, scalar: Scalar) -> str:
        op, args = scalar.op, scalar.args
        if op == "index":
            return self.cast(self.index(args[0]), np.dtype(np.int64), scalar.dtype)
        if op == "guard":
            return self.conditions(self.undecided(args))
        if op == "register":
            return self.names[args[0]]
        values = [self.value(a) for a in args]
        if op == "cast":
            return self.cast(values[0], args[0].dtype, scalar.dtype)
        return self.operation(op, values, args[0].dtype)

    def operation(self, op: str, values: list[str], dtype: np.dtype[Any]) -> str:
        """`op` on printed operands of one dtype; integers narrower than 64 bits wrap back to their width."""
        if op in LOGICAL and dtype.kind == "b":
            return f"{LOGICAL[op]}({', '.join(values)})"
        if op == "not":
            return f"logical_not({values[0]})" if dtype.kind == "b" else self.narrow(f"~{values[0]}", dtype)
        if op == "neg":
            return self.narrow(f"-{values[0]}", dtype)
        if op in COMPARISONS:
            return f"{values[0]} {INFIX[op]} {values[1]}"
        if op in INFIX or op in BITWISE:
            return self.narrow(f"{values[0]} {INFIX.get(op) or BITWISE[op]} {values[1]}", dtype)
        name = RENAMED.get(op, op)
        if name in IN_MATH:
            name = f"math.{name}"
        return f"{name}({', '.join(values)})"

    def narrow(self, text: str, dtype: np.dtype[Any]) -> str:
        if dtype.kind in "iu" and dtype != np.int64:
            return f"to_{dtype.kind}{8 * dtype.itemsize}({text})"
        return text

    def cast(self, text: str, source: np.dtype[Any], target: np.dtype[Any]) -> str:
        return text if source == target else f"to_{DTYPE_NAMES[target]}({text})"

    def value(self, scalar: Scalar) -> str:
        if scalar.op == "const":
            return self.symbols.constant(scalar.args[0])
        if scalar.op == "acc":
            accumulator = scalar.args[0]
            return self.names[accumulator] + ("_at" if accumulator.reducer.startswith("arg") else "")
        return self.names[scalar]

    def typed(self, value: Any, dtype: np.dtype[Any]) -> str:
        return self.symbols.constant(dtype.type(np.asarray(value).astype(dtype)))

    def conditions(self, guards: Sequence[Guard]) -> str:
        return " and ".join(self.condition(g) for g in guards) or "True"

    def condition(self, guard: Guard) -> str:
        affine = guard.index.single_axis()
        if guard.op == ">=" and affine is not None and abs(affine[1]) == 1:
            axis, sign, constant = affine
            name = self.name_axis(axis)
            return (
                f"{name} >= {self.symbols.size(-constant)}"
                if sign > 0
                else f"{name} <= {self.symbols.size(constant)}"
            )
        return f"{self.index(guard.index)} {guard.op} 0"

    def index(self, index: Index) -> str:
        """Text of an index expression, constants and coefficients as symbols."""
        parts: list[str] = []
        for factor, coefficient in index.terms:
            text = self.factor(factor)
            scaled = text if abs(coefficient) == 1 else f"{text} * {self.symbols.size(abs(coefficient))}"
            parts.append(f"{'-' if coefficient < 0 else '+'} {scaled}")
        if index.constant or not parts:
            constant = index.constant
            parts.append(f"{'-' if constant < 0 else '+'} {self.symbols.size(abs(constant))}")
        text = " ".join(parts)
        return text[2:] if text.startswith("+ ") else f"-{text[2:]}"

    def factor(self, factor: Any) -> str:
        if isinstance(factor, AxisRef):
            return self.name_axis(factor.axis)
        if isinstance(factor, Loaded):
            return self.value(factor.scalar)
        assert isinstance(factor, (Quotient, Remainder))
        sign = "//" if isinstance(factor, Quotient) else "%"
        return f"(({self.index(factor.numerator)}) {sign} {self.symbols.size(factor.divisor)})"

    def memory(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        return f"{buffer.name}[{self.address(buffer, index)}]"

    def address(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        if buffer in self.strided and len(index) == len(buffer.shape):
            parts = [
                self.index(k) if stride is None else f"({self.index(k)}) * {stride}"
                for k, stride in [
                    (k, self.stride(buffer, d)) for d, k in enumerate(index) if k.terms or k.constant
                ]
            ]
            return " + ".join(parts) or "0"
        if len(index) != len(buffer.shape):
            return self.index(index[0])  # a position in the flat array
        position: Index = Index()
        for k, n in zip(index, buffer.shape, strict=True):
            position = position * n + k
        return self.index(position)

    # --- names ----------------------------------------------------------------------------------------

    def define(self, scalar: Scalar) -> str:
        """A new name each time: a name that is assigned again in a copy of a loop body costs Numba dearly."""
        self.names[scalar] = self.fresh("k" if scalar.op == "checked" else "t")
        return self.names[scalar]

    def fresh(self, prefix: str) -> str:
        number = self.counters.get(prefix, 0)
        self.counters[prefix] = number + 1
        return f"{prefix}{number}"

    def name_axis(self, axis: int) -> str:
        if axis not in self.axis_names:
            count = len(self.axis_names)
            self.axis_names[axis] = "ijklmnpq"[count] if count < 8 else f"i{count}"
        return self.axis_names[axis]


def describe_buffers(kernel: Kernel) -> list[str]:
    """A line for each array: what it is and whether the kernel reads or writes it."""
    read = {s.buffer for s in walk(kernel.body) if isinstance(s, (Load, Combine))}
    lines: list[str] = []
    for buffer in kernel.buffers:
        use = [word for word, yes in (("reads", buffer in read), ("writes", buffer in kernel.written)) if yes]
        kind = "scratch " if buffer.var is None else ""
        rank = "[" + ",".join(":" * len(buffer.shape)) + "]" if buffer.shape else ""
        lines.append(f"{' and '.join(use)} {kind}{buffer.name}: {DTYPE_NAMES[buffer.dtype]}{rank}")
    return lines


def print_program(
    segments: Sequence[Segment],
    strided: Layouts,
    resident: set[Buffer],
    data_offset: int,
    literal_limit: int = 4,
) -> ProgramText:
    """The module of all kernels and the entry that runs one segment of them.

    `resident` buffers live in the workspace (slot kind "temp"), the others are array objects. `data_offset`
    is where an array object keeps the address of its data.
    """
    symbols = Symbols(literal_limit)
    texts = [[KernelPrinter(k, symbols, strided).run() for k in segment.kernels] for segment in segments]
    slots, dynamic = arrange([t for segment in texts for t in segment], symbols, resident)
    place = {slot: f"ip[{k}]" for k, slot in enumerate(slots, start=1)}
    lines = ["def program(ip, fp):"]
    for number, segment in enumerate(texts):
        lines.append(f"{INDENT}if ip[0] == {number}:")
        for text in segment:
            arguments = ", ".join(_arguments(text, symbols, resident, place, data_offset))
            lines.append(f"{INDENT * 2}{text.kernel.name}({arguments})")
        if not segment:
            lines.append(f"{INDENT * 2}pass")
    functions = [text.text for segment in texts for text in segment]
    # No two arrays of a kernel overlap where one is written: outputs and temporaries are fresh.
    disjoint = [text.kernel for segment in texts for text in segment if not text.kernel.shared]
    names = "".join(f"{kernel.name!r}, " for kernel in disjoint)
    module = "\n\n\n".join([f"NOALIAS = ({names.rstrip()})", *functions, "\n".join(lines)]) + "\n"
    return ProgramText(
        "numba", module, tuple(slots), dynamic, tuple(symbols.constants), tuple(symbols.checks)
    )


def _arguments(
    text: KernelText, symbols: Symbols, resident: set[Buffer], place: Mapping[Slot, str], data_offset: int
) -> Iterator[str]:
    """The arguments of a kernel's call in `program`."""

    def data_of(slot: Slot) -> str:
        return f"ptr_i64({place[slot]} + {data_offset})[0]"

    for buffer in text.kernel.buffers:
        dtype = DTYPE_NAMES[buffer.dtype]
        if buffer in resident:
            yield f"ptr_{dtype}({data_of(('workspace',))} + {place['temp', buffer]})"
        else:
            yield f"ptr_{dtype}({data_of(('array', buffer))})"
    yield from (place[("stride", *s)] for s in text.strides)
    for name in text.symbols:
        number = int(name[1:])
        yield place["size", symbols.sizes[number]] if name[0] == "s" else f"fp[{number}]"
    if text.kernel.checks_indices:
        yield f"ptr_i64({data_of(('status',))})"
