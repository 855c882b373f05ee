"""Loops cut into ranges in which guards are decided, so that the long range asks none of them.

Enters: a loop with guarded loads and selections. Leaves: up to three ranges, each with the guards that hold,
or fail, all through it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from tracejit.codegen.loops import Loop, guards_of, walk
from tracejit.schedule.index import Guard

MOST_PIECES = 3  # each is a copy of the loop's body
MOST_COPIED = 100  # statements of a nest that are worth a copy for each array that is read


@dataclass(frozen=True)
class Piece:
    """Iterations `low <= i < high` of a loop, and what is known of its guards there."""

    low: int
    high: int
    known: dict[Guard, bool]


def cut_loop(loop: Loop, undecided: Iterable[Guard]) -> list[Piece]:
    """The pieces of a loop, in order: exact ones where few do, else the longest and what lies beside it."""
    cuts: dict[Guard, tuple[int, bool]] = {}
    for guard in undecided:
        cut = _threshold(guard, loop.axis)
        if cut is not None:
            cuts[guard] = cut
    inside = {at for at, _ in cuts.values() if 0 < at < loop.extent}
    ranges = list(itertools.pairwise([0, *sorted(inside), loop.extent]))
    if len(ranges) > MOST_PIECES:
        low, high = max(ranges, key=lambda r: r[1] - r[0])
        ranges = [r for r in ((0, low), (low, high), (high, loop.extent)) if r[0] < r[1]]
    return [Piece(low, high, _decided(cuts, low, high)) for low, high in ranges]


def choices(loop: Loop) -> list[Guard]:
    """The guards in a loop, on its own counter, that tell which of two arrays an element comes from."""
    if sum(1 for _ in walk(loop.body)) > MOST_COPIED:
        return []
    guards = dict.fromkeys(guards_of(loop.body))
    return [g for g in guards if g.op == ">=" and g.negated() in guards and _threshold(g, loop.axis)]


def guards_around(loop: Loop, guards: Iterable[Guard]) -> list[Guard]:
    """Those of the guards that depend on one outer loop and do not exclude one another."""
    found: dict[Guard, None] = {}
    for guard in guards:
        affine = guard.index.single_axis()
        if guard.op == ">=" and affine is not None and affine[0] != loop.axis:
            found[guard] = None
    return [g for g in found if g.negated() not in found]


def _threshold(guard: Guard, axis: int) -> tuple[int, bool] | None:
    """Where along the loop the guard changes, and whether it holds from there on (else: up to there)."""
    affine = guard.index.single_axis()
    if guard.op != ">=" or affine is None or affine[0] != axis:
        return None
    _, coefficient, constant = affine
    if coefficient > 0:
        return -(constant // coefficient), True
    return constant // -coefficient + 1, False


def _decided(cuts: dict[Guard, tuple[int, bool]], low: int, high: int) -> dict[Guard, bool]:
    known: dict[Guard, bool] = {}
    for guard, (at, after) in cuts.items():
        if at <= low:
            known[guard] = after
        elif at >= high:
            known[guard] = not after
    return known
