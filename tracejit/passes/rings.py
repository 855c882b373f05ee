"""When the latest rows of a computed array wait in a ring for those who read them, and what is done again.

A ring costs a store, and a load for each reader; it asks for rows that are long enough for a loop of their
own and, a few of them together, short enough for a core's own cache. All who decide ask here.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from tracejit.costs import (
    ALL_FORCED_WORK,
    FORCED_WORK,
    LEAST_ROW,
    MOST_ROWS,
    RING_BYTES,
    RING_WORK,
    USUAL_ROWS,
    VIEW_WORK,
)
from tracejit.ir import ArrayType


def most_repeated(shifted: str, is_row_by_row: bool, readers: int = 1) -> int:
    """Additions an element that each reader does again, by the word of `Choices.shifted`.

    is_row_by_row: could a ring take their place? readers: of the array, where it is there at all
    """
    if shifted == "recompute":
        return min(FORCED_WORK, ALL_FORCED_WORK // readers)
    if shifted == "auto":
        return RING_WORK if is_row_by_row else VIEW_WORK
    return -1


def fits_ring(kind: ArrayType) -> bool:
    """Could some rows of an array of that type wait in a ring?"""
    return kind.rank > 1 and are_worth_it([(kind, USUAL_ROWS)])


def are_worth_it(rings: Iterable[tuple[ArrayType, int]]) -> bool:
    """Do rings pay, each with so many rows of an array, that one kernel has together?"""
    total = 0
    for kind, rows in rings:
        row = prod(kind.shape[1:])
        total += rows * row * kind.dtype.itemsize
        if row < LEAST_ROW or rows > MOST_ROWS:
            return False
    return total <= RING_BYTES
