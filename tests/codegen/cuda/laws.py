"""Random programs as CUDA kernels in the emulator: they agree with the evaluator.

`python -m tests.codegen.cuda.laws 500` takes so many programs, in as many processes as there are processors
to use; the tests of CI take some dozens.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from tests.codegen.cuda.emulated import device_program, run
from tests.law_runs import run_laws
from tests.schedule.every_schedule import program_of
from tests.schedule.random_graphs import check_same
from tracejit.ir import evaluate

SMALL = (0, 2048)  # iterations that one block runs alone: a grid for everything, and as it is


def check_seed(seed: int, small: int) -> bool:
    """Half of the programs are gradients; False: not compared."""
    program = program_of(seed, gradient=seed % 2 == 1)
    if program is None or not program.is_tame:
        return False
    before = [x.copy() for x in program.arrays]
    results = run(device_program(program.graph, small), program.arrays)
    check_same(program, results, evaluate(program.graph, program.arrays))
    for x, copy in zip(program.arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)
    return True


def check_sizes(seed: int) -> bool:
    """One block, and many."""
    return all([check_seed(seed, small) for small in SMALL])


def main(arguments: Sequence[str] | None = None) -> int:
    """Check random programs; returns 1 if any differs."""
    return run_laws("tests.codegen.cuda.laws", __doc__, check_sizes, 500, arguments)


if __name__ == "__main__":
    sys.exit(main())
