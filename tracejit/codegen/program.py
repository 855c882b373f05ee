"""From a schedule to a program: kernels lowered, arrays placed, temporaries packed into one workspace."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracejit.codegen.loops import Buffer, Kernel, Load, walk
from tracejit.codegen.lower import Lowering
from tracejit.ir import Eqn, Var
from tracejit.schedule.access import reaches
from tracejit.schedule.fusion import LibraryStep, Schedule
from tracejit.schedule.normalize import storage_owner

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Segment:
    """Kernels that run in one native call."""

    number: int
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True)
class LibraryCall:
    """A NumPy or BLAS call between segments."""

    eqn: Eqn


@dataclass(frozen=True)
class Program:
    """All that is known before layouts are: what runs, on which arrays, and where each array lives.

    outputs: for each graph output the variable whose array it is (perhaps reshaped)
    offsets: byte offsets of temporaries and scratch rows in the workspace of `workspace` bytes
    """

    schedule: Schedule
    calls: tuple[Segment | LibraryCall, ...]
    buffers: dict[Var, Buffer]
    outputs: tuple[Var, ...]
    offsets: dict[Buffer, int]
    workspace: int

    @property
    def kernels(self) -> list[Kernel]:
        return [k for c in self.calls if isinstance(c, Segment) for k in c.kernels]

    @property
    def inputs(self) -> tuple[Var, ...]:
        return self.schedule.graph.inputs


def build_program(schedule: Schedule) -> Program:
    """Lower every kernel step and plan the memory of everything that is neither input nor output."""
    buffers: dict[Var, Buffer] = {}
    definitions = dict(schedule.definitions)
    calls: list[Segment | LibraryCall] = []
    pending: list[Kernel] = []
    lifetimes: dict[Buffer, tuple[int, int]] = {}
    count = segments = 0

    def close_segment() -> None:
        nonlocal pending, segments
        if pending:
            calls.append(Segment(segments, tuple(pending)))
            segments += 1
            pending = []

    for time, step in enumerate(schedule.steps):
        if isinstance(step, LibraryStep):
            close_segment()
            calls.append(LibraryCall(step.eqn))
            touched: Iterable[Buffer] = _library_buffers(step.eqn, definitions, buffers)
        else:
            kernel = Lowering(step, definitions, f"kernel_{count}", buffers).run()
            count += 1
            pending.append(kernel)
            touched = kernel.buffers
        for buffer in touched:
            lifetimes[buffer] = (lifetimes.get(buffer, (time, time))[0], time)
    close_segment()

    owners = tuple(storage_owner(a, definitions) for a in schedule.graph.outputs)
    outputs = tuple(v for v in owners if v is not None)
    _name_buffers(schedule, buffers, outputs, calls)
    fixed = {*schedule.graph.inputs, *outputs}
    offsets, size = plan_memory({b: t for b, t in lifetimes.items() if b.var is None or b.var not in fixed})
    return Program(schedule, tuple(calls), buffers, outputs, offsets, size)


def _library_buffers(eqn: Eqn, definitions: dict[Var, Eqn], buffers: dict[Var, Buffer]) -> list[Buffer]:
    below = [r.base for a in eqn.inputs for r in reaches(a, definitions) if isinstance(r.base, Var)]
    return [buffers.setdefault(v, Buffer(v, v.type.shape, v.type.dtype)) for v in [*below, eqn.out]]


def _name_buffers(
    schedule: Schedule,
    buffers: dict[Var, Buffer],
    outputs: tuple[Var, ...],
    calls: list[Segment | LibraryCall],
) -> None:
    """x0, x1, ... for inputs, out0, ... for outputs, t.. for temporaries, row.. for scratch."""
    for k, var in enumerate(schedule.graph.inputs):
        if var in buffers:
            buffers[var].name = f"x{k}"
    for k, var in enumerate(outputs):
        if var in buffers:
            buffers[var].name = f"out{k}"
    unnamed = [b for b in buffers.values() if not b.name]
    for k, buffer in enumerate(unnamed):
        buffer.name = f"tmp{k}"
    for call in calls:
        for kernel in call.kernels if isinstance(call, Segment) else ():
            for k, buffer in enumerate(kernel.scratch):
                buffer.name = f"row{k}"


def plan_memory(lifetimes: dict[Buffer, tuple[int, int]]) -> tuple[dict[Buffer, int], int]:
    """Offsets such that buffers alive at the same time do not overlap; big ones are placed first."""
    # What has been placed, by offset: (offset, end, first time, last time), a row each.
    placed = np.empty((4, len(lifetimes)), np.int64)
    offsets: dict[Buffer, int] = {}
    for count, buffer in enumerate(sorted(lifetimes, key=lambda b: -nbytes(b))):
        start, end = lifetimes[buffer]
        size = -(-max(nbytes(buffer), 1) // ALIGNMENT) * ALIGNMENT
        low, _, born, dies = taken = placed[:, :count]
        offset = offsets[buffer] = _first_gap(taken[:2, (born <= end) & (start <= dies)], size)
        place = np.searchsorted(low, offset)
        placed[:, place + 1 : count + 1] = placed[:, place:count].copy()
        placed[:, place] = (offset, offset + size, start, end)
    return offsets, int(placed[1].max(initial=0))


def _first_gap(taken: Any, size: int) -> int:
    """The least offset at which `size` bytes fit between the ranges `taken`: lows, in order, and highs."""
    low, high = taken
    reached = np.concatenate(([0], np.maximum.accumulate(high)))
    return int(reached[np.argmax(np.append(low, np.iinfo(np.int64).max) - reached >= size)])


def nbytes(buffer: Buffer) -> int:
    return math.prod(buffer.shape) * buffer.dtype.itemsize


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
        else:
            total += sum(a.type.nbytes for a in call.eqn.inputs) + call.eqn.out.type.nbytes
    return total
