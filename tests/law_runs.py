"""Laws on the command line: random programs by seed, in as many processes as there are processors to use."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

BATCH = 200


def run_laws(
    module: str, doc: str | None, check: Callable[[int], bool], default: int, arguments: Sequence[str] | None
) -> int:
    """Check seeds until so many programs were compared; print those that fail. Returns 1 if any does.

    check: whether the program of a seed was compared; it raises where results differ
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    parser.add_argument("programs", type=int, nargs="?", default=default)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    compared = failures = 0
    with ProcessPoolExecutor(options.processes) as pool:
        for start in itertools.count(options.first_seed, BATCH):
            for outcome in pool.map(partial(_outcome, check), range(start, start + BATCH), chunksize=10):
                if isinstance(outcome, str):
                    failures += 1
                    print(outcome)
                compared += outcome is True
            print(f"{compared} programs, {failures} failures", flush=True)
            if compared + failures >= options.programs:
                break
    return 1 if failures else 0


def _outcome(check: Callable[[int], bool], seed: int) -> str | bool:
    try:
        return check(seed)
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"
