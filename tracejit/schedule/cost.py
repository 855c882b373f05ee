"""What groups cost by the table of `costs.py`: enters a group or an equation, leaves nanoseconds."""

from __future__ import annotations

import math

from tracejit.costs import COSTS
from tracejit.ir import Eqn, Kind, Var
from tracejit.schedule.group import Group, loop_order

SHORT_ROW = 8  # elements: the lanes of a vector of float64


def arithmetic(eqn: Eqn) -> float:
    """An element of an equation on vectors; an element of a sum and the like counts as one addition."""
    cost = eqn.primitive.cost if eqn.primitive.kind is Kind.ELEMENTWISE else 1
    return COSTS.arithmetic(cost, eqn.out.type.dtype.itemsize)


def computing(eqn: Eqn, group: Group) -> float:
    """All of an equation's arithmetic, in the loops that the group gives it."""
    return arithmetic(eqn) * math.prod(group.extents[axis] for axis in group.domains[eqn.out])


def moving(var: Var, touched: int) -> float:
    """An array read or written once by a kernel that touches so many bytes.

    Rows shorter than a vector run side by side in its lanes: their elements are then moved one by one.
    """
    shape = var.type.shape
    is_picked = len(shape) > 1 and 1 < shape[-1] < SHORT_ROW
    return var.type.size * (COSTS.moving(var.type.dtype.itemsize, touched) + is_picked * COSTS.picked)


def walking(group: Group) -> float:
    """What its order of loops costs a kernel: arrays whose rows the innermost loop goes across.

    Nothing where all of them are in the two nearest caches: lanes then run along the rows as well.
    """
    if len(group.extents) < 2:
        return 0.0
    order = loop_order(group)
    if order is None or len(order) < 2:
        return 0.0
    inner, across = order[-1], 0
    for var, dims in group.reads:
        if dims is not None and inner in dims and var not in group.computed:
            axes = [d for d in dims if d is not None]
            across += var.type.size * (axes[-1] != inner)
    return across * COSTS.picked if footprint(group) > COSTS.near else 0.0


def joining(a: Group, b: Group) -> float:
    """What one kernel saves in place of two: a launch, and the arrays that both would move."""
    read, both = {v for v, _ in a.external_reads()}, {v for v, _ in b.external_reads()}
    touched = footprint(a)
    passed = sum([2 * moving(v, touched) for v in (read | both) if v in a.computed or v in b.computed])
    return COSTS.kernel + passed + sum([moving(v, touched) for v in read & both])


def footprint(group: Group) -> int:
    """Bytes of the arrays that a group reads from outside, and of the largest that it makes."""
    read = sum(v.type.nbytes for v in {v for v, _ in group.external_reads()})
    return read + max((v.type.nbytes for v in group.computed), default=0)


def alone(group: Group) -> float:
    """A group as a kernel of its own: its launch, its arithmetic and the arrays that it reads."""
    read, touched = {v for v, _ in group.external_reads()}, footprint(group)
    work = sum(computing(e, group) for e in group.eqns.values())
    return COSTS.kernel + work + sum(moving(v, touched) for v in read)
