"""Threads that work together: what they tell one another, and what teams, blocks and the grid sum up.

All sums are taken in an order that depends on sizes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracejit.codegen.cuda.nests import read, written
from tracejit.codegen.cuda.scalars import BOOL, I64, literal, type_name
from tracejit.codegen.cuda.statements import StatementPrinter
from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    Fill,
    JoinCopy,
    Kernel,
    Layouts,
    MergePartial,
    Statement,
    TotalPartial,
    neutral,
    walk,
)
from tracejit.codegen.symbols import Symbols

BLOCK = 256  # threads of a block
WARP = 32
WARPS = BLOCK // WARP
JOINED_BY_WARPS = 4096  # elements of an array up to which a warp, not a thread, joins the copies of one
_MASK = "0xffffffff"

Parts = list[tuple[str, np.dtype[Any]]]  # the variables of an accumulator: its value, and its position


class TeamPrinter(StatementPrinter):
    """What `LaunchPrinter` is built on: who runs a statement, and what is summed over threads.

    lanes: threads of a team; 0 and 1: each thread is on its own
    partials: where each block leaves what it found for an accumulator, by slot
    shared: arrays of which each team has a copy in the block's shared memory
    copies: where the copies of arrays lie: of each team, of each block for those in `registers` or `shared`
    """

    def __init__(
        self,
        kernel: Kernel,
        symbols: Symbols,
        strided: Layouts,
        lanes: int,
        partials: Mapping[int, Sequence[Buffer]],
        copies: Mapping[Buffer, Buffer],
        registers: Sequence[Buffer],
        shared: Sequence[Buffer],
    ) -> None:
        super().__init__(kernel, symbols, strided, registers)
        self.lanes = lanes
        self.partials = partials
        self.copies = copies
        self.shared = tuple(shared)
        self.finishing = False  # are the copies joined here, so that an array is the array itself?
        self.divided = lanes <= 1  # is what is printed run by each thread for itself?
        self.in_row = True
        self.team_wide: set[Accumulator] = set()  # accumulators that a team shares once its loop is over
        self.touched: dict[Buffer, str] = {}  # since the team last met: "r" or "w"
        self.exchange: dict[str, int] = {}  # arrays of shared memory for sums, and their sizes
        self.exchanged = 0  # sums over a block so far: they take turns with two arrays
        self.merged: list[MergePartial] = []
        self.is_alone = False  # is there one block, whose sums are the grid's?
        self.joining = False  # does the launch join the copies that one before it left?

    # --- who runs what --------------------------------------------------------------------------------------

    @property
    def teams(self) -> int:
        """Teams of a block."""
        return BLOCK // self.lanes if self.lanes else 1

    def first_only(self, print_it: Callable[[], None]) -> None:
        if self.divided:
            print_it()
            return
        self.put(0, "if lane == 0:")
        self.indented(print_it)

    def shares(self, size: str) -> tuple[str, str, str]:
        if not self.lanes:
            return "thread", size, str(BLOCK)
        return ("0", size, "1") if self.divided else ("lane", size, str(self.lanes))

    def meet_before(self, statements: Sequence[Statement]) -> None:
        """Let the team meet if others of it wrote what is read here, or read what is written here."""
        if self.divided:
            return
        loaded, stored = read(statements), written(statements)
        if any(b in stored or (how == "w" and b in loaded) for b, how in self.touched.items()):
            self.meet()
        for buffer in loaded:
            self.touched.setdefault(buffer, "r")
        for buffer in stored:
            self.touched[buffer] = "w"

    def meet(self) -> None:
        self.put(0, "cuda.syncthreads()" if self.lanes == BLOCK else "cuda.syncwarp()")
        self.touched = {}

    def accumulate(self, s: Accumulate) -> None:
        if self.divided or s.accumulator in self.team_wide:
            self.step(s)
            return
        self.put(0, "if lane == 0:")  # the sum over all threads has each row once
        self.indented(lambda: self.step(s))

    # --- where arrays are -----------------------------------------------------------------------------------

    def place(self, buffer: Buffer) -> tuple[str, str]:
        if self.finishing:
            return buffer.name, ""
        if buffer in self.shared:
            return f"{buffer.name}_shared", f"{buffer.name}_own + " if self.teams > 1 else ""
        if buffer in self.copies:
            return self.copies[buffer].name, f"{buffer.name}_own + "
        return buffer.name, ""

    def start_copies(self) -> None:
        """Where what is this team's own begins."""
        for buffer in self.kernel.buffers:
            size = math.prod(buffer.shape)
            if buffer in self.shared:
                self.put(
                    0,
                    f"{buffer.name}_shared = cuda.shared.array({self.teams * size}, {stored_type(buffer)})",
                )
                if self.teams > 1:
                    self.put(0, f"{buffer.name}_own = thread // {self.lanes} * {self.symbols.size(size)}")
            elif buffer in self.copies and buffer not in self.registers:
                self.put(0, f"{buffer.name}_own = team * {self.symbols.size(size)}")

    # --- sums over a team -----------------------------------------------------------------------------------

    def over_team(self, accumulators: Sequence[Accumulator], lanes: int) -> None:
        """Every thread of the team gets what all of them found."""
        self.over_warp(accumulators)
        if lanes <= WARP or not accumulators:
            return
        places = self.leave_in_shared(accumulators)
        self.put(0, "cuda.syncthreads()")
        self.take_from_shared(accumulators, places)
        self.touched = {}

    def over_warp(self, accumulators: Sequence[Accumulator], rounds: int = 5) -> None:
        """Every thread gets what those found that are 16, 8, ... away from it: after 5 rounds, the warp."""
        if not accumulators:
            return
        self.put(0, f"for d in range({rounds}):")
        self.depth += 1
        for a in accumulators:
            self.with_other(a, lambda x: f"cuda.shfl_xor_sync({_MASK}, {x}, 16 >> d)")
        self.depth -= 1

    def with_other(self, accumulator: Accumulator, read_other: Callable[[str], str]) -> None:
        """Reduce with what another thread has; `read_other` is told what this one has."""
        name = self.names[accumulator]
        others: list[str] = []
        for part, dtype in self.parts_of(accumulator):
            others.append(self.fresh("w"))
            self.put(0, f"{others[-1]} = {_back(read_other(_moved(part, dtype)), dtype)}")
        if len(others) == 1:
            text = self.combined(accumulator.reducer, name, others[0], accumulator.dtype)
            self.put(0, f"{name} = {text}")
        else:
            self.choose(name, accumulator, *others)

    def parts_of(self, accumulator: Accumulator) -> Parts:
        name = self.names[accumulator]
        found: Parts = [(name, accumulator.dtype)]
        return [*found, (f"{name}_at", I64)] if accumulator.reducer.startswith("arg") else found

    def leave_in_shared(self, accumulators: Sequence[Accumulator]) -> dict[str, str]:
        """The first thread of each warp leaves its values; returns where, by the names of the variables.

        Two sets of arrays take turns: who writes to one of them has passed the barrier of the other, and so
        has everybody who read from the first.
        """
        self.exchanged += 1
        counts: dict[str, int] = {}
        places: dict[str, str] = {}
        self.put(0, f"if thread % {WARP} == 0:")
        for a in accumulators:
            for part, dtype in self.parts_of(a):
                kind = _carrier(dtype)
                array = f"shared{self.exchanged % 2}_{kind.kind}{8 * kind.itemsize}"
                begin = counts.get(array, 0)
                counts[array] = begin + WARPS
                self.exchange[array] = max(self.exchange.get(array, 0), counts[array])
                places[part] = f"{array}[{begin} + " if begin else f"{array}["
                self.put(1, f"{places[part]}thread // {WARP}] = {_moved(part, dtype)}")
        return places

    def take_from_shared(self, accumulators: Sequence[Accumulator], places: Mapping[str, str]) -> None:
        for a in accumulators:
            for part, dtype in self.parts_of(a):
                self.put(0, f"{part} = {_back(f'{places[part]}0]', dtype)}")
        self.put(0, f"for w in range(1, {WARPS}):")
        self.depth += 1
        for a in accumulators:
            parts = iter([places[part] for part, _ in self.parts_of(a)])
            self.with_other(a, lambda _, parts=parts: f"{next(parts)}w]")
        self.depth -= 1

    # --- what a block leaves --------------------------------------------------------------------------------

    def merge_partial(self, s: MergePartial) -> None:
        self.merged.append(s)

    def leave_partials(self) -> None:
        """What the block's threads found, and its copies of arrays, each as one to memory."""
        sums = [s.accumulator for s in self.merged]
        if self.is_alone:
            self.over_team(sums, BLOCK)
            sums = []
        joined = [s for s in walk(self.kernel.body) if isinstance(s, Fill) and s.buffer in self.copies]
        elements = {s.buffer: self.elements_of(s) for s in joined if s.buffer in self.registers}
        every = [*sums, *[a for group in elements.values() for a in group]]
        if every:
            self.over_warp(every)
            left = self.leave_in_shared(every)
            self.put(0, "cuda.syncthreads()")
            for k, s in enumerate(self.merged if sums else ()):
                self.put(0, f"if thread == {(k % WARPS) * WARP + k // WARPS}:")
                self.indented(lambda s=s: self.leave_one(s, left))
            for s in joined:
                if s.buffer in elements:
                    self.leave_elements(s, elements[s.buffer], left)
        elif any(s.buffer in self.shared for s in joined):
            self.put(0, "cuda.syncthreads()")
        for s in joined:
            if s.buffer in self.shared:
                self.leave_copy(s)

    def elements_of(self, s: Fill) -> list[Accumulator]:
        """The elements of an array that threads keep in registers, as accumulators."""
        found = [Accumulator(s.reducer, s.buffer.dtype) for _ in self.registers[s.buffer]]
        self.names.update(zip(found, self.registers[s.buffer], strict=True))
        return found

    def leave_one(self, s: MergePartial, left: Mapping[str, str]) -> None:
        self.take_from_shared([s.accumulator], left)
        parts = self.parts_of(s.accumulator)
        for buffer, (part, dtype) in zip(self.partials[s.slot], parts, strict=True):
            self.put(0, f"{buffer.name}[block] = {f'np.uint8({part})' if dtype == BOOL else part}")

    def leave_elements(self, s: Fill, elements: Sequence[Accumulator], left: Mapping[str, str]) -> None:
        """One thread for each element, whose values by warps lie one after another."""
        if not elements:
            return
        place = left[self.names[elements[0]]]
        total = Accumulator(s.reducer, s.buffer.dtype)
        name = self.names[total] = self.fresh("acc")
        self.put(0, f"if thread < {len(elements)}:")
        self.depth += 1
        self.put(0, f"{name} = {_back(f'{place}thread * {WARPS}]', s.buffer.dtype)}")
        self.put(0, f"for w in range(1, {WARPS}):")
        self.indented(lambda: self.with_other(total, lambda _: f"{place}thread * {WARPS} + w]"))
        at = f"block * {self.symbols.size(len(elements))} + thread"
        self.put(0, f"{self.copies[s.buffer].name}[{at}] = {self.stored(name, s.buffer)}")
        self.depth -= 1

    def leave_copy(self, s: Fill) -> None:
        """The teams' copies of an array in shared memory, reduced to one."""
        copies, size = self.copies[s.buffer], self.symbols.size(math.prod(s.buffer.shape))
        name = f"{s.buffer.name}_shared"
        truth = " != 0" if s.buffer.dtype == BOOL else ""

        def one() -> None:
            self.put(0, f"total = {name}[e]{truth}")
            if self.teams > 1:
                self.put(0, f"for k in range(1, {self.teams}):")
                self.put(1, f"part = {name}[k * {size} + e]{truth}")
                self.depth += 1
                self.put(0, f"total = {self.combined(s.reducer, 'total', 'part', s.buffer.dtype)}")
                self.depth -= 1
            self.put(0, f"{copies.name}[block * {size} + e] = {self.stored('total', s.buffer)}")

        self.counted("e", ("thread", size, BLOCK), one)

    # --- what the grid leaves -------------------------------------------------------------------------------

    def total_partials(self, totals: Sequence[TotalPartial]) -> None:
        """The final values of accumulators, in all threads of the one block that prints this."""
        if self.is_alone or not totals:
            return
        for s in totals:
            self.names[s.accumulator] = self.fresh("acc")
            self.start(self.names[s.accumulator], s.accumulator)
        count = "cuda.gridDim.x"  # blocks that left something; those before, where this is another launch
        if self.joining:
            count = self.symbols.size(self.partials[totals[0].slot][0].shape[0])

        def one() -> None:
            for s in totals:
                places = iter([f"{b.name}[e]" for b in self.partials[s.slot]])
                self.with_other(s.accumulator, lambda _, places=places: next(places))

        self.counted("e", ("thread", count, BLOCK), one)
        self.over_team([s.accumulator for s in totals], BLOCK)

    def join_copies(self, s: JoinCopy, first_block: bool) -> None:
        """The copies of an array, reduced in order, an element by each thread or, if they are few, each warp.

        first_block: by the threads of this block alone, else by those of the grid
        """
        copies, size = self.copies[s.buffer], math.prod(s.buffer.shape)
        extent, count = self.symbols.size(size), self.symbols.size(copies.shape[0])
        by_warps = size <= JOINED_BY_WARPS
        one = f"thread // {WARP}" if by_warps else "thread"
        workers = WARPS if by_warps else BLOCK
        accumulator = Accumulator(s.reducer, s.buffer.dtype)
        name = self.names[accumulator] = self.fresh("acc")

        def all_copies() -> None:
            self.put(0, f"{name} = {literal(neutral(s.reducer, s.buffer.dtype), s.buffer.dtype)}")
            bounds = (f"thread % {WARP}", count, WARP) if by_warps else ("0", count, 1)
            place = f"{copies.name}[k * {extent} + e]"
            self.counted("k", bounds, lambda: self.with_other(accumulator, lambda _: place))
            if by_warps:
                self.over_warp([accumulator])
                self.put(0, f"if thread % {WARP} == 0:")
            self.put(1 if by_warps else 0, f"{s.buffer.name}[e] = {self.stored(name, s.buffer)}")

        first, step = one, str(workers)
        if not first_block:
            first, step = f"block * {workers} + {one}", f"{workers} * cuda.gridDim.x"
        self.counted("e", (first, extent, step), all_copies)
        self.touched[s.buffer] = "w"


def stored_type(buffer: Buffer) -> str:
    """Truth values are bytes in memory."""
    return "np.uint8" if buffer.dtype == BOOL else type_name(buffer.dtype)


def _carrier(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What goes through shuffles and shared memory for a value of this type."""
    return dtype if dtype.kind == "f" else I64


def _moved(text: str, dtype: np.dtype[Any]) -> str:
    return text if _carrier(dtype) == dtype else f"np.int64({text})"


def _back(text: str, dtype: np.dtype[Any]) -> str:
    if _carrier(dtype) == dtype:
        return text
    return f"{text} != 0" if dtype == BOOL else f"{type_name(dtype)}({text})"
