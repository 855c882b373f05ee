"""Sums at places that are data, for targets too large for copies: sorted, and added up in one order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.codegen.cuda.emulated import (
    CONFIG,
    ONE_BLOCK,
    check_function,
    device_program,
    printed,
    run,
    sorting,
    traced,
)
from tests.codegen.cuda.skeletons import CASES, launches
from tracejit.codegen.cuda.launches import DeviceProgram
from tracejit.codegen.cuda.scatter import Sort
from tracejit.errors import IndexOutOfBoundsError
from tracejit.ir import evaluate
from tracejit.runtime.cuda import DeviceExecutable
from tracejit.runtime.cuda.device import EmulatedDevice

Rng = np.random.Generator


def check_sorted(function: Callable[..., Any], *arguments: Any, tolerance: float = 1e-12) -> DeviceProgram:
    with sorting():
        return check_function(function, *arguments, tolerance=tolerance)


def sorts(program: DeviceProgram) -> list[Sort]:
    return [s for s in program.steps if isinstance(s, Sort)]


def squares(index: Any) -> Callable[[Any], Any]:
    return lambda table: np.sum(np.tanh(table[index]) ** 2)


@pytest.mark.parametrize("n", (0, 1, 31, 32, 33, 63, 64, 65, 255, 256, 257))
@pytest.mark.parametrize("tail", ((), (3,)))
def test_sums_of_few_and_of_many_updates(n: int, tail: tuple[int, ...], rng: Rng) -> None:
    program = check_sorted(squares(rng.integers(-40, 40, n)), rng.normal(size=(40, *tail)))
    assert n < 2 or len(sorts(program)) == 1


@pytest.mark.parametrize("tail", ((1,), (2, 2), (33,), (40, 1), (64,)))
def test_rows_of_any_length(tail: tuple[int, ...], rng: Rng) -> None:
    program = check_sorted(squares(rng.integers(-9, 9, 70)), rng.normal(size=(9, *tail)))
    assert len(sorts(program)) == 1


@pytest.mark.parametrize("tail", ((), (1,), (5,), (40,)))
@pytest.mark.parametrize("hot", (1.0, 0.7))
def test_a_place_of_most_updates_is_shared_by_many_chunks(
    hot: float, tail: tuple[int, ...], rng: Rng
) -> None:
    n = 1300 if len(tail) == 0 or tail[0] < 40 else 300
    index = np.where(rng.random(n) < hot, 7, rng.integers(0, 20, n))
    check_sorted(squares(index), rng.normal(size=(20, *tail)))


@pytest.mark.parametrize("dtype", ("f8", "f4"))
@pytest.mark.parametrize("index_dtype", ("i8", "i4", "u1", "i2"))
def test_indices_and_values_of_any_type(dtype: str, index_dtype: str, rng: Rng) -> None:
    index = rng.integers(0, 50, 100).astype(index_dtype)
    table = rng.normal(size=50).astype(dtype)
    check_sorted(squares(index), table, tolerance=1e-12 if dtype == "f8" else 2e-5)


def test_values_that_are_constants_or_lie_in_memory_are_not_stored_again(rng: Rng) -> None:
    index, weights = rng.integers(0, 30, 200), rng.normal(size=(200, 5))
    counted = check_sorted(lambda table: np.sum(table[index]), rng.normal(size=30))
    weighed = check_sorted(lambda table: np.sum(table[index] * weights), rng.normal(size=(30, 5)))
    strided = check_sorted(lambda t, w: np.sum(t[index] * w), rng.normal(size=(30, 5)), weights[:, ::-1])
    for program in (counted, weighed, strided):
        assert not any(b.name.endswith("_values") for b in program.offsets)


def test_several_index_arrays_are_one_place(rng: Rng) -> None:
    i, j = rng.integers(-8, 8, (2, 10, 10))
    program = check_sorted(lambda x: np.sum(np.exp(x[i, j])), rng.normal(size=(8, 8, 3)))
    assert len(sorts(program)) == 1


def test_tables_that_share_an_index_share_the_sort(rng: Rng) -> None:
    index = rng.integers(0, 20, 150)
    program = check_sorted(
        lambda a, b: np.sum(np.sin(a[index] * b[index])), rng.normal(size=(20, 4)), rng.normal(size=(20, 4))
    )
    assert len(sorts(program)) == 1


def test_rows_with_sums_of_their_own(rng: Rng) -> None:
    i, j = rng.integers(0, 25, (2, 90))
    users, items = rng.normal(size=(2, 25, 6))
    program = check_sorted(lambda u, v: np.sum((np.sum(u[i] * v[j], axis=1) - 1) ** 2), users, items)
    assert len(sorts(program)) == 2


def test_a_place_that_the_kernel_finds_itself_keeps_its_copies(rng: Rng) -> None:
    table, scores = rng.normal(size=(30, 5)), rng.normal(size=(60, 30))
    check_sorted(lambda table: np.sum(np.tanh(table[np.argmax(scores, axis=1)])), table)


def test_an_index_out_of_range_is_an_error_with_the_users_line(rng: Rng) -> None:
    index = rng.integers(0, 7, 300)
    index[123] = 7
    for tail in ((), (3,)):
        graph, arrays = traced(
            lambda table, index: np.sum(np.exp(table[index])), rng.normal(size=(7, *tail)), index
        )
        with sorting():
            program = device_program(graph)
        with pytest.raises(IndexOutOfBoundsError) as caught:
            run(program, arrays)
        what, where, *_, hint = str(caught.value).splitlines()
        assert what == "index: an index array reaches outside an axis of size 7"
        assert where.startswith("  in <lambda>, test_scatter.py:")
        assert hint == "  hint: indices must lie in [-size, size)"


def test_whole_numbers_add_up_exactly(rng: Rng) -> None:
    index, weights = rng.integers(0, 11, 500), rng.integers(-9, 9, 500).astype(float)
    graph, arrays = traced(lambda table: np.sum(table[index] * weights), np.zeros(11))
    with sorting():
        _, found = run(device_program(graph), arrays)
    expected = np.zeros(11)
    np.add.at(expected, index, weights)
    np.testing.assert_array_equal(found, expected)


# --- in any order -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ((), (3,), (40,)))
@pytest.mark.parametrize("dtype", ("f8", "f4"))
def test_atomic_sums_are_the_sums_up_to_rounding(dtype: str, tail: tuple[int, ...], rng: Rng) -> None:
    graph, arrays = traced(squares(rng.integers(-9, 9, 300)), rng.normal(size=(9, *tail)).astype(dtype))
    with sorting():
        program = device_program(graph, deterministic=False)
    assert not sorts(program)
    assert any("cuda.atomic.add(out1, " in x.text for x in printed(program, arrays))
    for x, expected in zip(run(program, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(x, expected, rtol=1e-4 if dtype == "f4" else 1e-12)


def test_atomic_sums_of_rows_with_sums_of_their_own(rng: Rng) -> None:
    i, j = rng.integers(0, 25, (2, 90))
    users, items = rng.normal(size=(2, 25, 6))
    graph, arrays = traced(lambda u, v: np.sum((np.sum(u[i] * v[j], axis=1) - 1) ** 2), users, items)
    with sorting():
        program = device_program(graph, deterministic=False)
    assert [len(p.atomic) for p in program.launches if p.atomic] == [2]
    for x, expected in zip(run(program, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(x, expected, rtol=1e-12)


def test_floats_have_no_atomic_sums_unless_asked_for() -> None:
    for name, dtype in CASES:
        for launch in launches(name, dtype):
            assert "cuda.atomic.add" not in launch.text.replace("cuda.atomic.add(ticket, 0, ", "")
    for golden in (Path(__file__).parents[2] / "goldens" / "cuda").glob("*.txt"):
        assert "cuda.atomic.add" not in golden.read_text().replace("cuda.atomic.add(ticket, 0, ", "")


# --- which way ----------------------------------------------------------------------------------------------


def planned(shape: tuple[int, ...], updates: int, dtype: str = "f4") -> DeviceProgram:
    """The launches for arrays of these sizes, which have no memory."""
    index = np.broadcast_to(np.int32(0), (updates,))
    table = np.broadcast_to(np.zeros((), dtype), shape)
    graph, _ = traced(lambda table, index: np.sum(np.tanh(table[index])), table, index)
    return device_program(graph, small=ONE_BLOCK)


@pytest.mark.parametrize(
    ("shape", "updates", "is_sorted"),
    (
        ((100,), 10**6, False),
        ((30_000,), 10**6, False),
        ((10**7,), 10**7, True),
        ((10**7,), 10**5, True),
        ((10**6, 64), 4096, True),
        ((10**6, 64), 10**6, True),
        ((500, 64), 10**6, True),
        ((500, 64), 1000, False),
    ),
)
def test_large_targets_are_sorted_and_small_ones_copied(
    shape: tuple[int, ...], updates: int, is_sorted: bool
) -> None:
    program = planned(shape, updates)
    assert bool(sorts(program)) == is_sorted
    assert all(p.blocks > 1 for p in program.launches)
    if is_sorted:
        assert not any(p.copies for p in program.launches)


@pytest.mark.parametrize(("shape", "updates"), (((10**6, 64), 20), ((10**7,), 1500)))
def test_few_updates_of_a_large_target_leave_its_zeros_to_many_blocks(
    shape: tuple[int, ...], updates: int
) -> None:
    program = planned(shape, updates)
    assert program.launches[0].kernel.name == "kernel_0.zeros_out1.part"
    assert program.launches[0].blocks == 1024
    assert not sorts(program)


def test_codes_have_32_bits_where_these_suffice(rng: Rng) -> None:
    (sort,) = sorts(planned((10**7,), 10**7))
    assert sort.codes.dtype == "int64"
    with sorting():
        graph, _ = traced(squares(rng.integers(0, 40, 100)), rng.normal(size=40))
        (sort,) = sorts(device_program(graph))
    assert sort.codes.dtype == "int32"


def test_the_values_of_several_updates_are_loaded_before_any_is_added(rng: Rng) -> None:
    graph, arrays = traced(squares(rng.integers(0, 40, 300)), rng.normal(size=40))
    with sorting():
        program = device_program(graph)
    summed = next(x for x in printed(program, arrays) if x.name == "out1_summed")
    lines = [line.strip() for line in summed.text.splitlines()]
    loads = [k for k, line in enumerate(lines) if "= out1_values[" in line]
    first_sum = next(k for k, line in enumerate(lines) if line == "total = total + value0")
    assert [k < first_sum for k in loads] == [True] * 4 + [False]


def test_inspection_shows_the_sort(rng: Rng) -> None:
    graph, arrays = traced(squares(rng.integers(0, 40, 300)), rng.normal(size=40))
    with sorting():
        program = device_program(graph)
    text = DeviceExecutable(program, CONFIG, EmulatedDevice()).describe((-1,) * len(arrays))
    assert "# library call: out1_codes.sort(), by CuPy\n" in text
