"""The protocol between runner and workers, and what becomes of systems that are wrong, fail or die."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runner import Plan, measure_workload
from benchmarks.systems import NumpyByHand
from benchmarks.worker import Worker, compare, difference, serve
from benchmarks.workload import get_workload


def answers_to(worker: Worker, *commands: dict[str, Any]) -> list[dict[str, Any]]:
    out = io.StringIO()
    serve(worker, (json.dumps(c) for c in commands), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


PREPARE = {"do": "prepare", "workload": "chain", "size": "1e3"}


def test_each_command_has_one_answer_and_the_first_is_a_hello() -> None:
    hello, prepared, timed, counted, memory = answers_to(
        Worker("numpy"),
        PREPARE,
        {"do": "time", "seconds": 0.001},
        {"do": "time", "calls": 3},
        {"do": "memory"},
    )
    assert hello["versions"] == {"numpy": np.__version__}
    assert prepared["first_call"] > 0
    assert timed["seconds"] > 0 and timed["calls"] >= 1
    assert counted["calls"] == 3
    assert memory["outputs"] == 8 * 1001


def test_a_failure_is_an_answer_and_the_worker_goes_on() -> None:
    _, unknown, nonsense, prepared = answers_to(
        Worker("numpy"), {**PREPARE, "workload": "nothing"}, {"do": "time", "seconds": 1}, PREPARE
    )
    assert "no workload 'nothing'" in unknown["failed"]
    assert nonsense["failed"].startswith("AssertionError")
    assert "first_call" in prepared


class WrongGradient(NumpyByHand):
    def build(self, workload: Any) -> Any:
        def wrong(*args: Any) -> Any:
            value, (gradient,) = workload.by_hand(*args)
            gradient[7] *= 1.001
            return value, (gradient,)

        return wrong


def test_a_wrong_gradient_is_reported_with_its_place_and_not_timed() -> None:
    worker = Worker("numpy")
    worker.system = WrongGradient()
    _, answer = answers_to(worker, PREPARE)
    assert "gradient 0 is" in answer["wrong"] and "at 7 (float64)" in answer["wrong"]
    assert "first_call" not in answer


def test_comparison_sees_shapes_counts_and_nans() -> None:
    workload = get_workload("tutorial")
    reference = value, gradients = workload.by_hand(*workload.inputs(5, 3))
    assert compare((value, gradients), reference) is None
    assert compare((value, gradients[:1]), reference) == "1 gradients in place of 2"
    assert compare((value, (gradients[0].T, gradients[1])), reference) == (
        "gradient 0 has the shape (3, 5) in place of (5, 3)"
    )
    assert "nan" in (difference("x", np.array([1.0, np.nan]), np.ones(2)) or "")


class WrongLater(NumpyByHand):
    def build(self, workload: Any) -> Any:
        calls = iter(range(100))
        return lambda *args: (workload.by_hand(*args)[0] + next(calls), workload.by_hand(*args)[1])


def test_the_second_call_is_compared_too() -> None:
    worker = Worker("numpy")
    worker.system = WrongLater()
    _, answer = answers_to(worker, PREPARE)
    assert answer["wrong"].startswith("the value is")


def test_float32_is_compared_as_such() -> None:
    want = np.array([1.0, -2.0])
    assert difference("x", (want * (1 + 1e-5)).astype(np.float32), want) is None
    assert difference("x", want * (1 + 1e-5), want) is not None


def test_a_workload_is_measured_in_rounds_and_every_ratio_is_to_tracejit(tmp_path: Path) -> None:
    rows: list[Any] = []
    plan = Plan(("numpy",), tmp_path / "cache", rounds=2, round_seconds=0.001, lock=tmp_path / "lock")
    versions = measure_workload("tutorial", ["5x3"], plan, lambda note: None, rows.append)
    row = rows[-1]
    assert set(row.systems) == {"tracejit", "numba", "numpy"} == set(versions)
    for measured in row.systems.values():
        assert measured.problem is None
        assert len(measured.rounds) == 2 and measured.first_call > 0
        assert measured.ratio == pytest.approx(measured.median / row.systems["tracejit"].median)
        assert measured.ratio_to_hand == pytest.approx(measured.median / row.systems["numba"].median)
    assert row.systems["tracejit"].warm_first_call > 0
    assert row.goal_over_hand == pytest.approx(2.0 / 1.8)


def test_what_is_missing_is_said_and_nothing_is_run(tmp_path: Path) -> None:
    rows: list[Any] = []
    plan = Plan((), tmp_path / "cache", rounds=1, round_seconds=0.0, warm=False)
    measure_workload("lotka_volterra", ["50"], plan, lambda note: None, rows.append)
    assert rows[0].systems["tracejit"].problem == get_workload("lotka_volterra").missing["tracejit"]
    assert rows[0].systems["numba"].median > 0
