"""Every workload's gradients agree in all systems that are installed, at its smallest size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.processes import WorkerProcess
from benchmarks.systems import SYSTEMS, why_missing
from benchmarks.worker import Worker
from benchmarks.workload import NAMES, get_workload, with_modules

OURS = ("tracejit", "numba")
PEERS = tuple(name for name in SYSTEMS if name not in (*OURS, "unfused", "numpy"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("system", OURS)
def test_gradients_agree_with_those_by_hand(system: str, name: str) -> None:
    workload = get_workload(name)
    reason = why_missing(system, workload)
    if reason is not None:
        assert system == "tracejit", f"{name} has no hand-written kernel: {reason}"
        pytest.skip(reason)
    answer = Worker(system).answer({"do": "prepare", "workload": name, "size": workload.sizes[0].label})
    assert "first_call" in answer, answer


@pytest.mark.slow
@pytest.mark.parametrize("system", PEERS)
def test_peers_agree_with_what_is_derived_by_hand(system: str, tmp_path: Path) -> None:
    workloads = {name: get_workload(name) for name in NAMES}
    rows = {n: w for n, w in workloads.items() if why_missing(system, w) is None}
    if not rows:
        pytest.skip(f"{system} is not installed")
    worker = WorkerProcess(system, tmp_path)
    try:
        assert "versions" in worker.wait_until_awake()
        wrong = {
            name: answer
            for name, w in rows.items()
            if "first_call" not in (answer := worker.ask(do="prepare", workload=name, size=w.sizes[0].label))
        }
    finally:
        worker.close()
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_every_system_has_a_program_or_a_reason_for_having_none(name: str) -> None:
    workload = get_workload(name)
    for system in SYSTEMS:
        reason = why_missing(system, workload)
        assert reason is None or reason.strip()
    assert set(workload.missing) <= set(SYSTEMS)
    assert set(workload.implementations) <= set(SYSTEMS)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_the_same_at_every_call_and_goals_are_above_the_limit(name: str) -> None:
    workload = get_workload(name)
    shape = workload.sizes[0].shape
    for one, other in zip(workload.inputs(*shape), workload.inputs(*shape), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(0 < size.limit < size.goal for size in workload.sizes)
    assert len({size.label for size in workload.sizes}) == len(workload.sizes)


def test_the_plain_value_is_the_one_by_hand() -> None:
    for name in NAMES:
        workload = get_workload(name)
        args = workload.inputs(*workload.sizes[0].shape)
        np.testing.assert_allclose(workload.loss(*args), workload.by_hand(*args)[0], rtol=1e-10)


def test_modules_are_swapped_in_functions_that_a_loss_calls_too() -> None:
    class Counting:
        def __init__(self) -> None:
            self.names: list[str] = []

        def __getattr__(self, name: str) -> Any:
            self.names.append(name)
            return getattr(np, name)

    counting = Counting()
    workload = get_workload("mlp")
    value = with_modules(workload.loss, np=counting)(*workload.inputs(5))
    assert value == workload.loss(*workload.inputs(5))
    assert {"tanh", "exp", "arange"} <= set(counting.names)
