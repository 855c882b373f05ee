"""Everything that only a CUDA device can tell, in one command of less than 8 minutes, without a network.

Stages run one after another, each with a time budget of its own; what fails is written down and the next one
runs: versions, ceilings (rate of a copy, cost of a launch), the tests marked `gpu`, compute-sanitizer, times
of every workload against CuPy by hand, torch, torch.compile and JAX, host time of a call. `--emulate` runs
the same logic at toy sizes through `target="cuda-emu"`, on any machine.

Exit status: 0 where every stage ran and nothing was wrong, 1 where something failed or is missing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.gpu_variants import ROWS, Machine, Variant, bytes_floor, inputs_of, variants_of
from benchmarks.workload import Workload
from tracejit.errors import UnsupportedError
from tracejit.tables import format_table

PACKAGES = ("numpy", "numba", "numba-cuda", "cuda-core", "cuda-bindings", "cuda-toolkit", "nvidia-nvvm")
LIBRARIES = (
    "nvidia-nvjitlink",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "torch",
    "jax",
    "jaxlib",
    "jax-cuda13-plugin",
)
CLOSE = {"float64": 1e-9, "float32": 2e-4}  # relative norm of what two variants may differ by
CALLS = 20


@dataclass
class Timing:
    """A variant of a workload at one size: seconds a call, the least of all rounds; or why there is none."""

    workload: str
    size: str
    dtype: str
    variant: str
    seconds: float | None = None
    first_seconds: float | None = None
    floor_bytes: int = 0
    problem: str = ""


@dataclass
class Report:
    """All that was found; `problems` decide the exit status."""

    versions: dict[str, str] = field(default_factory=dict[str, str])
    missing: list[str] = field(default_factory=list[str])
    ceilings: dict[str, float] = field(default_factory=dict[str, float])
    tests: dict[str, str] = field(default_factory=dict[str, str])
    timings: list[Timing] = field(default_factory=list[Timing])
    host: dict[str, float] = field(default_factory=dict[str, float])
    stages: dict[str, float] = field(default_factory=dict[str, float])
    problems: list[str] = field(default_factory=list[str])


@dataclass
class Check:
    """What the stages share."""

    machine: Machine
    report: Report
    rows: tuple[str, ...]
    deadline: float = 0.0

    def left(self) -> float:
        """Seconds of the stage's budget."""
        return self.deadline - time.monotonic()

    def stage(self, name: str, seconds: float, run: Callable[[Check], None]) -> None:
        """Run one stage; whatever it raises is a problem of the report."""
        print(f"== {name} ({seconds:.0f} s at most)", flush=True)
        started = time.monotonic()
        self.deadline = started + seconds
        try:
            run(self)
        except Exception:
            text = traceback.format_exc()
            self.report.problems.append(f"{name}: {text.strip().splitlines()[-1]}")
            print(text, flush=True)
        self.report.stages[name] = time.monotonic() - started


# --- stages -------------------------------------------------------------------------------------------------


def find_versions(check: Check) -> None:
    """Of everything that takes part, and what is not there."""
    report = check.report
    report.versions = {"python": sys.version.split()[0], "tracejit": tj.__version__}
    for package in (*PACKAGES, *LIBRARIES):
        try:
            report.versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            report.versions[package] = "not installed"
    for module in ("torch", "jax"):
        try:
            importlib.import_module(module)
        except Exception as error:
            report.missing.append(f"{module} ({type(error).__name__}: {error}): its variants are left out")
    report.versions |= check.machine.describe()
    for name, version in report.versions.items():
        print(f"{name:<20} {version}")
    for text in report.missing:
        print(f"missing: {text}")


def measure_ceilings(check: Check) -> None:
    """What the device can do at best: a copy, in bytes a second; a launch, in seconds of the host."""
    machine = check.machine
    n = 2**29 if machine.is_device else 2**10
    source, target = machine.zeros(n, "float64"), machine.zeros(n, "float64")
    seconds = machine.time(partial(machine.copy, target, source), CALLS)
    check.report.ceilings["copy, bytes a second"] = 16 * n / seconds
    del source, target
    machine.release()
    step = tj.jit(lambda x: x * 2.0, target=machine.target)
    x = machine.array(np.ones(64))
    check.report.ceilings["tracejit, one launch, seconds of the host"] = host_seconds(check, lambda: step(x))
    if machine.is_device:
        check.report.ceilings["CuPy, x * 2, seconds of the host"] = host_seconds(check, lambda: x * 2.0)
    for name, value in check.report.ceilings.items():
        print(f"{name:<44} {value:.4g}")


def host_seconds(check: Check, call: Callable[[], Any]) -> float:
    """Of one call, while the device works through many."""
    count = 1000 if check.machine.is_device else 3
    call()
    check.machine.synchronize()
    started = time.perf_counter()
    for _ in range(count):
        call()
    seconds = time.perf_counter() - started
    check.machine.synchronize()
    return seconds / count


def run_tests(check: Check) -> None:
    """The tests marked `gpu`, in a process of their own; then a few under compute-sanitizer."""
    if not check.machine.is_device:
        check.report.tests["pytest -m gpu"] = "left out: no device"
        return
    needed = [name for name in ("pytest", "hypothesis") if importlib.util.find_spec(name) is None]
    if needed:
        check.report.missing.append(f"{', '.join(needed)}: the tests are left out")
        return
    pytest = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    pytest.append("tests/runtime/cuda/test_gpu.py")
    run_tool(check, "pytest -m gpu", pytest)
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        check.report.tests["compute-sanitizer"] = "left out: not on the path"
        return
    for tool in ("memcheck", "racecheck"):
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *pytest, "-k", "sanitizer"]
        run_tool(check, f"compute-sanitizer {tool}", command)


def run_tool(check: Check, name: str, command: list[str]) -> None:
    """A command within what is left of the stage's time."""
    root = Path(__file__).parents[1]
    limit = max(check.left(), 5.0)
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        check.report.tests[name] = f"stopped after {limit:.0f} s"
        return
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    check.report.tests[name] = last
    print(f"{name}: {last}")
    if done.returncode:
        check.report.problems.append(f"{name}: exit status {done.returncode}, {last}")
        print(done.stdout[-6000:], done.stderr[-2000:], sep="\n")


def measure_workloads(check: Check) -> None:
    """Every workload and size with every variant, small sizes first, so that a late stop leaves a table."""
    planned = [
        (level, name, dtype)
        for level in range(max(len(ROWS[n].sizes(check.machine.is_device)) for n in check.rows))
        for name in check.rows
        for dtype in ("float32", "float64")
    ]
    for level, name, dtype in planned:
        sizes = ROWS[name].sizes(check.machine.is_device)
        if level < len(sizes):
            if check.left() < 0:
                check.report.missing.append(f"{name} {sizes[level]} {dtype}: no time was left")
                continue
            measure_row(check, name, sizes[level], dtype)


def measure_row(check: Check, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """One workload at one size: all variants, checked against the first and timed in turns."""
    machine, row = check.machine, ROWS[name]
    workload = row.workload()
    size = "x".join(map(str, shape))
    host = inputs_of(row, workload, shape, dtype)
    floor = bytes_floor(workload, machine.grown(row, host, shape))
    reference: list[np.ndarray[Any, Any]] | None = None
    for variant in variants_of(workload, machine):
        entry = Timing(name, size, dtype, variant.name, floor_bytes=floor)
        check.report.timings.append(entry)
        try:
            found = measure_variant(check, entry, variant, row, workload, host, shape)
            if reference is None:
                reference = found
            elif (wrong := difference(found, reference, dtype)) is not None:
                entry.problem = wrong
                check.report.problems.append(f"{name} {size} {dtype} {variant.name}: {wrong}")
        except Exception as error:
            entry.problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            if variant.is_ours:
                check.report.problems.append(f"{name} {size} {dtype} {variant.name}: {entry.problem}")
        gc.collect()
        machine.release()
    print(rows_text(check.report, name, size, dtype), flush=True)


def measure_variant(
    check: Check,
    entry: Timing,
    variant: Variant,
    row: Any,
    workload: Workload,
    host: tuple[Any, ...],
    shape: tuple[int, ...],
) -> list[np.ndarray[Any, Any]]:
    """Fill in the times; returns the value and gradients as NumPy arrays."""
    arguments = variant.convert(check.machine.grown(row, host, shape))
    started = time.perf_counter()
    step = variant.build()
    result = step(*arguments)
    variant.wait(result)
    entry.first_seconds = time.perf_counter() - started
    found = variant.to_numpy(result)
    del result
    rounds = 2 if check.machine.is_device else 1
    times = [variant.time(lambda: step(*arguments), CALLS) for _ in range(rounds)]
    entry.seconds = min(times)
    return found


def difference(found: list[Any], expected: list[Any], dtype: str) -> str | None:
    """How results differ by their norm, or None."""
    for k, (x, y) in enumerate(zip(found, expected, strict=True)):
        x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
        distance = float(np.linalg.norm(x - y)) / (float(np.linalg.norm(y)) or 1.0)
        if not distance <= CLOSE[dtype]:
            return f"result {k} is off by {distance:.1e} of its norm"
    return None


def measure_host(check: Check) -> None:
    """Microseconds of the host for one call at a small size, by the arrays that it is given."""
    machine = check.machine
    n = 1024 if machine.is_device else 64
    row = ROWS["bce"]
    workload = row.workload()
    host = inputs_of(row, workload, (n,), "float32")
    for variant in variants_of(workload, machine):
        if check.left() < 0:
            return
        try:
            arguments, step = variant.convert(host), variant.build()
            step(*arguments)
            check.report.host[variant.name] = host_seconds(check, lambda a=arguments, f=step: f(*a))
        except Exception as error:
            check.report.missing.append(f"host time of {variant.name}: {type(error).__name__}: {error}")
    for name, seconds in check.report.host.items():
        print(f"{name:<16} {1e6 * seconds:10.1f} us of the host a call")


# --- text ---------------------------------------------------------------------------------------------------


def rows_text(report: Report, name: str, size: str, dtype: str) -> str:
    """The table of one workload at one size."""
    chosen = [t for t in report.timings if (t.workload, t.size, t.dtype) == (name, size, dtype)]
    fused = next((t.seconds for t in chosen if t.variant == "fused"), None)
    rate = report.ceilings.get("copy, bytes a second")
    table = [(f"{name} {size} {dtype}", "ms", "floor ms", "% of copy rate", "ratio", "first call s", "")]
    for t in chosen:
        floor = t.floor_bytes / rate if rate else None
        table.append(
            (
                t.variant,
                "" if t.seconds is None else f"{1e3 * t.seconds:.4f}",
                "" if floor is None else f"{1e3 * floor:.4f}",
                "" if floor is None or t.seconds is None else f"{100 * floor / t.seconds:.0f}",
                "" if fused is None or t.seconds is None else f"{t.seconds / fused:.2f}",
                "" if t.first_seconds is None else f"{t.first_seconds:.2f}",
                t.problem,
            )
        )
    return format_table(table)


def report_text(report: Report) -> str:
    """Everything, as it is written beside the JSON."""
    lines = [f"{name:<44} {value}" for name, value in report.versions.items()]
    lines += [f"{name:<44} {value:.4g}" for name, value in report.ceilings.items()]
    lines += [f"{name:<44} {text}" for name, text in report.tests.items()]
    seen = dict.fromkeys((t.workload, t.size, t.dtype) for t in report.timings)
    tables = [rows_text(report, *key) for key in seen]
    host = [f"{name:<16} {1e6 * s:10.1f} us of the host a call" for name, s in report.host.items()]
    stages = [f"{name:<16} {s:10.1f} s" for name, s in report.stages.items()]
    ends = [f"missing: {text}" for text in report.missing] + [f"PROBLEM: {text}" for text in report.problems]
    return "\n\n".join(["\n".join(part) for part in (lines, tables, host, stages, ends) if part])


def draw(report: Report, path: Path) -> bool:
    """Bars of the time of each variant over the fused one's, at the largest size of each row."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    last = {(t.workload, t.dtype): t.size for t in report.timings if t.seconds}
    if not last:
        return False
    figure, axes = plt.subplots(figsize=(10, 0.5 * len(last) + 2))
    names = list(dict.fromkeys(t.variant for t in report.timings))
    for k, variant in enumerate(names):
        points = [
            (y, t.seconds / fused.seconds)
            for y, (key, size) in enumerate(last.items())
            for t in report.timings
            for fused in report.timings
            if (t.workload, t.dtype, t.size) == (*key, size) == (fused.workload, fused.dtype, fused.size)
            and t.variant == variant
            and fused.variant == "fused"
            and t.seconds
            and fused.seconds
        ]
        axes.scatter([x for _, x in points], [y for y, _ in points], label=variant, color=f"C{k}")
    axes.set_yticks(range(len(last)), [f"{name} {dtype} {size}" for (name, dtype), size in last.items()])
    axes.set_xscale("log")
    axes.set_xlabel("time of a call over that of the fused step")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return True


# --- the command --------------------------------------------------------------------------------------------

STAGES: tuple[tuple[str, float, Callable[[Check], None]], ...] = (
    ("versions", 40.0, find_versions),
    ("ceilings", 20.0, measure_ceilings),
    ("tests", 130.0, run_tests),
    ("workloads", 230.0, measure_workloads),
    ("host time", 30.0, measure_host),
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--out", type=Path, help="folder for gpu_check.json, gpu_check.txt and gpu_check.svg")
    parser.add_argument("--emulate", action="store_true", help="toy sizes through cuda-emu, on any machine")
    parser.add_argument("--rows", nargs="+", default=tuple(ROWS), choices=tuple(ROWS), metavar="ROW")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run all stages; 0 where nothing failed."""
    options = parse(arguments)
    try:
        machine = Machine.open(emulate=options.emulate)
    except UnsupportedError as error:
        print(f"This machine cannot run the check.\n{error}")
        print("python -m benchmarks.gpu_check --emulate runs its logic here, at toy sizes.")
        return 1
    check = Check(machine, Report(), tuple(options.rows))
    for name, seconds, run in STAGES:
        check.stage(name, seconds, run)
    report = check.report
    print(f"\n{report_text(report)}")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        written = json.dumps(asdict(report), indent=1) + "\n"
        (options.out / "gpu_check.json").write_text(written, encoding="utf-8")
        (options.out / "gpu_check.txt").write_text(report_text(report) + "\n", encoding="utf-8")
        draw(report, options.out / "gpu_check.svg")
    print("ok" if not report.problems else f"{len(report.problems)} problems", flush=True)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
