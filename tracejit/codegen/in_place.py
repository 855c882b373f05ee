"""Routines that work in place: which results take the memory of an operand that nobody reads afterwards.

Enters the steps of a program with the lifetimes of its temporaries; leaves pairs of a result and the operand
that it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracejit.codegen.loops import Buffer
from tracejit.codegen.regions import Region
from tracejit.codegen.routines import RoutineCall

Lifetimes = dict[Buffer, tuple[int, int]]  # first and last step that touches a buffer


def share_places(steps: Iterable[object], lifetimes: Lifetimes) -> dict[Buffer, Buffer]:
    """For each such result the buffer whose place it takes, which lives as long as both from now on."""
    places: dict[Buffer, Buffer] = {}
    for time, step in enumerate(steps):
        for call, replaced in _replacing(step):
            old = places.get(replaced, replaced)
            if old in lifetimes and call.out in lifetimes and lifetimes[old][1] == time:
                lifetimes[old] = (lifetimes[old][0], lifetimes.pop(call.out)[1])
                places[call.out] = old
    return places


def _replacing(step: object) -> list[tuple[RoutineCall, Buffer]]:
    """The calls in a step that may work in the place of an operand, with it.

    In a region the other steps run on later ranges afterwards: they must not know the operand, unless row by
    row and before.
    """
    inside = list(step.steps) if isinstance(step, Region) else []
    found: list[tuple[RoutineCall, Buffer]] = []
    for number, call in enumerate([s.single for s in inside] or [step]):
        if not isinstance(call, RoutineCall) or call.replaced is None:
            continue
        old = call.replaced
        before = [s for s in inside[:number] if {old, call.out} & (s.read | s.written)]
        is_last = all(old not in s.read | s.written for s in inside[number + 1 :])
        if is_last and all(s.sliced.get(old) == 0 and call.out not in s.read | s.written for s in before):
            found.append((call, old))
    return found
