"""`python -m benchmarks` measures every system and prints ratios; `--smoke` only checks counts."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.plots import draw_plots
from benchmarks.results_file import Results, Row, describe_machine
from benchmarks.runner import Plan, measure_workload, sizes_to_measure
from benchmarks.systems import SYSTEMS
from benchmarks.table import brief, ratios, render
from benchmarks.workload import NAMES, get_workload
from tracejit.progress import Progress


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--smoke", action="store_true", help="check kernels, bytes, vectors and compilations; time nothing")
    add("--record", action="store_true", help="with --smoke: write what is found as what is expected")
    add("--show", action="store_true", help="print the tables of --into; measure nothing")
    add("--brief", action="store_true", help="print one shorter table in place of all")
    add("--rows", nargs="+", default=NAMES, choices=NAMES, metavar="ROW", help=f"of {', '.join(NAMES)}")
    add("--sizes", nargs="+", default=(), metavar="SIZE", help="labels such as 1e3 (default: all of a row)")
    add("--systems", nargs="+", default=(), metavar="SYSTEM", help="tracejit and numba always run too")
    add("--rounds", type=int, default=7, help="rounds in which the systems take turns (default 7)")
    add("--round-seconds", type=float, default=0.05, help="how long a turn lasts, one call at least")
    add("--threads", type=int, default=1, help="of each system (default 1, all on one core)")
    add("--quick", action="store_true", help="3 rounds of 0.02 s and no warm first calls: a look, no result")
    add("--into", type=Path, help="results.json to take up: what it has is not measured again")
    add("--again", action="store_true", help="with --into: measure what it has again")
    add("--out", type=Path, help="folder for results.json, results.txt and plots")
    add("--lock", type=Path, help="file to hold locked while something is timed")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one of the modes."""
    options = parse(arguments)
    if options.smoke:
        # Programs are compiled anew, so that compilations can be counted.
        os.environ["TRACEJIT_CACHE_DIR"] = ""
        from benchmarks import smoke

        return smoke.main(options.record)
    path = options.into or (options.out / "results.json" if options.out else None)
    results = Results.load(path) if path is not None and (options.into or options.show) else Results()
    if not options.show:
        measure(options, results, path)
    print((brief if options.brief else render)(results))
    if options.out is not None:
        write(options.out, results)
    return 0


def measure(options: argparse.Namespace, results: Results, path: Path | None) -> None:
    """Every row that was asked for, into `results` and its file."""
    unknown = sorted(set(options.systems) - set(SYSTEMS))
    if unknown:
        raise SystemExit(f"no such system: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    # Ended from outside, it still ends its workers and removes their caches.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    run = len(results.runs)
    results.runs.append({"machine": describe_machine(), "date": time.strftime("%Y-%m-%d"), "versions": {}})
    results.runs[run]["threads"] = options.threads
    plan = Plan(
        tuple(options.systems or SYSTEMS),
        cache,
        options.rounds,
        options.round_seconds,
        lock=options.lock,
        threads=options.threads,
    )
    if options.quick:
        plan = replace(plan, rounds=3, round_seconds=0.02, row_seconds=0.5, warm=False)

    def done(row: Row) -> None:
        for measured in row.systems.values():
            measured.run = run
        results.merge(row, options.again)
        results.sort(NAMES)
        if path is not None:
            results.save(path)

    try:
        with Progress("benchmarks", len(options.rows)) as bar:
            for name in options.rows:
                wanted = sizes_to_measure(get_workload(name), tuple(options.sizes))
                lacking = {
                    s: plan.systems if options.again else results.lacking(name, s, plan.systems)
                    for s in wanted
                }
                sizes = [size for size, systems in lacking.items() if systems]
                if sizes:
                    part = replace(plan, systems=tuple({s for found in lacking.values() for s in found}))
                    found = measure_workload(name, sizes, part, lambda note: bar.advance(note, 0), done)
                    results.runs[run]["versions"].update(found)
                    print(ratios(results.only(name)), flush=True)
                bar.advance(name)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def write(folder: Path, results: Results) -> None:
    """results.json, results.txt, and plots where Matplotlib is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    results.save(folder / "results.json")
    (folder / "results.txt").write_text(render(results), encoding="utf-8")
    draw_plots(results, folder)


if __name__ == "__main__":
    sys.exit(main())
