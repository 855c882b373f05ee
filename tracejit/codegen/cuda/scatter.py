"""Sums at places that are data: which way, and for large targets the steps of the sorted one.

Enters: a `Kernel` with one outermost loop, and which of its sums are to be sorted; the other ways are a copy
of the target for each block (`source.py`, `scattered`) and atomic instructions. Leaves: the same work as
steps, in order. A kernel leaves a code for each update (the place, then the number of the update) and its
values, a library sorts the codes, and the updates of a place are added up in the order of their numbers.
Equal codes do not exist, so that any sort gives one order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracejit.codegen.cuda.cuts import part_of
from tracejit.codegen.cuda.nests import Axes, is_perfect
from tracejit.codegen.loops import (
    Accumulate,
    Buffer,
    CheckIndex,
    Combine,
    Compute,
    Fill,
    Kernel,
    Load,
    Loop,
    Scalar,
    Statement,
    Store,
    nbytes,
    operands,
    remove_dead,
    walk,
)
from tracejit.schedule.index import AxisRef, Guard, Index

# What a way costs, in nanoseconds: estimates from instruction counts and bytes, not measured on a device.
ADDED_IN_TURN = 24.0  # an element of a block that takes 256 of them in turn
ROW = 1000.0  # a row of a team; and for each element of it:
ROW_ELEMENT = 10.0
BYTE = 1 / 4000
SORTING = 60_000.0  # what a sort takes for few updates, with the launches around it; and for each:
SORTED_UPDATE = 0.2
ATOMIC = 4000.0  # the launch that fills the target; and for each element:
ATOMIC_ELEMENT = 0.01
SAME_PLACE = 2.0  # one addition after another to one place

BLOCKS_WITH_COPIES = 256
COPY_BYTES = 32 * 2**20  # of all copies together
TEAM_BYTES = 4096  # a copy that each team of a block has in shared memory: nothing is better

SIGNED = 63  # bits of a code
ATOMIC_TYPES = frozenset(np.dtype(t) for t in ("f4", "f8", "i4", "i8", "u4", "u8"))  # what devices add to


@dataclass(frozen=True, eq=False)
class Sort:
    """A library's call: the codes in ascending order, in their place."""

    codes: Buffer

    @property
    def touched(self) -> list[Buffer]:
        return [self.codes]


@dataclass(frozen=True, eq=False)
class Scatter:
    """One sum at places that are data, taken apart.

    loops: those around it, from the outermost; needed: what is computed for its place, in order
    keys: the dimensions of the target that are data or numbers of updates; tail: the axes of the others
    """

    combine: Combine
    loops: tuple[Loop, ...]
    needed: tuple[Statement, ...]
    keys: int
    tail: tuple[Loop, ...]

    @property
    def batch(self) -> tuple[Loop, ...]:
        return tuple(x for x in self.loops if x not in self.tail)

    @property
    def updates(self) -> int:
        return math.prod(x.extent for x in self.batch)

    @property
    def width(self) -> int:
        """Values of an update."""
        return math.prod(x.extent for x in self.tail)

    @property
    def bits(self) -> int:
        return max(1, (self.updates - 1).bit_length())

    @property
    def chunk(self) -> int:
        """Updates that a thread adds up: about as many as chunks that share a place may have to be joined."""
        root = math.isqrt(self.updates * min(self.width, 32) // 32)
        return min(max(32, 1 << max(0, root.bit_length() - 1)), 256)

    @property
    def axes(self) -> Axes:
        """Of a value, those of updates first."""
        return [(x.axis, x.extent) for x in (*self.batch, *self.tail)]

    @property
    def place(self) -> Index:
        position = Index()
        for k, n in zip(self.combine.index[: self.keys], self.combine.buffer.shape, strict=False):
            position = position * n + k
        return position

    @property
    def places(self) -> int:
        return math.prod(self.combine.buffer.shape[: self.keys])

    @property
    def code_bits(self) -> int:
        return self.places.bit_length() + self.bits

    def key(self) -> tuple[Any, ...]:
        """Equal for sums whose updates go to the same places."""
        return (self.place, tuple(x.axis for x in self.batch), self.places)


@dataclass(frozen=True, eq=False)
class Segments:
    """A launch that adds up the updates of each place, or the second one, for places that chunks share.

    codes: of all updates, in order; load: where values are, None for a constant
    leads: what the first place of each chunk gets from it, where the chunk before has that place too
    """

    scatter: Scatter
    codes: Buffer
    load: Load | None
    leads: Buffer
    is_second: bool = False

    @property
    def chunks(self) -> int:
        return self.leads.shape[0]

    @property
    def kernel(self) -> Kernel:
        """A kernel whose statements only say which arrays the launch reads and writes."""
        combine = self.scatter.combine
        target = combine.buffer
        touched: list[Statement] = [_touch(self.codes)]
        if self.load is not None and not self.is_second:
            touched.append(self.load)
        touched += [_touch(self.leads), _touch(target)] if self.is_second else []
        stored = [target] if self.is_second else [target, self.leads]
        touched += [Store(b, (), combine.value) for b in stored]
        buffers = list(dict.fromkeys(s.buffer for s in touched if isinstance(s, (Load, Store))))
        name = f"{target.name}_{'joined' if self.is_second else 'summed'}"
        return Kernel(name, touched, buffers, set(stored), [])


def _touch(buffer: Buffer) -> Load:
    return Load(Scalar("load", (), buffer.dtype, 0), buffer, (), ())


Steps = list[Kernel | Sort | Segments]


# --- which way ----------------------------------------------------------------------------------------------


def is_scattered(s: Statement) -> bool:
    """Does it add at a place that is data?"""
    return isinstance(s, Combine) and any(part.loaded for part in s.index)


def found_in(kernel: Kernel) -> list[Scatter]:
    """The sums at places that are data which can be taken apart: nothing else there has the target."""
    statements = list(walk(kernel.body))
    combines = [s for s in statements if isinstance(s, Combine) and is_scattered(s)]
    found: list[Scatter] = []
    for s in combines:
        uses = [x for x in statements if isinstance(x, (Load, Store, Combine)) and x.buffer is s.buffer]
        filled = [x for x in kernel.body if isinstance(x, Fill) and x.buffer is s.buffer]
        if len(uses) != 1 or len(filled) != 1 or s.reducer != "sum" or s.buffer.dtype.kind == "b":
            continue
        scatter = _taken_apart(kernel, s)
        if scatter is not None:
            found.append(scatter)
    return found


def is_better_sorted(kernel: Kernel, scatter: Scatter) -> bool:
    """By sizes alone: sorted, or with copies of the target?"""
    size = scatter.combine.buffer.dtype.itemsize * scatter.updates * scatter.width
    sorted_ns = SORTING + SORTED_UPDATE * scatter.updates + 3 * size * BYTE
    return scatter.code_bits <= SIGNED and sorted_ns < copies_ns(kernel, scatter)


def is_better_atomic(kernel: Kernel, scatter: Scatter, deterministic: bool) -> bool:
    """Integers are added in any order with the same result; floats where the user does not mind."""
    dtype = scatter.combine.buffer.dtype
    if dtype not in ATOMIC_TYPES or (deterministic and dtype.kind == "f"):
        return False
    elements = scatter.updates * scatter.width
    each = ATOMIC_ELEMENT + SAME_PLACE / max(1, math.prod(scatter.combine.buffer.shape))
    return ATOMIC + elements * each < copies_ns(kernel, scatter)


def copies_ns(kernel: Kernel, scatter: Scatter) -> float:
    """A copy of the target for each block, or for each team where rows have more to them than sums."""
    target, elements = scatter.combine.buffer, scatter.updates * scatter.width
    most = max(1, COPY_BYTES // max(1, nbytes(target)))
    targets = {s.buffer for s in walk(kernel.body) if isinstance(s, Combine)}
    if is_perfect(scatter.loops[0], targets):
        blocks = max(1, min(BLOCKS_WITH_COPIES, most, elements // 256))
        return elements / blocks * ADDED_IN_TURN + 2 * blocks * nbytes(target) * BYTE
    if nbytes(target) <= TEAM_BYTES:
        return 0.0
    rows = scatter.loops[0].extent
    teams = max(1, min(8 * BLOCKS_WITH_COPIES, most, rows))
    return (rows * ROW + elements * ROW_ELEMENT) / teams + 2 * teams * nbytes(target) * BYTE


# --- taken apart --------------------------------------------------------------------------------------------


def _taken_apart(kernel: Kernel, combine: Combine) -> Scatter | None:
    """None where one number is added, or the place is found by a sum, or by what the kernel itself stores."""
    loops, visible = _around(kernel.body, combine)
    if not loops:
        return None
    made = {s.scalar: s for s in visible if isinstance(s, (Compute, Load, CheckIndex))}
    wanted = [x for part in combine.index for x in part.loaded]
    needed: set[int] = set()
    while wanted:
        scalar = wanted.pop()
        if scalar.op == "const":
            continue
        s = made.get(scalar)
        if s is None or (isinstance(s, Load) and (s.buffer in kernel.written or s.buffer in kernel.scratch)):
            return None
        if id(s) not in needed:
            needed.add(id(s))
            wanted += operands(s)
    statements = tuple(s for s in visible if id(s) in needed)
    used = {axis for s in statements for axis in _axes_of(s)}
    keys, tail = _tail(combine, loops, used)
    return Scatter(combine, tuple(loops), statements, keys, tuple(tail))


def _around(body: Sequence[Statement], combine: Combine) -> tuple[list[Loop], list[Statement]]:
    """The loops that hold it, and all that is computed in these, or in front of them."""
    visible: list[Statement] = [s for s in body if not isinstance(s, Loop)]
    for s in body:
        if isinstance(s, Loop) and any(x is combine for x in walk(s.body)):
            loops, inner = _around(s.body, combine)
            return [s, *loops], [*visible, *inner]
    return [], visible


def _axes_of(s: Statement) -> set[int]:
    if isinstance(s, Load):
        return {a for part in (*s.index, *(g.index for g in s.guards)) for a in part.axes}
    found: set[int] = set()
    for x in s.scalar.args if isinstance(s, Compute) else ():
        found.update((x.index if isinstance(x, Guard) else x).axes if isinstance(x, (Guard, Index)) else ())
    return found


def _tail(combine: Combine, loops: Sequence[Loop], used: set[int]) -> tuple[int, list[Loop]]:
    """How many leading dimensions are data, and the loops along the others, each one dimension's."""
    by_axis = {x.axis: x for x in loops}
    keys, tail = len(combine.index), list[Loop]()
    for k, n in zip(reversed(combine.index), reversed(combine.buffer.shape), strict=True):
        axis = k.terms[0][0].axis if len(k.terms) == 1 and isinstance(k.terms[0][0], AxisRef) else None
        loop = by_axis.get(axis) if axis is not None else None
        is_whole = loop is not None and loop.extent == n and bool(k == Index.factor(AxisRef(loop.axis)))
        if n != 1 and not (is_whole and axis not in used and loop not in tail):
            break
        keys -= 1
        if n != 1 and loop is not None:
            tail.insert(0, loop)
    leading = {a for k in combine.index[:keys] for a in k.axes}
    return (keys, tail) if not leading & {x.axis for x in tail} else (len(combine.index), [])


# --- the steps ----------------------------------------------------------------------------------------------


def zeros(buffer: Buffer, name: str) -> Kernel:
    """A kernel that fills an array with zeros."""
    axes = [-1 - k for k in range(len(buffer.shape))]
    zero = Scalar("const", (buffer.dtype.type(0),), buffer.dtype, 0)
    body: list[Statement] = [Store(buffer, tuple(Index.factor(AxisRef(a)) for a in axes), zero)]
    for axis, extent in zip(reversed(axes), reversed(buffer.shape)):
        body = [Loop(axis, extent, body)]
    return Kernel(f"{name}.zeros_{buffer.name}", body, [buffer], {buffer}, [])


def without_fills(kernel: Kernel, targets: Collection[Buffer]) -> Kernel:
    body = [s for s in kernel.body if not (isinstance(s, Fill) and s.buffer in targets)]
    return part_of(kernel, kernel.name, body)


def sorted_steps(kernel: Kernel, scatters: Sequence[Scatter]) -> Steps:
    """What does the kernel's work, with these sums by sorting."""
    return _Sorted(kernel, scatters).steps()


class _Sorted:
    def __init__(self, kernel: Kernel, scatters: Sequence[Scatter]) -> None:
        self.kernel = kernel
        self.scatters = scatters
        self.codes: dict[tuple[Any, ...], Buffer] = {}
        self.replaced: dict[int, list[Statement]] = {}
        self.checked: set[int] = set()  # checks that a kernel for places makes
        self.before: list[Kernel] = []
        self.sums: list[Segments] = []

    def steps(self) -> Steps:
        for k, scatter in enumerate(self.scatters):
            self.take(k, scatter)
        fills = [zeros(x.combine.buffer, self.kernel.name) for x in self.scatters]
        steps: Steps = [*fills, *self.before]
        rest = self.rest()
        if rest is not None:
            steps.append(rest)
        steps += [Sort(codes) for codes in self.codes.values()]
        for sums in self.sums:
            steps.append(sums)
            if sums.chunks > 1:
                steps.append(replace(sums, is_second=True))
        return steps

    def take(self, k: int, scatter: Scatter) -> None:
        combine, target = scatter.combine, scatter.combine.buffer
        instead: list[Statement] = []
        codes = self.codes.get(scatter.key())
        if codes is None:
            dtype = np.dtype(np.int32 if scatter.code_bits <= 31 else np.int64)
            shape = tuple(x.extent for x in scatter.batch)
            codes = self.codes[scatter.key()] = Buffer(None, shape, dtype, f"{target.name}_codes")
            stored = _code(scatter, codes)
            if scatter.tail:
                self.before.append(self.places(k, scatter, stored))
            else:
                instead += stored
        load = self.source_of(combine.value, scatter)
        if load is None and combine.value.op != "const":
            shape = tuple(n for _, n in scatter.axes)
            values = Buffer(None, shape, target.dtype, f"{target.name}_values")
            index = tuple(Index.factor(AxisRef(a)) for a, _ in scatter.axes)
            instead.append(Store(values, index, combine.value))
            load = Load(Scalar("load", (), target.dtype, combine.value.level), values, index, ())
        self.replaced[id(combine)] = instead
        chunks = -(-scatter.updates // scatter.chunk)
        leads = Buffer(None, (chunks, scatter.width), target.dtype, f"{target.name}_leads")
        self.sums.append(Segments(scatter, codes, load, leads))

    def source_of(self, value: Scalar, scatter: Scatter) -> Load | None:
        """Where the value is in memory, before the kernel and after it, at a place that counters tell."""
        for s in walk(self.kernel.body):
            if isinstance(s, Load) and s.scalar is value:
                is_kept = s.buffer not in self.kernel.written and s.buffer not in self.kernel.scratch
                is_plain = not s.guards and not any(part.loaded for part in s.index)
                axes = {a for part in s.index for a in part.axes}
                is_known = axes <= {a for a, _ in scatter.axes}
                return s if is_kept and is_plain and is_known and s.buffer.rows_of is None else None
        return None

    def places(self, k: int, scatter: Scatter, stored: Sequence[Statement]) -> Kernel:
        """A kernel that leaves the codes, for sums of rows: once for each update, not for each value."""
        body: list[Statement] = [*scatter.needed, *stored]
        self.checked.update(id(s) for s in scatter.needed if isinstance(s, CheckIndex))
        for loop in reversed(scatter.batch):
            body = [Loop(loop.axis, loop.extent, body)]
        return part_of(self.kernel, f"{self.kernel.name}.places{k}", body)

    def rest(self) -> Kernel | None:
        """The kernel, which leaves values in place of adding them; None where nothing is left to do."""
        hidden = without_fills(self.kernel, [x.combine.buffer for x in self.scatters])
        body = _replaced(hidden.body, self.replaced)
        used = {x for s in walk(body) for x in operands(s)}
        checks = (s for s in walk(body) if isinstance(s, CheckIndex) and id(s) in self.checked)
        made_before = {id(s): list[Statement]() for s in checks if s.scalar not in used}
        body = remove_dead(_replaced(body, made_before))
        lasting = (Store, Combine, Accumulate, Fill, CheckIndex)
        if not any(isinstance(s, lasting) for s in walk(body)):
            return None
        return part_of(self.kernel, self.kernel.name, body)


def _code(scatter: Scatter, codes: Buffer) -> list[Statement]:
    """The statements that store an update's code."""
    number = Index()
    for loop in scatter.batch:
        number = number * loop.extent + Index.factor(AxisRef(loop.axis))
    code = Scalar("index", (scatter.place * 2**scatter.bits + number,), codes.dtype, len(scatter.loops))
    index = tuple(Index.factor(AxisRef(x.axis)) for x in scatter.batch)
    return [Compute(code, scatter.combine.source), Store(codes, index, code)]


def _replaced(body: Sequence[Statement], instead: Mapping[int, list[Statement]]) -> list[Statement]:
    found: list[Statement] = []
    for s in body:
        if isinstance(s, Loop):
            found.append(Loop(s.axis, s.extent, _replaced(s.body, instead), s.ranged))
        else:
            found += instead.get(id(s), [s])
    return found
