"""What only kernels that run range by range have: bounds that are arguments, partial results, copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracejit.codegen.llvm.code import I64, Reg, literal, stored, type_text
from tracejit.codegen.llvm.memory import Place
from tracejit.codegen.llvm.reductions import Variable, chosen, combined, starts
from tracejit.codegen.loops import (
    Accumulator,
    FillRows,
    JoinCopy,
    Lead,
    MergePartial,
    StartPartial,
    Strip,
    TotalPartial,
)
from tracejit.codegen.ranges import SLOT_BYTES, copy_name, slots_of

if TYPE_CHECKING:
    from tracejit.codegen.llvm.kernel import KernelPrinter

LOW, HIGH, BLOCK, STRANDS = (Reg(f"%{name}", I64) for name in ("low", "high", "block", "strands"))


Parts = dict[str, Reg]  # of a reduction: its value; of argmax also the place


class Ranges:
    """Prints these statements; `low` and `high` bound the ranged loop."""

    def __init__(self, printer: KernelPrinter) -> None:
        self.printer = printer
        self.code = printer.code
        self.low, self.high = LOW, HIGH

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return {
            Strip: self.strip,
            Lead: self.lead,
            StartPartial: self.start_partial,
            MergePartial: self.merge_partial,
            TotalPartial: self.total_partial,
            FillRows: self.fill_rows,
            JoinCopy: self.join_copy,
        }

    def clamped(self, low: Reg, high: Reg) -> tuple[Reg, Reg]:
        """The part of [low, high) that is in the range; empty, but never turned around."""
        low = self._larger(low, self.low)
        return low, self._larger(self._smaller(high, self.high), low)

    def _larger(self, a: Reg, b: Reg) -> Reg:
        return self.code.select(self.code.compare("sgt", a, b), a, b)

    def _smaller(self, a: Reg, b: Reg) -> Reg:
        return self.code.select(self.code.compare("slt", a, b), a, b)

    def strip(self, s: Strip) -> None:
        def block(counter: Reg) -> None:
            self.low = counter
            self.high = self._smaller(self.code.binary("add", counter, BLOCK), HIGH)
            self.printer.block(s.body)
            self.low, self.high = LOW, HIGH

        self.code.counted_loop(LOW, HIGH, BLOCK, block)

    def lead(self, s: Lead) -> None:
        def iteration(counter: Reg) -> None:
            self.printer.axes[s.axis] = counter
            self.printer.block(s.body)

        first = self.code.binary("sub", LOW, self.printer.size(s.count))
        self.code.counted_loop(self._larger(first, literal(0, I64)), LOW, 1, iteration)

    # --- partial results ------------------------------------------------------------------------------------

    def start_partial(self, s: StartPartial) -> None:
        for k, start in enumerate(starts(s.accumulator).values()):
            self._put(self._slot(literal(s.slot + k, I64)), start)

    def merge_partial(self, s: MergePartial) -> None:
        found = self.printer.variables[s.accumulator]
        places = [self._slot(literal(s.slot + k, I64)) for k in range(slots_of(s.accumulator))]
        new = {"value": found.result(self.code)}
        if len(places) > 1:
            assert isinstance(found, Variable), "no rows run in blocks where places are looked for"
            new = found.all(self.code)
        merged = self._joined(s.accumulator, self._get_all(places, s.accumulator), new)
        for place, value in zip(places, merged.values()):
            self._put(place, value)

    def total_partial(self, s: TotalPartial) -> None:
        total = Variable(self.printer, s.accumulator, 0, across=False)
        total.reset(self.code)

        def strand(number: Reg) -> None:
            at = self.code.binary("mul", number, literal(s.stride, I64))
            slots = range(s.slot, s.slot + slots_of(s.accumulator))
            places = [self._slot(self.code.binary("add", at, literal(slot, I64))) for slot in slots]
            new = self._get_all(places, s.accumulator)
            for name, value in self._joined(s.accumulator, total.all(self.code), new).items():
                total.set(self.code, name, value)

        self.code.counted_loop(literal(0, I64), STRANDS, 1, strand)
        self.printer.variables[s.accumulator] = total

    def _joined(self, accumulator: Accumulator, old: Parts, new: Parts) -> Parts:
        """The reduction of what comes first and what comes behind it."""
        if len(old) > 1:
            return chosen(self.code, accumulator.reducer, old, new)
        return {"value": combined(self.code, accumulator.reducer, old["value"], new["value"])}

    def _slot(self, number: Reg) -> Reg:
        rhs = f"getelementptr [{SLOT_BYTES} x i8], ptr %partials, i64 {number.text}"
        return self.code.pure(rhs, I64, 0, number.region)

    def _get_all(self, places: Sequence[Reg], accumulator: Accumulator) -> Parts:
        items = zip(starts(accumulator).items(), places)
        return {name: self._get(place, start.dtype) for (name, start), place in items}

    def _get(self, place: Reg, dtype: np.dtype[Any]) -> Reg:
        kind = stored(dtype)
        found = self.code.effect(f"load {type_text(kind)}, ptr {place.text}, align {SLOT_BYTES}", kind)
        return self.code.from_memory(found, dtype)

    def _put(self, place: Reg, value: Reg) -> None:
        value = self.code.to_memory(value)
        self.code.put(f"store {value.type} {value.text}, ptr {place.text}, align {SLOT_BYTES}")

    # --- arrays ---------------------------------------------------------------------------------------------

    def fill_rows(self, s: FillRows) -> None:
        row = self.printer.extent_of(s.buffer.shape[1:])
        low, high = (self.code.binary("mul", x, row) for x in (self.low, self.high))
        self.printer.fill_flat(s.buffer, s.reducer, low, high)

    def join_copy(self, s: JoinCopy) -> None:
        printer, memory = self.printer, self.printer.memory
        kind = type_text(stored(s.buffer.dtype))

        def element(counter: Reg) -> None:
            place = memory.flat(s.buffer, counter)
            rhs = f"getelementptr {kind}, ptr %{copy_name(s.buffer)}, i64 {counter.text}"
            other = Place(s.buffer, self.code.pure(rhs, I64, 0, counter.region), 1)
            joined = combined(self.code, s.reducer, memory.load(place, None), memory.load(other, None))
            memory.store(place, joined)

        printer.vector_loop(None, literal(0, I64), printer.extent_of(s.buffer.shape), None, element)
