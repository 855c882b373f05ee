"""Groups as loop nests: what is computed where, how often a row is passed, what may be touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.plain_programs import plain_kernels as plain_kernels
from tracejit.codegen.loops import CheckIndex, Combine, Compute, Fill, Kernel, Load, Loop, Reset, Store, walk
from tracejit.codegen.program import build_program
from tracejit.config import Config
from tracejit.errors import IndexOutOfBoundsError
from tracejit.ir import evaluate
from tracejit.ops.reading import read_graph
from tracejit.runtime.executable import Executable
from tracejit.schedule.fusion import schedule_graph


def kernel_of(text: str) -> Kernel:
    (kernel,) = build_program(schedule_graph(read_graph(text))).kernels
    return kernel


def run(text: str, *arrays: Any) -> list[Any]:
    """The results, after a comparison with the evaluator's."""
    graph = read_graph(text)
    results: list[Any] = []
    for fuse in (True, False):
        executable = Executable(build_program(schedule_graph(graph, fuse=fuse)), Config(cache_dir=None))
        results = executable(arrays)
        for result, expected in zip(results, evaluate(graph, arrays), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-12)
    return results


def of_kind(kernel: Kernel, kind: type) -> list[Any]:
    return [s for s in walk(kernel.body) if isinstance(s, kind)]


def loops_at_top(kernel: Kernel) -> list[Loop]:
    return [s for s in kernel.body if isinstance(s, Loop)]


def ops_in(body: list[Any]) -> list[str]:
    return [s.scalar.op for s in walk(body) if isinstance(s, Compute)]


SOFTMAX = """
def softmax(v0: 'f64[40,30]'):
    v1: 'f64[40]' = reduce_max(v0, axes=(1,))
    v2: 'f64[40,30]' = broadcast(v1, dims=(0,), shape=(40, 30))
    v3: 'f64[40,30]' = subtract(v0, v2)
    v4: 'f64[40,30]' = exp(v3)
    v5: 'f64[40]' = reduce_sum(v4, axes=(1,))
    v6: 'f64[40,30]' = broadcast(v5, dims=(0,), shape=(40, 30))
    v7: 'f64[40,30]' = divide(v4, v6)
    return (v7,)
"""


def test_a_softmax_row_is_passed_three_times_inside_one_loop_over_rows() -> None:
    kernel = kernel_of(SOFTMAX)
    (rows,) = loops_at_top(kernel)
    passes = [s for s in rows.body if isinstance(s, Loop)]
    assert [p.extent for p in passes] == [30, 30, 30]
    assert [ops_in([p]).count("exp") for p in passes] == [0, 1, 0]
    assert [b.shape for b in kernel.scratch] == [(30,)]


def test_cheap_values_are_computed_again_in_place_of_a_scratch_row() -> None:
    kernel = kernel_of(SOFTMAX.replace("exp(v3)", "add(v3, v3)"))
    assert kernel.scratch == []


def test_equal_loads_are_one() -> None:
    kernel = kernel_of("""
def f(v0: 'f64[30]'):
    v1: 'f64[5,6]' = reshape(v0, shape=(5, 6))
    v2: 'f64[30]' = reshape(v1, shape=(30,))
    v3: 'f64[30]' = add(v0, v0)
    v4: 'f64[30]' = multiply(v3, v0)
    return (v4,)
""")
    assert len(of_kind(kernel, Load)) == 1


def test_what_does_not_depend_on_a_loop_stands_before_it() -> None:
    kernel = kernel_of("""
def f(v0: 'f64[20,30]', v1: 'f64[20]', v2: 'f64'):
    v3: 'f64' = exp(v2)
    v4: 'f64[20]' = tanh(v1)
    v5: 'f64[20,30]' = broadcast(v4, dims=(0,), shape=(20, 30))
    v6: 'f64[20,30]' = broadcast(v3, dims=(), shape=(20, 30))
    v7: 'f64[20,30]' = multiply(v5, v6)
    v8: 'f64[20,30]' = multiply(v0, v7)
    return (v8,)
""")
    (rows,) = loops_at_top(kernel)
    (columns,) = [s for s in rows.body if isinstance(s, Loop)]
    assert ops_in([s for s in kernel.body if not isinstance(s, Loop)]) == ["exp"]
    assert ops_in([s for s in rows.body if not isinstance(s, Loop)]) == ["tanh", "mul"]
    assert ops_in([columns]) == ["mul"]


def test_a_sum_of_columns_walks_rows_and_adds_to_memory() -> None:
    kernel = kernel_of("""
def f(v0: 'f64[20,30]'):
    v1: 'f64[30]' = reduce_sum(v0, axes=(0,))
    return (v1,)
""")
    assert len(of_kind(kernel, Fill)) == len(of_kind(kernel, Combine)) == 1
    (outer,) = loops_at_top(kernel)
    assert outer.extent == 20


def test_a_sum_of_rows_runs_in_a_register() -> None:
    kernel = kernel_of("""
def f(v0: 'f64[20,30]'):
    v1: 'f64[20]' = reduce_sum(v0, axes=(1,))
    return (v1,)
""")
    assert not of_kind(kernel, Combine)
    assert len(of_kind(kernel, Reset)) == len(of_kind(kernel, Store)) == 1


def test_float32_sums_run_in_float64() -> None:
    kernel = kernel_of("""
def f(v0: 'f32[30]'):
    v1: 'f32' = reduce_sum(v0, axes=(0,))
    return (v1,)
""")
    (reset,) = of_kind(kernel, Reset)
    assert reset.accumulator.dtype == np.float64


# --- joined arrays ------------------------------------------------------------------------------------

JOINED = """
def f(v0: 'f64[7,{n}]', v1: 'f64[7,{m}]'):
    v2: 'f64[7,{nm}]' = concatenate(v0, v1, v0, axis=1)
    v3: 'f64[7,{nm}]' = tanh(v2)
    return (v3,)
"""


def test_each_part_of_a_joined_array_is_loaded_only_where_it_is() -> None:
    kernel = kernel_of(JOINED.format(n=5, m=6, nm=16))
    first, second, third = of_kind(kernel, Load)
    assert [len(load.guards) for load in (first, second, third)] == [1, 2, 1]
    assert second.guards[0] == first.guards[0].negated()
    assert third.guards[0] == second.guards[1].negated()


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize(("n", "m"), [(5, 6), (1, 9), (6, 1), (0, 7), (7, 0)])
def test_joined_arrays_are_read_inside_their_memory(n: int, m: int, rng: np.random.Generator) -> None:
    run(JOINED.format(n=n, m=m, nm=2 * n + m), rng.standard_normal((7, n)), rng.standard_normal((7, m)))


# --- positions that are data --------------------------------------------------------------------------

GATHER = """
def f(v0: 'f64[{n},3]', v1: 'i64[{k}]'):
    v2: 'f64[{k},3]' = gather(v0, v1)
    return (v2,)
"""
COUNTED = """
def f(v0: 'f64[{n}]'):
    v1: 'i64[{k}]' = iota(axis=0, dtype='i64', shape=({k},), start={start}, step={step})
    v2: 'f64[{k}]' = gather(v0, v1)
    return (v2,)
"""


def test_an_index_is_checked_once_for_all_that_it_picks() -> None:
    kernel = kernel_of(GATHER.format(n=9, k=20))
    (check,) = of_kind(kernel, CheckIndex)
    (rows,) = loops_at_top(kernel)
    assert check in rows.body
    assert kernel.checks_indices


@pytest.mark.parametrize(("n", "k", "start", "step"), [(9, 9, 0, 1), (9, 3, 8, -4), (9, 1, 8, 1)])
def test_counted_positions_that_fit_are_not_checked(n: int, k: int, start: int, step: int) -> None:
    assert not of_kind(kernel_of(COUNTED.format(n=n, k=k, start=start, step=step)), CheckIndex)


@pytest.mark.usefixtures("plain_kernels")
def test_counted_positions_may_count_from_the_end(rng: np.random.Generator) -> None:
    run(COUNTED.format(n=9, k=9, start=-9, step=1), rng.standard_normal(9))


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize(("n", "k", "start", "step"), [(9, 10, 0, 1), (9, 3, 7, 1), (9, 3, 1, -6)])
def test_counted_positions_outside_are_reported(n: int, k: int, start: int, step: int) -> None:
    with pytest.raises(IndexOutOfBoundsError, match="axis of size 9"):
        run(COUNTED.format(n=n, k=k, start=start, step=step), np.ones(n))


@pytest.mark.usefixtures("plain_kernels")
def test_every_index_into_an_empty_axis_is_reported_and_none_is_followed() -> None:
    with pytest.raises(IndexOutOfBoundsError, match="axis of size 0"):
        run(GATHER.format(n=0, k=2), np.ones((0, 3)), np.zeros(2, np.int64))
    scatter = """
def f(v0: 'f64[2,3]', v1: 'i64[2]'):
    v2: 'f64[0,3]' = scatter_add(v0, v1, shape=(0, 3))
    return (v2,)
"""
    with pytest.raises(IndexOutOfBoundsError, match="axis of size 0"):
        run(scatter, np.ones((2, 3)), np.zeros(2, np.int64))


@pytest.mark.usefixtures("plain_kernels")
def test_no_index_is_none_outside() -> None:
    run(GATHER.format(n=0, k=0), np.ones((0, 3)), np.zeros(0, np.int64))
    run(GATHER.format(n=9, k=0), np.ones((9, 3)), np.zeros(0, np.int64))


# --- empty arrays -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain_kernels")
def test_nothing_is_loaded_from_an_empty_array() -> None:
    text = """
def f(v0: 'f64[0]', v1: 'f64[5]'):
    v2: 'f64[0,1]' = reshape(v0, shape=(0, 1))
    v3: 'f64[0,1]' = tanh(v2)
    v4: 'f64' = reduce_sum(v3, axes=(0, 1))
    v5: 'f64[5]' = broadcast(v4, dims=(), shape=(5,))
    v6: 'f64[5]' = add(v1, v5)
    return (v3, v6)
"""
    graph = read_graph(text)
    kernels = build_program(schedule_graph(graph)).kernels
    assert all(0 not in load.buffer.shape for k in kernels for load in of_kind(k, Load))
    run(text, np.ones(0), np.ones(5))


@pytest.mark.usefixtures("plain_kernels")
def test_an_index_that_is_repeated_no_times_is_not_looked_at() -> None:
    text = """
def f(v0: 'f64[9]', v1: 'i64'):
    v2: 'i64[0]' = broadcast(v1, dims=(), shape=(0,))
    v3: 'f64[0]' = gather(v0, v2)
    return (v3,)
"""
    run(text, np.ones(9), np.int64(100))
