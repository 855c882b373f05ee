"""What a process of the check does: it has one library and answers items, one after another.

An item is a dictionary of plain values with `do`, what to do; so is the answer, which the process that asked
puts into the report. Whatever is raised becomes the answer's `problem`.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.cases import run_case
from benchmarks.gpu.ceilings import CALLS, CEILINGS, host_seconds
from benchmarks.gpu.kernels import compile_kernels
from benchmarks.gpu.libraries import Library, open_library
from benchmarks.gpu.rows import ROWS, arguments_of
from benchmarks.gpu.timing import timed
from benchmarks.gpu.variants import VARIANTS
from tracejit.errors import UnsupportedError

Item = dict[str, Any]
ROTATED = 2**30  # bytes of arguments up to which calls take turns among three sets of them
HOST_SIZE = 1024
MOST_TEXT = 200  # characters of an error that get into the report


class Session:
    """One library, opened by the first item that needs it; keeps the current row, to be timed again."""

    def __init__(self, kind: str, emulate: bool, scratch: Path) -> None:
        self.kind, self.emulate, self.scratch = kind, emulate, scratch
        self.row: tuple[Any, ...] | None = None
        self.sets: list[tuple[Any, ...]] = []
        self.ready: dict[str, Callable[[], Any]] = {}  # by variant: a step at the row, compiled

    @cached_property
    def library(self) -> Library:
        return open_library(self.kind, self.emulate)

    def answer(self, item: Item) -> Item:
        """What was found, or the `problem`; `broken` where the device answers no more."""
        try:
            return getattr(self, f"do_{item['do']}")(item)
        except UnsupportedError as error:
            return {"problem": str(error)}
        except Exception as error:
            print(traceback.format_exc(), flush=True)
            lines = str(error).strip().splitlines() or [""]
            return {"problem": f"{type(error).__name__}: {lines[0][:MOST_TEXT]}", "broken": self.is_broken()}

    def is_broken(self) -> bool:
        """After an access out of bounds a device refuses all that follows, in this process."""
        if "library" not in self.__dict__:
            return False
        try:
            self.library.wait()
            self.forget()
        except Exception:
            return True
        return False

    def forget(self) -> None:
        """Drop the arrays and steps of the current row."""
        self.row, self.sets, self.ready = None, [], {}
        gc.collect()
        self.library.release()

    # --- items ----------------------------------------------------------------------------------------------

    def do_describe(self, item: Item) -> Item:
        """The library's versions and devices."""
        return {"found": self.library.describe(), "free": self.library.free_bytes()}

    def do_ceiling(self, item: Item) -> Item:
        return {"found": CEILINGS[item["name"]](self.library)}

    def do_case(self, item: Item) -> Item:
        run_case(item["name"], item["dtype"], self.library)
        return {}

    def do_kernels(self, item: Item) -> Item:
        """Needs no library: the process has nothing to do with a device."""
        variant, architecture = VARIANTS[item["variant"]], tuple(item["architecture"])
        return compile_kernels(item["row"], tuple(item["shape"]), item["dtype"], variant, architecture)

    def do_measure(self, item: Item) -> Item:
        """The first call, its results, whether the second has the same bits, and the times of more calls."""
        variant, library = VARIANTS[item["variant"]], self.library
        self.take_row(item)
        started = time.perf_counter()
        with variant.within():
            step = variant.build(ROWS[item["row"]].workload(), library)
            with library.poisoned():
                result = step(*self.sets[0])
                library.wait(result)
                first_seconds = time.perf_counter() - started
                again = step(*self.sets[0])
                library.wait(again)
        pairs = list(zip(_leaves(result), _leaves(again), strict=True))
        repeats = all(library.bits_equal(a, b) for a, b in pairs)
        path = self.scratch / f"{self.kind}.npz"
        np.savez(path, *[library.sample(a) for a, _ in pairs])
        del result, again, pairs
        library.release()
        call = self.ready[variant.name] = self.in_turns(step)
        return {
            "first_seconds": first_seconds,
            "repeats": repeats,
            "results": str(path),
            "rounds": timed(library, call),
        }

    def do_again(self, item: Item) -> Item:
        """The times of more calls of a step that was measured before."""
        call = self.ready.get(item["variant"])
        if call is None or self.row != _row_of(item):
            return {"problem": "its step is gone"}
        return {"rounds": timed(self.library, call)}

    def do_host(self, item: Item) -> Item:
        """Seconds of the host for one call at a small size."""
        library, variant = self.library, VARIANTS[item["variant"]]
        given = arguments_of(item["row"], (HOST_SIZE if library.is_device else 64,), "float32")
        arguments = library.arguments(given)
        step = variant.build(ROWS[item["row"]].workload(), library)
        for _ in range(3):
            library.wait(step(*arguments))
        count = CALLS if library.is_device else 3
        return {"seconds": host_seconds(library, lambda: step(*arguments), count)}

    # --- arguments ------------------------------------------------------------------------------------------

    def take_row(self, item: Item) -> None:
        """Have the arguments of a row, in three sets where memory is no matter."""
        row = _row_of(item)
        if self.row == row:
            return
        self.forget()
        given = arguments_of(item["row"], row[1], item["dtype"])
        self.sets = [self.library.arguments(given)]
        size = sum(x.nbytes for x in given.arrays) * given.times
        if self.library.is_device and 3 * size <= ROTATED:
            self.sets += [self.library.arguments(given) for _ in range(2)]
        self.row = row

    def in_turns(self, step: Callable[..., Any]) -> Callable[[], Any]:
        """Calls the step, with the next arguments at each call."""
        sets, position = self.sets, 0

        def call() -> Any:
            nonlocal position
            position = (position + 1) % len(sets)
            return step(*sets[position])

        return call


def _row_of(item: Item) -> tuple[Any, ...]:
    return item["row"], tuple(item["shape"]), item["dtype"]


def _leaves(result: Any) -> list[Any]:
    """The value and the gradients of a step."""
    value, gradients = result
    return [value, *(gradients if isinstance(gradients, (tuple, list)) else (gradients,))]
