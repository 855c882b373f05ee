"""Perfect nests: each thread is on its own, and takes elements or, one below the other, rows of them.

Where neighbours in other rows are read, as a stencil's gradient does, rows that are taken together share
loads and arithmetic, and one division finds the place of all. What is read beside an edge is guarded: a
thread whose elements are all inside asks once, for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tracejit.codegen.cuda.nests import (
    UNROLLED,
    Axes,
    axes_needed,
    goes_down,
    in_order,
    moved,
    perfect_nest,
)
from tracejit.codegen.cuda.scalars import BOOL
from tracejit.codegen.cuda.teams import BLOCK, TeamPrinter, stored_type
from tracejit.codegen.loops import Buffer, Combine, Load, Loop, Statement, guards_of
from tracejit.schedule.index import AxisRef, Guard, Index, strongest


class ElementPrinter(TeamPrinter):
    """What `LaunchPrinter` is built on: nests whose elements threads take in any order."""

    fits_32 = False  # do all numbers of elements fit 32 bits?
    below: _Below | None = None  # the row that is printed, of those that a thread takes together

    # --- elements -------------------------------------------------------------------------------------------

    def elements(self, s: Loop) -> None:
        """The nest's elements, those of a thread taken several at once."""
        axes, body = perfect_nest(s)
        (self.rows_below if goes_down(axes, body) else self.elements_apart)(axes, body)

    def elements_apart(self, axes: Axes, body: Sequence[Statement]) -> None:
        """Each thread takes elements `BLOCK` apart, the loads of several at once."""
        count = self.symbols.size(math.prod(n for _, n in axes))
        chunk = BLOCK * UNROLLED
        self.put(0, f"e = block * {chunk} + thread")
        self.put(0, f"while e + {chunk - BLOCK} < {count}:")
        self.depth += 1
        names = ["e", *(f"e{k}" for k in range(1, UNROLLED))]
        for k in range(1, UNROLLED):
            self.put(0, f"e{k} = e + {k * BLOCK}")
        self.side_by_side(axes, body, names)
        self.put(0, f"e += {chunk} * cuda.gridDim.x")
        self.depth -= 1
        self.put(0, f"while e < {count}:")
        self.depth += 1
        self.side_by_side(axes, body, ["e"])
        self.put(0, f"e += {BLOCK}")
        self.depth -= 1

    def timed(self, s: Loop) -> None:
        """Each thread takes elements, one after the other, each through all of its time."""
        axes, body = perfect_nest(s)
        count = self.symbols.size(math.prod(n for _, n in axes))
        self.put(0, f"for e in range(block * {BLOCK} + thread, {count}, {BLOCK} * cuda.gridDim.x):")
        self.depth += 1
        outer = dict(self.names)
        self.stand_at("e", axes, body)
        self.block(body)
        self.names, self.flat = outer, None
        self.depth -= 1

    def side_by_side(self, axes: Axes, body: Sequence[Statement], names: list[str]) -> None:
        """The body for several elements: all loads, then arithmetic, then all stores.

        Numba does not tell that arrays are disjoint, so that no load would move in front of a store.
        """
        positions = [self.positions(axes, axes_needed(body, axes, self.strided), name) for name in names]

        def stand_at(k: int) -> None:
            self.axis_names.update(positions[k])
            self.flat = (tuple(a for a, _ in axes), tuple(n for _, n in axes), names[k])

        self.in_turn(body, len(names), stand_at)
        self.flat = None

    def in_turn(self, body: Sequence[Statement], count: int, stand_at: Callable[[int], None]) -> None:
        """The body for several elements, each part for all of them; `stand_at` says which comes next."""
        known: list[dict[Any, str]] = [{} for _ in range(count)]
        outer = dict(self.names)
        for group in in_order(body):
            for k in range(count):
                self.names = {**outer, **known[k]}
                stand_at(k)
                self.block(group)
                known[k] = {x: n for x, n in self.names.items() if x not in outer}
        self.names = outer

    def stand_at(self, name: str, axes: Axes, body: Sequence[Statement]) -> None:
        """What is printed from here on is for the element of a nest that has this number."""
        self.axis_names.update(self.positions(axes, axes_needed(body, axes, self.strided), name))
        self.flat = (tuple(a for a, _ in axes), tuple(n for _, n in axes), name)

    def positions(self, axes: Axes, needed: Collection[int], name: str) -> dict[int, str]:
        """The counters of the nest's loops from an element's number, those that are needed."""
        if len(axes) == 1:
            return {axes[0][0]: name}
        found: dict[int, str] = {}
        rest = name
        for number, (axis, extent) in enumerate(reversed(axes)):
            is_last = number == len(axes) - 1
            if not any(a in needed for a, _ in axes[: len(axes) - number]):
                break
            if is_last:
                found[axis] = rest
                break
            quotient, size = self.fresh("q"), self.symbols.size(extent)
            self.put(0, f"{quotient} = {self.divided_by(rest, extent)}")
            if axis in needed:
                found[axis] = self.fresh("i")
                self.put(0, f"{found[axis]} = {rest} - {quotient} * {size}")
            rest = quotient
        return found

    def divided_by(self, text: str, n: int) -> str:
        """A quotient of numbers from 0 on."""
        return self.narrow_quotient(text, n) if self.fits_32 else f"{text} // {self.symbols.size(n)}"

    # --- rows one below the other ---------------------------------------------------------------------------

    def rows_below(self, axes: Axes, body: Sequence[Statement]) -> None:
        """Each thread takes one column of `UNROLLED` rows: at once where no edge is near."""
        *outer, (row, rows), column = axes
        grouped = [*outer, (row, -(-rows // UNROLLED)), column]
        count = self.symbols.size(math.prod(n for _, n in grouped))
        bounds = (f"block * {BLOCK} + thread", count, f"{BLOCK} * cuda.gridDim.x")
        self.counted("e", bounds, lambda: self.one_below(axes, grouped, body))

    def one_below(self, axes: Axes, grouped: Axes, body: Sequence[Statement]) -> None:
        row, rows = axes[-2]
        self.axis_names.update(self.positions(grouped, [a for a, _ in axes], "e"))
        names = [self.fresh("r") for _ in range(UNROLLED)]
        self.put(0, f"{names[0]} = {self.axis_names[row]} * {UNROLLED}")
        self.axis_names[row] = names[0]
        self.put(0, f"if {self.all_inside(row, rows, body)}:")
        self.indented(lambda: self.together(row, names, body))
        self.put(0, "else:")
        self.depth += 1
        end, last = self.symbols.size(rows), self.fresh("last")
        self.put(0, f"{last} = {names[0]} + {UNROLLED} if {names[0]} + {UNROLLED} < {end} else {end}")
        self.axis_names[row] = self.fresh("r")
        bounds = (names[0], last, 1)
        self.counted(self.axis_names[row], bounds, lambda: self.in_turn(body, 1, lambda _: None))
        self.depth -= 1

    def all_inside(self, row: int, rows: int, body: Sequence[Statement]) -> str:
        """Are there `UNROLLED` rows from here on, and do all guards hold in them?"""
        guards = [Guard(">=", -Index.factor(AxisRef(row)) + (rows - UNROLLED))]
        for guard in guards_of(list(body)):
            guards += [Guard(guard.op, moved(guard.index, row, k)) for k in range(UNROLLED)]
        return self.conditions(strongest(guards))

    def together(self, row: int, names: list[str], body: Sequence[Statement]) -> None:
        """The rows at once: what one has loaded is not loaded again by another."""
        places, loaded = dict[Index, str](), dict[Any, str]()
        for k, name in enumerate(names[1:], 1):
            self.put(0, f"{name} = {names[0]} + {k}")

        def stand_at(k: int) -> None:
            self.axis_names[row] = names[k]
            self.below = _Below(row, names[0], k, places, loaded)

        self.in_turn(body, len(names), stand_at)
        self.below = None

    def conditions(self, guards: Sequence[Guard]) -> str:
        return super().conditions(guards if self.below is None else ())

    def load(self, s: Load) -> None:
        below = self.below
        if below is None:
            super().load(s)
            return
        key = (s.buffer, *(moved(k, below.axis, below.by) for k in s.index))
        if key in below.loaded:
            self.names[s.scalar] = below.loaded[key]
            return
        super().load(Load(s.scalar, s.buffer, s.index, (), s.source))
        below.loaded[key] = self.names[s.scalar]

    def address(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        """From the first row: where a row begins is computed once, what is left is a constant."""
        below = self.below
        if below is None or buffer in self.registers:
            return super().address(buffer, index)
        here = self.axis_names[below.axis]
        self.axis_names[below.axis] = below.first
        index = tuple(moved(k, below.axis, below.by) for k in index)
        if buffer in self.strided or len(index) != len(buffer.shape) or not index:
            text = super().address(buffer, index)
        else:
            text = self.in_row_of(buffer, index, below)
        self.axis_names[below.axis] = here
        return text

    def in_row_of(self, buffer: Buffer, index: tuple[Index, ...], below: _Below) -> str:
        beside = index[-1].constant
        start = Index()
        for k, n in zip((*index[:-1], index[-1] - beside), buffer.shape, strict=True):
            start = start * n + k
        if start not in below.places:
            below.places[start] = self.fresh("p")
            self.put(0, f"{below.places[start]} = {self.index(start)}")
        sign = "-" if beside < 0 else "+"
        return (
            f"{below.places[start]} {sign} {self.symbols.size(abs(beside))}"
            if beside
            else below.places[start]
        )

    # --- elements that are added at places which are data ---------------------------------------------------

    def scattered(self, s: Loop) -> None:
        """A perfect nest that adds to elements known only now, of a copy that the block has.

        A block takes `BLOCK` elements at a time. Each thread leaves where its value goes, then adds those of
        all values, in order, whose place it owns: no two threads write to one address, and the order never
        changes.
        """
        axes, body = perfect_nest(s)
        count = self.symbols.size(math.prod(n for _, n in axes))
        added = [x for x in body if isinstance(x, Combine) and x.buffer not in self.atomic]
        for k, x in enumerate(added):
            self.put(0, f"place{k} = cuda.shared.array({BLOCK}, np.int64)")
            self.put(0, f"value{k} = cuda.shared.array({BLOCK}, {stored_type(x.buffer)})")
        bounds = (f"block * {BLOCK}", count, f"{BLOCK} * cuda.gridDim.x")
        self.counted("start", bounds, lambda: self.scattered_block(axes, body, added, count))

    def scattered_block(
        self, axes: Axes, body: Sequence[Statement], added: Sequence[Combine], count: str
    ) -> None:
        self.put(0, "e = start + thread")
        for k in range(len(added)):
            self.put(0, f"place{k}[thread] = -1")
        self.put(0, f"if e < {count}:")
        self.indented(lambda: self.leave_values(axes, body, added))
        self.put(0, "cuda.syncthreads()")
        for k, x in enumerate(added):
            self.take_values(k, x)
        self.put(0, "cuda.syncthreads()")

    def leave_values(self, axes: Axes, body: Sequence[Statement], added: Sequence[Combine]) -> None:
        outer = dict(self.names)
        self.stand_at("e", axes, body)
        for group in in_order([x for x in body if x not in added]):
            self.block(group)
        for k, x in enumerate(added):
            self.put(0, f"place{k}[thread] = {self.address(x.buffer, x.index)}")
            self.put(0, f"value{k}[thread] = {self.stored(self.value(x.value), x.buffer)}")
        self.names, self.flat = outer, None

    def take_values(self, k: int, x: Combine) -> None:
        name, begin = self.place(x.buffer)
        self.put(0, f"for t in range({BLOCK}):")
        self.put(1, f"at = place{k}[t]")
        self.put(1, f"if at >= 0 and at % {BLOCK} == thread:")
        self.depth += 2
        self.put(0, f"given = value{k}[t]{' != 0' if x.buffer.dtype == BOOL else ''}")
        self.add_to(f"{name}[{begin}at]", "given", x, x.source)
        self.depth -= 2


@dataclass(frozen=True)
class _Below:
    """A row of several that a thread takes together.

    axis: their counter, `first` its name for the first of them; by: which of them this is
    places: names of where rows begin, by index from the first; loaded: what was loaded, by array and index
    """

    axis: int
    first: str
    by: int
    places: dict[Index, str]
    loaded: dict[Any, str]
