"""Everything that only a CUDA device can tell, in one command of less than 8 minutes, without a network.

Stages run one after another, each until a time that was set before; what fails is written down and the next
one runs. torch, JAX and our kernels have a process each: one that hangs, or breaks the device, ends alone.
The results are written after every stage. `--emulate` runs the same logic at toy sizes through
`target="cuda-emu"`, on any machine; with `--peers` torch and JAX take part on this processor.

Exit status: 0 where all stages ran and ours was right; 1 where it was not, where a stage failed, or where
there is no device; 2 where the command line is wrong. What is not installed, and what of torch or JAX fails,
is listed as missing and changes no status.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.check import Check, NoDeviceError
from benchmarks.gpu.report import Report, report_text
from benchmarks.gpu.rows import ROWS
from benchmarks.gpu.stages import (
    draw_plots,
    find_versions,
    make_kernels,
    measure_ceilings,
    measure_library,
    measure_sweep,
    run_cases,
    run_checkers,
    run_tests,
)

# Seconds of each; what one leaves, the later ones have.
STAGES: tuple[tuple[str, float, Callable[[Check], None]], ...] = (
    ("versions", 45.0, find_versions),  # a machine that just started reads libraries slowly
    ("kernels", 45.0, make_kernels),
    ("ceilings", 30.0, measure_ceilings),
    ("cases", 15.0, run_cases),
    ("tracejit", 65.0, partial(measure_library, kind="cupy")),
    ("tests", 65.0, run_tests),
    ("torch", 75.0, partial(measure_library, kind="torch")),
    ("JAX", 45.0, partial(measure_library, kind="jax")),
    ("sweep", 25.0, measure_sweep),
    ("sanitizer", 35.0, run_checkers),
    ("plots", 10.0, draw_plots),
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--out", type=Path, help="folder for gpu_check.json, gpu_check.txt and pictures")
    parser.add_argument("--emulate", action="store_true", help="toy sizes through cuda-emu, on any machine")
    parser.add_argument(
        "--peers", action="store_true", help="with --emulate: torch and JAX, on this processor"
    )
    parser.add_argument("--rows", nargs="+", default=tuple(ROWS), choices=tuple(ROWS), metavar="ROW")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="what all limits of time are multiplied by"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run all stages; 0 where nothing failed."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(
            Report(),
            tuple(options.rows),
            Path(scratch),
            emulate=options.emulate,
            peers=options.peers,
            patience=options.patience,
            out=options.out,
        )
        return run(check)


def run(check: Check) -> int:
    """All stages of a check, each until the time by which it and those before it should be done."""
    deadline = time.monotonic()
    for name, seconds, stage in STAGES:
        deadline += seconds * check.patience
        try:
            check.stage(name, deadline, stage)
        except NoDeviceError as error:
            print(f"This machine cannot run the check.\n{error}")
            print("python -m benchmarks.gpu_check --emulate runs its logic here, at toy sizes.")
            return 1
    problems = check.report.problems
    print(f"\n{report_text(check.report)}")
    print("ok" if not problems else f"{len(problems)} problems", flush=True)
    return 1 if problems else 0


def _stop(number: int, frame: Any) -> None:
    """A signal ends the check as Ctrl-C does, so that no process is left behind."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
