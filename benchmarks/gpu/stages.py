"""The stages of the check: what each asks of which process, and what it makes of the answers."""

from __future__ import annotations

import importlib.metadata
import os
import random
import re
import shutil
import statistics
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.ceilings import CEILINGS, WITHOUT_DEVICE
from benchmarks.gpu.report import Report, Timing, rows_text
from benchmarks.gpu.rows import CLOSE, DTYPES, ROWS, Shape, distance, fitted, floor_of
from benchmarks.gpu.session import Item
from benchmarks.gpu.toolkit import toolkit_program
from benchmarks.gpu.tools import is_installed, run_pytest, run_sanitizer, run_within
from benchmarks.gpu.variants import GUESTS, MAIN, SWEEP, VARIANTS, Variant, variants_of
from benchmarks.gpu.worker import Process, Worker

PACKAGES = (
    "numpy scipy numba numba-cuda numba-cuda-mlir cuda-core cuda-bindings cuda-toolkit nvidia-nvvm "
    "nvidia-nvjitlink nvidia-cuda-nvrtc cupy-cuda13x cupy-cuda12x torch triton jax jaxlib jax-cuda13-plugin "
    "jax-cuda12-plugin"
)
LONGEST = 40.0  # seconds that one item may take, times the patience
STOPS = 2  # failures of a variant after which its other items are left out
MOST_RESTARTS = 4  # of a process that broke


class NoDeviceError(Exception):
    """There is nothing to check; says why."""


@dataclass
class Check:
    """What the stages share.

    peers: whether torch and JAX run on this processor where emulated
    patience: what all limits of time are multiplied by
    out: the folder of the results; scratch: one for files that processes hand over
    deadline: of the current stage, on the monotonic clock; free: bytes of the device
    reference: by workload, size and dtype the results that others are compared with
    """

    report: Report
    rows: tuple[str, ...]
    scratch: Path
    emulate: bool = False
    peers: bool = False
    patience: float = 1.0
    out: Path | None = None
    deadline: float = 0.0
    free: float = 2.0**30
    architecture: tuple[int, int] = (9, 0)
    reference: dict[tuple[str, str, str], list[Any]] = field(default_factory=dict)

    @property
    def is_device(self) -> bool:
        return not self.emulate

    def left(self) -> float:
        """Seconds of the stage."""
        return self.deadline - time.monotonic()

    def stage(self, name: str, deadline: float, run: Callable[[Check], None]) -> None:
        """Run one stage; whatever it raises is a problem of the report, but that there is no device."""
        started = time.monotonic()
        self.deadline = deadline
        print(f"== {name} ({self.left():.0f} s at most)", flush=True)
        try:
            run(self)
        except NoDeviceError:
            raise
        except Exception:
            text = traceback.format_exc()
            self.report.problems.append(f"{name}: {text.strip().splitlines()[-1]}")
            print(text, flush=True)
        self.report.stages[name] = time.monotonic() - started
        self.write()

    def write(self) -> None:
        if self.out is not None:
            self.report.write(self.out)

    def open_worker(self, kind: str) -> Worker:
        return Process(kind, self.emulate, self.scratch)

    @cached_property
    def plan(self) -> list[tuple[str, Shape, str]]:
        """Workload, shape and dtype of all that is timed: the largest of all first, then from small on.

        float32 comes before float64: where time runs out, each workload has had what matters most.
        """
        found: list[tuple[int, int, tuple[str, Shape, str]]] = []
        for name in self.rows:
            for number, dtype in enumerate(DTYPES):
                shapes: list[Shape] = []
                for shape in ROWS[name].sizes(self.is_device):
                    smaller = fitted(name, shape, dtype, self.free)
                    if smaller is None:
                        self.report.missing.append(f"{name} {_size(shape)} {dtype}: too large for the memory")
                    elif smaller not in shapes:
                        shapes.append(smaller)
                turns = (*range(1, len(shapes)), 0)
                found += [(turn, number, (name, s, dtype)) for turn, s in zip(turns, shapes)]
        return [entry for _, _, entry in sorted(found, key=itemgetter(0, 1))]


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape))


# --- asking -------------------------------------------------------------------------------------------------


class Doubts:
    """Which variants are asked no more: one that broke its process, or, of other libraries, fails as before.

    What is wrong with the machine (no compiler for torch, say) is wrong for every workload, and takes long.
    """

    def __init__(self) -> None:
        self.broke: Counter[str] = Counter()
        self.rows: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.reasons: dict[str, str] = {}

    def note(self, item: Item, answer: Item) -> None:
        """Look at an answer."""
        variant, problem = item.get("variant", ""), answer.get("problem", "")
        if answer.get("broken"):
            self.broke[variant] += 1
            if self.broke[variant] == STOPS:
                self.reasons[variant] = "left out, as it broke its process before"
        elif problem and variant in VARIANTS and not VARIANTS[variant].is_ours:
            rows = self.rows[variant, re.sub(r"\S*/\S*", "", problem)]  # files of a moment have other names
            rows.add(item["row"])
            if len(rows) == STOPS:
                self.reasons[variant] = f"left out, as before: {problem}"


def answers(check: Check, kind: str, items: Sequence[Item]) -> Iterator[tuple[Item, Item]]:
    """Each item with its answer, as long as there is time; a process that broke is followed by another.

    The report names those that are left out.
    """
    worker: Worker | None = None
    doubts, left_out = Doubts(), defaultdict[str, list[Item]](list)
    try:
        for number, item in enumerate(items):
            if check.left() < 1.0 or doubts.broke.total() > MOST_RESTARTS:
                why = "no time was left" if check.left() < 1.0 else f"{kind}'s process broke too often"
                left_out[why] += items[number:]
                return
            if (why := doubts.reasons.get(item.get("variant", ""))) is not None:
                left_out[why].append(item)
                continue
            worker = worker or check.open_worker(kind)
            answer = worker.ask(item, min(check.left(), LONGEST * check.patience))
            if answer.get("broken"):
                worker.close()
                worker = None
            doubts.note(item, answer)
            yield item, answer
    finally:
        check.report.missing += [f"{_items_text(those)}: {why}" for why, those in left_out.items()]
        if worker is not None:
            worker.close()


def _items_text(items: Sequence[Item]) -> str:
    rest = f" and {len(items) - 1} more" if len(items) > 1 else ""
    return f"{_item_text(items[0])}{rest}"


def _item_text(item: Item) -> str:
    shape = [_size(item["shape"])] if "shape" in item else []
    named = [str(item[key]) for key in ("row", "name", "dtype", "variant") if key in item]
    return " ".join([item["do"], *named, *shape])


def in_parallel(check: Check, kind: str, items: Sequence[Item], take: Callable[[Item, Item], None]) -> None:
    """All items, shared out among as many processes as this machine has processors."""
    count = max(1, min(os.cpu_count() or 1, 16, len(items) // 4)) if check.is_device else 1
    lock = threading.Lock()

    def run(own: Sequence[Item]) -> None:
        for item, answer in answers(check, kind, own):
            with lock:
                take(item, answer)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, (items[k::count] for k in range(count))))  # what one raises is raised here


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
    entry = check.report.timing(item["row"], _size(item["shape"]), item["dtype"], item["variant"])
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
