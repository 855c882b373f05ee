"""The memory of a program as text: every array, where it lies, in which steps it lives, and whose it is.

Enters a program; leaves a `MemoryPlan`: the places of temporaries in the workspace, and what a call adds.
Steps that run range by range together (a region) are one step here, as they are when memory is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tracejit.codegen.describe import role_of, roles_of
from tracejit.codegen.loops import Buffer, Combine, Kernel, Load, walk
from tracejit.codegen.memory_plan import ALIGNMENT
from tracejit.codegen.program import Call, LibraryCall, Program, Segment
from tracejit.codegen.regions import Region
from tracejit.ir import ArrayType, Eqn, Var
from tracejit.schedule.access import reaches
from tracejit.tables import align

MAX_CHART_STEPS = 64  # a longer program's lifetimes are given as numbers alone

Use = Literal["r", "w", "b"]  # read, written, both
Kind = Literal["argument", "result", "temporary", "own", "tile", "row"]


@dataclass(frozen=True)
class Step:
    """One kernel or library call: its name, and how it uses which arrays."""

    name: str
    uses: dict[Buffer, Use]


@dataclass(frozen=True)
class Place:
    """One array of a program.

    kind: an argument (or captured array), a result, a temporary, memory that a region has for its own, and in
        it the first worker's tile of rows of a temporary; or a row that a kernel keeps for itself
    nbytes: of its elements; offset: bytes from the start of the workspace, None outside of it
    is_inside: it lies in the memory of a region, which is a place too
    uses: by the number of the step, "r" where it is read, "w" where it is written, "b" for both
    origin: the user's name of it, or the line that it stems from
    """

    name: str
    kind: Kind
    type: ArrayType
    offset: int | None
    uses: dict[int, Use]
    origin: str
    is_inside: bool = False

    @property
    def nbytes(self) -> int:
        return self.type.nbytes

    @property
    def padded(self) -> int:
        """Bytes that it takes in the workspace."""
        return -(-max(self.nbytes, 1) // ALIGNMENT) * ALIGNMENT

    def is_alive(self, step: int) -> bool:
        """Is `step` between the first and the last that use it?"""
        return bool(self.uses) and min(self.uses) <= step <= max(self.uses)

    @property
    def lifetime(self) -> str:
        """`2-5`: the first and the last step that use it."""
        if not self.uses:
            return "unused"
        first, last = min(self.uses), max(self.uses)
        return str(first) if first == last else f"{first}-{last}"

    def chart(self, steps: int) -> str:
        """A character a step: how it is used, `-` where it only has to be kept, `.` where it is not alive."""
        return "".join(self.uses.get(k, "-" if self.is_alive(k) else ".") for k in range(steps))


@dataclass(frozen=True)
class MemoryPlan:
    """Where the arrays of a program live; its text is a table.

    steps: names of kernels and library calls, in order
    places: arguments, results, and what lies in the workspace by its offset
    workspace: bytes of the memory that temporaries and rows share
    """

    steps: tuple[str, ...]
    places: tuple[Place, ...]
    workspace: int

    @property
    def output_bytes(self) -> int:
        """Bytes of fresh results."""
        return sum(p.nbytes for p in self.places if p.kind == "result")

    @property
    def added_bytes(self) -> int:
        """Bytes that a call adds: its results, and the workspace, which later calls use again."""
        return self.output_bytes + self.workspace

    @property
    def temporary_bytes(self) -> int:
        """Bytes of all that lies in the workspace, as if nothing shared memory."""
        return sum(p.nbytes for p in self.residents)

    @property
    def residents(self) -> list[Place]:
        """What lies in the workspace; of a region's own memory the whole."""
        return [p for p in self.places if p.offset is not None and not p.is_inside]

    @property
    def peak(self) -> int:
        """The step in which the workspace is used up to its end."""
        ends = [
            max((p.padded + (p.offset or 0) for p in self.residents if p.is_alive(k)), default=0)
            for k in range(len(self.steps))
        ]
        return ends.index(max(ends)) if ends else 0

    @property
    def alignment_bytes(self) -> int:
        """Bytes at the peak that lie behind arrays, so that the next one starts on a cache line."""
        return sum(p.padded - p.nbytes for p in self.residents if p.is_alive(self.peak))

    @property
    def unused_bytes(self) -> int:
        """Bytes at the peak that lie between arrays, too few for what would have to lie there."""
        return self.workspace - sum(p.padded for p in self.residents if p.is_alive(self.peak))

    def __str__(self) -> str:
        lines = [self._numbered_steps()] if self.steps else []
        with_chart = 1 < len(self.steps) <= MAX_CHART_STEPS
        rows = [_cells(p, len(self.steps) if with_chart else 0) for p in self.places]
        heading = ("array", "kind", "type", "bytes", "at", "steps", "uses" if with_chart else "", "origin")
        return "\n".join([*lines, *align([heading, *rows], right=(3, 4)), *self._totals()])

    def _numbered_steps(self) -> str:
        return "steps: " + ", ".join(f"{k} {name}" for k, name in enumerate(self.steps))

    def _totals(self) -> list[str]:
        lines: list[str] = []
        if self.workspace:
            shared = self.temporary_bytes
            lines.append(
                f"workspace of {self.workspace:,} bytes, full in step {self.peak}: {self.alignment_bytes:,} "
                f"({self.alignment_bytes / self.workspace:.1%}) of alignment, {self.unused_bytes:,} unused; "
                f"without sharing {shared:,} bytes"
            )
        added = f"{self.output_bytes:,} of results + {self.workspace:,} of workspace"
        return [*lines, f"a call adds {self.added_bytes:,} bytes: {added}"]


def plan_of(program: Program, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> MemoryPlan:
    """The memory plan of a program; `inputs` and `outputs` are what the user calls them.

    >>> from tracejit.ops.reading import read_graph
    >>> from tracejit.codegen.program import Call, build_program
    >>> from tracejit.schedule.fusion import schedule_graph
    >>> graph = read_graph('''
    ... def f(v0: 'f64[5]'):
    ...     v1: 'f64[5]' = exp(v0)
    ...     v2: 'f64[5]' = tanh(v1)
    ...     return (v2,)
    ... ''')
    >>> print(plan_of(build_program(schedule_graph(graph, fuse=False))))
    steps: 0 kernel_0, 1 kernel_1
    array  kind       type    bytes  at  steps  uses  origin
    x0     argument   f64[5]     40      0      r.    argument 0
    out0   result     f64[5]     40      1      .w    result 0
    tmp0   temporary  f64[5]     40   0  0-1    wr
    workspace of 64 bytes, full in step 0: 24 (37.5%) of alignment, 0 unused; without sharing 40 bytes
    a call adds 104 bytes: 40 of results + 64 of workspace
    """
    steps = steps_of(program)
    roles = roles_of(program, inputs, outputs)
    uses: dict[Buffer, dict[int, Use]] = {}
    for k, step in enumerate(steps):
        for buffer, use in step.uses.items():
            uses.setdefault(buffer, {})[k] = use
    places = [*_fixed(program, roles, uses), *_in_workspace(program, roles, uses)]
    return MemoryPlan(tuple(s.name for s in steps), tuple(places), program.workspace)


Uses = Mapping[Buffer, dict[int, Use]]


def _fixed(program: Program, roles: Mapping[Var, str], uses: Uses) -> Iterator[Place]:
    """Arguments and results."""
    fixed: tuple[tuple[Kind, tuple[Var, ...]], ...] = (
        ("argument", program.inputs),
        ("result", program.outputs),
    )
    for kind, variables in fixed:
        for k, var in enumerate(variables):
            buffer = program.buffers.get(var)
            name = buffer.name if buffer is not None else f"x{k}"
            used = uses.get(buffer, {}) if buffer is not None else {}
            yield Place(name, kind, var.type, None, used, roles.get(var, ""))


def _in_workspace(program: Program, roles: Mapping[Var, str], uses: Uses) -> Iterator[Place]:
    """Temporaries by their offset; in the memory of a region what its first worker has there."""
    areas = {r.area: r for r in program.regions.values() if r.area is not None}
    for buffer, offset in sorted(program.offsets.items(), key=lambda item: (item[1], item[0].name)):
        type_ = ArrayType(buffer.shape, buffer.dtype)
        used = uses.get(buffer, {})
        if buffer.var is not None:
            yield Place(buffer.name, "temporary", type_, offset, used, roles.get(buffer.var, ""))
            continue
        if not type_.nbytes:  # copies that are made where there are more strands
            continue
        own = "." in buffer.name or buffer in areas
        yield Place(buffer.name, "own" if own else "row", type_, offset, used, role_of(buffer, roles))
        if buffer in areas:
            yield from _in_area(areas[buffer], offset, used, roles)


def _in_area(region: Region, start: int, used: dict[int, Use], roles: Mapping[Var, str]) -> Iterator[Place]:
    for buffer, offset in sorted(region.inside.items(), key=lambda item: (item[1], item[0].name)):
        origin = role_of(buffer, roles)
        type_ = ArrayType(region.shape_of(buffer), buffer.dtype)
        kind: Kind = "tile" if buffer in region.tiles else "row"
        yield Place(buffer.name, kind, type_, start + offset, used, origin, is_inside=True)


def steps_of(program: Program) -> list[Step]:
    """Kernels, matrix products and library calls in the order in which they run, a region as one."""
    steps: list[Step] = []
    for call in program.calls:
        if isinstance(call, LibraryCall):
            steps.append(Step(call.eqn.primitive.name, _library_uses(call.eqn, program)))
            continue
        for step in call.steps:
            singles = Segment(0, (step,)).singles
            found: dict[Buffer, Use] = {}
            for single in singles:
                for buffer, use in _uses(single).items():
                    found[buffer] = use if found.get(buffer, use) == use else "b"
            name = " + ".join(s.name if isinstance(s, Kernel) else s.eqn.primitive.name for s in singles)
            if isinstance(step, Region):
                found.update(dict.fromkeys(step.memory, "b"))
                if len(singles) > 1:
                    name = f"({name} by {step.tile:,} of {step.extent:,} rows)"
            steps.append(Step(name, found))
    return steps


def _uses(step: Kernel | Call) -> dict[Buffer, Use]:
    if not isinstance(step, Kernel):
        return {**dict.fromkeys(step.touched, "r"), step.out: "w"}
    loaded = {s.buffer for s in walk(step.body) if isinstance(s, (Load, Combine))}
    both = step.written & loaded
    return {b: "b" if b in both else "w" if b in step.written else "r" for b in step.buffers}


def _library_uses(eqn: Eqn, program: Program) -> dict[Buffer, Use]:
    read = [program.buffers[v] for v in arrays_below(eqn, program)]
    return {**dict.fromkeys(read, "r"), program.buffers[eqn.out]: "w"}


def arrays_below(eqn: Eqn, program: Program) -> list[Var]:
    """The stored arrays that a library call reads, through views."""
    below = [r.base for a in eqn.inputs for r in reaches(a, dict(program.schedule.definitions))]
    return list(dict.fromkeys(v for v in below if isinstance(v, Var)))


def _cells(place: Place, steps: int) -> tuple[str, ...]:
    offset = "" if place.offset is None else f"{place.offset:,}"
    size = f"{place.nbytes:,}"
    chart = place.chart(steps)
    return place.name, place.kind, str(place.type), size, offset, place.lifetime, chart, place.origin
