"""Rings of rows: edges, element types, layouts, NaN, what memory they take and what they spare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.schedule.every_schedule import small_work
from tracejit.api.record import record_call
from tracejit.codegen.loops import Buffer, Fill, Load, Loop, Stage, Store, walk
from tracejit.codegen.program import Program, bytes_moved, nbytes
from tracejit.codegen.ranges import leading_rows
from tracejit.compile import run_stages
from tracejit.config import Choices, Config
from tracejit.ir import evaluate

PARTIALS = 64 * 64  # bytes: a line of partial sums for each strand
RINGS = Config(cache_dir=None, choices=Choices(shifted="ring"))


def total_variation(u: Any) -> Any:
    here = u[:-1, :-1]
    down, right = u[1:, :-1] - here, u[:-1, 1:] - here
    return np.sum(np.sqrt(down * down + right * right + 0.25))


def two_steps(u: Any) -> Any:
    for _ in range(2):
        u = np.tanh(u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1])
    return np.sum(u * u)


def planes(u: Any) -> Any:
    """The same in three dimensions, where a row is a plane."""
    inner = u[1:-1, 1:-1, 1:-1]
    return np.sum(np.exp(-((u[2:, 1:-1, 1:-1] - inner) ** 2) - (u[1:-1, 1:-1, :-2] - inner) ** 2))


def program_of(f: Any, *args: Any) -> Program:
    return run_stages(record_call(tj.grad_jit(f), args, {}).graph, config=RINGS).program


def check(f: Any, *args: Any, printer: Any = "llvm", has_ring: bool = True) -> None:
    """There is a ring, and value and gradient are what the evaluator gives."""
    record = record_call(tj.grad_jit(f), args, {})
    stages = run_stages(record.graph, config=replace(RINGS, printer=printer))
    rings = [b for k in stages.program.kernels for b in k.scratch if b.rows_of is not None]
    assert bool(rings) == has_ring
    single = any(np.asarray(a).dtype == np.float32 for a in args)
    with np.errstate(all="ignore"):
        expected = evaluate(record.graph, record.arrays)
    for mine, theirs in zip(stages.executable(record.arrays), expected, strict=True):
        np.testing.assert_allclose(
            mine, theirs, rtol=1e-5 if single else 1e-11, atol=1e-5 if single else 1e-12
        )


@pytest.mark.parametrize("printer", ["llvm", "numba"])
@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (3, 3), (9, 2), (4, 17), (20, 30)])
def test_few_rows_and_short_ones(shape: tuple[int, int], printer: str, rng: np.random.Generator) -> None:
    # A single row of differences is no loop over rows.
    check(total_variation, rng.standard_normal(shape), printer=printer, has_ring=shape[0] > 2)


@pytest.mark.parametrize("shape", [(5, 5), (5, 40), (6, 7), (8, 20), (40, 33)])
def test_layers_with_fewer_rows_than_their_rings(shape: tuple[int, int], rng: np.random.Generator) -> None:
    check(two_steps, rng.standard_normal(shape))


def test_an_empty_array_has_no_rings() -> None:
    value, gradient = tj.grad_jit(total_variation)(np.zeros((1, 40)))
    assert value == 0.0 and not gradient.any()
    value, gradient = tj.grad_jit(total_variation)(np.zeros((40, 1)))
    assert value == 0.0 and not gradient.any()


def test_planes_wait_as_rows_do(rng: np.random.Generator) -> None:
    for shape in ((3, 3, 3), (4, 9, 10), (12, 5, 20)):
        check(planes, rng.standard_normal(shape), has_ring=shape[0] > 3)


def test_singles_and_other_layouts(rng: np.random.Generator) -> None:
    u = rng.standard_normal((24, 50))
    for array in (
        u.astype(np.float32),
        u[::-1],
        u[:, ::-1],
        u[::2, ::3],
        np.asfortranarray(u),
        np.broadcast_to(u[:1], u.shape),
        np.broadcast_to(u[:, :1], u.shape),
    ):
        check(total_variation, array)
        check(two_steps, array)


def test_nan_and_inf_reach_whom_they_reach_in_numpy(rng: np.random.Generator) -> None:
    for place in ((0, 0), (5, 7), (23, 49), (0, 20), (12, 49)):
        for number in (np.nan, np.inf):
            u = rng.standard_normal((24, 50))
            u[place] = number
            check(total_variation, u)
            check(two_steps, u)


def test_second_derivatives(rng: np.random.Generator) -> None:
    def along(u: Any, v: Any) -> Any:
        return np.sum(tj.grad(total_variation)(u) * v)

    check(along, rng.standard_normal((12, 20)), rng.standard_normal((12, 20)))


def test_each_input_is_read_once_and_each_result_written_once() -> None:
    rows, columns = 40, 60
    program = program_of(total_variation, np.ones((rows, columns)))
    assert len(program.kernels) == 1
    assert bytes_moved(program) == (2 * rows * columns + 1) * 8
    # Of `right` the row at hand, of `down` that and the one above; each with zeros at its ends.
    assert sorted(b.shape for b in program.inside) == [(1, 61), (2, 60)]
    assert program.workspace < 2 * 8 * 2 * (columns + 8) + PARTIALS


def test_a_rings_reads_have_no_guards() -> None:
    program = program_of(two_steps, np.ones((40, 60)))
    (kernel,) = program.kernels
    rings = {b for b in kernel.scratch if b.rows_of is not None}
    loads = [s for s in walk(kernel.body) if isinstance(s, Load) and s.buffer in rings]
    assert loads and not any(s.guards for s in loads)
    assert {s.buffer for s in kernel.body if isinstance(s, Fill)} <= rings


def test_the_stages_of_a_stream_run_in_one_loop() -> None:
    (kernel,) = program_of(two_steps, np.ones((40, 60))).kernels
    (loop,) = [s for s in kernel.body if isinstance(s, Loop)]
    stages = [s for s in loop.body if isinstance(s, Stage)]
    assert stages == loop.body
    assert loop.extent == max(s.extent + s.lag for s in stages)
    assert [s.lag for s in stages] == sorted(s.lag for s in stages)


def test_long_rows_of_zeros_stay_guards() -> None:
    def f(u: Any) -> Any:
        y = np.tanh(u)
        return np.pad(y, ((0, 0), (40, 0))) * 2.0, np.pad(y, ((0, 0), (3, 0)))[1:] * 3.0

    record = record_call(f, (np.ones((10, 20)),), {})
    program = run_stages(record.graph, config=RINGS).program
    rings: list[Buffer] = [b for k in program.kernels for b in k.scratch]
    assert all(b.shape[1] <= 20 + 3 for b in rings)
    assert sum(map(nbytes, rings)) < 1000


def test_an_argument_is_not_given_to_a_result_that_is_written_before_its_last_row_is_read(
    rng: np.random.Generator,
) -> None:
    u = rng.standard_normal((20, 30))
    _, expected = tj.grad_jit(total_variation)(u.copy())
    _, gradient = tj.grad_jit(donate=0)(total_variation)(u.copy())
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_numbers_of_one_part_can_be_used_when_all_rows_have_run(rng: np.random.Generator) -> None:
    def g(u: Any) -> Any:
        y = np.tanh(u)
        total = np.sum(y)
        return np.sum(y[1:] * np.cos(y[:-1])) + total * total

    record = record_call(g, (rng.standard_normal((12, 20)),), {})
    stages = run_stages(record.graph, config=Config(cache_dir=None))
    assert len(stages.program.kernels) == 1
    expected = evaluate(record.graph, record.arrays)
    np.testing.assert_allclose(stages.executable(record.arrays)[0], expected[0], rtol=1e-12)


def test_what_all_rows_need_is_known_before_them(rng: np.random.Generator) -> None:
    def f(u: Any) -> Any:
        return np.exp(-total_variation(u) / 100) * 3

    check(f, rng.standard_normal((12, 20)))  # the sum first, then rows again


def test_stores_into_rings_go_to_rows_in_turn() -> None:
    (kernel,) = program_of(total_variation, np.ones((40, 60))).kernels
    stores = [s for s in walk(kernel.body) if isinstance(s, Store) and s.buffer.rows_of is not None]
    assert {s.buffer.shape[0] for s in stores} == {1, 2}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_strands_start_at_any_row(threads: int, rng: np.random.Generator) -> None:
    """Rings get the rows in front of a strand anew; sums count each row once."""
    for f, shape in ((total_variation, (57, 40)), (two_steps, (50, 33)), (planes, (21, 9, 10))):
        record = record_call(tj.grad_jit(f), (rng.standard_normal(shape),), {})
        expected = evaluate(record.graph, record.arrays)
        with small_work():
            stages = run_stages(record.graph, config=replace(RINGS, threads=threads))
        (region,) = stages.program.regions.values()
        assert region.strands > 3
        found = stages.executable(record.arrays)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-12)
        for mine, again in zip(found, stages.executable(record.arrays), strict=True):
            np.testing.assert_array_equal(mine, again)


def test_rows_before_a_strand_are_as_many_as_layers_need() -> None:
    (kernel,) = program_of(two_steps, np.ones((40, 60))).kernels
    (loop,) = [s for s in kernel.body if isinstance(s, Loop)]
    stages = [s for s in loop.body if isinstance(s, Stage)]
    rings = [b for b in kernel.scratch if b.rows_of is not None]
    assert max(b.shape[0] for b in rings) - 1 < leading_rows(stages) <= sum(b.shape[0] - 1 for b in rings)


def test_a_stream_with_rows_in_memory_is_one_strand(rng: np.random.Generator) -> None:
    """A strand would read rows that another one may not have written yet."""

    def f(x: Any) -> Any:
        y, z = np.tanh(x), np.sin(x)
        return y, y[1:] * np.cos(z[:-1]) * z[1:]

    record = record_call(f, (rng.standard_normal((40, 30)),), {})
    with small_work():
        stages = run_stages(record.graph, config=replace(RINGS, threads=3))
    assert not stages.program.regions
    for mine, theirs in zip(stages.executable(record.arrays), evaluate(record.graph, record.arrays)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
