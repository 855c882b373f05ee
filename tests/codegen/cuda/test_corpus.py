"""Programs, and rows of the case table, at small and edge sizes in the emulator: each row at one, in turn."""

from __future__ import annotations

import pytest

from tests.codegen.cuda.corpus import FLOATS, PROGRAMS, SIZES, Grow, check_case, check_program, grown_rows
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


def test_every_op_has_a_row_that_grows() -> None:
    growing = {case.op for _, grow in grown_rows() if (case := grow(3)) is not None}
    assert sorted({case.op for case in CASES} - growing) == sorted(OF_ONE_SIZE)
