"""From a schedule to a program: kernels lowered, arrays placed, temporaries packed into one workspace."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracejit.codegen.in_place import share_places
from tracejit.codegen.loops import Buffer, Kernel, Load, held_dtype, nbytes, walk
from tracejit.codegen.lower import Lowering
from tracejit.codegen.memory_plan import plan_memory
from tracejit.codegen.products import MatrixProduct, Storage, as_matrix_product
from tracejit.codegen.ranges import copy_bytes
from tracejit.codegen.regions import Execution, Region, make_regions, size_region
from tracejit.codegen.routines import RoutineCall, as_routine_call
from tracejit.codegen.streams import join_kernels
from tracejit.ir import Eqn, Var
from tracejit.schedule.access import reaches
from tracejit.schedule.normalize import storage_owner
from tracejit.schedule.steps import KernelStep, LibraryStep, Schedule, StreamStep

Call = MatrixProduct | RoutineCall  # of a library, in native code


@dataclass(frozen=True)
class Segment:
    """Steps that run in one native call."""

    number: int
    steps: tuple[Region | Kernel | Call, ...]

    @property
    def kernels(self) -> list[Kernel]:
        return [s for s in self.singles if isinstance(s, Kernel)]

    @property
    def products(self) -> list[MatrixProduct]:
        return [s for s in self.singles if isinstance(s, MatrixProduct)]

    @property
    def routines(self) -> list[RoutineCall]:
        return [s for s in self.singles if isinstance(s, RoutineCall)]

    @property
    def calls(self) -> list[Call]:
        return [*self.products, *self.routines]

    @property
    def regions(self) -> list[Region]:
        return [s for s in self.steps if isinstance(s, Region)]

    @property
    def singles(self) -> list[Kernel | Call]:
        """The steps one by one, in order."""
        found: list[Kernel | Call] = []
        for step in self.steps:
            if isinstance(step, Region):
                found += [s.single for s in step.steps]
            else:
                found.append(step)
        return found


@dataclass(frozen=True)
class LibraryCall:
    """A NumPy or BLAS call between segments."""

    eqn: Eqn


@dataclass(frozen=True)
class Program:
    """All that is known before layouts are: what runs, on which arrays, and where each array lives.

    outputs: for each graph output the variable whose array it is (perhaps reshaped)
    offsets: byte offsets of temporaries and scratch rows in the workspace of `workspace` bytes
    execution: how it was to run
    """

    schedule: Schedule
    calls: tuple[Segment | LibraryCall, ...]
    buffers: dict[Var, Buffer]
    outputs: tuple[Var, ...]
    offsets: dict[Buffer, int]
    workspace: int
    execution: Execution

    @property
    def segments(self) -> list[Segment]:
        return [c for c in self.calls if isinstance(c, Segment)]

    @property
    def kernels(self) -> list[Kernel]:
        return [k for segment in self.segments for k in segment.kernels]

    @property
    def library_calls(self) -> list[Call]:
        """Those in native code."""
        return [c for segment in self.segments for c in segment.calls]

    @property
    def is_native(self) -> bool:
        """Is a run one native call?"""
        return len(self.calls) == 1 and isinstance(self.calls[0], Segment)

    @property
    def inputs(self) -> tuple[Var, ...]:
        return self.schedule.graph.inputs

    @functools.cached_property
    def regions(self) -> dict[int, Region]:
        return {r.number: r for segment in self.segments for r in segment.regions}

    @functools.cached_property
    def inside(self) -> dict[Buffer, int]:
        """Offsets of what lies in the areas of regions."""
        return {b: offset for region in self.regions.values() for b, offset in region.inside.items()}

    @functools.cached_property
    def tiled(self) -> dict[Buffer, Region]:
        """The regions of arrays that hold the slices of one range."""
        return {b: region for region in self.regions.values() for b in region.tiles}

    @property
    def resident(self) -> set[Buffer]:
        """What lies in the workspace."""
        return {*self.offsets, *self.inside}

    def number(self, slot: tuple[Any, ...]) -> int:
        """What stands in the table of code at a slot that is the same at each call (`codegen.table`)."""
        kind, subject, *rest = slot
        if kind == "region":
            return self.regions[subject].number_of(*rest)
        if kind == "temp":
            return self.inside[subject] if subject in self.inside else self.offsets[subject]
        if kind == "slice":
            return self.tiled[subject].slice_bytes(subject)
        if kind == "apart":
            return math.prod(self.tiled[subject].shape_of(subject)[rest[0] + 1 :])
        return copy_bytes(subject) if kind == "copy" else subject


Made = list[list[Kernel | Call] | LibraryCall]


def build_program(schedule: Schedule, execution: Execution | None = None) -> Program:
    """Lower every kernel step and plan the memory of everything that is neither input nor output."""
    execution = execution or Execution()
    buffers: dict[Var, Buffer] = {}
    made = _lower(schedule, buffers, execution)
    owners = tuple(storage_owner(a, dict(schedule.definitions)) for a in schedule.graph.outputs)
    outputs = tuple(v for v in owners if v is not None)
    kernels = [s for run in made if isinstance(run, list) for s in run if isinstance(s, Kernel)]
    _name_buffers(schedule, buffers, outputs, kernels)
    calls = _in_segments(made, execution)
    program = Program(schedule, tuple(calls), buffers, outputs, {}, 0, execution)
    lifetimes = _plan_regions(program, execution)
    places = share_places((step for step, _ in _touched(program)), lifetimes)
    offsets, size = plan_memory(lifetimes)
    offsets |= {result: offsets[operand] for result, operand in places.items()}
    return replace(program, offsets=offsets, workspace=size)


def _lower(schedule: Schedule, buffers: dict[Var, Buffer], execution: Execution) -> Made:
    """The steps in order: runs of those that are native code, and library calls."""
    definitions = dict(schedule.definitions)
    made: Made = []
    count = 0
    for step in schedule.steps:
        found: Kernel | Call | None
        if isinstance(step, LibraryStep):
            _library_buffers(step.eqn, definitions, buffers)
            storage = Storage(definitions, buffers)
            found = None
            if execution.products:
                found = as_matrix_product(step.eqn, storage) or as_routine_call(step.eqn, storage)
            if found is None:
                made.append(LibraryCall(step.eqn))
                continue
        else:
            found = _lowered(step, schedule, f"kernel_{count}", buffers, execution.wide_sums)
            count += 1
        if not made or isinstance(made[-1], LibraryCall):
            made.append([])
        run = made[-1]
        assert isinstance(run, list)
        run.append(found)
    return made


def _lowered(
    step: KernelStep | StreamStep,
    schedule: Schedule,
    name: str,
    buffers: dict[Var, Buffer],
    wide_sums: bool,
) -> Kernel:
    kernels = [
        Lowering(part, schedule.definitions, name, buffers, schedule.choices, wide_sums).run()
        for part in step.parts
    ]
    if isinstance(step, KernelStep):
        return kernels[0]
    used = (axis for part in step.parts for axis in part.group.extents)
    joined = join_kernels(step, kernels, name, itertools.count(max(used) + 1))
    for var in step.rings:
        buffers.pop(var, None)
    return joined


def _in_segments(made: Made, execution: Execution) -> list[Segment | LibraryCall]:
    calls: list[Segment | LibraryCall] = []
    segments = regions = 0
    for run in made:
        if isinstance(run, LibraryCall):
            calls.append(run)
            continue
        steps: list[Region | Kernel | Call] = list(run)
        if execution.ranges:
            steps = make_regions(run, execution.literal_limit, execution.join, regions)
            regions += sum(isinstance(s, Region) for s in steps)
        calls.append(Segment(segments, tuple(steps)))
        segments += 1
    return calls


def _plan_regions(program: Program, execution: Execution) -> dict[Buffer, tuple[int, int]]:
    """When each array of the workspace is first and last needed; regions decide how they run."""
    times = list(_touched(program))
    users = Counter(b for _, touched in times for b in touched)
    fixed = {program.buffers[v] for v in (*program.inputs, *program.outputs) if v in program.buffers}
    lifetimes: dict[Buffer, tuple[int, int]] = {}
    for time, (step, touched) in enumerate(times):
        needed = [b for b in touched if b not in fixed]
        if isinstance(step, Region):
            kept = {b for b in touched if b in fixed or users[b] > 1}
            size_region(step, kept, execution)
            needed = [*(b for b in needed if b not in step.inside), *step.memory]
        for buffer in needed:
            lifetimes[buffer] = (lifetimes.get(buffer, (time, time))[0], time)
    return lifetimes


def _touched(
    program: Program,
) -> Iterator[tuple[Region | Kernel | Call | LibraryCall, list[Buffer]]]:
    """Each step of the program, a region as one, with its arrays in order of first use."""
    definitions = dict(program.schedule.definitions)
    for call in program.calls:
        if isinstance(call, LibraryCall):
            yield call, _library_buffers(call.eqn, definitions, program.buffers)
            continue
        for step in call.steps:
            singles = Segment(0, (step,)).singles
            found = [b for s in singles for b in (s.buffers if isinstance(s, Kernel) else s.touched)]
            yield step, list(dict.fromkeys(found))


def _library_buffers(eqn: Eqn, definitions: dict[Var, Eqn], buffers: dict[Var, Buffer]) -> list[Buffer]:
    below = [r.base for a in eqn.inputs for r in reaches(a, definitions) if isinstance(r.base, Var)]
    return [
        buffers.setdefault(v, Buffer(v, v.type.shape, held_dtype(v.type.dtype))) for v in [*below, eqn.out]
    ]


def _name_buffers(
    schedule: Schedule,
    buffers: dict[Var, Buffer],
    outputs: tuple[Var, ...],
    kernels: Sequence[Kernel],
) -> None:
    """x0, x1, ... for inputs, out0, ... for outputs, tmp.. for temporaries, row.. and ring.. for scratch."""
    for k, var in enumerate(schedule.graph.inputs):
        if var in buffers:
            buffers[var].name = f"x{k}"
    for k, var in enumerate(outputs):
        if var in buffers:
            buffers[var].name = f"out{k}"
    unnamed = [b for b in buffers.values() if not b.name]
    for k, buffer in enumerate(unnamed):
        buffer.name = f"tmp{k}"
    for kernel in kernels:
        for k, buffer in enumerate(kernel.scratch):
            buffer.name = f"{'row' if buffer.rows_of is None else 'ring'}{k}"


def kernel_traffic(kernel: Kernel) -> tuple[int, int]:
    """Bytes that the kernel must read and write at least: each array once, scratch rows not counted."""
    read = {s.buffer for s in walk(kernel.body) if isinstance(s, Load) and s.buffer.var is not None}
    written = {b for b in kernel.written if b.var is not None}
    return sum(map(nbytes, read)), sum(map(nbytes, written))


def bytes_moved(program: Program) -> int:
    """Bytes that one run moves at least: every kernel's and every library call's arrays, each once."""
    total = 0
    for call in program.calls:
        if isinstance(call, Segment):
            total += sum(sum(kernel_traffic(k)) for k in call.kernels)
        eqns = [call.eqn] if isinstance(call, LibraryCall) else [c.eqn for c in call.calls]
        total += sum(a.type.nbytes for e in eqns for a in (*e.inputs, e.out))
    return total
