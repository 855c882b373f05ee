"""Which loops of a kernel run on vectors: found before it is printed, by what is legal and what is cheap.

A loop is vectorised innermost or with whole loops inside of it, whose counters then stay scalar while every
value has a lane an iteration of the outer one: a small product of matrices runs along its columns so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    Combine,
    Compute,
    Kernel,
    Layouts,
    Lead,
    Load,
    Loop,
    Reset,
    Scalar,
    Stage,
    Statement,
    Store,
    Strip,
    operands,
    walk,
)
from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS, Libm
from tracejit.codegen.scalar_library import Loop as LoopFunction
from tracejit.costs import (
    CALL_COST,
    CROSSING_COST,
    DIVISION_COST,
    LOOP_COST,
    NOMINAL_EXTENT,
    NOMINAL_SHORT,
    PROGRAM_COST,
    REDUCTION_COST,
    SHORT_SCRATCH,
)
from tracejit.schedule.index import AxisRef, Index, Loaded

_DIVISIONS = frozenset({"div", "sqrt", "remainder", "floor_divide", "fmod"})


@dataclass(frozen=True)
class Vectors:
    """Loops that run on vectors, the number of lanes, and accumulators that run across the lanes of one.

    blocks: loops over rows that run in blocks of as many rows as there are lanes
    expanded: short scratch rows of which each lane has its own
    """

    loops: frozenset[int]
    blocks: frozenset[int]
    lanes: int
    across: frozenset[Accumulator]
    expanded: frozenset[Buffer]


def plan_vectors(kernel: Kernel, strided: Layouts, lanes: int, literal_limit: int) -> Vectors:
    """The plan for a kernel whose vectors have `lanes` elements."""
    planner = Planner(kernel, strided, lanes, literal_limit)
    loops: set[int] = set()
    for statement in _outermost(kernel.body):
        loops |= planner.choose(statement, 0)[1]
    blocks = planner.blocks & loops
    loops -= blocks
    across = frozenset(_across(kernel.body, loops, blocks))
    vectors = [s for s in walk(kernel.body) if isinstance(s, Loop) and id(s) in loops]
    expanded = frozenset(b for loop in vectors for b in planner.own_scratch(loop))
    return Vectors(frozenset(loops), frozenset(blocks), lanes, across, expanded)


def _across(body: Sequence[Statement], loops: set[int], blocks: set[int]) -> Iterator[Accumulator]:
    """Accumulators that are reset outside of a vectorised loop and fed in it."""
    for statement in body:
        if isinstance(statement, (Strip, Stage, Lead)):
            yield from _across(statement.body, loops, blocks)
        if not isinstance(statement, Loop):
            continue
        if id(statement) in loops:
            own = {s.accumulator for s in walk(statement.body) if isinstance(s, Reset)}
            fed = {s.accumulator for s in walk(statement.body) if isinstance(s, Accumulate)}
            yield from fed - own
        else:
            if id(statement) in blocks:
                yield from (s.accumulator for s in statement.body if isinstance(s, Accumulate))
            yield from _across(statement.body, loops, blocks)


def _outermost(body: Sequence[Statement]) -> Iterator[Loop]:
    for statement in body:
        if isinstance(statement, (Strip, Stage, Lead)):
            yield from _outermost(statement.body)
        elif isinstance(statement, Loop):
            yield statement


class Planner:
    """Prices forms of the loops of one kernel, in instructions."""

    def __init__(self, kernel: Kernel, strided: Layouts, lanes: int, literal_limit: int) -> None:
        self.scratch = dict.fromkeys(kernel.scratch, 0)
        for buffer in _accesses(kernel.body, self.scratch):
            self.scratch[buffer] += 1
        self.blocks: set[int] = set()
        self.strided = strided
        self.lanes = lanes
        self.literal_limit = literal_limit
        # Rows that have scratch are worth a form of their own where they are short, and one text more.
        self.short_axes = {
            axis
            for s in walk(kernel.body)
            if isinstance(s, (Load, Store)) and s.buffer in self.scratch and self.is_short(s.buffer)
            for part in s.index
            for axis in part.axes
        }

    def is_short(self, buffer: Buffer) -> bool:
        return prod(buffer.shape) <= SHORT_SCRATCH

    def extent(self, loop: Loop) -> int:
        if loop.extent <= self.literal_limit:
            return loop.extent
        return NOMINAL_SHORT if loop.axis in self.short_axes else NOMINAL_EXTENT

    def steps(self, loop: Loop) -> int:
        """Vectors that a loop takes; one with idle lanes, whose stores are slow, counts as two."""
        whole, rest = divmod(self.extent(loop), self.lanes)
        return whole + (0 if not rest else 1 if loop.extent <= self.literal_limit else 2)

    def choose(self, loop: Loop, depth: int) -> tuple[float, set[int]]:
        """The cheapest way to run a loop with all that is inside, and the loops that are vectorised in it."""
        chosen: set[int] = set()
        own = inside = 0.0
        stages = [s for s in loop.body if isinstance(s, Stage)]
        for statement in [x for s in stages for x in (*s.body, *s.zeros)] or loop.body:
            if isinstance(statement, Loop):
                cost, inner = self.choose(statement, depth + 1)
                inside += cost
                chosen |= inner
            else:
                own += self.cost(statement, None)
        best = self.extent(loop) * (own + inside + 1)
        if stages:  # a row needs what the rows before it have left
            return best, chosen
        if inside and self.extent(loop) > self.literal_limit and self.has_blocks(loop, depth):
            block = self.block_cost(loop, inside)
            if block < best:
                best = block
                chosen.add(id(loop))
                self.blocks.add(id(loop))
        if self.is_legal(loop, depth):
            vector = self.vector_cost(loop)
            if vector < best:
                self.blocks.discard(id(loop))
                return vector, {id(loop)}
        return best, chosen

    def own_scratch(self, loop: Loop) -> set[Buffer]:
        """Short scratch rows that nothing outside of the loop's body uses.

        All lanes are at the same element of theirs: none is chosen by what a lane has read or where it is.
        """
        inside = Counter(_accesses(loop.body, self.scratch))
        scattered = {
            s.buffer
            for s in walk(loop.body)
            if isinstance(s, (Load, Store)) and any(k.loaded or loop.axis in k.axes for k in s.index)
        }
        return {
            buffer
            for buffer, count in inside.items()
            if count == self.scratch[buffer] and self.is_short(buffer)
        } - scattered

    def is_legal(self, loop: Loop, depth: int) -> bool:
        """May the iterations of a loop run side by side in lanes?"""
        if loop.serial:
            return False
        resets = {s.accumulator for s in walk(loop.body) if isinstance(s, Reset)}
        own = self.own_scratch(loop)
        for statement in walk(loop.body):
            if isinstance(statement, Accumulate):
                if statement.accumulator not in resets and statement.accumulator.reducer.startswith("arg"):
                    return False
            elif isinstance(statement, Store) and statement.buffer in own:
                continue
            elif not _is_side_by_side(statement, loop.axis, depth):
                return False
        return True

    def has_blocks(self, loop: Loop, depth: int) -> bool:
        """May the loop run in blocks of rows? A scratch row holds one row only."""
        inside = list(walk(loop.body))
        if any(isinstance(s, (Load, Store)) and s.buffer in self.scratch for s in inside):
            return False
        if loop.serial or any(isinstance(s, Loop) and s.serial for s in inside):
            return False
        resets = {s.accumulator for s in inside if isinstance(s, Reset)}
        fed = {s.accumulator for s in inside if isinstance(s, Accumulate)}
        if any(a.reducer.startswith("arg") for a in fed - resets):
            return False
        return all(_is_side_by_side(s, loop.axis, depth) for s in loop.body)

    def block_cost(self, loop: Loop, inside: float) -> float:
        """With `inside` for the loops of one row, and numbers of a row crossing to its loops and back."""
        extent = self.extent(loop)
        steps = -(-extent // self.lanes)
        direct = dict.fromkeys(s for s in loop.body if not isinstance(s, Loop))
        own = {s.scalar for s in direct if isinstance(s, (Compute, Load))}
        read = {x for s in walk(loop.body) if s not in direct for x in operands(s)}
        crossing = len(own & read) + sum(isinstance(s, Reset) for s in direct)
        return (
            LOOP_COST
            + extent * (inside + 1 + CROSSING_COST * crossing)
            + steps * sum(self.cost(s, loop.axis) for s in direct)
        )

    def vector_cost(self, loop: Loop) -> float:
        resets = {s.accumulator for s in walk(loop.body) if isinstance(s, Reset)}
        fed = {s.accumulator for s in walk(loop.body) if isinstance(s, Accumulate)}
        return (
            LOOP_COST
            + REDUCTION_COST * len(fed - resets)
            + self.steps(loop) * self.body_cost(loop.body, loop.axis)
        )

    def body_cost(self, body: Sequence[Statement], axis: int) -> float:
        total = 1.0
        for statement in body:
            if isinstance(statement, Loop):
                total += self.extent(statement) * self.body_cost(statement.body, axis)
            else:
                total += self.cost(statement, axis)
        return total

    def cost(self, statement: Statement, axis: int | None) -> float:
        """Of one statement, on vectors along `axis` where that is given."""
        if isinstance(statement, (Load, Store, Combine)):
            times = 1 if isinstance(statement, (Load, Store)) else 2
            if axis is None or self.is_unit(statement.buffer, statement.index, axis):
                return times
            return times * self.lanes
        if isinstance(statement, Compute):
            return self.compute_cost(statement.scalar, axis)
        return 1.0

    def compute_cost(self, scalar: Scalar, axis: int | None) -> float:
        if scalar.op in PROGRAMS:
            return PROGRAM_COST
        entry = SCALAR_FUNCTIONS.get(scalar.op)
        if entry is not None and isinstance(entry.form, (Libm, LoopFunction)):
            return CALL_COST * (1 if axis is None else self.lanes)
        return DIVISION_COST if scalar.op in _DIVISIONS else 1.0

    def is_unit(self, buffer: Buffer, index: tuple[Index, ...], axis: int) -> bool:
        """Do neighbours along the axis lie side by side, or all at one place?"""
        moving = [k for k, part in enumerate(index) if axis in part.axes or part.loaded]
        if not moving:
            return True
        if len(index) == len(buffer.shape) and moving != [self.strided.get(buffer, len(index) - 1)]:
            return False
        part = index[moving[0]]
        return dict(part.terms).get(AxisRef(axis)) in (1, -1)


def _accesses(body: Sequence[Statement], buffers: Mapping[Buffer, int]) -> Iterator[Buffer]:
    """The buffer of each load and store of one of `buffers`."""
    for statement in walk(body):
        if isinstance(statement, (Load, Store)) and statement.buffer in buffers:
            yield statement.buffer


def _is_side_by_side(statement: Statement, axis: int, depth: int) -> bool:
    """May all lanes write at once?"""
    if isinstance(statement, Store):
        return _is_affine(statement.index, axis, depth, needs_axis=True)
    return not isinstance(statement, Combine) or _is_affine(statement.index, axis, depth, needs_axis=False)


def _is_affine(index: tuple[Index, ...], axis: int, depth: int, needs_axis: bool) -> bool:
    """Is each lane's place its own (or, if allowed, one for all), so that no lane writes over another?"""
    found = False
    for part in index:
        for factor, _ in part.terms:
            if isinstance(factor, AxisRef):
                found = found or factor.axis == axis
            elif isinstance(factor, Loaded):
                if factor.scalar.level > depth:
                    return False
            elif axis in factor.numerator.axes or factor.numerator.loaded:
                return False
    return found or not needs_axis
