"""Nests that run side by side: one loop over time, in which each runs one row; rings of rows between them.

Enters: the kernels of a stream's parts. Leaves: one kernel. A ring's rows have zeros on both sides, as far as
readers reach over the ends of a row, and rows before the first and behind the last are all zeros: reads that
are guarded against the ends of the array then need no guard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from tracejit.codegen.loops import (
    Buffer,
    CheckIndex,
    Compute,
    Fill,
    Kernel,
    Load,
    Loop,
    Scalar,
    Stage,
    Statement,
    Store,
    operands,
    walk,
)
from tracejit.errors import InternalError
from tracejit.schedule.index import AxisRef, Guard, Index
from tracejit.schedule.steps import StreamStep

MOST_PADDING = 16  # zeros on each side of a row; where readers reach farther their guards stay


class _Ring:
    """A ring of `rows` rows of the array `source`; `low` and `high` count zeros around each dimension."""

    def __init__(self, source: Buffer, rows: int) -> None:
        self.source = source
        self.rows = rows
        self.low = [0] * len(source.shape)
        self.high = [0] * len(source.shape)
        self.buffer = Buffer(None, (), source.dtype, rows_of=source.var)

    @property
    def row_size(self) -> int:
        return prod(self.buffer.shape[1:])

    def without(self, load: Load, extents: Mapping[int, int]) -> tuple[Guard, ...]:
        """The guards of a load that remain; where one goes, zeros are planned."""
        return tuple(g for g in load.guards if not self._stands_in(g, load.index, extents))

    def _stands_in(self, guard: Guard, index: tuple[Index, ...], extents: Mapping[int, int]) -> bool:
        """Do zeros in the ring do what the guard does? Then it says that an element is inside the array."""
        planned: list[tuple[list[int], int, int]] = []
        for d, (place, n) in enumerate(zip(index, self.source.shape, strict=True)):
            low, high = place.bounds(extents) or (-MOST_PADDING - 1, n + MOST_PADDING)
            if guard == Guard(">=", place):
                planned.append((self.low, d, -low))
            elif guard == Guard(">=", Index.of(n - 1) - place):
                planned.append((self.high, d, high - (n - 1)))
        if not planned or any(d and count > MOST_PADDING for _, d, count in planned):
            return False
        for side, d, count in planned:
            side[d] = max(side[d], count)
        return True

    def settle(self) -> None:
        """All zeros are planned: the ring gets its shape."""
        whole = zip(self.low, self.source.shape, self.high, strict=True)
        self.buffer.shape = (self.rows, *[a + n + b for a, n, b in whole][1:])

    def place(self, index: tuple[Index, ...]) -> tuple[Index, ...]:
        """Where in the ring an element of the array is."""
        inner = (k + n for k, n in zip(index[1:], self.low[1:], strict=True))
        return (index[0] % self.rows, *inner)

    def zero_row(self, row: int, axis: int) -> Iterator[Statement]:
        """Statements that make row `row`, a loop's counter, all zeros."""
        zero = Scalar("const", (self.source.dtype.type(0),), self.source.dtype, 0)
        flat = (Index.factor(AxisRef(row)) % self.rows) * self.row_size + Index.factor(AxisRef(axis))
        yield Loop(axis, self.row_size, [Store(self.buffer, (flat,), zero)])


def join_kernels(step: StreamStep, kernels: Sequence[Kernel], name: str, axes: Iterator[int]) -> Kernel:
    """The kernels of `step.parts` as one, called `name`; `axes` gives loop axes that nobody has."""
    rings = {
        b: _Ring(b, step.rings[b.var])
        for b in dict.fromkeys(b for k in kernels for b in k.buffers)
        if b.var is not None and b.var in step.rings
    }
    places = [_place_of_loop(k) for k in kernels]
    loops = [k.body[at] for k, at in zip(kernels, places, strict=True)]
    for loop in loops:
        _take_guards(loop, rings)
    for ring in rings.values():
        ring.settle()
    for loop in loops:
        _move(loop, rings)
    time = next(axes)
    stages: list[Statement] = []
    for loop, lag in zip(loops, step.lags, strict=True):
        assert isinstance(loop, Loop)
        made = dict.fromkeys(s.buffer for s in walk(loop.body) if isinstance(s, Store))
        zeros = [
            z
            for r in rings.values()
            if r.buffer in made and r.high[0]
            for z in r.zero_row(loop.axis, next(axes))
        ]
        stages.append(Stage(loop.axis, loop.extent, time, lag, loop.body, zeros))
    extent = max(s.extent + s.lag for s in stages if isinstance(s, Stage))
    body: list[Statement] = [Fill(r.buffer, "sum") for r in rings.values() if any(r.low) or any(r.high)]
    after: list[Statement] = []
    written: set[Buffer] = set()
    for kernel, at in zip(kernels, places, strict=True):
        now, later = _waiting(kernel.body[:at], written)
        body += now
        after += [*later, *kernel.body[at + 1 :]]
        written |= kernel.written
    return _kernel(name, [*body, Loop(time, extent, stages), *after], kernels, rings)


def _place_of_loop(kernel: Kernel) -> int:
    found = [k for k, s in enumerate(kernel.body) if isinstance(s, Loop)]
    if len(found) != 1:
        raise InternalError(f"a stream's part is {len(found)} loops")
    return found[0]


def _waiting(
    statements: Sequence[Statement], written: set[Buffer]
) -> tuple[list[Statement], list[Statement]]:
    """What may run before all rows, and what needs numbers that other parts have when all rows have run."""
    now: list[Statement] = []
    later: list[Statement] = []
    known_later: set[Scalar] = set()
    for s in statements:
        waits = not known_later.isdisjoint(operands(s)) or (isinstance(s, Load) and s.buffer in written)
        (later if waits else now).append(s)
        if waits and isinstance(s, (Load, Compute, CheckIndex)):
            known_later.add(s.scalar)
    return now, later


def _take_guards(loop: Statement, rings: Mapping[Buffer, _Ring]) -> None:
    extents = {s.axis: s.extent for s in walk([loop]) if isinstance(s, Loop)}
    for s in walk([loop]):
        if isinstance(s, Load) and s.buffer in rings:
            s.guards = rings[s.buffer].without(s, extents)


def _move(loop: Statement, rings: Mapping[Buffer, _Ring]) -> None:
    """Loads and stores of arrays that have rings go to these."""
    for s in walk([loop]):
        if isinstance(s, (Load, Store)) and s.buffer in rings:
            ring = rings[s.buffer]
            s.index, s.buffer = ring.place(s.index), ring.buffer


def _kernel(
    name: str, body: list[Statement], kernels: Sequence[Kernel], rings: Mapping[Buffer, _Ring]
) -> Kernel:
    own = [r.buffer for r in rings.values()]
    scratch = [*(b for k in kernels for b in k.scratch), *own]
    buffers = [*dict.fromkeys(b for k in kernels for b in k.buffers if b not in rings), *own]
    written = {b for k in kernels for b in k.written if b not in rings} | set(own)
    checks = any(k.checks_indices for k in kernels)
    return Kernel(name, body, buffers, written, scratch, checks)
