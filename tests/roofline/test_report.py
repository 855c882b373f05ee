"""The roofline of a call: exact counts, every column, fused beside unfused, a picture; no word on seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.golden_programs import PROGRAMS
from tracejit.api.record import record_call
from tracejit.compile import run_stages
from tracejit.errors import UnsupportedError
from tracejit.roofline import Roofline, measure_roofline
from tracejit.roofline.steps import separated, time_steps
from tracejit.roofline.work import function_work


def roofline(f: Any, *args: Any) -> Roofline:
    record = record_call(f, args, {})
    return measure_roofline(record.graph, record.arrays, record.name, seconds=0.01, threads=1)


def layer(x: Any, w: Any) -> Any:
    return np.sum(np.tanh(x @ w) ** 2)


@pytest.fixture(scope="module")
def found() -> Roofline:
    rng = np.random.default_rng(0)
    return roofline(tj.grad_jit(argnums=1)(layer), rng.normal(size=(400, 50)), rng.normal(size=(50, 60)))


def test_bytes_and_flops_are_those_of_the_program(found: Roofline) -> None:
    first, kernel, last = found.fused.rows
    x, w, z = 8 * 400 * 50, 8 * 50 * 60, 8 * 400 * 60
    assert (first.name, first.read, first.written, first.flops) == (
        "dot_general",
        x + w,
        z,
        2 * 400 * 50 * 60,
    )
    assert (last.name, last.read, last.written, last.flops) == ("dot_general", x + z, w, 2 * 400 * 50 * 60)
    assert (kernel.name, kernel.read, kernel.written) == ("kernel_0", z, z + 8)
    assert kernel.over == "i[400], j[60]"
    # z = tanh(h); z * z; their sum; z + z; 1 - z * z; the product of these
    tanh = function_work("tanh", (np.dtype(np.float64),), np.dtype(np.float64)).flops
    assert kernel.flops == 400 * 60 * (tanh + 5)
    assert found.fused.bytes_moved == sum(r.bytes_moved for r in (first, kernel, last))
    assert found.fused.flops == first.flops + kernel.flops + last.flops
    assert all(r.source is not None and r.source.text.startswith("return np.sum") for r in found.fused.rows)


def test_the_program_that_was_timed_is_the_one_that_runs(found: Roofline) -> None:
    inspected = tj.inspect(tj.grad_jit(argnums=1)(layer))(np.ones((400, 50)), np.ones((50, 60)))
    assert (found.fused.kernels, found.fused.library_calls) == (inspected.kernels, inspected.library_calls)
    assert found.fused.bytes_moved == inspected.bytes_moved
    assert found.unfused.kernels > found.fused.kernels
    assert found.unfused.bytes_moved > found.fused.bytes_moved


def test_seconds_and_shares_are_positive(found: Roofline) -> None:
    for variant in (found.fused, found.unfused):
        assert variant.seconds > 0
        for row in variant.rows:
            assert row.seconds > 0
            assert row.memory_share > 0
            assert row.bound_by in ("flops", *[level.name for level in row.machine.levels])


def test_the_ceiling_that_binds_takes_longer(found: Roofline) -> None:
    for row in found.fused.rows:
        assert (row.bound_by == "flops") == (row.arithmetic_seconds > row.memory_seconds)


def test_the_text_has_a_line_a_step_and_fused_beside_unfused(found: Roofline) -> None:
    lines = str(found).splitlines()
    heading = next(line for line in lines if line.startswith("fused") and "bound by" in line)
    for title in (
        "over",
        "bytes",
        "in",
        "flops",
        "flop/B",
        "time",
        "GB/s",
        "mem %",
        "Gflop/s",
        "flop %",
        "line",
    ):
        assert f" {title}" in heading
    at = lines.index(heading)
    rows = lines[at + 1 : at + 4]
    assert [row.split()[0] for row in rows] == ["dot_general", "kernel_0", "dot_general"]
    assert all(row.index("test_report.py:") == heading.index("line") for row in rows)
    table = found.comparison().splitlines()
    assert [line.split()[0] for line in table[1:]] == ["fused", "unfused", "unfused"]
    assert table[0].split() == [
        "kernels",
        "library",
        "calls",
        "bytes",
        "flops",
        "steps'",
        "sum",
        "in",
        "turn",
    ]


def test_a_step_without_floats_or_with_unknown_work_has_its_line() -> None:
    made = roofline(lambda x, i: np.cumsum(x)[i], np.ones(100), np.arange(50))
    scan, pick = made.fused.rows
    assert scan.work is None
    assert " ? " in str(made.fused).splitlines()[1]
    assert pick.flops == 0
    assert pick.bound_by == "L1"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_golden_has_a_roofline(name: str) -> None:
    function, arguments = PROGRAMS[name]
    made = roofline(function, *arguments)
    assert len(made.fused.rows) == made.fused.kernels + made.fused.library_calls
    assert made.name in str(made)


@pytest.mark.parametrize("fuse", [True, False])
def test_steps_leave_the_program_right(fuse: bool, rng: np.random.Generator) -> None:
    record = record_call(tj.grad_jit(layer), (rng.normal(size=(40, 50)), rng.normal(size=(50, 60))), {})
    stages = run_stages(record.graph, fuse)
    before = stages.executable(record.arrays)
    steps = separated(stages.schedule, stages.executable.config)
    times = time_steps(steps, stages.executable.config, record.arrays, 0.01)
    assert len(times) == len(steps.calls) == len(stages.program.kernels) + 2
    for result, wanted in zip(stages.executable(record.arrays), before, strict=True):
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_says_how_many_threads_it_used(threads: int, rng: np.random.Generator) -> None:
    record = record_call(lambda x: np.tanh(x) * 2.0, (rng.normal(size=200_000),), {})
    found = measure_roofline(record.graph, record.arrays, "f", seconds=0.01, threads=threads)
    (row,) = found.fused.rows
    assert (row.threads, row.machine.threads) == (threads, threads)
    assert [m.threads for m in found.machines] == list(range(1, threads + 1))
    assert ("threads" in str(found.fused).splitlines()[0]) == (threads > 1)


def test_strided_arguments_and_bad_indices_are_timed_as_they_are() -> None:
    x, w = np.ones((40, 100))[:, ::2], np.asfortranarray(np.ones((50, 60)))
    assert all(r.seconds > 0 for r in roofline(tj.grad_jit(layer), x, w).fused.rows)
    assert roofline(lambda x, i: x[i] * 2.0, np.ones(3), np.array([7])).fused.rows[0].seconds > 0


def test_inspect_measures_when_it_is_asked() -> None:
    inspected = tj.inspect(lambda x: x * x)(np.ones(100))
    assert "roofline" not in vars(inspected)
    assert inspected.roofline is inspected.roofline
    assert inspected.roofline.fused.flops == 100


def test_the_picture_is_written(found: Roofline, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = found.plot(tmp_path / "roofline.svg")
    assert (tmp_path / "roofline.svg").stat().st_size > 1000
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("flops a byte", "Gflop/s")
    assert len(axes.lines) == len(found.machines[-1].levels)
    assert len(axes.collections[1].get_offsets()) == 3


def test_without_matplotlib_it_says_what_to_install(found: Roofline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(UnsupportedError, match="pip install matplotlib"):
        found.plot()
