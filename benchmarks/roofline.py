"""The roofline of every workload: each step's bytes, flops and time under the ceilings, fused beside unfused.

    python -m benchmarks.roofline [--rows ROW ...] [--sizes SIZE ...] [--smoke] [--plots FOLDER] [--threads N]

One thread, BLAS included, unless OPENBLAS_NUM_THREADS says otherwise. The ceilings come first, with one
thread and with N (default: all cores), as they were when they were first measured on this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import tracejit as tj  # noqa: E402
from benchmarks.smoke import SHAPES  # noqa: E402
from benchmarks.workload import NAMES, Workload, get_workload  # noqa: E402
from tracejit.roofline import measured_machine  # noqa: E402


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    add = parser.add_argument
    add("--rows", nargs="+", default=NAMES, choices=NAMES, metavar="ROW", help=f"of {', '.join(NAMES)}")
    add("--sizes", nargs="+", default=(), metavar="SIZE", help="labels such as 1e3 (default: all of a row)")
    add("--smoke", action="store_true", help="one small size of each row")
    add("--plots", type=Path, help="folder for a picture of each row (needs Matplotlib)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of the second set of ceilings")
    return parser.parse_args(arguments)


def cases(
    name: str, workload: Workload, options: argparse.Namespace
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Labels and shapes to measure."""
    if options.smoke:
        shape = SHAPES[name][0]
        yield "x".join(map(str, shape)), shape
        return
    for size in workload.sizes:
        if not options.sizes or size.label in options.sizes:
            yield size.label, size.shape


def main(arguments: list[str] | None = None) -> int:
    """Print the ceilings, then steps and totals of each row and size."""
    options = parse(arguments)
    print("\n\n".join(str(measured_machine(n)) for n in sorted({1, options.threads})), flush=True)
    for name in options.rows:
        workload = get_workload(name)
        if "tracejit" in workload.missing:
            print(f"\n== {workload.title}: {workload.missing['tracejit']}", flush=True)
            continue
        step = tj.grad_jit(workload.loss, argnums=workload.argnums)
        for label, shape in cases(name, workload, options):
            found = tj.inspect(step)(*workload.inputs(*shape)).roofline
            print(f"\n== {workload.title} {label}\n\n{found.fused}\n\n{found.comparison()}", flush=True)
            if options.plots is not None:
                options.plots.mkdir(parents=True, exist_ok=True)
                found.plot(options.plots / f"{name}-{label}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
