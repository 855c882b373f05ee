"""Which launches of CUDA kernels run a program, and how the work is shared out among their threads.

A loop whose iterations are independent of one another (`codegen.ranges`) is one launch of many blocks, the
last of which totals what all of them found. What is not, or is too small to be worth it, is one launch of one
block, whose threads share the inner loops.

The number of blocks follows from sizes alone, so results are the same bits on every device and in every run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tracejit.codegen.cuda.cuts import cut, part_of
from tracejit.codegen.cuda.nests import (
    SHORT,
    UNROLLED,
    fits_registers,
    goes_down,
    has_time,
    is_perfect,
    perfect_nest,
    scatters,
)
from tracejit.codegen.cuda.scatter import (
    BLOCKS_WITH_COPIES,
    COPY_BYTES,
    Scatter,
    Segments,
    Sort,
    found_in,
    is_better_atomic,
    is_better_sorted,
    sorted_steps,
    without_fills,
    zeros,
)
from tracejit.codegen.cuda.segments import print_segments, segment_items, segment_workers
from tracejit.codegen.cuda.source import LaunchPrinter
from tracejit.codegen.cuda.teams import BLOCK, JOINED_BY_WARPS, WARP, WARPS
from tracejit.codegen.loops import (
    Buffer,
    CheckIndex,
    Fill,
    JoinCopy,
    Kernel,
    Layouts,
    Loop,
    MergePartial,
    Statement,
    nbytes,
    walk,
)
from tracejit.codegen.memory_plan import plan_memory
from tracejit.codegen.program import LibraryCall, Program
from tracejit.codegen.ranges import Ranged, in_ranges
from tracejit.codegen.symbols import Symbols
from tracejit.ir import Var
from tracejit.schedule.access import reaches

MOST_BLOCKS = 1024
SHARED_BYTES = 32 * 2**10  # of a block
SMALL = 2048  # iterations, all loops together, that one block runs alone
FILLED_BY_ONE = 16384  # elements of an array that one block fills with zeros alone
JOINED_BY_LAST = 16384  # elements of all copies that the last block joins alone
NARROW = 2**31 - BLOCK * UNROLLED * MOST_BLOCKS  # elements that 32 bits count

Slot = tuple[Any, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel and how it is launched.

    text: a module with the one function `name`
    checks: what may fail, each of which sets a status word of its own to 1
    parameters: type names of the arguments, such as "*float64" for an address, "int64" for a size, and
        "int32[]" for an array of Numba's
    slots: what they are: ("array", buffer), ("stride", buffer, dimension), ("size", n), ("constant", x),
        ("ticket",), ("status",). The ticket is an int32, 0 before the first launch; each launch leaves it so.
    """

    name: str
    text: str
    parameters: tuple[str, ...]
    slots: tuple[Slot, ...]
    blocks: int
    threads: int
    checks: tuple[CheckIndex, ...]


@dataclass(frozen=True)
class Plain:
    """A launch before it is printed: the function's nest and how its threads share it.

    lanes: threads of a team; partials: where blocks leave what they found, by slot
    copies: where copies of arrays lie; registers, shared: arrays that threads and teams keep there
    finish: what the last block does; joins, segments: what this launch does instead of its kernel's body
    atomic: arrays that are added to by atomic instructions
    """

    kernel: Kernel
    lanes: int
    blocks: int
    partials: dict[int, tuple[Buffer, ...]] = field(default_factory=dict[int, tuple[Buffer, ...]])
    copies: dict[Buffer, Buffer] = field(default_factory=dict[Buffer, Buffer])
    registers: tuple[Buffer, ...] = ()
    shared: tuple[Buffer, ...] = ()
    finish: Kernel | None = None
    joins: tuple[JoinCopy, ...] = ()
    segments: Segments | None = None
    atomic: tuple[Buffer, ...] = ()

    @property
    def touched(self) -> list[Buffer]:
        """The arrays in memory that it reads or writes."""
        hidden: set[Buffer] = set() if self.joins else {*self.registers, *self.shared, *self.copies}
        own = [b for b in self.kernel.buffers if b not in hidden]
        late = self.finish.buffers if self.finish is not None else []
        partials = [b for group in self.partials.values() for b in group]
        return [*own, *late, *partials, *self.copies.values()]


@dataclass(frozen=True)
class DeviceProgram:
    """A program as launches, library calls and sorts, in order, and where its temporaries lie.

    offsets: in one area of device memory of `workspace` bytes
    """

    program: Program
    steps: tuple[Plain | LibraryCall | Sort, ...]
    offsets: dict[Buffer, int]
    workspace: int

    @property
    def launches(self) -> list[Plain]:
        return [s for s in self.steps if isinstance(s, Plain)]


def launch_program(program: Program, deterministic: bool = True) -> DeviceProgram:
    """Share out every kernel of `program` among threads, and place what they need in memory.

    deterministic: False lets floats be added in the order in which threads come to a place
    """
    steps: list[Plain | LibraryCall | Sort] = []
    for call in program.calls:
        if isinstance(call, LibraryCall):
            steps.append(call)
        else:
            for kernel in call.kernels:
                steps += launches_of(kernel, deterministic)
    fixed = {program.buffers[v] for v in (*program.inputs, *program.outputs) if v in program.buffers}
    lifetimes: dict[Buffer, tuple[int, int]] = {}
    for time, step in enumerate(steps):
        if isinstance(step, LibraryCall):
            touched = [b for v, b in program.buffers.items() if v is step.eqn.out or _feeds(program, v, step)]
        else:
            touched = step.touched
        for buffer in touched:
            if buffer not in fixed:
                lifetimes[buffer] = (lifetimes.get(buffer, (time, time))[0], time)
    offsets, size = plan_memory(lifetimes)
    return DeviceProgram(program, tuple(steps), offsets, size)


def _feeds(program: Program, var: Var, call: LibraryCall) -> bool:
    definitions = dict(program.schedule.definitions)
    return any(r.base is var for a in call.eqn.inputs for r in reaches(a, definitions))


# --- how a kernel is launched -------------------------------------------------------------------------------


def launches_of(kernel: Kernel, deterministic: bool = True) -> Iterator[Plain | Sort]:
    """The launches that do what a kernel does."""
    if iterations(kernel.body) <= SMALL:
        yield from _in_one_block(kernel)
        return
    for part in cut(kernel):
        if iterations(part.body) <= SMALL:
            yield from _in_one_block(part)
            continue
        scatters = found_in(part)
        atomic = [x for x in scatters if is_better_atomic(part, x, deterministic)]
        by_sorting = [x for x in scatters if x not in atomic and is_better_sorted(part, x)]
        if by_sorting:
            yield from _sorted(part, by_sorting, deterministic)
        else:
            yield from _divided(part, [x.combine.buffer for x in atomic])


def _sorted(kernel: Kernel, scatters: Sequence[Scatter], deterministic: bool) -> Iterator[Plain | Sort]:
    for step in sorted_steps(kernel, scatters):
        if isinstance(step, Kernel):
            yield from launches_of(step, deterministic)
        elif isinstance(step, Segments):
            blocks = min(-(-segment_items(step) // segment_workers(step)), MOST_BLOCKS)
            yield Plain(step.kernel, 0, blocks, segments=step)
        else:
            yield step


def _divided(kernel: Kernel, atomic: Sequence[Buffer]) -> Iterator[Plain]:
    """Blocks share the iterations of the outermost loop, if they can."""
    added = without_fills(kernel, atomic) if atomic else kernel
    ranged = in_ranges(added, 0)
    if ranged is None:
        yield from _in_one_block(kernel)
        return
    for buffer in atomic:
        yield from _filled(buffer, kernel.name)
    yield from _in_many_blocks(ranged, atomic)


def _filled(buffer: Buffer, name: str) -> Iterator[Plain]:
    for launch in launches_of(zeros(buffer, name)):
        assert isinstance(launch, Plain)
        yield launch


def _in_one_block(kernel: Kernel) -> Iterator[Plain]:
    """Its threads share the inner loops, and scratch rows if these fit; many blocks fill large targets."""
    fills = [s for s in kernel.body if isinstance(s, Fill) and s.buffer not in kernel.scratch]
    large = [s.buffer for s in fills if s.reducer == "sum" and math.prod(s.buffer.shape) > FILLED_BY_ONE]
    for buffer in large:
        yield from _filled(buffer, kernel.name)
    if large:
        kernel = without_fills(kernel, large)
    is_shared = sum(map(nbytes, kernel.scratch)) <= SHARED_BYTES
    yield Plain(kernel, BLOCK, 1, shared=tuple(kernel.scratch) if is_shared else ())


def _in_many_blocks(ranged: Ranged, atomic: Sequence[Buffer] = ()) -> Iterator[Plain]:
    lanes, registers, shared = team_of(ranged, atomic)
    blocks = grid_of(ranged, lanes, registers, shared)
    teams = BLOCK // lanes if lanes else 1
    merges = [s for s in walk(ranged.part.body) if isinstance(s, MergePartial)]
    partials = {s.slot: _partials(s, blocks) for s in merges}
    merged = {*registers, *shared}
    copies = {
        b: Buffer(None, (blocks if b in merged else blocks * teams, *b.shape), b.dtype, f"{b.name}_copies")
        for b in (*ranged.private, *ranged.kernel.scratch)
        if b in ranged.private or b not in merged
    }
    fills = [s for s in (ranged.start.body if ranged.start is not None else ()) if isinstance(s, Fill)]
    name = ranged.kernel.name
    part = part_of(ranged.part, f"{name}.part", [*fills, *ranged.part.body])
    last = [s for k in (ranged.join, ranged.finish) if k is not None for s in k.body]
    joins = [s for s in last if isinstance(s, JoinCopy)]
    if sum(math.prod(copies[s.buffer].shape) for s in joins) <= JOINED_BY_LAST:
        finish = part_of(ranged.kernel, f"{name}.finish", last) if last else None
        yield Plain(part, lanes, blocks, partials, copies, registers, shared, finish, atomic=tuple(atomic))
        return
    rest = [s for s in last if not isinstance(s, JoinCopy)]
    yield Plain(part, lanes, blocks, partials, copies, registers, shared, atomic=tuple(atomic))
    join = part_of(ranged.kernel, f"{name}.join", joins)
    finish = part_of(ranged.kernel, f"{name}.finish", rest) if rest else None
    joined = {s.buffer: copies[s.buffer] for s in joins}
    size = max(math.prod(s.buffer.shape) for s in joins)
    yield Plain(
        join, BLOCK, _join_blocks(size), partials if rest else {}, joined, finish=finish, joins=tuple(joins)
    )


def _join_blocks(size: int) -> int:
    per_block = WARPS if size <= JOINED_BY_WARPS else BLOCK
    return min(-(-size // per_block), MOST_BLOCKS)


def _partials(s: MergePartial, blocks: int) -> tuple[Buffer, ...]:
    """An accumulator's value, and the position of an `argmax`."""
    value = Buffer(None, (blocks,), s.accumulator.dtype, f"partial{s.slot}")
    if not s.accumulator.reducer.startswith("arg"):
        return (value,)
    return value, Buffer(None, (blocks,), np.dtype(np.int64), f"partial{s.slot}_at")


def iterations(body: Sequence[Statement]) -> int:
    return sum(s.extent * (1 + iterations(s.body)) for s in body if isinstance(s, Loop))


def ranged_loop(body: Sequence[Statement]) -> Loop:
    return next(s for s in walk(list(body)) if isinstance(s, Loop) and s.ranged)


def team_of(
    ranged: Ranged, atomic: Sequence[Buffer] = ()
) -> tuple[int, tuple[Buffer, ...], tuple[Buffer, ...]]:
    """Threads that share an iteration (0: each takes elements), arrays in registers, and in shared memory."""
    loop = ranged_loop(ranged.part.body)
    own = (*ranged.private, *ranged.kernel.scratch)
    size = sum(map(nbytes, own))
    if is_perfect(loop, (*ranged.private, *atomic)) and (not ranged.private or scatters(loop, atomic)):
        return 0, (), own if size <= SHARED_BYTES else ()
    if fits_registers(loop, own):
        return 1, own, ()
    width = max([s.extent for s in loop.body if isinstance(s, Loop)], default=1)
    if width <= SHORT and not own:
        return 1, (), ()
    lanes = WARP if width <= 2 * WARP or (width <= 1024 and ranged.extent >= 256) else BLOCK
    if lanes == WARP and SHARED_BYTES < size * (BLOCK // WARP) <= SHARED_BYTES * (BLOCK // WARP):
        lanes = BLOCK
    return lanes, (), own if size * (BLOCK // lanes) <= SHARED_BYTES else ()


def grid_of(ranged: Ranged, lanes: int, registers: Sequence[Buffer], shared: Sequence[Buffer]) -> int:
    """Blocks of the launch."""
    loop = ranged_loop(ranged.part.body)
    if lanes == 0:
        axes, body = perfect_nest(loop)
        if goes_down(axes, body):
            axes[-2] = (axes[-2][0], -(-axes[-2][1] // UNROLLED) * UNROLLED)
        count = math.prod(n for _, n in axes)
        per_block = BLOCK * (1 if ranged.private or has_time(loop.body) else UNROLLED)
    else:
        count, per_block = ranged.extent, BLOCK // lanes
    blocks = min(-(-count // per_block), MOST_BLOCKS if not ranged.private else BLOCKS_WITH_COPIES)
    merged = {*registers, *shared}
    own = sum(nbytes(b) for b in (*ranged.private, *ranged.kernel.scratch) if b not in merged)
    if own:
        blocks = min(blocks, COPY_BYTES // (own * (BLOCK // lanes if lanes else 1)))
    return max(1, blocks)


# --- the text -----------------------------------------------------------------------------------------------


def print_launch(plain: Plain, strided: Layouts, literal_limit: int = 4) -> Launch:
    """The text of a launch's function and what its arguments are."""
    symbols = Symbols(literal_limit)
    printer = LaunchPrinter(
        plain.kernel,
        symbols,
        strided,
        plain.lanes,
        plain.partials,
        plain.copies,
        plain.registers,
        plain.shared,
    )
    printer.fits_32 = _is_narrow(plain)
    printer.atomic = frozenset(plain.atomic)
    segments = plain.segments
    instead = None if segments is None else partial(print_segments, printer, segments)
    text = printer.run_launch(plain.blocks, plain.finish, plain.joins, instead)
    slots: list[Slot] = [("array", b) for b in printer.buffers]
    types = [_parameter(b, plain.atomic) for b in printer.buffers]
    for key in printer.strides:
        slots.append(("stride", *key))
        types.append("int64")
    for name in symbols.used:
        number = int(name[1:])
        if name[0] == "s":
            slots.append(("size", symbols.sizes[number]))
            types.append("int64")
        else:
            dtype = symbols.constant_dtype(name)
            slots.append(("constant", dtype.type(symbols.constants[number])))
            types.append(dtype.name)
    if printer.has_ticket:
        slots.append(("ticket",))
        types.append("int32[]")
    if printer.checks_indices:
        slots.append(("status",))
        types.append("*int64")
    name = plain.kernel.name.replace(".", "_")
    return Launch(name, text, tuple(types), tuple(slots), plain.blocks, BLOCK, tuple(symbols.checks))


def _parameter(buffer: Buffer, atomic: Sequence[Buffer]) -> str:
    """Numba's atomic instructions take its own arrays only."""
    name = "uint8" if buffer.dtype.kind == "b" else buffer.dtype.name
    return f"{name}[]" if buffer in atomic else f"*{name}"


def _is_narrow(plain: Plain) -> bool:
    """Do all loops together, and all arrays, have fewer elements than 32 bits count?"""
    sizes = [math.prod(b.shape) for b in plain.touched]
    loops = [s for s in walk(plain.kernel.body) if isinstance(s, Loop) and s.ranged]
    counts = [math.prod(n for _, n in perfect_nest(s)[0]) for s in loops]
    if plain.segments is not None:
        counts.append(math.prod(n for _, n in plain.segments.scatter.axes))
    return max([*sizes, *counts], default=0) < NARROW
