"""Loop nests: neutral elements, walking, and what is dead in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracejit.codegen.loops import (
    Accumulate,
    Accumulator,
    Buffer,
    CheckIndex,
    Compute,
    Load,
    Loop,
    Reset,
    Scalar,
    Statement,
    Store,
    guards_of,
    neutral,
    operands,
    remove_dead,
    walk,
)
from tracejit.schedule.index import AxisRef, Index, Loaded

F64, I64, BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
I = Index.factor(AxisRef(0))
ARRAY = Buffer(None, (9,), F64, "x")
OUT = Buffer(None, (9,), F64, "y")


def load(index: Index = I, guards: tuple[Any, ...] = ()) -> Load:
    return Load(Scalar("load", (ARRAY, (index,)), F64, 1), ARRAY, (index,), guards)


def compute(op: str, *args: Any) -> Compute:
    return Compute(Scalar(op, args, F64, 1))


@pytest.mark.parametrize(
    ("reducer", "dtype", "value"),
    [
        ("sum", F64, 0.0),
        ("prod", F64, 1.0),
        ("max", F64, -np.inf),
        ("min", F64, np.inf),
        ("max", I64, -(2**63)),
        ("min", np.dtype(np.uint8), 255),
        ("max", np.dtype(np.uint8), 0),
        ("max", BOOL, False),
        ("min", BOOL, True),
        ("any", BOOL, False),
        ("all", BOOL, True),
        ("argmax", F64, -np.inf),
        ("argmin", I64, 2**63 - 1),
    ],
)
def test_reductions_start_from_what_changes_nothing(reducer: str, dtype: Any, value: Any) -> None:
    start = neutral(reducer, dtype)
    assert start == value
    assert start.dtype == dtype


def test_every_statement_is_walked_loops_before_what_they_hold() -> None:
    inner, outer = load(), load()
    nest: list[Statement] = [outer, Loop(0, 9, [inner])]
    assert list(walk(nest)) == [outer, nest[1], inner]


def test_guards_of_loads_and_of_selections_are_found() -> None:
    first, second = I >= 1, I < 5
    condition = compute("guard", second)
    assert guards_of([Loop(0, 9, [load(guards=(first,)), condition])]) == [first, second]


def test_what_nothing_stores_is_removed() -> None:
    used, unused = load(), load(I + 1)
    root = compute("sqrt", used.scalar)
    dead = compute("exp", unused.scalar)
    store = Store(OUT, (I,), root.scalar)
    body: list[Statement] = [Loop(0, 9, [used, unused, root, dead, store]), Loop(1, 9, [load()])]
    (loop,) = remove_dead(body)
    assert isinstance(loop, Loop)
    assert loop.body == [used, root, store]


def test_accumulators_and_what_runs_in_them_stay() -> None:
    accumulator = Accumulator("sum", F64)
    value = load()
    final = Scalar("acc", (accumulator,), F64, 0)
    body = [
        Reset(accumulator),
        Loop(0, 9, [value, Accumulate(accumulator, value.scalar)]),
        Store(OUT, (), final),
    ]
    assert list(walk(remove_dead(body)))[1:] == list(walk(body))[1:]


def test_index_checks_stay_because_they_report() -> None:
    raw = load()
    check = CheckIndex(Scalar("checked", (raw.scalar, 9), I64, 1), raw.scalar, 9)
    assert remove_dead([raw, check]) == [raw, check]


def test_an_index_that_is_data_keeps_its_scalar_alive() -> None:
    raw = load()
    check = CheckIndex(Scalar("checked", (raw.scalar, 9), I64, 1), raw.scalar, 9)
    picked = load(Index.factor(Loaded(check.scalar)))
    assert list(operands(picked)) == [check.scalar]
    assert list(operands(Store(OUT, (Index.factor(Loaded(check.scalar)),), picked.scalar))) == [
        picked.scalar,
        check.scalar,
    ]
