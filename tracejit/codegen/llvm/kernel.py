"""One kernel as LLVM text: scalar loops outside, vectors of lanes with one masked rest inside.

Enters: a `Kernel` and the plan of its vectors. Leaves: the text of one internal function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from tracejit.codegen import formulas
from tracejit.codegen.llvm.code import BOOL, I64, Code, Reg, literal
from tracejit.codegen.llvm.memory import Memory, Place
from tracejit.codegen.llvm.module import Module
from tracejit.codegen.llvm.ranges import Ranges
from tracejit.codegen.llvm.reductions import Held, Variable, combined, predicate, reduced
from tracejit.codegen.llvm.rows import Finished, RowBlock
from tracejit.codegen.llvm.vectors import Vectors, plan_vectors
from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    Kernel,
    Layouts,
    Load,
    Loop,
    Register,
    Reset,
    Scalar,
    SetRegister,
    Stage,
    Store,
    neutral,
    walk,
)
from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.nest import NestPrinter, handled
from tracejit.codegen.ranges import NUMBERS, extras
from tracejit.codegen.symbols import Symbols, stays_literal
from tracejit.schedule.index import AxisRef, Guard, Index, Loaded, Quotient, Remainder

FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
BITWISE = frozenset({"and", "or", "xor"})
PREDICATES = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
RENAMED = {"abs": "absolute", "not": "invert"}
MOST_BORDER = 2  # iterations of a vector loop's piece that run one by one
NONE = literal(-1, I64)  # no check: above the numbers of all, without sign
UNROLLED_STATEMENTS = 48  # of a loop with a literal extent that is printed once for each iteration

Known = Mapping[Guard, bool]


class KernelPrinter(NestPrinter[Reg]):
    """Prints one kernel into `module`."""

    def __init__(self, kernel: Kernel, symbols: Symbols, strided: Layouts, module: Module) -> None:
        super().__init__(kernel, symbols, strided)
        self.module = module
        self.code = Code(module)
        self.memory = Memory(self)
        self.vectors = self._plan(module.lanes_of(kernel))
        if module.register_bytes < module.vector_bytes and (self.vectors.blocks or not _has_latency(kernel)):
            # Several registers a value hide the latencies of elementary functions, and of steps that wait for
            # the one before. Where there are none, a loop waits for loads and stores, and values that do not
            # fit the registers are more of them.
            self.vectors = self._plan(module.lanes_of(kernel, module.register_bytes))
        self.axes: dict[int, Reg] = {}
        self.vector_axis: int | None = None
        self.mask: Reg | None = None
        self.count: Reg | None = None  # of the lanes that the mask lets through
        self.repeats = False  # lanes outside of the mask do again what others have done
        self.variables: dict[Accumulator, Variable | Finished] = {}
        self.held: dict[Register, Held] = {}
        self.outside = 0  # the region around the innermost vector loop
        self.partials: dict[tuple[Buffer, str], tuple[Place, Variable]] = {}
        self.ranges = Ranges(self)
        self.failed = ""  # memory of the least number of a check that failed here

    def _plan(self, lanes: int) -> Vectors:
        return plan_vectors(self.kernel, self.strided, lanes, self.symbols.literal_limit)

    def run(self) -> str:
        """The text of the function."""
        self.symbols.start_kernel()
        if self.kernel.checks_indices:
            self.failed = self.code.alloca("i64")
            self.code.put(f"store i64 {NONE.text}, ptr {self.failed}, align 64")
        self.block(self.kernel.body)
        if self.kernel.checks_indices:
            self.report()
        self.code.put("ret void")
        shared = self.kernel.shared
        arguments = [f"ptr {'' if b in shared else 'noalias '}%{b.name}" for b in self.kernel.buffers]
        arguments += [f"i64 %{name}" for name in self.strides.values()]
        arguments += [f"{'i64' if name[0] == 's' else 'double'} %{name}" for name in self.symbols.used]
        if self.kernel.checks_indices:
            arguments.append("ptr noalias %status")
        arguments += [
            f"{'i64' if name in NUMBERS else 'ptr noalias'} %{name}" for name in extras(self.kernel)
        ]
        return (
            f"define internal void @{self.kernel.name}({', '.join(arguments)}) #0 {{\n{self.code.text()}\n}}"
        )

    @cached_property
    def _handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return {**handled(self), **self.ranges.handlers()}

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return self._handlers

    @property
    def lanes(self) -> int:
        """The lanes of values that vary here."""
        return self.vectors.lanes if self.vector_axis is not None else 0

    # --- numbers --------------------------------------------------------------------------------------------

    def size(self, n: int) -> Reg:
        """An integer of the trace: in the text if it is small, else an argument."""
        if abs(n) <= self.symbols.literal_limit:
            return literal(n, I64)
        if n < 0:
            return self.code.negate(self.size(-n))
        return Reg(f"%{self.symbols.size(n)}", I64)

    def constant(self, value: np.generic) -> Reg:
        if stays_literal(value):
            return literal(value, value.dtype)
        if value.dtype.kind in "iu":
            return formulas.cast(self.code, self.size(int(value)), value.dtype)
        name = Reg(f"%{self.symbols.float_name(value)}", np.dtype(np.float64))
        return formulas.cast(self.code, name, value.dtype)

    def value(self, scalar: Scalar) -> Reg:
        if scalar.op == "const":
            return self.constant(scalar.args[0])
        if scalar.op == "acc" and scalar not in self.names:
            self.names[scalar] = self.variables[scalar.args[0]].result(self.code)
        return self.names[scalar]

    # --- statements -----------------------------------------------------------------------------------------

    def compute(self, s: Compute) -> None:
        if not self.settle(s.scalar):
            self.names[s.scalar] = self.expression(s.scalar)

    def expression(self, scalar: Scalar) -> Reg:
        op, args = scalar.op, scalar.args
        if op == "index":
            return formulas.cast(self.code, self.index(args[0]), scalar.dtype)
        if op == "guard":
            return self.conditions(self.undecided(args)) or literal(True, BOOL)
        if op == "register":
            return self.held[args[0]].get(self.code)
        values = [self.value(a) for a in args]
        if op == "cast":
            return formulas.cast(self.code, values[0], scalar.dtype)
        return formulas.cast(self.code, self.operation(op, values), scalar.dtype)

    def operation(self, op: str, values: Sequence[Reg]) -> Reg:
        dtype = values[0].dtype
        if op in PREDICATES:
            return self.code.compare(predicate(op, dtype), values[0], values[1])
        if op in BITWISE:
            return self.code.binary(op, values[0], values[1])
        if op in FLOAT_OPS:
            return self.code.binary(FLOAT_OPS[op] if dtype.kind == "f" else op, values[0], values[1])
        if op == "neg":
            return self.code.negate(values[0])
        if op == "not":
            return self.code.binary("xor", values[0], literal(1 if dtype == BOOL else -1, dtype))
        return self.module.call(self.code, RENAMED.get(op, op), values)

    def load(self, s: Load) -> None:
        zero = literal(0, s.buffer.dtype)
        if self.fails(s.guards):
            self.names[s.scalar] = zero
            return
        guards = self.undecided(s.guards)
        self.names[s.scalar] = self.memory.load(self.place(s.buffer, s.index), self.conditions(guards))

    def place(self, buffer: Buffer, index: tuple[Index, ...]) -> Place:
        return self.memory.place(buffer, index)

    def store(self, s: Store) -> None:
        self.memory.store(self.place(s.buffer, s.index), self.value(s.value))

    def check_index(self, s: CheckIndex) -> None:
        """Wrap; where the index is outside, note the check's number and go on with 0."""
        code, extent = self.code, self.size(s.extent)
        k = formulas.cast(code, self.value(s.operand), I64)
        k = code.select(code.compare("slt", k, literal(0, I64)), code.binary("add", k, extent), k)
        outside = code.compare("uge", k, extent)
        reported = self.masked(outside) if outside.lanes else outside
        if reported.lanes:
            reported = code.reduce("or", reported)
        number = literal(self.symbols.check(s), I64)
        old = code.effect(f"load i64, ptr {self.failed}, align 64", I64)
        is_first = code.binary("and", reported, code.compare("ult", number, old))
        code.put(f"store i64 {code.select(is_first, number, old).text}, ptr {self.failed}, align 64")
        self.names[s.scalar] = code.select(outside, literal(0, I64), k)

    def report(self) -> None:
        """Leave the number of a check that failed in the status word, which all strands share."""
        found = self.code.effect(f"load i64, ptr {self.failed}, align 64", I64)
        report = self.module.report()
        self.code.block_if(
            self.code.compare("ne", found, NONE),
            lambda: self.code.put(f"call void @{report}(ptr %status, i64 {found.text})"),
        )

    @property
    def memory_mask(self) -> Reg | None:
        """The lanes that may touch memory, where not all may."""
        return None if self.repeats else self.mask

    def masked(self, condition: Reg) -> Reg:
        """`condition` in the lanes that are there."""
        if self.mask is None:
            return condition
        return self.code.binary("and", condition, self.mask)

    # --- reductions -----------------------------------------------------------------------------------------

    def reset(self, s: Reset) -> None:
        across = s.accumulator in self.vectors.across and self.vector_axis is None
        lanes = self.vectors.lanes if across else self.lanes
        self.variables[s.accumulator] = variable = Variable(self, s.accumulator, lanes, across)
        variable.reset(self.code)
        self.forget(s.accumulator)

    def set_register(self, s: SetRegister) -> None:
        held = self.held.get(s.register)
        if held is None or held.lanes != self.lanes:
            held = self.held[s.register] = Held(self.code, s.register.dtype, self.lanes)
        held.set(self.code, self.value(s.value))

    def forget(self, accumulator: Accumulator) -> None:
        """The result is no longer what it was."""
        for scalar in [k for k in self.names if isinstance(k, Scalar) and k.op == "acc"]:
            if scalar.args[0] is accumulator:
                del self.names[scalar]

    def accumulate(self, s: Accumulate) -> None:
        variable = self.variables[s.accumulator]
        assert isinstance(variable, Variable), "a reduction is fed after its loops"
        position = self.index(s.position) if s.position is not None else None
        value = self.value(s.value)
        if variable.across and not self.lanes:
            value = variable.first_lane(self.code, value)
        variable.add(self.code, value, position, self.mask)

    def fill(self, s: Fill) -> None:
        self.fill_flat(s.buffer, s.reducer, literal(0, I64), self.extent_of(s.buffer.shape))

    def fill_flat(self, buffer: Buffer, reducer: str, low: Reg, high: Reg) -> None:
        """Set elements, by their place in memory, to the neutral element."""
        value = literal(neutral(reducer, buffer.dtype), buffer.dtype)

        def body(counter: Reg) -> None:
            self.memory.store(self.memory.flat(buffer, counter), self.code.splat(value, self.lanes))

        extent = int(high.text) if low.text == "0" and high.is_literal else None
        self.vector_loop(None, low, high, extent, body)

    def extent_of(self, shape: Sequence[int]) -> Reg:
        """The number of elements of an array of that shape."""
        return self.size(prod(shape))

    def combine(self, s: Combine) -> None:
        self.combine_values(s, [self.value(s.value)])

    def combine_values(self, s: Combine, values: Sequence[Reg]) -> None:
        """Reduce several values into one place."""
        place = self.place(s.buffer, s.index)
        value = values[0]
        for other in values[1:]:
            value = combined(self.code, s.reducer, value, other)
        if not self.lanes or place.varies:
            self.combine_at(place, s.reducer, value)
        elif place.pointer.region <= self.outside:
            self.partial(s, place).add(self.code, value, None, self.mask)
        else:
            self.combine_at(place, s.reducer, self.over_lanes(s.reducer, self.code.splat(value, self.lanes)))

    def combine_at(self, place: Place, reducer: str, value: Reg) -> None:
        old = self.memory.load(place, None)
        self.memory.store(place, combined(self.code, reducer, old, value))

    def partial(self, s: Combine, place: Place) -> Variable:
        """What lanes reduce in, where all of a vector loop reduces into one place of memory."""
        key = (s.buffer, place.pointer.text)
        if key not in self.partials:
            variable = Variable(self, Accumulator(s.reducer, s.buffer.dtype), self.lanes, across=True)
            self.code.in_region(self.outside, lambda: variable.reset(self.code))
            self.partials[key] = (place, variable)
        return self.partials[key][1]

    def over_lanes(self, reducer: str, value: Reg) -> Reg:
        """One number of the lanes that are there."""
        start = literal(neutral(reducer, value.dtype), value.dtype)
        if self.mask is not None:
            value = self.code.select(self.mask, value, start)
        return reduced(self.code, reducer, value, start)

    # --- loops ----------------------------------------------------------------------------------------------

    def loop(self, s: Loop) -> None:
        """A loop, in pieces where guards on its counter are decided."""
        cut = self.cut(s)
        holds = self.conditions(cut.tested)
        if holds is None or holds.lanes:  # lanes that differ in them take the loop together
            for piece in cut.pieces:
                low, high = self.size(piece.low), self.size(piece.high)
                if s.ranged:
                    low, high = self.ranges.clamped(low, high)
                self.range(s, low, high, piece.high - piece.low, piece.known)
            return
        around = dict.fromkeys(cut.around, True)

        def inside() -> None:
            for piece in cut.pieces:
                known = {**piece.known, **around}
                self.range(s, self.size(piece.low), self.size(piece.high), piece.high - piece.low, known)

        def outside() -> None:
            self.range(s, literal(0, I64), self.size(s.extent), s.extent, {})

        self.code.block_if(holds, inside)
        self.code.block_if(self.code.binary("xor", holds, literal(True, BOOL)), outside)

    def range(self, s: Loop, low: Reg, high: Reg, extent: int, known: Known) -> None:
        """The loop over `extent` iterations (fewer if it is ranged), printed with what is known there."""

        def body(counter: Reg) -> None:
            self.axes[s.axis] = counter
            self.block(s.body)

        def rows(counter: Reg) -> None:
            self.axes[s.axis] = counter
            RowBlock(self, s.axis).run(s.body)

        def print_it() -> None:
            if self.is_border(s, extent):
                for k in range(extent):
                    body(self.code.binary("add", low, literal(k, I64)))
            elif id(s) in self.vectors.loops:
                self.vector_loop(s.axis, low, high, extent, body, self.may_repeat(s))
            elif id(s) in self.vectors.blocks:
                self.vector_loop(s.axis, low, high, extent, rows)
            elif low.is_literal and high.is_literal and self.is_short(s):
                for k in range(int(low.text), int(high.text)):
                    body(literal(k, I64))
            else:
                self.code.counted_loop(low, high, 1, body)

        self.with_known(known, print_it)

    def is_short(self, s: Loop) -> bool:
        return s.extent * sum(1 for _ in walk(s.body)) <= UNROLLED_STATEMENTS

    def is_border(self, s: Loop, extent: int) -> bool:
        """Is it a short piece of a vector loop, which costs less one by one than masked?"""
        if extent > MOST_BORDER or extent == s.extent or s.ranged or id(s) not in self.vectors.loops:
            return False
        used = {x.buffer for x in walk(s.body) if isinstance(x, (Load, Store))}
        return used.isdisjoint(self.vectors.expanded)

    def may_repeat(self, s: Loop) -> bool:
        """May iterations run twice, as to memory? Then nothing that the loop reads is changed by it.

        It is worth it in inner loops: an outermost one has its rest once.
        """
        if s.ranged or len(self.code.regions) == 1:
            return False
        inside = list(walk(s.body))
        stored = {x.buffer for x in inside if isinstance(x, Store)}
        read = {x.buffer for x in inside if isinstance(x, Load)}
        combines = any(isinstance(x, Combine) for x in inside)
        return not combines and stored.isdisjoint(read | self.kernel.shared)

    def vector_loop(
        self,
        axis: int | None,
        low: Reg,
        high: Reg,
        extent: int | None,
        body: Callable[[Reg], None],
        may_repeat: bool = False,
    ) -> None:
        """`body` on all lanes as long as there are enough iterations, then once on those that are left.

        Where iterations may repeat, these are the last ones of the loop, some of which were done already:
        masked stores are slow, and a loop over short rows has one each row.
        """
        code, lanes = self.code, self.vectors.lanes
        self.vector_axis = -1 if axis is None else axis
        around = self.outside, self.partials
        self.outside, self.partials = len(code.regions) - 1, {}
        rest = low
        if extent is None or extent > self.symbols.literal_limit or extent >= lanes:
            whole = code.binary("and", code.binary("sub", high, low), literal(-lanes, I64))
            rest = code.binary("add", low, whole)
            code.counted_loop(low, rest, lanes, body)
        count = code.binary("sub", high, rest)

        def masked() -> None:
            self.mask = code.compare("ult", code.iota(lanes), code.splat(count, lanes))
            self.count = count
            body(rest)
            self.mask = self.count = None

        def repeated() -> None:
            done = code.binary("sub", literal(lanes, I64), count)
            self.mask = code.compare("uge", code.iota(lanes), code.splat(done, lanes))
            self.repeats = True
            body(code.binary("sub", high, literal(lanes, I64)))
            self.mask, self.repeats = None, False

        is_long = extent is not None and extent >= lanes
        left = repeated if may_repeat and is_long else masked
        code.block_if(code.compare("sgt", count, literal(0, I64)), left)
        self.vector_axis = None
        for place, variable in self.partials.values():
            self.combine_at(place, variable.reducer, variable.over_lanes(code))
        self.outside, self.partials = around

    def stage(self, s: Stage) -> None:
        code, extent = self.code, self.size(s.extent)
        row = self.axes[s.axis] = code.binary("sub", self.axes[s.time], self.size(s.lag))
        code.block_if(code.compare("ult", row, extent), lambda: self.block(s.body))
        if s.zeros:
            code.block_if(code.compare("sge", row, extent), lambda: self.block(s.zeros))

    # --- indices --------------------------------------------------------------------------------------------

    def conditions(self, guards: Sequence[Guard]) -> Reg | None:
        """Do all of the guards hold? None if there are none."""
        result: Reg | None = None
        for guard in guards:
            holds = self.code.compare(
                "sge" if guard.op == ">=" else "eq", self.index(guard.index), literal(0, I64)
            )
            result = holds if result is None else self.code.binary("and", result, holds)
        return result

    def index(self, index: Index) -> Reg:
        """An index expression as an integer, of lanes where it varies along the vector's axis."""
        total = self.sum_of([self.term(factor, n) for factor, n in index.terms], index.constant)
        return total

    def term(self, factor: Any, coefficient: int) -> Reg:
        x = self.factor(factor)
        return x if coefficient == 1 else self.code.binary("mul", x, self.size(coefficient))

    def sum_of(self, parts: list[Reg], constant: int) -> Reg:
        """The sum, those parts first that are known farther outside."""
        if constant or not parts:
            parts = [*parts, self.size(constant)]
        parts = sorted(parts, key=lambda r: (r.region, r.lanes))
        total = parts[0]
        for part in parts[1:]:
            total = self.code.binary("add", total, part)
        return total

    def factor(self, factor: Any) -> Reg:
        if isinstance(factor, AxisRef):
            return self.counter(factor.axis)
        if isinstance(factor, Loaded):
            return self.value(factor.scalar)
        numerator, divisor = self.index(factor.numerator), self.size(factor.divisor)
        if isinstance(factor, Remainder) and factor.divisor.bit_count() == 1:
            return self.code.binary("and", numerator, self.size(factor.divisor - 1))
        if isinstance(factor, Quotient):
            return self.code.divide("udiv", numerator, divisor)
        rest = self.code.divide("srem", numerator, divisor)
        lifted = self.code.binary("add", rest, divisor)
        return self.code.select(self.code.compare("slt", rest, literal(0, I64)), lifted, rest)

    def counter(self, axis: int) -> Reg:
        """A loop's counter: one in each lane for the axis of the vectors."""
        scalar = self.axes[axis]
        if axis != self.vector_axis:
            return scalar
        return self.code.binary("add", self.code.splat(scalar, self.lanes), self.code.iota(self.lanes))


def _has_latency(kernel: Kernel) -> bool:
    """Does it call elementary functions, or loop over time?"""
    return any(
        (isinstance(s, Compute) and s.scalar.op in PROGRAMS) or (isinstance(s, Loop) and s.serial)
        for s in walk(kernel.body)
    )
