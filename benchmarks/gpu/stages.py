"""The stages of the check: what each asks of which process, and what it makes of the answers."""

from __future__ import annotations

import importlib.metadata
import os
import random
import shutil
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.ceilings import CEILINGS, WITHOUT_DEVICE
from benchmarks.gpu.check import Check, NoDeviceError, answers, in_parallel, size_text
from benchmarks.gpu.report import Timing, rows_text
from benchmarks.gpu.rows import CLOSE, DTYPES, Shape, distance, floor_of
from benchmarks.gpu.session import Item
from benchmarks.gpu.toolkit import toolkit_program
from benchmarks.gpu.tools import is_installed, run_pytest, run_sanitizer, run_within
from benchmarks.gpu.variants import GUESTS, MAIN, SWEEP, VARIANTS, Variant, variants_of

PACKAGES = (
    "numpy scipy numba numba-cuda numba-cuda-mlir cuda-core cuda-bindings cuda-toolkit nvidia-nvvm "
    "nvidia-nvjitlink nvidia-cuda-nvrtc cupy-cuda13x cupy-cuda12x torch triton jax jaxlib jax-cuda13-plugin "
    "jax-cuda12-plugin"
)

# --- stages -------------------------------------------------------------------------------------------------


def find_versions(check: Check) -> None:
    """Of everything that takes part, and the device; NoDeviceError where there is none."""
    report = check.report
    report.versions = {"python": sys.version.split()[0], "tracejit": tj.__version__}
    for package in PACKAGES.split():
        try:
            report.versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            report.versions[package] = "not installed"
    compilers = [x for x in (os.environ.get("CC"), *map(shutil.which, ("gcc", "clang"))) if x]
    report.versions["C compiler"] = compilers[0] if compilers else "none, which torch.compile needs"
    report.versions["nvcc"] = toolkit_program("nvcc") or "not found"
    for _, answer in answers(check, "cupy", [{"do": "describe"}]):
        if "problem" in answer:
            raise NoDeviceError(answer["problem"])
        report.versions |= answer["found"]
        check.free = answer["free"]
    if "compute capability" in report.versions:
        major, minor = report.versions["compute capability"].split(".")
        check.architecture = int(major), int(minor)
    for name, version in report.versions.items():
        print(f"{name:<24} {version}")


def make_kernels(check: Check) -> None:
    """Compile all kernels of ours, on all processors: the other stages find them in the cache folder."""
    items = [
        {"do": "kernels", "row": name, "shape": shape, "dtype": dtype, "variant": variant.name}
        for name, shape, dtype in check.plan
        for variant in variants_of(name, "cupy", (*MAIN, *SWEEP), check.is_device)
        if variant.is_ours
    ]
    failed: set[str] = set()

    def take(item: Item, answer: Item) -> None:
        entry = entry_of(check, item)
        if "problem" not in answer:
            entry.launches, entry.library_calls = answer["launches"], answer["library_calls"]
            entry.bytes_moved = answer["bytes_moved"]
            entry.compile_seconds = answer["compile_seconds"]
        elif (text := f"{item['row']} {item['dtype']} {item['variant']}: {answer['problem']}") not in failed:
            failed.add(text)
            check.report.problems.append(f"kernels of {text}")

    in_parallel(check, "kernels", [{**item, "architecture": check.architecture} for item in items], take)
    seconds = [t.compile_seconds for t in check.report.timings if t.compile_seconds is not None]
    launches = [t.launches for t in check.report.timings if t.variant == "fused" and t.launches is not None]
    print(f"{len(items)} steps, {sum(seconds):.1f} s of compiling; launches of the fused ones: {launches}")


def measure_ceilings(check: Check) -> None:
    """What the device can do at best."""
    names = list(CEILINGS) if check.is_device else list(WITHOUT_DEVICE)
    for item, answer in answers(check, "cupy", [{"do": "ceiling", "name": name} for name in names]):
        if "problem" in answer:
            check.report.missing.append(f"ceiling {item['name']}: {answer['problem']}")
        for name, value in answer.get("found", {}).items():
            check.report.ceilings[name] = value
            print(f"{name:<44} {value:.4g}", flush=True)


def run_cases(check: Check) -> None:
    """One tiny case of each shape of kernels, against this processor."""
    items = [{"do": "case", "name": name, "dtype": dtype} for name in CASES for dtype in DTYPES]
    right = 0
    for item, answer in answers(check, "cupy", items):
        right += "problem" not in answer
        if "problem" in answer:
            check.report.problems.append(f"case {item['name']} {item['dtype']}: {answer['problem']}")
    check.report.tests["cases"] = f"{right} of {len(items)} are right"
    print(f"cases: {check.report.tests['cases']}", flush=True)


def run_tests(check: Check) -> None:
    """The tests marked `gpu`."""
    if check.is_device:
        run_pytest(check.report, check.scratch, check.left)
    else:
        check.report.tests["pytest -m gpu"] = "left out: no device"


def run_checkers(check: Check) -> None:
    """The cases under compute-sanitizer."""
    if check.is_device:
        run_sanitizer(check.report, check.scratch, check.left)
    else:
        check.report.tests["compute-sanitizer"] = "left out: no device"


def measure_library(check: Check, kind: str) -> None:
    """Everything of one library: the host's time for a small call, then all workloads."""
    if not _is_there(check, kind):
        return
    chosen = (*MAIN, *GUESTS)
    hosts = [
        {"do": "host", "row": "bce", "variant": v.name}
        for v in variants_of("bce", kind, chosen, check.is_device)
    ]
    items = [*hosts, *measuring_items(check, kind, MAIN)]
    # What compiles long comes last, so that time runs out for its small sizes alone.
    take_all(check, kind, sorted(items, key=lambda item: item["variant"] == "torch.compile"))


def measure_sweep(check: Check) -> None:
    """Kernels of ours that take other numbers of elements at once, or Numba's arrays, at the largest size."""
    largest: dict[tuple[str, str], tuple[str, Shape, str]] = {}
    for name, shape, dtype in check.plan:
        largest.setdefault((name, dtype), (name, shape, dtype))
    plan = list(largest.values())
    take_all(check, "cupy", measuring_items(check, "cupy", SWEEP, plan))


def draw_plots(check: Check) -> None:
    """Pictures beside the table, drawn by another process: the first use of Matplotlib can take its time."""
    if check.out is None:
        return
    if not is_installed("matplotlib"):
        check.report.missing.append("matplotlib is not installed: there are no pictures")
        return
    command = [sys.executable, "-m", "benchmarks.gpu.plots", str(check.out.resolve())]
    output, status = run_within({"plots": command}, check.scratch, check.left)["plots"]
    print(output, end="", flush=True)
    if status != 0:
        check.report.missing.append(f"pictures: {'no time was left' if status is None else output.strip()}")


# --- measuring ----------------------------------------------------------------------------------------------


def _is_there(check: Check, kind: str) -> bool:
    report = check.report
    if kind == "cupy":
        return True
    if check.emulate and not check.peers:
        report.tests[kind] = "left out: --peers runs it on this processor"
        return False
    if not is_installed(kind):
        report.missing.append(f"{kind} is not installed: its variants are left out")
        return False
    for _, answer in answers(check, kind, [{"do": "describe"}]):
        if "problem" in answer:
            report.missing.append(f"{kind}: {answer['problem']}; its variants are left out")
            return False
        report.versions |= {k: v for k, v in answer["found"].items() if k not in report.versions}
    return True


def measuring_items(
    check: Check,
    kind: str,
    chosen: Sequence[Variant],
    plan: Sequence[tuple[str, Shape, str]] | None = None,
) -> list[Item]:
    """All variants of a row once, then again in another order."""
    found: list[Item] = []
    for name, shape, dtype in check.plan if plan is None else plan:
        variants = variants_of(name, kind, chosen, check.is_device)
        items = [{"row": name, "shape": shape, "dtype": dtype, "variant": v.name} for v in variants]
        found += [{"do": "measure", **item} for item in items]
        if check.is_device:
            again = [{"do": "again", **item} for item in items]
            random.Random(len(found)).shuffle(again)
            found += again
    return found


def take_all(check: Check, kind: str, items: Sequence[Item]) -> None:
    """Ask all items and put the answers into the report; the table of a row is printed when it is done."""
    row: tuple[str, str, str] | None = None
    for item, answer in answers(check, kind, items):
        if item["do"] == "host":
            take_host(check, item, answer)
            continue
        entry = entry_of(check, item)
        if row is not None and row != entry.key:
            print(rows_text(check.report, row), flush=True)
            check.write()
        row = entry.key
        (take_measured if item["do"] == "measure" else take_again)(check, entry, answer)
    if row is not None:
        print(rows_text(check.report, row), flush=True)


def entry_of(check: Check, item: Item) -> Timing:
    entry = check.report.timing(item["row"], size_text(item["shape"]), item["dtype"], item["variant"])
    if not entry.floor_bytes:
        entry.floor_bytes = floor_of(item["row"], tuple(item["shape"]), item["dtype"])
    return entry


def take_host(check: Check, item: Item, answer: Item) -> None:
    name, report = item["variant"], check.report
    if "problem" not in answer:
        report.host[name] = answer["seconds"]
        print(f"{name:<32} {1e6 * answer['seconds']:10.1f} us of the host a call", flush=True)
    else:
        found = report.problems if VARIANTS[name].is_ours else report.missing
        found.append(f"host time of {name}: {answer['problem']}")


def take_measured(check: Check, entry: Timing, answer: Item) -> None:
    """Times and results; ours must be right, repeat its bits, and agree with the others."""
    report, is_ours = check.report, VARIANTS[entry.variant].is_ours
    name = " ".join((*entry.key, entry.variant))
    if "problem" in answer:
        entry.problem = answer["problem"]
        (report.problems if is_ours else report.missing).append(f"{name}: {entry.problem}")
        return
    entry.first_seconds, entry.repeats = answer["first_seconds"], answer["repeats"]
    take_again(check, entry, answer)
    if is_ours and not entry.repeats:
        report.problems.append(f"{name}: two calls gave other bits")
    with np.load(answer["results"]) as kept:
        found = [kept[key] for key in kept.files]
    reference = check.reference.setdefault(entry.key, found)
    if reference is not found and (wrong := difference(found, reference, entry.dtype)) is not None:
        entry.problem = wrong
        report.problems.append(f"{name}: {wrong}")


def take_again(check: Check, entry: Timing, answer: Item) -> None:
    if "problem" in answer:
        return
    entry.rounds += answer["rounds"]
    median = statistics.median(answer["rounds"])
    entry.seconds = median if entry.seconds is None else min(entry.seconds, median)


def difference(found: Sequence[Any], expected: Sequence[Any], dtype: str) -> str | None:
    """How results differ by their norm, or None."""
    for k, (x, y) in enumerate(zip(found, expected, strict=True)):
        away = distance(x, y)
        if not away <= CLOSE[dtype]:
            return f"result {k} is off by {away:.1e} of its norm"
    return None
