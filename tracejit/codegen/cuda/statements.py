"""Statements and scalars of a nest as lines of a CUDA kernel, whoever runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.codegen.cuda.nests import bounds, is_flat, number, products_in_sums, reciprocal
from tracejit.codegen.cuda.scalars import BOOL, PythonCode, Text, cast, emit, literal, narrowed, type_name
from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    Combine,
    Compute,
    Fill,
    Kernel,
    Layouts,
    Load,
    Loop,
    Reset,
    Scalar,
    Statement,
    Store,
    neutral,
    walk,
)
from tracejit.codegen.numba_source import COMPARISONS, INFIX, KernelPrinter
from tracejit.codegen.symbols import Symbols, stays_literal
from tracejit.ir import Source
from tracejit.schedule.index import Index, Quotient, Remainder


class StatementPrinter(KernelPrinter):
    """What `LaunchPrinter` is built on: the text of one statement.

    registers: arrays of which every thread has a copy in registers, by the names of their elements
    """

    def __init__(
        self, kernel: Kernel, symbols: Symbols, strided: Layouts, registers: Sequence[Buffer]
    ) -> None:
        super().__init__(kernel, symbols, strided)
        self.registers = {b: [f"{b.name}_{k}" for k in range(math.prod(b.shape))] for b in registers}
        self.constants: dict[int, int] = {}  # values of axes whose loops are written out
        self.flat: tuple[tuple[int, ...], tuple[int, ...], str] | None = None  # axes, extents, element
        self.products = products_in_sums(kernel)
        self.extents = {s.axis: s.extent for s in walk(kernel.body) if isinstance(s, Loop)}
        self.formula: Source | None = None
        self.atomic: frozenset[Buffer] = frozenset()  # arrays that any thread adds to, by atomic instructions
        self.code = PythonCode(lambda line: self.put(0, line, self.formula), lambda: self.fresh("t"))

    # --- what is told by who runs the statements ------------------------------------------------------------

    def first_only(self, print_it: Callable[[], None]) -> None:
        """Print for all threads where each is on its own, else for the first of its team."""
        raise NotImplementedError

    def meet_before(self, statements: Sequence[Statement]) -> None:
        """Let threads wait for one another if one needs what others wrote."""
        raise NotImplementedError

    def place(self, buffer: Buffer) -> tuple[str, str]:
        """The name of what holds an array, and where in there it begins ("" or "offset + ")."""
        raise NotImplementedError

    # --- statements -----------------------------------------------------------------------------------------

    def indented(self, print_it: Callable[[], None]) -> None:
        self.depth += 1
        print_it()
        self.depth -= 1

    def load(self, s: Load) -> None:
        self.meet_before([s])
        if s.buffer in self.registers:
            text = self.register(s.buffer, s.index)
        else:
            text = self.memory(s.buffer, s.index)
            text = f"{text} != 0" if s.buffer.dtype == BOOL else text
        if s.guards:
            text = f"{text} if {self.conditions(s.guards)} else {literal(0, s.buffer.dtype)}"
        self.put(0, f"{self.define(s.scalar)} = {text}", s.source)

    def compute(self, s: Compute) -> None:
        self.formula = s.source
        text = self.expression(s.scalar)
        self.formula = None
        if s.scalar.op == "register":  # its name stands for another value later
            self.put(0, f"{self.define(s.scalar)} = {text}", s.source)
        elif text.isidentifier() and text not in ("True", "False"):
            self.names[s.scalar] = text  # the last line of a formula, or another scalar's name
        else:
            self.put(0, f"{self.define(s.scalar)} = {text}", s.source)

    def failed(self, number: int) -> str:
        return f"status[{number - 1}] = 1"  # a word a check: any number of threads write the same

    def integer(self, text: str) -> str:
        return f"np.int64({text})"

    def store(self, s: Store) -> None:
        self.meet_before([s])
        if s.buffer in self.registers:
            self.put(0, f"{self.register(s.buffer, s.index)} = {self.value(s.value)}")
            return
        value = self.stored(self.value(s.value), s.buffer)
        self.first_only(lambda: self.put(0, f"{self.memory(s.buffer, s.index)} = {value}"))

    def stored(self, value: str, buffer: Buffer) -> str:
        """Truth values are bytes in memory."""
        return f"np.uint8({value})" if buffer.dtype == BOOL else value

    def combine(self, s: Combine) -> None:
        if s.buffer in self.atomic:
            given = f"{s.buffer.name}, {self.address(s.buffer, s.index)}, {self.value(s.value)}"
            self.first_only(lambda: self.put(0, f"cuda.atomic.add({given})", s.source))
            return
        self.meet_before([s])
        if s.buffer in self.registers:
            place = self.register(s.buffer, s.index)
            self.put(0, f"{place} = {self.combined(s.reducer, place, self.value(s.value), s.buffer.dtype)}")
        else:
            self.first_only(
                lambda: self.add_to(self.memory(s.buffer, s.index), self.value(s.value), s, s.source)
            )

    def add_to(self, place: str, value: str, s: Combine, source: Source | None = None) -> None:
        old = f"({place} != 0)" if s.buffer.dtype == BOOL else place
        text = self.combined(s.reducer, old, value, s.buffer.dtype)
        self.put(0, f"{place} = {self.stored(text, s.buffer)}", source)

    def fill(self, s: Fill) -> None:
        self.meet_before([s])
        value = literal(neutral(s.reducer, s.buffer.dtype), s.buffer.dtype)
        if s.buffer in self.registers:
            for name in self.registers[s.buffer]:
                self.put(0, f"{name} = {value}")
            return
        name, begin = self.place(s.buffer)
        size = self.symbols.size(math.prod(s.buffer.shape))
        value = self.stored(value, s.buffer)
        self.counted("e", self.shares(size), lambda: self.put(0, f"{name}[{begin}e] = {value}"))

    def shares(self, size: str) -> tuple[str, str, str]:
        """Start, end and step of this thread's part of `size` elements."""
        raise NotImplementedError

    def counted(self, name: str, bounds: tuple[Any, ...], print_it: Callable[[], None]) -> None:
        """A loop over a range: Numba's own divides to count its iterations, and carries that count, too."""
        start, end, step = bounds
        if start != name:
            self.put(0, f"{name} = {start}")
        self.put(0, f"while {name} < {end}:")
        self.depth += 1
        print_it()
        self.put(0, f"{name} += {step}")
        self.depth -= 1

    def reset(self, s: Reset) -> None:
        name = self.fresh("acc")
        self.names[s.accumulator] = name
        self.start(name, s.accumulator)

    def start(self, name: str, accumulator: Accumulator) -> None:
        self.put(0, f"{name} = {literal(neutral(accumulator.reducer, accumulator.dtype), accumulator.dtype)}")
        if accumulator.reducer.startswith("arg"):
            self.put(0, f"{name}_at = np.int64(-1)")

    def step(self, s: Accumulate) -> None:
        name, value, reducer = self.names[s.accumulator], self.value(s.value), s.accumulator.reducer
        if not reducer.startswith("arg"):
            self.formula = s.source
            text = self.combined(reducer, name, value, s.accumulator.dtype)
            self.put(0, f"{name} = {text}", s.source)
            self.formula = None
            return
        assert s.position is not None
        at = self.fresh("at")
        self.put(0, f"{at} = np.int64({self.index(s.position)})", s.source)
        self.choose(name, s.accumulator, value, at)

    def choose(self, name: str, accumulator: Accumulator, value: str, at: str) -> None:
        """The better of two positions; of equal ones the earlier, and nan is better than all numbers.

        A position below 0 is none.
        """
        sign = ">" if accumulator.reducer == "argmax" else "<"
        better, equal = f"{value} {sign} {name}", f"{value} == {name}"
        if accumulator.dtype.kind == "f":
            better = f"({better} or {value} != {value}) and {name} == {name}"
            equal = f"({equal} or ({value} != {value} and {name} != {name}))"
        taken = f"{name}_at < 0 or ({better}) or ({equal} and {at} < {name}_at)"
        self.put(0, f"if {at} >= 0 and ({taken}):")
        self.put(1, f"{name} = {value}")
        self.put(1, f"{name}_at = {at}")

    def combined(self, reducer: str, old: str, value: str, dtype: np.dtype[Any]) -> str:
        if dtype == BOOL:
            return f"{old} {'or' if reducer in ('any', 'sum', 'max') else 'and'} {value}"
        if reducer in ("sum", "prod"):
            return narrowed(f"{old} {'+' if reducer == 'sum' else '*'} {value}", dtype)
        name = "maximum" if reducer == "max" else "minimum"
        return emit(self.code, name, [Text(old, dtype), Text(value, dtype)]).text

    # --- expressions ----------------------------------------------------------------------------------------

    def expression(self, scalar: Scalar) -> str:
        op, args = scalar.op, scalar.args
        if op == "index":
            return f"{type_name(scalar.dtype)}({self.index(args[0])})"
        if op == "guard":
            return self.conditions(args)
        if op == "register":
            return self.names[args[0]]
        given = [Text(self.value(a), a.dtype) for a in args]
        if op == "cast":
            return cast(self.code, given[0], scalar.dtype).text
        return self.call(op, given, scalar)

    def call(self, op: str, given: list[Text], scalar: Scalar) -> str:
        dtype, texts = given[0].dtype, [x.text for x in given]
        if op == "mul" and scalar in self.products:
            # The compiler would join it with the sum that it goes into; NumPy rounds both.
            return f"libdevice.{'f' if dtype.itemsize == 4 else 'd'}mul_rn({texts[0]}, {texts[1]})"
        if op == "select":
            return f"{texts[1]} if {texts[0]} else {texts[2]}"
        if op in COMPARISONS:
            return f"{texts[0]} {INFIX[op]} {texts[1]}"
        if op in ("not", "neg"):
            return self.unary(op, given[0])
        if op in INFIX and dtype != BOOL:
            return narrowed(f"{texts[0]} {INFIX[op]} {texts[1]}", dtype)
        if op in ("and", "or", "xor"):
            return self.code.binary(op, *given).text
        return emit(self.code, {"abs": "absolute"}.get(op, op), given).text

    def unary(self, op: str, x: Text) -> str:
        if x.dtype == BOOL:
            return f"not {x.text}"
        return narrowed(f"{'~' if op == 'not' else '-'}{x.text}", x.dtype)

    def value(self, scalar: Scalar) -> str:
        if scalar in self.names:
            return self.names[scalar]
        if scalar.op == "const":
            value = scalar.args[0]
            if value.dtype.kind == "f" and not stays_literal(value):
                return self.symbols.float_name(value)
            if value.dtype.kind in "iu" and not stays_literal(value):
                return f"{type_name(value.dtype)}({self.symbols.size(int(value))})"
            return literal(value, value.dtype)
        return super().value(scalar)

    # --- addresses ------------------------------------------------------------------------------------------

    def memory(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        name, begin = self.place(buffer)
        return f"{name}[{begin}{self.address(buffer, index)}]"

    def address(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        if self.flat is not None and buffer not in self.strided:
            axes, extents, name = self.flat
            if is_flat(buffer, index, axes, extents):
                return name
        return super().address(buffer, index)

    def factor(self, factor: Any) -> str:
        """Quotients and remainders of numbers that are known to be short."""
        if not isinstance(factor, (Quotient, Remainder)):
            return super().factor(factor)
        low, high = bounds(factor.numerator, self.extents)
        n, text = factor.divisor, f"({self.index(factor.numerator)})"
        added = 0  # quotients are of numbers from 0 on wherever they are asked for
        if low < 0 and isinstance(factor, Remainder):
            added = -(low // n) * n
        if high + added >= 2**31:
            return super().factor(factor)
        if added:
            text = f"({text} + {self.symbols.size(added)})"
        quotient = f"({self.narrow_quotient(text, n)})"
        if isinstance(factor, Quotient):
            return quotient
        return f"({text} - {quotient} * {self.symbols.size(n)})"

    def narrow_quotient(self, text: str, n: int) -> str:
        """A quotient of numbers from 0 to 2**31: a division takes four times as long as the product."""
        size = self.symbols.size(n)
        if size.isdigit():
            return f"{text} // {size}"
        by = self.symbols.size(reciprocal(n))
        product = f"np.uint64(np.uint32({text})) * np.uint64({by} & 0xffffffff)"
        return f"np.int64({product} >> np.uint64({by} >> 32))"

    def register(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        position = 0
        for k, n in zip(index, buffer.shape, strict=True):
            at = number(k, self.constants)
            if not 0 <= at < n:
                return literal(0, buffer.dtype)  # under a guard that fails
            position = position * n + at
        return self.registers[buffer][position]
