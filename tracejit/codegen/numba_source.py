"""Loop nests printed as Python source: Numba compiles it, `tj.inspect` shows it, plain Python runs it.

Enters: `Kernel`s. Leaves: the text of one module whose `program(ip, fp)` runs the kernels of a segment; `ip`
holds object addresses, sizes and strides, `fp` constants, so that the text is the same for every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tracejit.codegen.loops import (
    Accumulate,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    Kernel,
    Load,
    Loop,
    Reset,
    Scalar,
    Statement,
    Store,
    guards_of,
    neutral,
    walk,
)
from tracejit.codegen.pieces import Piece, choices, cut_loop, guards_around
from tracejit.codegen.symbols import Symbols
from tracejit.ir import DTYPE_NAMES, Source
from tracejit.schedule.index import AxisRef, Guard, Index, Loaded, Quotient, Remainder, strongest

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


Range = tuple[str, str, Mapping[Guard, bool]]  # first and last iteration as text, what is known in between


@dataclass(frozen=True)
class KernelText:
    """A printed kernel: its function text and its arguments in order.

    strides: `(buffer, dimension)` pairs whose element strides are arguments
    symbols: names of sizes and constants
    """

    kernel: Kernel
    text: str
    strides: tuple[tuple[Buffer, int], ...]
    symbols: tuple[str, ...]


class KernelPrinter:
    """Prints one kernel. `strided` holds the buffers that are not contiguous in row-major order."""

    def __init__(self, kernel: Kernel, symbols: Symbols, strided: set[Buffer]) -> None:
        self.kernel = kernel
        self.symbols = symbols
        self.strided = strided
        self.names: dict[Any, str] = {}
        self.axis_names: dict[int, str] = {}
        self.strides: dict[tuple[Buffer, int], str] = {}
        self.lines: list[str] = []
        self.known: dict[Guard, bool] = {}  # what the pieces of the loops around tell
        self.settled: dict[Scalar, bool] = {}  # conditions that follow from it
        self.counters: dict[str, int] = {}
        self.last_source: Source | None = None

    def run(self) -> KernelText:
        self.symbols.start_kernel()
        self.block(self.kernel.body, 1)
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

    def put(self, depth: int, text: str, source: Source | None = None) -> None:
        line = INDENT * depth + text
        if source is not None and source != self.last_source:
            text = source.text
            line = f"{line:<48}  # {source}  {text if len(text) <= 60 else text[:57] + '...'}"
            self.last_source = source
        self.lines.append(line.rstrip())

    def block(self, body: Sequence[Statement], depth: int) -> None:
        for statement in body:
            self.statement(statement, depth)
        if not body:
            self.put(depth, "pass")

    def statement(self, statement: Statement, depth: int) -> None:
        handlers: Mapping[type, Callable[[Any, int], None]] = {
            Compute: self.compute,
            Load: self.load,
            CheckIndex: self.check_index,
            Store: self.store,
            Reset: self.reset,
            Accumulate: self.accumulate,
            Fill: self.fill,
            Combine: self.combine,
            Loop: self.loop,
        }
        print_it = cast("Callable[[Any, int], None]", handlers[type(statement)])
        print_it(statement, depth)

    def compute(self, s: Compute, depth: int) -> None:
        if not self.settle(s.scalar):
            self.put(depth, f"{self.define(s.scalar)} = {self.expression(s.scalar)}", s.source)

    def settle(self, scalar: Scalar) -> bool:
        """Is the scalar a condition that is decided here, or a selection by one, that needs no line?"""
        if scalar.op == "guard" and (self.fails(scalar.args) or not self.undecided(scalar.args)):
            self.settled[scalar] = not self.fails(scalar.args)
            return True
        if scalar.op != "select" or scalar.args[0] not in self.settled:
            return False
        chosen = scalar.args[1 if self.settled[scalar.args[0]] else 2]
        if chosen.op == "const" and chosen.dtype.kind == "b":
            self.settled[scalar] = bool(chosen.args[0])
        self.names[scalar] = self.value(chosen)
        return True

    def load(self, s: Load, depth: int) -> None:
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
        self.put(depth, f"{self.define(s.scalar)} = {text}", s.source)

    def check_index(self, s: CheckIndex, depth: int) -> None:
        name, operand, extent = self.define(s.scalar), self.value(s.operand), self.symbols.size(s.extent)
        self.put(depth, f"{name} = to_i64({operand})", s.source)
        self.put(depth, f"if {name} < 0:")
        self.put(depth + 1, f"{name} += {extent}")
        self.put(depth, f"if {name} < 0 or {name} >= {extent}:")
        self.put(depth + 1, f"status[0] = {self.symbols.check(s)}")
        self.put(depth + 1, f"{name} = 0")

    def store(self, s: Store, depth: int) -> None:
        value = self.value(s.value)
        if s.buffer.dtype.kind == "b":
            value = f"to_u8({value})"
        self.put(depth, f"{self.memory(s.buffer, s.index)} = {value}")

    def reset(self, s: Reset, depth: int) -> None:
        name = self.fresh("acc")
        self.names[s.accumulator] = name
        reducer = s.accumulator.reducer
        self.put(depth, f"{name} = {self.typed(neutral(reducer, s.accumulator.dtype), s.accumulator.dtype)}")
        if reducer.startswith("arg"):
            self.put(depth, f"{name}_at = 0")
            self.put(depth, f"{name}_first = True")

    def accumulate(self, s: Accumulate, depth: int) -> None:
        name, value, reducer = self.names[s.accumulator], self.value(s.value), s.accumulator.reducer
        if not reducer.startswith("arg"):
            self.put(depth, f"{name} = {self.combined(reducer, name, value, s.accumulator.dtype)}", s.source)
            return
        assert s.position is not None
        better = f"{value} {'>' if reducer == 'argmax' else '<'} {name}"
        if s.accumulator.dtype.kind == "f":
            better = f"({better} or {value} != {value}) and {name} == {name}"
        self.put(depth, f"if {name}_first or {better}:", s.source)
        self.put(depth + 1, f"{name} = {value}")
        self.put(depth + 1, f"{name}_at = {self.index(s.position)}")
        self.put(depth + 1, f"{name}_first = False")

    def fill(self, s: Fill, depth: int) -> None:
        count = 1
        for n in s.buffer.shape:
            count *= n
        value = self.typed(neutral(s.reducer, s.buffer.dtype), s.buffer.dtype)
        self.put(depth, f"for i in range({self.symbols.size(count)}):")
        self.put(
            depth + 1, f"{s.buffer.name}[i] = {f'to_u8({value})' if s.buffer.dtype.kind == 'b' else value}"
        )

    def combine(self, s: Combine, depth: int) -> None:
        place = self.memory(s.buffer, s.index)
        old = f"({place} != 0)" if s.buffer.dtype.kind == "b" else place
        text = self.combined(s.reducer, old, self.value(s.value), s.buffer.dtype)
        if s.buffer.dtype.kind == "b":
            text = f"to_u8({text})"
        self.put(depth, f"{place} = {text}", s.source)

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

    def loop(self, s: Loop, depth: int) -> None:
        """A loop, in pieces where guards on its counter are decided."""
        is_outer = any(isinstance(x, Loop) for x in s.body)
        guards = self.undecided(choices(s) if is_outer else dict.fromkeys(guards_of(s.body)))
        pieces = cut_loop(s, guards)
        around = [] if is_outer else guards_around(s, guards)
        if around:
            longest = max(pieces, key=lambda p: p.high - p.low)
            ranges = self.under(around, s, longest, depth)
        else:
            ranges = [(self.symbols.size(p.low), self.symbols.size(p.high), p.known) for p in pieces]
        self.copies(s, ranges, depth)

    def under(self, around: Sequence[Guard], s: Loop, longest: Piece, depth: int) -> list[Range]:
        """Ranges of which the middle one is empty unless the guards on outer loops hold."""
        first, last, extent = self.fresh("low"), self.fresh("high"), self.symbols.size(s.extent)
        self.put(depth, f"{first}, {last} = {extent}, {extent}")
        self.put(depth, f"if {self.conditions(strongest(around))}:")
        low, high = self.symbols.size(longest.low), self.symbols.size(longest.high)
        self.put(depth + 1, f"{first}, {last} = {low}, {high}")
        known = {**longest.known, **dict.fromkeys(around, True)}
        return [("0", first, {}), (first, last, known), (last, extent, {})]

    def copies(self, s: Loop, ranges: Sequence[Range], depth: int) -> None:
        """The loop once for each range, printed with what is known there."""
        for low, high, known in ranges:
            bounds = high if low == "0" else f"{low}, {high}"
            self.put(depth, f"for {self.name_axis(s.axis)} in range({bounds}):")
            outside = self.known, self.settled
            self.known, self.settled = {**self.known, **known}, dict(self.settled)
            self.block(s.body, depth + 1)
            self.known, self.settled = outside

    def undecided(self, guards: Iterable[Guard]) -> list[Guard]:
        return [g for g in guards if g not in self.known]

    def fails(self, guards: Iterable[Guard]) -> bool:
        return any(self.known.get(g) is False for g in guards)

    # --- expressions ----------------------------------------------------------------------------------

    def expression(self, scalar: Scalar) -> str:
        op, args = scalar.op, scalar.args
        if op == "index":
            return self.cast(self.index(args[0]), np.dtype(np.int64), scalar.dtype)
        if op == "guard":
            return self.conditions(self.undecided(args))
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
                f"({self.index(k)}) * {self.stride(buffer, d)}"
                for d, k in enumerate(index)
                if k.terms or k.constant
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

    def stride(self, buffer: Buffer, dimension: int) -> str:
        return self.strides.setdefault((buffer, dimension), f"{buffer.name}_s{dimension}")


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


Slot = tuple[Any, ...]

# Slots that change from call to call stand first in the table, strides behind the others: a call packs them
# and appends the rest.
DYNAMIC = ("array", "workspace", "status", "stride")


@dataclass(frozen=True)
class ProgramText:
    """A printed program and the layout of its two argument tables.

    slots: what each entry of `ip` after the first (the segment) holds: ("array", buffer) the address of the
        array object, ("workspace",), ("status",), ("stride", buffer, dimension) in elements, and
        those that are the same at each call: ("temp", buffer) a byte offset in the workspace, ("size", value)
    dynamic: how many of them, from the front, change from call to call
    constants: what `fp` holds
    checks: the index checks, in the order of the numbers that they leave in the status word
    """

    text: str
    slots: tuple[Slot, ...]
    dynamic: int
    constants: tuple[float, ...]
    checks: tuple[CheckIndex, ...]


def print_program(
    segments: Sequence[Sequence[Kernel]],
    strided: set[Buffer],
    resident: set[Buffer],
    data_offset: int,
    literal_limit: int = 4,
) -> ProgramText:
    """The module of all kernels and the entry that runs one segment of them.

    `resident` buffers live in the workspace (slot kind "temp"), the others are array objects. `data_offset`
    is where an array object keeps the address of its data.
    """
    symbols = Symbols(literal_limit)
    texts = [[KernelPrinter(k, symbols, strided).run() for k in segment] for segment in segments]
    used: dict[Slot, None] = {}
    for text in (t for segment in texts for t in segment):
        used.update(dict.fromkeys(_slots_of(text, symbols, resident)))
    slots = sorted(used, key=lambda s: (s[0] not in DYNAMIC, s[0] == "stride"))
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
    names = "".join(f"{text.kernel.name!r}, " for segment in texts for text in segment)
    module = "\n\n\n".join([f"NOALIAS = ({names.rstrip()})", *functions, "\n".join(lines)]) + "\n"
    dynamic = sum(s[0] in DYNAMIC for s in slots)
    return ProgramText(module, tuple(slots), dynamic, tuple(symbols.constants), tuple(symbols.checks))


def _slots_of(text: KernelText, symbols: Symbols, resident: set[Buffer]) -> Iterator[Slot]:
    """The table entries that a kernel's arguments need."""
    for buffer in text.kernel.buffers:
        if buffer in resident:
            yield from (("workspace",), ("temp", buffer))
        else:
            yield ("array", buffer)
    yield from (("stride", *s) for s in text.strides)
    yield from (("size", symbols.sizes[int(name[1:])]) for name in text.symbols if name[0] == "s")
    if text.kernel.checks_indices:
        yield ("status",)


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
