"""Regions: steps that run range by range over one axis together, so that rows stay in cache between them.

Enters: kernels and matrix products in order. Leaves: the same as `Region`s, with what each strand and each
worker needs for itself, and steps that run as they are. In a region the first range goes through all steps,
then the next: arrays that live between its steps alone hold the rows of one range (a *tile*), not all rows,
and sums over rows, of kernels and of matrix products, grow from range to range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tracejit.codegen.loops import Buffer, JoinCopy, Kernel, Loop, nbytes, walk
from tracejit.codegen.memory_plan import plan_memory
from tracejit.codegen.products import MatrixProduct
from tracejit.codegen.ranges import SLOT_BYTES, Ranged, copy_bytes, in_ranges, turn
from tracejit.codegen.routines import RoutineCall
from tracejit.codegen.work import (
    block_of,
    most_workers,
    strands_of,
    tile_of,
    unit_with_lead,
    unit_with_products,
    work_of_batch,
    work_of_product,
)


class _Call:
    """What calls of libraries lack of what kernels have."""

    start = finish = None
    lead = slots = 0
    scratch: tuple[Buffer, ...] = ()

    @property
    def read(self) -> set[Buffer]:
        raise NotImplementedError

    @property
    def read_early(self) -> set[Buffer]:
        return self.read


@dataclass(frozen=True, eq=False)
class RangedProduct(_Call):
    """A matrix product range by range: rows of the result, or, if it `is_sum`, terms of its sum.

    extent: of the axis that is cut; per: rows (or terms) of the matrices in one iteration
    out_step, left_step, right_step: elements from one iteration to the next
    """

    product: MatrixProduct
    extent: int
    per: int
    is_sum: bool
    join: Kernel | None

    @property
    def out_step(self) -> int:
        return 0 if self.is_sum else self.per * self.product.n

    @property
    def left_step(self) -> int:
        left = self.product.left
        return self.per * (left.leading if left.is_turned == self.is_sum else 1)

    @property
    def right_step(self) -> int:
        right = self.product.right
        if not self.is_sum:
            return 0
        return self.per * (1 if right.is_turned else right.leading)

    @property
    def single(self) -> MatrixProduct:
        return self.product

    @property
    def work(self) -> float:
        return work_of_product(self.product)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Those that the code reads from its table."""
        return self.per, self.out_step, self.left_step, self.right_step

    @property
    def functions(self) -> tuple[Kernel, ...]:
        return (self.join,) if self.join is not None else ()

    @property
    def private(self) -> tuple[Buffer, ...]:
        return (self.product.out,) if self.is_sum else ()

    @property
    def whole(self) -> Buffer:
        """The matrix that every range reads, or adds to."""
        return self.product.out if self.is_sum else self.product.right.buffer

    @property
    def read(self) -> set[Buffer]:
        return {self.product.left.buffer, self.product.right.buffer}

    @property
    def written(self) -> set[Buffer]:
        return {self.product.out}

    @property
    def sliced(self) -> Mapping[Buffer, int]:
        """Arrays of which iteration `i` touches row `i` alone."""
        product = self.product
        sides = [(product.out, self.out_step), (product.left.buffer, self.left_step)]
        sides.append((product.right.buffer, self.right_step))
        return _rows_of(sides, self.extent)


def _rows_of(steps: Sequence[tuple[Buffer, int]], extent: int) -> Mapping[Buffer, int]:
    """Of arrays with the elements from one iteration to the next: those of which these are rows."""
    others = {b for b, step in steps if b.shape[:1] != (extent,) or step != math.prod(b.shape[1:])}
    return {b: 0 for b, _ in steps if b not in others}


@dataclass(frozen=True, eq=False)
class RangedBatch(_Call):
    """Products, factorisations or solves of many matrices range by range; `per` of them in one iteration."""

    single: MatrixProduct | RoutineCall
    extent: int
    per: int

    @property
    def steps(self) -> tuple[int, ...]:
        """For each array of `single.touched` the elements from one iteration to the next."""
        return tuple(self.per * step for step in self.single.batch_steps)

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.per, *self.steps

    @property
    def work(self) -> float:
        return work_of_batch(self.single)

    @property
    def join(self) -> None:
        return None

    @property
    def functions(self) -> tuple[Kernel, ...]:
        return ()

    @property
    def private(self) -> tuple[Buffer, ...]:
        return ()

    @property
    def read(self) -> set[Buffer]:
        return {*self.single.touched} - {self.single.out}

    @property
    def written(self) -> set[Buffer]:
        return {self.single.out}

    @property
    def sliced(self) -> Mapping[Buffer, int]:
        return _rows_of(list(zip(self.single.touched, self.steps)), self.extent)


@dataclass(frozen=True)
class Execution:
    """How a program may run.

    products: matrix products are calls in native code, where arrays lie as these need it; else NumPy's
    ranges: outermost loops run range by range; join: several steps do so together
    threads: that may run strands at a time, None: as many as the process allows when it is called;
    most_threads: that are used, and for which memory is planned
    tile: rows of a range, None to choose them, and then `tile_scale` times as many
    wide_sums: float32 is summed in float64, which costs a processor nothing and a CUDA device much
    """

    products: bool = False
    ranges: bool = False
    join: bool = True
    literal_limit: int = 4
    threads: int | None = 1
    most_threads: int = 1
    tile: int | None = None
    tile_scale: float = 1.0
    wide_sums: bool = True


RangedStep = Ranged | RangedProduct | RangedBatch
Step = Kernel | MatrixProduct | RoutineCall


@dataclass(eq=False)
class Region:
    """Steps that run range by range.

    tiles: arrays that hold the slices of one range, and along which dimension these are
    strands: how many there are, `chunk` iterations each; tile: iterations of one range
    workers: threads that may run strands at a time, each with an `area` for scratch rows and tiles, and with
        copies of the private arrays; follows_default: fewer, where the process's default number is less
    blocks: for each kernel, by its place, the iterations whose sums are short
    inside: offsets in a worker's area, of which each is `area_bytes` long
    partials: for each kernel with partial results the memory of all strands'
    copies: for each private array that of all workers'
    """

    number: int
    steps: tuple[RangedStep, ...]
    tiles: dict[Buffer, int] = field(default_factory=dict[Buffer, int])
    strands: int = 1
    chunk: int = 0
    tile: int = 0
    workers: int = 1
    follows_default: bool = False
    blocks: dict[int, int] = field(default_factory=dict[int, int])
    inside: dict[Buffer, int] = field(default_factory=dict[Buffer, int])
    area_bytes: int = 0
    area: Buffer | None = None
    partials: dict[RangedStep, Buffer] = field(default_factory=dict["RangedStep", Buffer])
    copies: dict[Buffer, Buffer] = field(default_factory=dict[Buffer, Buffer])

    @property
    def extent(self) -> int:
        return self.steps[0].extent

    def number_of(self, name: str) -> int:
        """What the code reads from its table."""
        if name.startswith("block "):
            return self.blocks[int(name.removeprefix("block "))]
        return {
            "strands": self.strands,
            "chunk": self.chunk,
            "extent": self.extent,
            "tile": self.tile,
            # Less than 0: no more than the process's default, which may change from call to call.
            "workers": -self.workers if self.follows_default else self.workers,
            "area_bytes": self.area_bytes,
        }[name]

    def shape_of(self, buffer: Buffer) -> tuple[int, ...]:
        """What is kept of an array: of tiles the slices of one range."""
        shape, dimension = buffer.shape, self.tiles.get(buffer)
        if dimension is None:
            return shape
        return *shape[:dimension], self.tile, *shape[dimension + 1 :]

    def slice_bytes(self, buffer: Buffer) -> int:
        """From one slice of a tile to the next."""
        return math.prod(buffer.shape[self.tiles[buffer] + 1 :]) * buffer.dtype.itemsize

    @property
    def memory(self) -> list[Buffer]:
        """What the region needs of the workspace while it runs."""
        return [
            *([self.area] if self.area is not None else []),
            *self.partials.values(),
            *self.copies.values(),
        ]


def make_regions(
    steps: Sequence[Step], literal_limit: int, join: bool, first: int = 0
) -> list[Region | Step]:
    """The steps in order, those that can be as regions; `join=False` gives each step its own.

    first: the number of the first region
    """
    ranged = [_candidates(step, literal_limit, number) for number, step in enumerate(steps)]
    in_time = {s for found in ranged for s in found if _is_in_time(s)}
    # Kernels have another form beside loops over time, and there alone.
    mixed = [_turned(s, literal_limit) + found for s, found in zip(steps, ranged)] if in_time else []
    result: list[Region | Step] = []
    at = 0
    while at < len(steps):
        chains = [_chain(first, ranged[at + 1 :], join) for first in ranged[at]]
        if in_time:
            found = [_chain(first, mixed[at + 1 :], join) for first in mixed[at]]
            chains += [c for c in found if not in_time.isdisjoint(c)]
        if not chains:
            result.append(steps[at])
            at += 1
            continue
        best = max(chains, key=lambda c: (len(c), c[0].extent))
        result.append(Region(first + sum(isinstance(r, Region) for r in result), tuple(best)))
        at += len(best)
    return result


def _candidates(step: Step, literal_limit: int, number: int) -> list[RangedStep]:
    if isinstance(step, Kernel):
        found = in_ranges(step, literal_limit)
        return [found] if found is not None else []
    if isinstance(step, RoutineCall) or step.batches != 1:
        return _batches(step, literal_limit)
    contract = step.eqn.params["contract"]
    rows = step.out.shape[0] if step.out.shape else 0
    terms = step.eqn.inputs[0].type.shape[contract[0][0]] if contract[0] else 0
    options: list[RangedStep] = []
    if rows > literal_limit and step.m % rows == 0:
        options.append(RangedProduct(step, rows, step.m // rows, False, None))
    if terms > literal_limit and step.k % terms == 0:
        join = Kernel(f"product_{number}.join", [JoinCopy(step.out, "sum")], [step.out], {step.out}, [])
        options.append(RangedProduct(step, terms, step.k // terms, True, join))
    return options


def _is_in_time(step: RangedStep) -> bool:
    """Does it loop over time?"""
    return isinstance(step, Ranged) and any(isinstance(s, Loop) and s.serial for s in walk(step.kernel.body))


def _turned(step: Step, literal_limit: int) -> list[RangedStep]:
    """A kernel as it can run beside a loop over time, whose rows it reads or makes."""
    kernel = turn(step) if isinstance(step, Kernel) else None
    found = in_ranges(kernel, literal_limit) if kernel is not None else None
    return [found] if found is not None and 1 in found.sliced.values() else []


def _batches(step: MatrixProduct | RoutineCall, literal_limit: int) -> list[RangedStep]:
    """Along the first axis of the result, as its readers' loops run; all batch axes where it is short."""
    first = step.out.shape[0] if step.batches > 1 else 1
    for extent in (first, step.batches):
        if extent > literal_limit:
            return [RangedBatch(step, extent, step.batches // extent)]
    return []


@dataclass
class _Seen:
    """What the steps of a chain do to arrays; `read` and `filled` slice by slice, along which dimension."""

    read: dict[Buffer, int] = field(default_factory=dict[Buffer, int])
    filled: dict[Buffer, int] = field(default_factory=dict[Buffer, int])
    written: set[Buffer] = field(default_factory=set[Buffer])

    def add(self, step: RangedStep) -> None:
        self.read.update((b, d) for b, d in step.sliced.items() if b in step.read)
        self.filled.update((b, d) for b, d in step.sliced.items() if b in step.written)
        self.written |= step.written

    def admits(self, step: RangedStep) -> bool:
        """May the step's first range run before the others' second one, and is something gained by it?"""
        sliced = step.sliced
        if any(b not in sliced or self.filled.get(b) != sliced[b] for b in step.read_early & self.written):
            return False
        return any(d in (self.read.get(b), self.filled.get(b)) for b, d in sliced.items())


def _chain(first: RangedStep, following: Iterable[Sequence[RangedStep]], join: bool) -> list[RangedStep]:
    """As many steps as can follow the first one range by range."""
    chain, touched = [first], _Seen()
    touched.add(first)
    for options in following if join else ():
        fitting = [s for s in options if s.extent == first.extent and touched.admits(s)]
        if not fitting:
            break
        chain.append(fitting[0])
        touched.add(fitting[0])
    return chain


def size_region(region: Region, kept: set[Buffer], execution: Execution) -> None:
    """Decide tiles, strands and memory; `kept` are arrays that others than the region's steps know."""
    sliced = {b: d for s in region.steps for b, d in s.sliced.items() if b in s.written}
    whole = {b for s in region.steps for b in (s.read | s.written) - s.sliced.keys()}
    region.tiles = {b: sliced[b] for b in _in_order(region) if b in sliced.keys() - whole - kept}
    extent = region.extent
    lifetimes = _lifetimes(region)
    _, row_bytes = plan_memory({b: lifetimes[b] for b in region.tiles}, lambda b: nbytes(b) // extent)
    whole = sum(nbytes(s.whole) for s in region.steps if isinstance(s, RangedProduct))
    has_products = any(isinstance(s, RangedProduct) for s in region.steps)
    region.tile = extent
    if len(region.steps) > 1:
        has_lanes = any(region.tiles.values())
        rows = tile_of(row_bytes, has_products, has_lanes, whole, extent) * execution.tile_scale
        region.tile = min(extent, execution.tile or max(int(rows), 1))
    region.blocks = {k: block_of(s) for k, s in enumerate(region.steps) if isinstance(s, Ranged)}
    private = [b for s in region.steps for b in s.private]
    work = sum(s.work for s in region.steps)
    unit = region.tile if region.tile < extent else max(region.blocks.values(), default=1)
    unit = unit_with_products(unit, whole) if has_products else unit
    unit = unit_with_lead(unit, max(s.lead for s in region.steps))
    copied = sum(map(copy_bytes, private))
    region.strands, region.chunk = strands_of(extent, work, unit, copied)
    region.tile = min(region.tile, region.chunk)
    region.workers = min(execution.most_threads, region.strands, most_workers(copied))
    region.follows_default = execution.threads is None
    _place(region, private, lifetimes)


def _lifetimes(region: Region) -> dict[Buffer, tuple[int, int]]:
    """The first and last step that touches each tile and scratch row."""
    own = {*region.tiles, *(b for s in region.steps for b in s.scratch)}
    found: dict[Buffer, tuple[int, int]] = {}
    for time, step in enumerate(region.steps):
        for buffer in (b for b in _touched(step) if b in own):
            found[buffer] = (found.get(buffer, (time, time))[0], time)
    return found


def _place(region: Region, private: Sequence[Buffer], lifetimes: Mapping[Buffer, tuple[int, int]]) -> None:
    """Memory of the region's own."""

    def size_of(buffer: Buffer) -> int:
        return math.prod(region.shape_of(buffer)) * buffer.dtype.itemsize

    region.inside, region.area_bytes = plan_memory(lifetimes, size_of)
    if region.inside:
        region.area = _memory(f"area{region.number}", region.area_bytes * region.workers)
    for step in region.steps:
        if isinstance(step, Ranged) and step.slots:
            size = step.slots * SLOT_BYTES * region.strands
            region.partials[step] = _memory(f"{step.kernel.name}.partials", size)
    for buffer in private:  # there are none with one strand, which has the code of several
        size = copy_bytes(buffer) * (region.workers if region.strands > 1 else 0)
        region.copies[buffer] = _memory(f"{buffer.name}.copies", size)


def _memory(name: str, size: int) -> Buffer:
    return Buffer(None, (size,), np.dtype(np.uint8), name)


def _in_order(region: Region) -> list[Buffer]:
    return list(dict.fromkeys(b for s in region.steps for b in _touched(s)))


def _touched(step: RangedStep) -> Sequence[Buffer]:
    return step.kernel.buffers if isinstance(step, Ranged) else step.single.touched
