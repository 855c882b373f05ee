"""A check under way: what its stages share, and how they ask processes."""

from __future__ import annotations

import os
import re
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

from benchmarks.gpu.report import Report
from benchmarks.gpu.rows import DTYPES, ROWS, Shape, fitted
from benchmarks.gpu.session import Item
from benchmarks.gpu.variants import VARIANTS
from benchmarks.gpu.worker import Process, Worker

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
                        self.report.missing.append(
                            f"{name} {size_text(shape)} {dtype}: too large for the memory"
                        )
                    elif smaller not in shapes:
                        shapes.append(smaller)
                turns = (*range(1, len(shapes)), 0)
                found += [(turn, number, (name, s, dtype)) for turn, s in zip(turns, shapes)]
        return [entry for _, _, entry in sorted(found, key=itemgetter(0, 1))]


def size_text(shape: Shape) -> str:
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
    shape = [size_text(item["shape"])] if "shape" in item else []
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
