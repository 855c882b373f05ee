"""The check of a device: its logic at toy sizes, what it says where there is no device, stages that fail."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.gpu_variants import ROWS, Machine, bytes_floor
from tracejit.errors import UnsupportedError


def test_emulated_it_runs_every_stage_and_writes_a_table(tmp_path: Path, capsys) -> None:
    assert gpu_check.main(["--emulate", "--rows", "bce", "stencil", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert found["problems"] == [] and set(found["stages"]) == {name for name, _, _ in gpu_check.STAGES}
    assert {t["variant"] for t in found["timings"]} == {"fused", "unfused", "NumPy by hand"}
    assert all(t["seconds"] > 0 and not t["problem"] for t in found["timings"])
    text = (tmp_path / "gpu_check.txt").read_text()
    assert "bce 300 float32" in text and "emulated: no time here says anything about a device" in text
    assert capsys.readouterr().out.endswith("ok\n")


def test_without_a_device_it_says_so_and_fails(monkeypatch, capsys) -> None:
    def refuse(emulate: bool):
        raise UnsupportedError('target="cuda": no CUDA device can be used (none)', hint="emulate")

    monkeypatch.setattr(Machine, "open", refuse)
    assert gpu_check.main([]) == 1
    assert capsys.readouterr().out == (
        "This machine cannot run the check.\n"
        'target="cuda": no CUDA device can be used (none)\n  hint: emulate\n'
        "python -m benchmarks.gpu_check --emulate runs its logic here, at toy sizes.\n"
    )


def test_a_stage_that_fails_is_written_down_and_the_next_one_runs() -> None:
    check = gpu_check.Check(Machine.open(emulate=True), gpu_check.Report(), ("bce",))

    def fails(check: gpu_check.Check) -> None:
        raise ValueError("broken")

    check.stage("first", 1.0, fails)
    check.stage("second", 1.0, lambda check: None)
    assert check.report.problems == ["first: ValueError: broken"]
    assert list(check.report.stages) == ["first", "second"]


def test_rows_without_time_left_are_named() -> None:
    check = gpu_check.Check(Machine.open(emulate=True), gpu_check.Report(), ("bce",), time.monotonic() - 1)
    gpu_check.measure_workloads(check)
    assert check.report.timings == [] and "bce (300,) float32: no time was left" in check.report.missing


def test_the_stages_together_take_less_than_8_minutes() -> None:
    assert sum(seconds for _, seconds, _ in gpu_check.STAGES) < 480


def test_a_result_that_is_off_is_a_problem() -> None:
    assert gpu_check.difference([np.ones(3)], [np.ones(3)], "float64") is None
    assert (
        gpu_check.difference([np.ones(3) * 1.1], [np.ones(3)], "float64")
        == "result 0 is off by 1.0e-01 of its norm"
    )
    assert gpu_check.difference([np.full(3, np.nan)], [np.ones(3)], "float32") is not None


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_sizes_and_a_floor(name: str) -> None:
    workload = ROWS[name].workload()
    arguments = workload.inputs(*ROWS[name].emulated[0])
    least = sum(np.asarray(arguments[k]).nbytes for k in workload.argnums)
    assert bytes_floor(workload, arguments) >= 2 * least
