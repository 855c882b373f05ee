"""Loops cut where their guards are decided."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracejit.codegen.loops import Buffer, Load, Loop, Scalar
from tracejit.codegen.pieces import MOST_COPIED, MOST_PIECES, choices, cut_loop, guards_around
from tracejit.schedule.index import AxisRef, Guard, Index

F64 = np.dtype(np.float64)
I, J = (Index.factor(AxisRef(a)) for a in (0, 1))
ARRAY = Buffer(None, (99,), F64)


def loop_of(*guards: Guard, extent: int = 10, copies: int = 1) -> Loop:
    loads = [Load(Scalar("load", (ARRAY, (I,)), F64, 1), ARRAY, (I,), guards) for _ in range(copies)]
    return Loop(0, extent, [*loads])


def ranges(loop: Loop, *guards: Guard) -> list[tuple[int, int]]:
    return [(p.low, p.high) for p in cut_loop(loop, guards)]


def test_a_loop_without_guards_is_one_piece() -> None:
    assert ranges(loop_of()) == [(0, 10)]
    assert ranges(loop_of(J >= 2), J >= 2) == [(0, 10)]


def test_a_loop_is_cut_where_guards_change() -> None:
    low, high = I >= 2, I < 9
    pieces = cut_loop(loop_of(low, high), [low, high])
    assert [(p.low, p.high) for p in pieces] == [(0, 2), (2, 9), (9, 10)]
    assert [p.known for p in pieces] == [
        {low: False, high: True},
        {low: True, high: True},
        {low: True, high: False},
    ]


def test_many_cuts_leave_the_longest_range_and_what_lies_beside_it() -> None:
    guards = [I >= 1, I >= 2, I < 8, I < 9]
    pieces = cut_loop(loop_of(*guards), guards)
    assert [(p.low, p.high) for p in pieces] == [(0, 2), (2, 8), (8, 10)]
    assert pieces[1].known == dict.fromkeys(guards, True)
    assert guards[0] not in pieces[0].known


def test_steps_cut_between_whole_iterations() -> None:
    assert ranges(loop_of(), 2 * I - 3 >= 0) == [(0, 2), (2, 10)]
    assert ranges(loop_of(), 7 - 2 * I >= 0) == [(0, 4), (4, 10)]


AFFINE = st.tuples(st.integers(-3, 3).filter(bool), st.integers(-25, 25))


@given(st.lists(AFFINE, max_size=6), st.integers(0, 12))
def test_pieces_cover_the_loop_and_know_only_what_is_true(affine: Any, extent: int) -> None:
    guards = [coefficient * I + constant >= 0 for coefficient, constant in affine]
    pieces = cut_loop(loop_of(*guards, extent=extent), guards)
    assert len(pieces) <= MOST_PIECES
    assert [i for p in pieces for i in range(p.low, p.high)] == list(range(extent))
    for piece in pieces:
        for guard, holds in piece.known.items():
            _, coefficient, constant = guard.index.single_axis() or (0, 0, 0)
            assert all((coefficient * i + constant >= 0) == holds for i in range(piece.low, piece.high))


def test_choices_are_guards_that_come_with_their_negation() -> None:
    first = I < 4
    assert choices(loop_of(first)) == []
    assert set(choices(loop_of(first, first.negated()))) == {first, first.negated()}
    assert choices(loop_of(J < 4, J >= 4)) == []


def test_large_nests_are_not_copied_for_a_choice() -> None:
    assert choices(loop_of(I < 4, I >= 4, copies=MOST_COPIED + 1)) == []


def test_guards_around_a_loop_are_on_others_and_can_hold_together() -> None:
    guards = [I >= 1, J >= 1, J < 3, J >= 3, (I + J) >= 1, (J % 2) == 0]
    assert guards_around(loop_of(), guards) == [J >= 1]
