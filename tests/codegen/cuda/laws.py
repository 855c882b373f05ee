"""Random programs as CUDA kernels in the emulator: they agree with the evaluator.

`python -m tests.codegen.cuda.laws 500` takes so many programs, in as many processes as there are processors
to use; the tests of CI take some dozens.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from tests.codegen.cuda.emulated import device_program, run
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


def _outcome(seed: int) -> str | bool:
    try:
        return all([check_seed(seed, small) for small in SMALL])
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check random programs until so many were compared; print those that differ. Returns 1 if any does."""
    parser = argparse.ArgumentParser(prog="python -m tests.codegen.cuda.laws", description=__doc__)
    parser.add_argument("programs", type=int, nargs="?", default=500)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    compared = failures = 0
    with ProcessPoolExecutor(options.processes) as pool:
        for start in itertools.count(options.first_seed, 100):
            for outcome in pool.map(_outcome, range(start, start + 100), chunksize=5):
                if isinstance(outcome, str):
                    failures += 1
                    print(outcome)
                compared += outcome is True
            print(f"{compared} programs, {failures} failures", flush=True)
            if compared + failures >= options.programs:
                break
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
