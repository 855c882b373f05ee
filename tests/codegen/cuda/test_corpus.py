"""Programs, and rows of the case table, at small and edge sizes in the emulator: each row at one, in turn."""

from __future__ import annotations

import pytest

from tests.codegen.cuda.corpus import (
    LAYOUTS,
    PROGRAMS,
    WITHOUT_HALVES,
    Grow,
    check_case,
    check_layout,
    check_program,
    grown_rows,
)
from tests.codegen.cuda.emulated import FLOATS, SIZES
from tests.halves import HALVES
from tests.ops.test_rules import CASES

ROWS = [
    pytest.param(grow, SIZES[k % len(SIZES)], k // len(SIZES) % 2 == 1, id=f"{name}-{SIZES[k % len(SIZES)]}")
    for k, (name, grow) in enumerate(grown_rows())
]
SIZES_OF_PROGRAMS = [
    pytest.param(name, n, FLOATS[j % 2], id=f"{name}-{n}-{FLOATS[j % 2]}")
    for k, name in enumerate(PROGRAMS)
    for j, n in enumerate(SIZES[k % 2 :: 2])
]
SIZES_OF_HALVES = [
    pytest.param(name, n, *short.values, id=f"{name}-{n}-{short.id}", marks=short.marks)
    for k, name in enumerate(x for x in PROGRAMS if x not in WITHOUT_HALVES)
    for n, short in [((1, 33, 257)[k % 3], HALVES[k % 2])]
]
# Library calls: matrices that repeat their rows are singular.
OF_ONE_SIZE = {"cholesky", "cholesky_adjoint", "log_abs_det", "lu", "lu_solve", "triangular_solve"}


@pytest.mark.parametrize(("grow", "n", "single"), ROWS)
def test_a_row_of_another_size_gives_what_the_evaluator_gives(grow: Grow, n: int, single: bool) -> None:
    if not check_case(grow(n), single):
        pytest.skip("NumPy refuses this size, or it is too large")


@pytest.mark.parametrize(("name", "n", "dtype"), SIZES_OF_PROGRAMS)
def test_a_program_gives_what_it_gives_on_the_processor(name: str, n: int, dtype: str) -> None:
    if not check_program(name, n, dtype):
        pytest.skip("NumPy refuses this size")


@pytest.mark.parametrize(("name", "n", "short"), SIZES_OF_HALVES)
def test_a_program_of_floats_of_two_bytes_gives_what_it_gives_on_the_processor(
    name: str, n: int, short: str
) -> None:
    if not check_program(name, n, short):
        pytest.skip("NumPy refuses this size")


@pytest.mark.parametrize("name", LAYOUTS)
def test_arrays_may_lie_in_memory_in_any_way(name: str) -> None:
    check_layout(name, 300)


def test_every_op_has_a_row_that_grows() -> None:
    growing = {case.op for _, grow in grown_rows() if (case := grow(3)) is not None}
    assert sorted({case.op for case in CASES} - growing) == sorted(OF_ONE_SIZE)
