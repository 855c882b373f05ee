"""How much work a step is, and from that: how many strands, how long a tile, how long the short sums.

All answers follow from the sizes of a program and `costs.py` alone, never from the number of threads: the
same sums are made of the same parts on every run. The estimate is rougher than `codegen/estimate.py`'s, which
plans every kernel's vectors for it: this one is made for every program, that one where programs are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracejit.codegen.loops import Compute, Kernel, Loop, Stage, Statement, Strip
from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.routines import RoutineCall
from tracejit.costs import (
    BLOCK_ELEMENTS,
    COPY_BYTES,
    COPY_SHARE,
    COSTS,
    LEAD_SHARE,
    LEAST_STRAND,
    LEAST_TILE,
    LEAST_WIDE_TILE,
    MOST_COPIES,
    MOST_STRANDS,
    PROGRAM_COST,
    ROUND_TILE,
    STRAND_NS,
    TILE_BYTES,
    WHOLE_VECTORS,
)

if TYPE_CHECKING:
    from tracejit.codegen.products import MatrixProduct
    from tracejit.codegen.ranges import Ranged


def work_of_kernel(kernel: Kernel) -> float:
    """Nanoseconds of one thread, roughly."""
    return _work(kernel.body)


def _work(body: Sequence[Statement]) -> float:
    total = 0.0
    for s in body:
        if isinstance(s, Loop):
            total += s.extent * _work(s.body)
        elif isinstance(s, (Strip, Stage)):
            total += _work(s.body)
        else:
            is_program = isinstance(s, Compute) and s.scalar.op in PROGRAMS
            total += COSTS.addition * (PROGRAM_COST if is_program else 1)
    return total


def work_of_product(product: MatrixProduct) -> float:
    return COSTS.multiply_add * product.batches * product.m * product.n * product.k


def work_of_batch(call: MatrixProduct | RoutineCall) -> float:
    """Of matrices one by one: each is a call, as to the table of costs, which takes most of a small one."""
    if isinstance(call, RoutineCall):
        return call.batches * (COSTS.product + COSTS.multiply_add * call.multiplications)
    return COSTS.product_call(call.m, call.n, call.k, call.batches, call.out.dtype.itemsize)


def inner_elements(body: Sequence[Statement]) -> int:
    """Elements that one iteration of a loop visits: those of its longest inner loop; time is none."""
    inner = [s.extent * inner_elements(s.body) for s in body if isinstance(s, Loop) and not s.serial]
    return max([1, *inner, *(inner_elements(s.body) for s in body if isinstance(s, Stage))])


def block_of(step: Ranged) -> int:
    """Iterations whose sums are made on their own; whole vectors where the loop itself runs on vectors.

    Loops over time inside make iterations long, of which a strand needs few: then no more than that.
    """
    loop = next(s for s in step.kernel.body if isinstance(s, Loop))
    inner = inner_elements(loop.body)
    if inner > 1:
        return max(BLOCK_ELEMENTS // inner, 1)
    steps = max([1, *(s.extent for s in loop.body if isinstance(s, Loop) and s.serial)])
    whole = BLOCK_ELEMENTS // steps // WHOLE_VECTORS * WHOLE_VECTORS
    return min(max(whole, WHOLE_VECTORS), BLOCK_ELEMENTS)


def tile_of(row_bytes: int, has_products: bool, has_lanes: bool, whole_bytes: int, extent: int) -> int:
    """Rows of a range, from the bytes of one row of the arrays between the steps.

    has_lanes: what is called a row lies across the rows of time, in which vectors run along the range
    whole_bytes: of matrices that each range reads, or adds to, as a whole
    """
    least = LEAST_WIDE_TILE if whole_bytes > TILE_BYTES else LEAST_TILE if has_products else 1
    least = max(least, ROUND_TILE if has_lanes else 1)
    rows = max(TILE_BYTES // max(row_bytes, 1), least)
    return min(extent, max(rows // ROUND_TILE * ROUND_TILE, 1))


def unit_with_lead(unit: int, lead: int) -> int:
    """The least whole number of units that is worth `lead` iterations in front of each strand.

    >>> unit_with_lead(4, 3), unit_with_lead(100, 3), unit_with_lead(4, 0)
    (48, 100, 4)
    """
    return unit * max(1, math.ceil(LEAD_SHARE * lead / unit))


def unit_with_products(unit: int, whole_bytes: int) -> int:
    """The least whole number of units that is enough rows for matrix products; see `tile_of`."""
    return unit * math.ceil((LEAST_WIDE_TILE if whole_bytes > TILE_BYTES else LEAST_STRAND) / unit)


def strands_of(extent: int, work: float, unit: int, private_bytes: int) -> tuple[int, int]:
    """How many strands, and how many iterations each has; all but the last are whole multiples of `unit`."""
    most = min(MOST_STRANDS, int(work // STRAND_NS))
    if private_bytes:
        most = min(most, 1 + int(COPY_SHARE * work / (COSTS.copied * private_bytes)))
    units = -(-extent // unit)
    if most <= 1 or units <= 1:
        return 1, extent
    chunk = unit * math.ceil(units / most)
    return -(-extent // chunk), chunk


def most_workers(private_bytes: int) -> int:
    """How many threads may have copies of arrays of so many bytes at the same time."""
    return max(COPY_BYTES // private_bytes, MOST_COPIES) if private_bytes else MOST_STRANDS
