"""The check of a device, from the command line to the report: emulated, on a faked device, and failing."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.gpu import stages, tools
from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.gpu.rows import ROWS
from benchmarks.gpu.session import Session
from tests.benchmarks.gpu.fakes import OUTPUTS, CheckDriver, open_in_process
from tests.benchmarks.gpu.fakes import check_device as check_device
from tests.runtime.cuda.fakes import fake_device as fake_device
from tracejit.errors import UnsupportedError

CASES = {name: stages.CASES[name] for name in ("map and sum", "stencil")}  # all: tests/benchmarks/gpu
NAMES = [name for name, _, _ in gpu_check.STAGES]


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CASES", CASES)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "gpu_check.json").read_text(encoding="utf-8"))


def test_emulated_it_runs_every_stage_and_writes_a_table(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(Check, "open_worker", open_in_process)
    assert gpu_check.main(["--emulate", "--rows", "bce", "stencil", "--out", str(tmp_path)]) == 0
    found = read(tmp_path)
    assert found["problems"] == [] and list(found["stages"]) == NAMES
    timed = {t["variant"] for t in found["timings"] if t["seconds"]}
    assert {"fused", "unfused", "by hand", "fused, 8 at once", "fused, array arguments"} <= timed
    assert all(t["repeats"] and not t["problem"] for t in found["timings"] if t["seconds"])
    assert {t["launches"] for t in found["timings"] if t["variant"] == "fused"} == {1}
    text = (tmp_path / "gpu_check.txt").read_text(encoding="utf-8")
    assert "bce 300 float32" in text and "emulated: no time here says anything about a device" in text
    assert capsys.readouterr().out.endswith("ok\n")


def test_it_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    check = Check(Report(), ("bce",), tmp_path, emulate=True, deadline=time.monotonic() + 100)
    stages.find_versions(check)
    assert "emulated" in check.report.versions["device"]
    items = [{"do": "measure", "row": "bce", "shape": (300,), "dtype": "float32", "variant": "fused"}]
    stages.take_all(check, "cupy", items)
    assert check.report.problems == [] and check.report.timings[0].seconds


def test_on_a_device_every_stage_runs(check_device: CheckDriver, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(ROWS, "bce", replace(ROWS["bce"], on_device=((50,), (2200,))))
    status = gpu_check.main(["--rows", "bce", "chain", "--out", str(tmp_path)])
    found = read(tmp_path)
    assert (status, found["problems"]) == (0, [])
    assert list(found["stages"]) == NAMES
    timed = {(t["workload"], t["variant"]) for t in found["timings"] if t["seconds"]}
    everywhere = {"fused", "unfused", "by hand", "JAX", *(f"fused, {n} at once" for n in (1, 2, 4, 8))}
    assert {(row, variant) for row in ("bce", "chain") for variant in everywhere} <= timed
    assert {("bce", "C++ by NVRTC"), ("bce", "torch"), ("bce", "torch.compile")} <= timed
    assert set(check_device.core.launched) == {"bce", "empty"}
    assert {"fused", "torch", "JAX", "fused, torch's arrays", "fused, JAX's arrays"} <= set(found["host"])
    assert {
        "copy, bytes a second",
        "copy by tracejit, bytes a second",
        "launch by tracejit's call, host s",
        "launch by CuPy's RawKernel, host s",
        "launch by cuda.core, host s",
        "replay of a graph of 10, host s",
    } <= set(found["ceilings"])
    assert found["tests"] == {
        "cases": "4 of 4 are right",
        "pytest -m gpu": "2 passed",
        "compute-sanitizer memcheck": "1 cases are right, ERROR SUMMARY: 0 errors",
        "compute-sanitizer racecheck": "0 cases are right, RACECHECK SUMMARY: 0 hazards displayed",
    }
    assert found["versions"]["device"] == "Fake" and found["versions"]["torch's CUDA"] == "13.0"
    assert all(t["repeats"] for t in found["timings"] if t["seconds"])
    # The fake torch knows one loss; that it lacks the other's functions is no fault of ours.
    assert any("chain 60 float32 torch: AttributeError" in text for text in found["missing"])
    assert capsys.readouterr().out.endswith("ok\n")


def test_a_wrong_result_on_a_device_is_a_problem(
    check_device: CheckDriver, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("benchmarks.gpu.rows._bce_by_hand", lambda z, y: (z.mean(), (y,)))
    assert gpu_check.main(["--rows", "bce", "--out", str(tmp_path)]) == 1
    assert any("bce 50 float32 by hand: result 0 is off by" in text for text in read(tmp_path)["problems"])


@pytest.mark.parametrize(
    ("name", "output", "status", "expected"),
    [
        ("pytest -m gpu", "a.py::b PASSED [ 50%]\na.py::c FAILED [100%]\n", 1, "1 passed, 1 failed"),
        ("pytest -m gpu", "a.py::c SKIPPED (no device) [100%]\n", 0, "1 skipped"),
        ("memcheck", "========= Invalid __global__ read\n", 9, "0 cases are right, exit status 9"),
    ],
)
def test_tools_that_find_something_are_problems(
    check_device: CheckDriver, tmp_path, monkeypatch, name: str, output: str, status: int, expected: str
) -> None:
    monkeypatch.setitem(OUTPUTS, name, (output, status))
    check = Check(Report(), ("bce",), tmp_path, deadline=time.monotonic() + 10)
    (stages.run_tests if name.startswith("pytest") else stages.run_checkers)(check)
    (problem,) = check.report.problems
    assert problem.endswith(f"{name}: {expected}")


def test_tests_that_ran_out_of_time_count(check_device: CheckDriver, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(OUTPUTS, "pytest -m gpu", ("[gw0] [ 50%] PASSED a.py::b \n", None))
    check = Check(Report(), ("bce",), tmp_path, deadline=time.monotonic() + 10)
    stages.run_tests(check)
    assert check.report.tests == {"pytest -m gpu": "1 passed, then no time was left"}
    assert check.report.problems == []


def test_a_launch_that_fails_is_a_problem_and_the_rest_goes_on(
    check_device: CheckDriver, tmp_path: Path, monkeypatch
) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("CUDA_ERROR_INVALID_VALUE")

    monkeypatch.setattr(CheckDriver, "_start", fails)
    assert gpu_check.main(["--rows", "bce", "--out", str(tmp_path)]) == 1
    found = read(tmp_path)
    assert list(found["stages"]) == NAMES
    assert any("fused: RuntimeError: CUDA_ERROR_INVALID_VALUE" in text for text in found["problems"])
    assert {"torch", "JAX", "by hand"} <= {t["variant"] for t in found["timings"] if t["seconds"]}


def test_without_torch_and_jax_it_says_what_is_left_out(
    check_device: CheckDriver, tmp_path, monkeypatch
) -> None:
    for module in (stages, tools):
        monkeypatch.setattr(module, "is_installed", lambda name: False)
        monkeypatch.setattr(module, "toolkit_program", lambda name: None)
    assert gpu_check.main(["--rows", "bce", "--out", str(tmp_path)]) == 0
    missing = read(tmp_path)["missing"]
    for name in ("torch", "jax"):
        assert f"{name} is not installed: its variants are left out" in missing
    assert "pytest, hypothesis: not installed, the tests are left out" in missing
    assert "compute-sanitizer: not found, left out" in missing
    assert "matplotlib is not installed: there are no pictures" in missing


def test_a_torch_that_sees_no_device_is_left_out(check_device: CheckDriver, tmp_path) -> None:
    sys.modules["torch"].cuda.is_available = lambda: False
    assert gpu_check.main(["--rows", "bce", "--out", str(tmp_path)]) == 0
    expected = "torch: RuntimeError: torch sees no CUDA device; its variants are left out"
    assert expected in read(tmp_path)["missing"]


def test_without_a_device_it_says_so_and_fails(monkeypatch, capsys) -> None:
    def refuse(self: Session, item: Any) -> Any:
        raise UnsupportedError('target="cuda": no CUDA device can be used (none)', hint="emulate")

    monkeypatch.setattr(Check, "open_worker", open_in_process)
    monkeypatch.setattr(Session, "do_describe", refuse)
    assert gpu_check.main([]) == 1
    assert capsys.readouterr().out.endswith(
        "This machine cannot run the check.\n"
        'target="cuda": no CUDA device can be used (none)\n  hint: emulate\n'
        "python -m benchmarks.gpu_check --emulate runs its logic here, at toy sizes.\n"
    )


def test_a_stage_that_fails_is_written_down_and_the_next_one_runs(tmp_path: Path, monkeypatch) -> None:
    def fails(check: Check) -> None:
        raise ValueError("broken")

    def looks(check: Check) -> None:
        assert read(tmp_path)["problems"] == ["first: ValueError: broken"]

    monkeypatch.setattr(gpu_check, "STAGES", (("first", 1.0, fails), ("second", 1.0, looks)))
    check = Check(Report(), ("bce",), tmp_path, out=tmp_path)
    assert gpu_check.run(check) == 1
    assert list(read(tmp_path)["stages"]) == ["first", "second"]


def test_what_a_stage_leaves_of_its_time_the_next_one_has(tmp_path: Path, monkeypatch) -> None:
    left: list[float] = []
    stage = ("stage", 10.0, lambda check: left.append(check.left()))
    monkeypatch.setattr(gpu_check, "STAGES", (stage, stage))
    gpu_check.run(Check(Report(), ("bce",), tmp_path))
    assert 9.0 < left[0] <= 10.0 and 19.0 < left[1] <= 20.0


def test_the_stages_together_take_less_than_8_minutes() -> None:
    assert sum(seconds for _, seconds, _ in gpu_check.STAGES) <= 460


def test_the_readme_names_every_stage_and_its_limit() -> None:
    readme = (Path(gpu_check.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = [(name, float(limit)) for name, limit in re.findall(r"^\| (\w+) \| (\d+) s \|", readme, re.M)]
    assert table == [(name, seconds) for name, seconds, _ in gpu_check.STAGES]


@pytest.mark.parametrize("option", [["--rows", "none"], ["--unknown"]])
def test_a_wrong_command_line_is_status_2(option: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        gpu_check.main(option)
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


def test_numbers_that_are_not_there_are_not_equal() -> None:
    assert stages.difference([np.full(3, np.nan)], [np.ones(3)], "float32") is not None
