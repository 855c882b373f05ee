"""What a program costs by the table of `costs.py`: enters loop nests and library calls, leaves nanoseconds.

Where `schedule/cost.py` prices an answer before there is a kernel, this looks at what came of all answers.
Times are good for comparing programs of one graph, and ways to run one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracejit.codegen.llvm.module import Module
from tracejit.codegen.llvm.vectors import Planner, plan_vectors
from tracejit.codegen.loops import Buffer, Compute, Kernel, Loop, Reset, Stage, Statement, Strip
from tracejit.codegen.program import Call, LibraryCall, Program, nbytes
from tracejit.codegen.ranges import Ranged
from tracejit.codegen.regions import Region
from tracejit.costs import COSTS, CROSSING_COST, LANES, LOOP_COST, REDUCTION_COST
from tracejit.ir import Eqn, Kind
from tracejit.ops.contraction import free_axes


def program_ns(program: Program, literal_limit: int, threads: int = 1) -> float:
    """One run on so many threads: every kernel and every library call."""
    total = 0.0
    for call in program.calls:
        steps = [call] if isinstance(call, LibraryCall) else call.steps
        total += sum([_step_ns(step, literal_limit, threads) for step in steps])
    return total


def _step_ns(step: Region | Kernel | Call | LibraryCall, literal_limit: int, threads: int) -> float:
    if isinstance(step, Kernel):
        return kernel_ns(step, literal_limit)
    if not isinstance(step, Region):
        return library_ns(step.eqn)
    workers = min(threads, step.workers)
    shared = divided = 0.0
    for inner in step.steps:
        if isinstance(inner, Ranged):
            far = _far_ns(inner.kernel, step)
            near = kernel_ns(inner.kernel, literal_limit, step) - far
        else:
            far, near = 0.0, library_ns(inner.single.eqn)
        shared, divided = shared + far, divided + near
    return shared + divided / workers + (COSTS.wake if workers > 1 else 0.0)


def kernel_ns(kernel: Kernel, literal_limit: int, region: Region | None = None) -> float:
    """A kernel with its launch; each array comes once from where all of them fit, then from nearby.

    region: the one that it is a step of, whose tiles stay in a cache
    """
    walk = _Walk(kernel, Module().lanes_of(kernel), literal_limit)
    _, moved = _moved(kernel, region)
    return COSTS.kernel + moved + LANES * COSTS.addition * walk.body(kernel.body, None)


def _moved(kernel: Kernel, region: Region | None) -> tuple[float, float]:
    """The price of a byte of the arrays that are whole, and of the way of all."""
    tiles = set(region.tiles) if region is not None and region.tile < region.extent else set[Buffer]()
    price = COSTS.byte(sum(nbytes(b) for b in kernel.buffers if b not in tiles))
    near = COSTS.byte(region.area_bytes) if region is not None else price
    arrays = [b for b in kernel.buffers if b.var is not None]
    return price, sum(nbytes(b) * (near if b in tiles else price) for b in arrays)


def _far_ns(kernel: Kernel, region: Region) -> float:
    """The part of its time that threads share: what comes from memory, which has one road."""
    price, moved = _moved(kernel, region)
    return moved if price == COSTS.levels[-1][1] else 0.0


def library_ns(eqn: Eqn) -> float:
    """A call of BLAS, or of NumPy from Python."""
    touched = sum(a.type.nbytes for a in (*eqn.inputs, eqn.out))
    if eqn.primitive.kind is not Kind.CONTRACTION:
        return COSTS.step + touched * COSTS.byte(touched)
    x, y = (a.type for a in eqn.inputs)
    contract, batch = eqn.params["contract"], eqn.params["batch"]
    m = math.prod(x.shape[k] for k in free_axes(x.rank, contract[0], batch[0]))
    n = math.prod(y.shape[k] for k in free_axes(y.rank, contract[1], batch[1]))
    k = math.prod(x.shape[k] for k in contract[0])
    batches = math.prod(x.shape[k] for k in batch[0])
    if not m * n * k * batches:
        return COSTS.step
    call = COSTS.product_call(m, n, k, batches, x.dtype.itemsize)
    return call if x.is_float else COSTS.step + call


class _Walk:
    """Adds up a nest in instructions, each of which takes as long for one element as for all lanes."""

    def __init__(self, kernel: Kernel, lanes: int, literal_limit: int) -> None:
        self.vectors = plan_vectors(kernel, {}, lanes, literal_limit)
        self.planner = Planner(kernel, {}, lanes, literal_limit)

    def body(self, body: Sequence[Statement], axis: int | None) -> float:
        """An iteration; where `axis` runs along the lanes, a whole vector of iterations."""
        return sum([self.statement(s, axis) for s in body])

    def loop(self, loop: Loop, axis: int | None) -> float:
        lanes = self.vectors.lanes
        if id(loop) in self.vectors.loops and axis is None:
            whole, rest = divmod(loop.extent, lanes)
            times = whole + (COSTS.masked / 2 if rest else 0)
            return LOOP_COST + times * self.body(loop.body, loop.axis)
        if id(loop) in self.vectors.blocks:
            own = [s for s in loop.body if not isinstance(s, Loop)]
            rows = sum([CROSSING_COST + self.loop(s, None) for s in loop.body if isinstance(s, Loop)])
            return -(-loop.extent // lanes) * self.body(own, loop.axis) + loop.extent * rows
        return 1 + loop.extent * self.body(loop.body, axis)

    def statement(self, statement: Statement, axis: int | None) -> float:
        if isinstance(statement, Loop):
            return self.loop(statement, axis)
        if isinstance(statement, (Strip, Stage)):
            return self.body(statement.body, axis)
        if isinstance(statement, Reset) and statement.accumulator in self.vectors.across:
            return REDUCTION_COST
        instructions = self.planner.cost(statement, axis)
        if not isinstance(statement, Compute) or instructions == 1:
            return instructions
        return instructions * COSTS.function / COSTS.addition
