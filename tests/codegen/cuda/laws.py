"""Random programs as CUDA kernels in the emulator: they agree with the evaluator.

`python -m tests.codegen.cuda.laws 500` takes so many programs, in as many processes as there are processors
to use; the tests of CI take some dozens.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.codegen.cuda.emulated import GRID, ONE_BLOCK, device_program, run
from tests.law_runs import run_laws
from tests.schedule.every_schedule import program_of
from tests.schedule.random_graphs import check_same
from tests.schedule.random_stencils import stencil_of
from tracejit.codegen.cuda import nests
from tracejit.ir import evaluate

# Iterations that one block runs alone, and the fewest rows and columns that threads take by columns: as they
# are, a grid for everything, and by columns whatever can be.
USUAL = (ONE_BLOCK, nests.FEWEST_ROWS, nests.NARROWEST)
WAYS = (USUAL, (GRID, *USUAL[1:]), (GRID, 2, 1))

Way = tuple[int, int, int]


def by_columns(rows: int, columns: int) -> Any:
    """While it is open, arrays of so many rows and columns are taken by columns."""
    return patch.multiple(nests, FEWEST_ROWS=rows, NARROWEST=columns)


def check_seed(seed: int, way: Way) -> bool:
    """A third each of programs, gradients and stencils; False: not compared."""
    program = stencil_of(seed) if seed % 3 == 2 else program_of(seed, gradient=seed % 3 == 1)
    if program is None or not program.is_tame:
        return False
    before = [x.copy() for x in program.arrays]
    small, *fewest = way
    with by_columns(*fewest):
        results = run(device_program(program.graph, small), program.arrays)
    check_same(program, results, evaluate(program.graph, program.arrays))
    for x, copy in zip(program.arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)
    return True


def check_ways(seed: int) -> bool:
    """One block, many, and columns."""
    return all([check_seed(seed, way) for way in WAYS])


def main(arguments: Sequence[str] | None = None) -> int:
    """Check random programs; returns 1 if any differs."""
    return run_laws("tests.codegen.cuda.laws", __doc__, check_ways, 500, arguments)


if __name__ == "__main__":
    sys.exit(main())
