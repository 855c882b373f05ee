"""The same bits again: every row of the table, on several numbers of threads, many times each.

    python -m benchmarks.repeats [--rows ROW ...] [--sizes SIZE ...] [--runs 100] [--threads 1 2 3 8]

Each size prints how many runs were compared and in how many strands its loops were cut. Times nothing;
returns 1 where any bit of a value or a gradient differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.workload import NAMES, Workload, get_workload
from tracejit.api.record import record_call
from tracejit.compile import run_stages


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare every size that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeats", description=__doc__)
    rows = [name for name in NAMES if "tracejit" not in get_workload(name).missing]
    parser.add_argument("--rows", nargs="+", default=rows, choices=rows, metavar="ROW")
    parser.add_argument("--sizes", nargs="+", default=(), metavar="SIZE", help="labels such as 1e3")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2, 3, 8))
    options = parser.parse_args(arguments)
    differing = sizes = 0
    for name in options.rows:
        workload = get_workload(name)
        for size in workload.sizes:
            if options.sizes and size.label not in options.sizes:
                continue
            args = workload.inputs(*size.shape)
            found = results_of(workload, args, options.runs, options.threads)
            strands = strands_of(workload, args)
            sizes += 1
            differing += len(found) > 1
            verdict = "the same bits" if len(found) == 1 else f"{len(found)} DIFFERENT RESULTS"
            runs = options.runs * len(options.threads)
            print(f"{name} {size.label}: {runs} runs, strands {strands}: {verdict}", flush=True)
    print(f"{'ok' if not differing else 'failed'}: {sizes} sizes, {differing} of them differ")
    return 1 if differing else 0


def results_of(workload: Workload, args: tuple[Any, ...], runs: int, threads: Sequence[int]) -> set[int]:
    """Hashes of all results; two that differ in a bit have different ones."""
    found: set[int] = set()
    for count in threads:
        step = tj.grad_jit(workload.loss, argnums=workload.argnums, threads=count)
        for _ in range(runs):
            value, gradients = step(*args)
            parts = gradients if isinstance(gradients, tuple) else (gradients,)
            found.add(hash((bits(value), *map(bits, parts))))
    return found


def strands_of(workload: Workload, args: tuple[Any, ...]) -> list[int]:
    """Into how many strands the loops of each region are cut."""
    record = record_call(tj.grad_jit(workload.loss, argnums=workload.argnums), args, {})
    return [region.strands for region in run_stages(record.graph).program.regions.values()]


def bits(x: Any) -> bytes:
    return np.asarray(x).tobytes()


if __name__ == "__main__":
    sys.exit(main())
