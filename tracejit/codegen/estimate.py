"""What a program costs by the table of `costs.py`: enters loop nests and library calls, leaves nanoseconds.

Where `schedule/cost.py` prices an answer before there is a kernel, this looks at what came of all answers.
Times are those of one thread, and good for comparing programs of one graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracejit.codegen.llvm.module import Module
from tracejit.codegen.llvm.vectors import Planner, plan_vectors
from tracejit.codegen.loops import Compute, Kernel, Loop, Reset, Stage, Statement, Strip
from tracejit.codegen.program import Program, nbytes
from tracejit.costs import COSTS, CROSSING_COST, LANES, LOOP_COST, REDUCTION_COST
from tracejit.ir import Eqn, Kind
from tracejit.ops.contraction import free_axes
from tracejit.schedule.steps import LibraryStep


def program_ns(program: Program, literal_limit: int) -> float:
    """One run: every kernel and every library call."""
    calls = [s.eqn for s in program.schedule.steps if isinstance(s, LibraryStep)]
    kernels = sum(kernel_ns(kernel, literal_limit) for kernel in program.kernels)
    return kernels + sum(map(library_ns, calls))


def kernel_ns(kernel: Kernel, literal_limit: int) -> float:
    """A kernel with its launch; each array comes once from where all of them fit, then from nearby."""
    walk = _Walk(kernel, Module().lanes_of(kernel), literal_limit)
    touched = sum(map(nbytes, kernel.buffers))
    moved = sum(nbytes(b) for b in kernel.buffers if b.var is not None) * COSTS.byte(touched)
    return COSTS.kernel + moved + LANES * COSTS.addition * walk.body(kernel.body, None)


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
