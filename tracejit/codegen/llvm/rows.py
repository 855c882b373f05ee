"""A loop over rows in blocks of as many rows as a vector has lanes.

What belongs to a row runs on the lanes of a block; loops inside of a row run row by row, several rows at once
where their bodies allow. A row's numbers cross between the two through a few lanes of memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.codegen.llvm.code import I64, Code, Reg, literal, stored, type_text
from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    CheckIndex,
    Combine,
    Loop,
    Register,
    Reset,
    Scalar,
    Statement,
    operands,
    walk,
)

if TYPE_CHECKING:
    from tracejit.codegen.llvm.kernel import KernelPrinter
    from tracejit.codegen.llvm.reductions import Variable

ROWS_AT_ONCE = 4  # each with its accumulators in registers: enough to hide the latency of an addition
JOINED = frozenset({"sum", "prod", "max", "min"})  # reducers whose values join before memory is changed


class Lanes:
    """One number a row in memory: written and read as a vector, or row by row."""

    def __init__(self, code: Code, dtype: np.dtype[Any], lanes: int) -> None:
        self.dtype = dtype
        self.stored = stored(dtype)
        self.kind = type_text(self.stored, lanes)
        self.lanes = lanes
        self.address = code.alloca(self.kind)

    def put_all(self, code: Code, value: Reg) -> None:
        value = code.to_memory(code.splat(value, self.lanes))
        code.put(f"store {self.kind} {value.text}, ptr {self.address}, align 64")

    def get_all(self, code: Code) -> Reg:
        loaded = code.effect(f"load {self.kind}, ptr {self.address}, align 64", self.stored, self.lanes)
        return code.from_memory(loaded, self.dtype)

    def put(self, code: Code, row: Reg, value: Reg) -> None:
        value = code.to_memory(value)
        code.put(f"store {value.type} {value.text}, ptr {self._place(code, row)}")

    def get(self, code: Code, row: Reg) -> Reg:
        loaded = code.effect(f"load {type_text(self.stored)}, ptr {self._place(code, row)}", self.stored)
        return code.from_memory(loaded, self.dtype)

    def _place(self, code: Code, row: Reg) -> str:
        rhs = f"getelementptr {type_text(self.stored)}, ptr {self.address}, i64 {row.text}"
        return code.pure(rhs, I64, 0, row.region).text


@dataclass
class Finished:
    """Stands for an accumulator of whose rows each has its result."""

    value: Reg

    def result(self, code: Code) -> Reg:
        return self.value


@dataclass
class Row:
    """What the printer knows while it prints one row."""

    number: Reg
    axes: dict[int, Reg]
    names: dict[Scalar | Accumulator | Register, Reg]
    variables: dict[Accumulator, Variable | Finished]


class RowBlock:
    """Prints the body of a loop over rows, where the printer's vectors run along the rows."""

    def __init__(self, printer: KernelPrinter, axis: int) -> None:
        self.printer = printer
        self.code = printer.code
        self.axis = axis
        self.first = printer.axes[axis]
        self.lanes = printer.vectors.lanes

    def run(self, body: Sequence[Statement]) -> None:
        resets: dict[Accumulator, Reset] = {}
        loops: list[Loop] = []
        for statement in body:
            if isinstance(statement, Reset):
                resets[statement.accumulator] = statement
            elif isinstance(statement, Loop):
                loops.append(statement)
            else:
                self.rows(loops, resets)
                loops = []
                self.printer.block([statement])
        self.rows(loops, resets)

    def rows(self, loops: list[Loop], resets: Mapping[Accumulator, Reset]) -> None:
        """Run loops for each row of the block."""
        if not loops:
            return
        printer, code = self.printer, self.code
        inside = list(walk(loops))
        fed = dict.fromkeys(s.accumulator for s in inside if isinstance(s, Accumulate))
        own = [resets[a] for a in fed if a in resets]
        for reset in own:  # what an earlier piece of the loop found
            printer.forget(reset.accumulator)
            printer.variables.pop(reset.accumulator, None)
        given = self.spilled(inside)
        taken = {r.accumulator: Lanes(code, r.accumulator.result_dtype, self.lanes) for r in own}
        mask, count = printer.mask, printer.count
        names, variables = dict(printer.names), dict(printer.variables)
        axes = dict(printer.axes)
        printer.vector_axis = printer.mask = printer.count = None
        statements: list[Statement] = [*own, *loops]

        def several(counter: Reg) -> None:
            numbers = [code.binary("add", counter, literal(k, I64)) for k in range(ROWS_AT_ONCE)]
            rows = [self.row(n, axes, names, variables, given) for n in numbers]
            self.together(statements, rows)
            for row in rows:
                self.keep(row, taken)

        def single(counter: Reg) -> None:
            row = self.row(counter, axes, names, variables, given)
            self.together(statements, [row])
            self.keep(row, taken)

        zero = literal(0, I64)
        if mask is None and self.lanes % ROWS_AT_ONCE == 0:
            code.counted_loop(zero, literal(self.lanes, I64), ROWS_AT_ONCE, several)
        else:
            for lanes in taken.values():
                lanes.put_all(code, literal(0, lanes.dtype))  # rows that are not there
            code.counted_loop(zero, count or literal(self.lanes, I64), 1, single)
        printer.axes, printer.names, printer.variables = axes, names, variables
        printer.vector_axis, printer.mask, printer.count = self.axis, mask, count
        for accumulator, lanes in taken.items():
            printer.forget(accumulator)
            printer.variables[accumulator] = Finished(lanes.get_all(code))

    def spilled(self, inside: Sequence[Statement]) -> dict[Scalar, Lanes]:
        """The numbers of a row that its loops read, in memory."""
        printer = self.printer
        result: dict[Scalar, Lanes] = {}
        for scalar in dict.fromkeys(x for s in inside for x in operands(s)):
            is_known = scalar in printer.names or (
                scalar.op == "acc" and isinstance(printer.variables.get(scalar.args[0]), Finished)
            )
            if is_known and printer.value(scalar).lanes:
                result[scalar] = Lanes(self.code, scalar.dtype, self.lanes)
                result[scalar].put_all(self.code, printer.value(scalar))
        return result

    # --- rows -----------------------------------------------------------------------------------------------

    def row(
        self,
        number: Reg,
        axes: Mapping[int, Reg],
        names: Mapping[Scalar | Accumulator | Register, Reg],
        variables: Mapping[Accumulator, Variable | Finished],
        given: Mapping[Scalar, Lanes],
    ) -> Row:
        own = {scalar: lanes.get(self.code, number) for scalar, lanes in given.items()}
        counter = self.code.binary("add", self.first, number)
        return Row(number, {**axes, self.axis: counter}, {**names, **own}, dict(variables))

    def enter(self, row: Row) -> None:
        self.printer.axes, self.printer.names, self.printer.variables = row.axes, row.names, row.variables

    def together(self, statements: Sequence[Statement], rows: Sequence[Row]) -> None:
        """Statement after statement for all rows, as far as their loops can be shared."""
        for statement in statements:
            if isinstance(statement, Loop) and len(rows) > 1 and self.is_shared(statement):
                self.shared(statement, rows)
            elif isinstance(statement, Combine) and self.is_joined(statement):
                self.joined(statement, rows)
            else:
                for row in rows:
                    self.enter(row)
                    self.printer.block([statement])

    def is_shared(self, loop: Loop) -> bool:
        if id(loop) not in self.printer.vectors.loops:
            return False
        if any(isinstance(s, (Loop, CheckIndex)) for s in loop.body):
            return False
        cut = self.printer.cut(loop)
        return len(cut.pieces) == 1 and not cut.around

    def shared(self, loop: Loop, rows: Sequence[Row]) -> None:
        """One loop with the bodies of all rows."""

        def body(counter: Reg) -> None:
            for row in rows:
                row.axes[loop.axis] = counter
            self.together(loop.body, rows)

        printer = self.printer
        printer.vector_loop(loop.axis, literal(0, I64), printer.size(loop.extent), loop.extent, body)

    def is_joined(self, s: Combine) -> bool:
        """Is it one place of memory for all rows?"""
        return s.reducer in JOINED and not any(self.axis in k.axes or k.loaded for k in s.index)

    def joined(self, s: Combine, rows: Sequence[Row]) -> None:
        values: list[Reg] = []
        for row in rows:
            self.enter(row)
            values.append(self.printer.value(s.value))
        self.printer.combine_values(s, values)

    def keep(self, row: Row, taken: Mapping[Accumulator, Lanes]) -> None:
        """Leave the row's results where the block finds them."""
        for accumulator, lanes in taken.items():
            lanes.put(self.code, row.number, row.variables[accumulator].result(self.code))
