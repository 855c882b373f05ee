"""Kernels that run range by range: one outermost loop, cut into strands that nothing passes between.

Enters: a `Kernel`. Leaves: a `Ranged`, three kernels that together do the same: `start` for each strand,
`part` for each range of a strand, `finish` once when all strands are done. What a strand reduces stays its
own until it is at its end, and strands are joined in order: results depend on how a loop is cut, not on who
runs what.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    FillRows,
    JoinCopy,
    Kernel,
    Lead,
    Load,
    Loop,
    MergePartial,
    Reset,
    SetRegister,
    Stage,
    StartPartial,
    Statement,
    Store,
    Strip,
    TotalPartial,
    nbytes,
    remove_dead,
    walk,
)
from tracejit.codegen.work import work_of_kernel
from tracejit.schedule.index import AxisRef, Index

SLOT_BYTES = 8  # of one partial result
LINE_BYTES = 64  # partial results of two strands never share a cache line

NUMBERS = frozenset({"low", "high", "block", "strands"})  # of `extras`, those that are no addresses

Written = (Store, Combine, Fill, FillRows, JoinCopy)
Touching = (Load, *Written)


@dataclass(frozen=True, eq=False)
class Ranged:
    """A kernel in parts.

    start, join, finish: None where there is nothing to do
    private: arrays of which each strand but the first, which has the array itself, fills a copy; `join`
        reduces it into the array when those of the strands before have been
    slots: partial results of a strand
    sliced: arrays of which iteration `i` of the loop touches slice `i` alone, and nothing else does; and the
        dimension along which: 0, or 1 for rows that a loop over time has, of which it is an element of each
    lead: iterations in front of a strand that are run for its rings
    """

    kernel: Kernel
    axis: int
    extent: int
    start: Kernel | None
    part: Kernel
    join: Kernel | None
    finish: Kernel | None
    private: tuple[Buffer, ...]
    slots: int
    sliced: Mapping[Buffer, int]
    lead: int = 0

    @property
    def single(self) -> Kernel:
        return self.kernel

    @property
    def work(self) -> float:
        """Nanoseconds of one thread, roughly."""
        return work_of_kernel(self.kernel)

    @property
    def functions(self) -> tuple[Kernel, ...]:
        """The kernels to print."""
        return tuple(k for k in (self.start, self.part, self.join, self.finish) if k is not None)

    @property
    def scratch(self) -> tuple[Buffer, ...]:
        return tuple(self.kernel.scratch)

    @property
    def read(self) -> set[Buffer]:
        return _read(self.kernel.body)

    @property
    def read_early(self) -> set[Buffer]:
        """What is read before all strands are done."""
        return {b for k in self.functions if k is not self.finish for b in _read(k.body)}

    @property
    def written(self) -> set[Buffer]:
        return self.kernel.written - set(self.scratch)


def _read(body: Sequence[Statement]) -> set[Buffer]:
    return {s.buffer for s in walk(body) if isinstance(s, (Load, Combine))}


def slots_of(accumulator: Accumulator) -> int:
    """Partial results of a strand for it: of argmax the value, its place, and whether there is none yet."""
    return 3 if accumulator.reducer.startswith("arg") else 1


def in_ranges(kernel: Kernel, literal_limit: int) -> Ranged | None:
    """The kernel in parts; None where its iterations are few, or not independent of one another."""
    found = [k for k, s in enumerate(kernel.body) if isinstance(s, Loop)]
    if len(found) != 1:
        return None
    loop = kernel.body[found[0]]
    assert isinstance(loop, Loop)
    before, after = kernel.body[: found[0]], kernel.body[found[0] + 1 :]
    if loop.extent <= literal_limit or not _is_free(kernel, loop, before, after):
        return None
    return _Splitter(kernel, loop, before, after).run()


def turn(kernel: Kernel) -> Kernel | None:
    """A nest of two loops with the inner one outside, so that it can run along with loops over time.

    What the outer loop is over becomes time: it is not cut, and vectors run along the other one. None where
    something is done for each iteration of the outer loop as a whole, or where places are data.
    """
    loops = [s for s in kernel.body if isinstance(s, Loop)]
    if len(loops) != 1 or kernel.scratch or kernel.checks_indices:
        return None
    *before, inner = loops[0].body or [loops[0]]
    if not isinstance(inner, Loop) or not all(isinstance(s, (Compute, Load)) for s in before):
        return None
    inside = [*before, *inner.body]
    if not all(_is_orderless(s) for s in walk(inside)):
        return None
    time = Loop(loops[0].axis, loops[0].extent, inside, serial=True)
    outer = Loop(inner.axis, inner.extent, [time])
    body = [outer if s is loops[0] else s for s in kernel.body]
    return Kernel(kernel.name, body, kernel.buffers, kernel.written, kernel.scratch, shared=kernel.shared)


def _is_orderless(statement: Statement) -> bool:
    """Does it matter at most to rounding when it runs? Of equal elements a place is the first one's."""
    if isinstance(statement, Accumulate):
        return not statement.accumulator.reducer.startswith("arg")
    return isinstance(statement, (Compute, Load, Store, Reset, Combine, Loop)) and not (
        isinstance(statement, Loop) and statement.serial
    )


def _is_free(kernel: Kernel, loop: Loop, before: Sequence[Statement], after: Sequence[Statement]) -> bool:
    """Does no iteration of the loop need, or write over, what another one writes?"""
    if loop.serial or any(isinstance(s, SetRegister) for s in (*before, *after)):
        return False
    if any(isinstance(s, (Accumulate, Combine)) for s in before):
        return False
    if any(isinstance(s, (Accumulate, Reset)) for s in after):
        return False
    scratch = set(kernel.scratch)
    stages = [s for s in loop.body if isinstance(s, Stage)]
    for body, axis in [(s.body, s.axis) for s in stages] or [(loop.body, loop.axis)]:
        for s in walk(body):
            if isinstance(s, Store) and s.buffer not in scratch and not _has_axis(s.index, axis):
                return False
    return not stages or _can_lead(stages, scratch)


def _can_lead(stages: Sequence[Stage], scratch: Set[Buffer]) -> bool:
    """Can rings be filled anew anywhere? Not where rows come from memory, or are checked."""
    inside = list(walk(stages))
    stored = {s.buffer for s in inside if isinstance(s, Store)} - scratch
    return not any(isinstance(s, CheckIndex) or (isinstance(s, Load) and s.buffer in stored) for s in inside)


def _has_axis(index: Sequence[Index], axis: int) -> bool:
    return any(isinstance(f, AxisRef) and f.axis == axis for part in index for f, _ in part.terms)


def slice_of(buffer: Buffer, index: Sequence[Index], axis: int, serial: Set[int]) -> int | None:
    """The dimension, if any, along which it is the slice whose number is the loop's counter.

    serial: counters of loops over time
    """
    if len(index) != len(buffer.shape) or not index:
        return None
    counter = Index.factor(AxisRef(axis))
    if index[0] == counter:
        return 0
    is_in_time = serial and len(index) > 1 and not index[0].loaded and serial >= index[0].axes
    return 1 if is_in_time and index[1] == counter else None


class _Splitter:
    def __init__(
        self, kernel: Kernel, loop: Loop, before: Sequence[Statement], after: Sequence[Statement]
    ) -> None:
        self.kernel = kernel
        self.loop = loop
        self.before = before
        self.after = after
        self.scratch = set(kernel.scratch)
        self.stages = [s for s in loop.body if isinstance(s, Stage)]
        self.sliced = dict(self._sliced())

    def run(self) -> Ranged | None:
        fills = {s.buffer: s for s in self.before if isinstance(s, Fill) and s.buffer not in self.scratch}
        private = {b: s for b, s in fills.items() if b not in self.sliced}
        if any(isinstance(s, Load) and s.buffer in private for s in walk(self.loop.body)):
            return None
        resets = [s for s in self.before if isinstance(s, Reset)]
        pure = [s for s in self.before if isinstance(s, (Compute, Load, CheckIndex))]
        stores = [s for s in self.before if isinstance(s, Store)]
        accumulators = [s.accumulator for s in resets]
        *slots, used = itertools.accumulate(map(slots_of, accumulators), initial=0)
        stride = -(-used * SLOT_BYTES // LINE_BYTES) * LINE_BYTES // SLOT_BYTES
        start: list[Statement] = [Fill(b, s.reducer) for b, s in private.items()]
        start += self._rings(pure)
        start += [StartPartial(a, k) for k, a in zip(slots, accumulators)]
        join: list[Statement] = [JoinCopy(b, s.reducer) for b, s in private.items()]
        finish: list[Statement] = [TotalPartial(a, k, stride) for k, a in zip(slots, accumulators)]
        finish += [*pure, *stores, *self.after] if stores or self.after else []
        rows: list[Statement] = [FillRows(b, s.reducer) for b, s in fills.items() if b not in private]
        name = self.kernel.name
        return Ranged(
            self.kernel,
            self.loop.axis,
            self.loop.extent,
            self._function(f"{name}.start", start),
            self._part(name, pure, rows, dict(zip(slots, resets))),
            self._function(f"{name}.join", join),
            self._function(f"{name}.finish", remove_dead(finish)) if finish else None,
            tuple(private),
            stride,
            self.sliced,
            leading_rows(self.stages),
        )

    def _part(
        self, name: str, pure: Sequence[Statement], rows: Sequence[Statement], resets: Mapping[int, Reset]
    ) -> Kernel:
        loop = Loop(self.loop.axis, self.loop.extent, self.loop.body, ranged=True)
        body: list[Statement] = [loop]
        if resets:
            merges = [MergePartial(s.accumulator, k) for k, s in resets.items()]
            body = [Strip([*resets.values(), loop, *merges])]
        found = self._function(name, remove_dead([*pure, *rows, *body]))
        assert found is not None
        return found

    def _rings(self, pure: Sequence[Statement]) -> list[Statement]:
        """What gives a strand's rings the rows that come before it; nothing where there are no rings."""
        fills = [s for s in self.before if isinstance(s, Fill) and s.buffer in self.scratch]
        if not self.stages:
            return []
        lead: list[Statement] = []
        for s in self.stages:
            body = _only_stores(s.body, self.scratch)
            if body:
                lead.append(Stage(s.axis, s.extent, s.time, s.lag, body, s.zeros))
        return [*fills, *remove_dead([*pure, Lead(self.loop.axis, leading_rows(self.stages), lead)])]

    def _function(self, name: str, body: list[Statement]) -> Kernel | None:
        if not body:
            return None
        touched = {s.buffer for s in walk(body) if isinstance(s, Touching)}
        return Kernel(
            name,
            body,
            [b for b in self.kernel.buffers if b in touched],
            {s.buffer for s in walk(body) if isinstance(s, Written)},
            [b for b in self.kernel.scratch if b in touched],
            any(isinstance(s, CheckIndex) for s in walk(body)),
            self.kernel.shared,
        )

    def _sliced(self) -> Iterator[tuple[Buffer, int]]:
        """Arrays that are touched in the loop alone, always in the slice that is the loop's counter.

        Of those that are filled before they are reduced into it must be a row, which is filled on its own.
        """
        inside = [s for s in walk(self.loop.body) if isinstance(s, (Load, Store, Combine))]
        elsewhere = {s.buffer for s in (*self.before, *self.after) if isinstance(s, (Load, Store, Combine))}
        filled = {s.buffer for s in self.before if isinstance(s, Fill)}
        serial = {s.axis for s in walk(self.loop.body) if isinstance(s, Loop) and s.serial}
        for buffer in dict.fromkeys(s.buffer for s in inside):
            uses = {slice_of(buffer, s.index, self.loop.axis, serial) for s in inside if s.buffer is buffer}
            dimension = uses.pop() if len(uses) == 1 else None
            if buffer not in elsewhere and dimension is not None and (not dimension or buffer not in filled):
                yield buffer, dimension


def _only_stores(body: Sequence[Statement], scratch: Set[Buffer]) -> list[Statement]:
    """The statements that store into scratch, and what these need; loops are new ones."""
    kept: list[Statement] = []
    for s in body:
        if isinstance(s, Loop):
            inner = _only_stores(s.body, scratch)
            if any(isinstance(x, Store) for x in walk(inner)):
                kept.append(Loop(s.axis, s.extent, inner))
        elif isinstance(s, (Compute, Load)) or (isinstance(s, Store) and s.buffer in scratch):
            kept.append(s)
    return kept if any(isinstance(x, Store) for x in walk(kept)) else []


def leading_rows(stages: Sequence[Stage]) -> int:
    """Iterations before a range after which all rings hold what the range reads of them.

    A ring of n rows needs n - 1; a stage that reads it to fill another one needs that many more.
    """
    made = {x.buffer: k for k, s in enumerate(stages) for x in walk(s.body) if isinstance(x, Store)}
    needed = [0] * len(stages)
    for k in reversed(range(len(stages))):
        for x in walk(stages[k].body):
            if isinstance(x, Load) and x.buffer.rows_of is not None:
                maker = made[x.buffer]
                needed[maker] = max(needed[maker], needed[k] + x.buffer.shape[0] - 1)
    return max(needed, default=0)


def extras(kernel: Kernel) -> tuple[str, ...]:
    """The arguments of a function that only those of a `Ranged` have, in order.

    low, high: the range; block: iterations whose sums are short; partials: the address of the strand's
    partial results (of all strands', where they are totalled); strands: their number; `x.copy`: the strand's
    copy of array x
    """
    names: dict[str, None] = {}
    for s in walk(kernel.body):
        if isinstance(s, FillRows) or (isinstance(s, Loop) and s.ranged):
            names.update(dict.fromkeys(("low", "high")))
        elif isinstance(s, Lead):
            names["low"] = None
        elif isinstance(s, Strip):
            names["block"] = None
        elif isinstance(s, (StartPartial, MergePartial, TotalPartial)):
            names["partials"] = None
        if isinstance(s, TotalPartial):
            names["strands"] = None
        elif isinstance(s, JoinCopy):
            names[copy_name(s.buffer)] = None
    return tuple(names)


def copy_name(buffer: Buffer) -> str:
    return f"{buffer.name}.copy"


def copy_bytes(buffer: Buffer) -> int:
    """From one copy of an array to the next."""
    return -(-nbytes(buffer) // LINE_BYTES) * LINE_BYTES
