"""Gradients in float32: within 8 units in the last place of float64's, times the condition of the program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from benchmarks.workload import NAMES, Workload, get_workload

ULPS = 8
MOVE = 2.0**-20  # relative changes of arguments by which the condition is measured

IN_TIME = {
    "oscillators"
}  # each of a thousand steps rounds the state, which no change of arguments stands for
ROWS = [name for name in NAMES if "tracejit" not in get_workload(name).missing and name not in IN_TIME]


def cast(args: tuple[Any, ...], dtype: str) -> tuple[Any, ...]:
    return tuple(np.asarray(x).astype(dtype) if np.asarray(x).dtype.kind == "f" else x for x in args)


def gradients(workload: Workload, args: tuple[Any, ...]) -> tuple[Any, ...]:
    found = tj.grad_jit(workload.loss, argnums=workload.argnums)(*args)[1]
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("name", ROWS)
def test_gradients_of_the_table_are_exact_to_8_ulp_times_their_condition(
    name: str, rng: np.random.Generator
) -> None:
    workload = get_workload(name)
    single = cast(workload.inputs(*workload.sizes[0].shape), "f4")
    double = cast(single, "f8")  # the same numbers: only the arithmetic differs
    found, exact = gradients(workload, single), gradients(workload, double)
    condition = [1.0] * len(exact)
    for _ in range(8):
        moved = tuple(
            x * (1 + MOVE * rng.choice([-1, 1], size=np.shape(x))) if np.asarray(x).dtype.kind == "f" else x
            for x in double
        )
        for k, (a, b) in enumerate(zip(gradients(workload, moved), exact, strict=True)):
            condition[k] = max(condition[k], np.abs(a - b).max() / (MOVE * np.abs(b).max()))
    for a, b, c in zip(found, exact, condition, strict=True):
        assert a.dtype == np.float32
        assert np.abs(a - b).max() <= ULPS * np.finfo(np.float32).eps * np.abs(b).max() * c


@pytest.mark.parametrize("name", sorted(IN_TIME))
def test_gradients_of_loops_over_time_are_as_exact_as_those_by_hand_in_float32(name: str) -> None:
    workload = get_workload(name)
    single = cast(workload.inputs(*workload.sizes[0].shape), "f4")
    exact = gradients(workload, cast(single, "f8"))
    found, by_hand = gradients(workload, single), workload.by_hand(*single)[1]
    for a, b, hand in zip(found, exact, by_hand, strict=True):
        assert a.dtype == hand.dtype == np.float32
        assert np.abs(a - b).max() <= np.abs(hand - b).max()
