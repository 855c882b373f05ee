"""Routines that work in place: which results take the memory of an operand that nobody reads afterwards.

Enters the steps of a program with the lifetimes of its temporaries; leaves pairs of a result and the operand
that it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracejit.codegen.loops import Buffer
from tracejit.codegen.routines import RoutineCall

Lifetimes = dict[Buffer, tuple[int, int]]  # first and last step that touches a buffer


def share_places(steps: Iterable[object], lifetimes: Lifetimes) -> dict[Buffer, Buffer]:
    """For each such result the buffer whose place it takes, which lives as long as both from now on."""
    places: dict[Buffer, Buffer] = {}
    for time, step in enumerate(steps):
        if not isinstance(step, RoutineCall) or step.replaced is None:
            continue
        old = places.get(step.replaced, step.replaced)
        if old in lifetimes and step.out in lifetimes and lifetimes[old][1] == time:
            lifetimes[old] = (lifetimes[old][0], lifetimes.pop(step.out)[1])
            places[step.out] = old
    return places
