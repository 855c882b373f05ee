"""Every step of a program timed by itself, in its place: where its operands have just been computed.

Enters a schedule and the arrays of a call; leaves the seconds of each kernel and library call.
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tracejit.codegen.program import LibraryCall, Program, Segment, build_program
from tracejit.compile import choose
from tracejit.config import Config
from tracejit.errors import IndexOutOfBoundsError
from tracejit.ir import Var
from tracejit.runtime.executable import Bound, Executable
from tracejit.schedule import Schedule

LEAST_ROUNDS, MOST_ROUNDS = 3, 51
BATCH_SECONDS = 2e-4  # of calls that are timed together, where one takes less
LEAST_SECONDS = 2e-3  # of a step's measurement in all
RESOLUTION = 1e-8  # seconds: what is left of a shorter step, its call taken off, is noise
NO_SEGMENT = struct.pack("q", 2**40)  # a number that no segment has: the code returns at once


def time_steps(steps: Program, config: Config, arrays: Sequence[Any], seconds: float) -> list[float]:
    """Seconds of each step of a `separated` program on `arrays`, measured for about `seconds` in all.

    A step runs several times before the next one does; it only writes what it does not read, so each time it
    does the same. What calling it from Python costs is taken off.
    """
    executable = _Timed(steps, config, max(seconds / max(len(steps.calls), 1), LEAST_SECONDS), whole=False)
    return _run_twice(executable, arrays)


def time_call(program: Program, config: Config, arrays: Sequence[Any], seconds: float) -> float:
    """Seconds of all steps at one native call; of a call by way of Python where some steps are NumPy's."""
    return sum(_run_twice(_Timed(program, config, max(seconds, LEAST_SECONDS), whole=True), arrays))


def _run_twice(executable: _Timed, arrays: Sequence[Any]) -> list[float]:
    for is_timed in (False, True):  # the first run binds the code and touches the memory
        executable.is_timed = is_timed
        with suppress(IndexOutOfBoundsError), np.errstate(all="ignore"):
            executable(arrays)
    return executable.seconds


def separated(schedule: Schedule, config: Config) -> Program:
    """The program of a schedule with every step a segment of its own, over all rows at once."""
    program = build_program(schedule, replace(choose(schedule, config), join=False))
    calls: list[Segment | LibraryCall] = []
    number = 0
    for call in program.calls:
        if isinstance(call, LibraryCall):
            calls.append(call)
            continue
        for step in call.steps:
            calls.append(Segment(number, (step,)))
            number += 1
    return replace(program, calls=tuple(calls))


class _Timed(Executable):
    """Runs as usual, and again until it has been timed, for `share` seconds. Only its times count.

    whole: the time of all steps in turn is wanted, not that of each
    """

    def __init__(self, program: Program, config: Config, share: float, whole: bool) -> None:
        super().__init__(program, config)
        self.share = share
        self.whole = whole
        self.is_timed = False
        self.seconds: list[float] = []

    def for_layout(self, layout: Sequence[int]) -> Executable | None:
        """Itself; what BLAS and LAPACK read is packed before anything is timed."""
        found = super().for_layout(layout)
        return found if found is self else None

    def run(self, bound: Bound, inputs: list[Any], into: Mapping[int, Any] | None = None) -> list[Any]:
        if self.whole and bound.whole is None:
            self.time(lambda: Executable.run(self, bound, inputs, into))
            return []  # whoever times looks at no results, which may be large
        return super().run(replace(bound, entry=self.timed(bound)), inputs, into)

    def call_library(self, call: LibraryCall, arrays: dict[Var, Any]) -> None:
        library = partial(super().call_library, call, arrays)
        if self.whole:
            library()
        else:
            self.time(library)

    def timed(self, bound: Bound) -> Callable[[Any, int], None] | None:
        """The same code, each call of which is repeated and timed."""
        entry = bound.entry

        def timed(table: Any, constants: int) -> None:
            assert entry is not None
            nothing = NO_SEGMENT + table[len(NO_SEGMENT) :]
            overhead = measure(partial(entry, nothing, constants), LEAST_SECONDS) if self.is_timed else 0.0
            self.time(partial(entry, table, constants), overhead)

        return timed if entry is not None else None

    def time(self, call: Callable[[], Any], overhead: float = 0.0) -> None:
        """Call once, or note the seconds of a call."""
        if self.is_timed:
            self.seconds.append(max(measure(call, self.share) - overhead, RESOLUTION))
        else:
            call()


def measure(call: Callable[[], Any], seconds: float) -> float:
    """The median seconds of a call in rounds that take about `seconds` together; one call may take longer.

    >>> measure(lambda: None, 1e-4) > 0
    True
    """
    call()
    started = time.perf_counter()
    call()
    once = max(time.perf_counter() - started, 1e-7)
    if once > seconds / LEAST_ROUNDS:
        return once
    batch = max(1, int(BATCH_SECONDS / once))
    times: list[float] = []
    for _ in range(max(LEAST_ROUNDS, min(MOST_ROUNDS, int(seconds / (batch * once))))):
        started = time.perf_counter()
        for _ in range(batch):
            call()
        times.append((time.perf_counter() - started) / batch)
    return statistics.median(times)
