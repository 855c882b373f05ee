"""One system in a process of its own: commands come in as JSON lines, answers leave as JSON lines.

`python -m benchmarks.worker SYSTEM` first says hello, then answers one line for each of

    {"do": "prepare", "workload": "chain", "size": "1e3"}   inputs made, first call timed, two calls compared
    {"do": "time", "seconds": 0.05}                         seconds a call, over calls for about that long
    {"do": "time", "calls": 500}                            the same over so many calls
    {"do": "memory"}                                        bytes that one call adds to the process
    {"do": "pin", "core": 0}                                all threads on one core from now on

and ends with its standard input. An answer with "wrong" or "failed" says why a system cannot be timed; the
process goes on living.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.systems import SYSTEMS, System, versions
from benchmarks.workload import Workload, get_workload

# Relative, and as a share of the largest element: gradients cancel, and each system sums in its own order.
TOLERANCES = {"float64": (1e-8, 1e-9), "float32": (1e-3, 1e-4)}


def difference(name: str, have: Any, want: Any) -> str | None:
    """How a result differs from the reference, or None where it agrees to the tolerance of its dtype."""
    have, want = np.asarray(have), np.asarray(want)
    if have.shape != want.shape:
        return f"{name} has the shape {have.shape} in place of {want.shape}"
    relative, absolute = TOLERANCES.get(have.dtype.name, (0.0, 0.0))
    bound = relative * np.abs(want) + absolute * np.max(np.abs(want), initial=0.0)
    error = np.abs(have - want)
    if np.all(error <= bound):
        return None
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error - bound)))
    return f"{name} is {have.flat[worst]!r} in place of {want.flat[worst]!r} at {worst} ({have.dtype.name})"


Result = tuple[Any, tuple[Any, ...]]


def compare(result: Result, reference: Result) -> str | None:
    """How a value and gradients differ from those of the reference, or None."""
    (have_value, have), (value, gradients) = result, reference
    if len(have) != len(gradients):
        return f"{len(have)} gradients in place of {len(gradients)}"
    pairs = [("the value", have_value, value)]
    pairs += [(f"gradient {k}", h, g) for k, (h, g) in enumerate(zip(have, gradients, strict=True))]
    return next((text for pair in pairs if (text := difference(*pair)) is not None), None)


# Parameters of the C library's `mallopt`, Linux.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


class Worker:
    """The state between commands: the workload at hand, its arguments, the call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.system: System = SYSTEMS[name]
        self.workload: Workload | None = None
        self.built: Callable[..., Any] | None = None
        self.args: tuple[Any, ...] = ()
        self.native: tuple[Any, ...] = ()
        self.workload_name = ""

    def hello(self) -> dict[str, Any]:
        started = time.perf_counter()
        self.system.wake()
        return {"versions": versions(self.name), "wake_seconds": time.perf_counter() - started}

    def prepare(self, workload: str, size: str) -> dict[str, Any]:
        """Make inputs, time the first call, compare its result with the reference."""
        if workload != self.workload_name:
            self.workload, self.workload_name, self.built = get_workload(workload), workload, None
        assert self.workload is not None
        self.args = self.native = ()
        gc.collect()
        self.args = self.workload.inputs(*self.workload.size(size).shape)
        self.native = self.system.convert(self.workload, self.args)
        self.system.first_call = None
        started = time.perf_counter()
        if self.built is None:
            self.built = self.system.build(self.workload)
        result = self.built(*self.native)
        seconds = time.perf_counter() - started
        first_call = seconds if self.system.first_call is None else self.system.first_call
        # Later calls may go another way than the first one, and are what is timed.
        reference = self.workload.by_hand(*self.args)
        for found in (result, self.built(*self.native)):
            wrong = compare(self.system.to_numpy(found), reference)
            if wrong is not None:
                return {"wrong": wrong}
        return {"first_call": first_call}

    def time(self, seconds: float = 0.0, calls: int = 0) -> dict[str, Any]:
        """Mean seconds of a call over so many calls, and how many cores they kept busy."""
        if not calls:
            # A system may compile again at its second call; the best of a few shows how many are wanted.
            estimate = self._run(1)[0]
            for number in (1, 1, 10):
                if estimate < 10 * seconds:
                    estimate = min(estimate, self._run(number)[0])
            calls = max(1, int(seconds / max(estimate, 1e-8)))
            if calls == 1:
                return {"seconds": estimate, "calls": 1, "cores": 1.0}
        taken, cores = self._run(calls)
        return {"seconds": taken, "calls": calls, "cores": cores}

    def _run(self, calls: int) -> tuple[float, float]:
        call, args = self.built, self.native
        assert call is not None
        gc.collect()
        gc.disable()
        processor, started = time.process_time(), time.perf_counter()
        for _ in range(calls):
            call(*args)
        taken, used = time.perf_counter() - started, time.process_time() - processor
        gc.enable()
        return taken / calls, used / max(taken, 1e-9)

    def memory(self) -> dict[str, Any]:
        """Bytes that a call adds at its peak, results included, and the bytes of the results; Linux only."""
        assert self.built is not None and self.workload is not None
        built, native = self.built, self.native
        added, result = peak_growth(lambda: built(*native))
        value, gradients = self.system.to_numpy(result)
        outputs = np.asarray(value).nbytes + sum(np.asarray(g).nbytes for g in gradients)
        if added is not None:
            added += self.system.kept_bytes(self.workload, self.args)
        return {"added": added, "outputs": outputs}

    def pin(self, core: int) -> dict[str, Any]:
        """Put every thread of the process on one core, where the system lets it be done."""
        if hasattr(os, "sched_setaffinity"):
            for thread in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(thread), {core})
        return {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run one command; what goes wrong inside a system is an answer, not the end of the process."""
        command = dict(command)
        method = getattr(self, command.pop("do"))
        try:
            return method(**command)
        except Exception as error:
            traceback.print_exc()
            lines = str(error).strip().splitlines() or [""]
            return {"failed": f"{type(error).__name__}: {lines[0][:200]}"}


def peak_growth(call: Callable[[], Any]) -> tuple[int | None, Any]:
    """By how many bytes the resident memory grows at most while `call` runs, and its result.

    None in place of the bytes where they cannot be seen.
    """
    try:
        library = ctypes.CDLL(None)
        # Freed memory is given back first, or a call would find it and seem to need none; what the call frees
        # while it runs goes back at once too.
        library.mallopt(M_MMAP_THRESHOLD, 1 << 18)
        # A result is held, so that no pool has one to offer; what was dropped may be freed a little later.
        held = call()
        gc.collect()
        time.sleep(0.1)
        library.malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = _status_bytes("VmRSS")
        result = call()
        added = max(0, _status_bytes("VmHWM") - before)
        del held
    except (OSError, AttributeError, TypeError):
        return None, call()
    # As the C library has it by itself once large arrays have come and gone.
    library.mallopt(M_MMAP_THRESHOLD, 1 << 25)
    library.mallopt(M_TRIM_THRESHOLD, 1 << 26)
    return added, result


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def serve(worker: Worker, commands: Iterator[str], answers: TextIO) -> None:
    """Say hello, then answer line by line until the commands end."""

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    say(worker.answer({"do": "hello"}))
    for line in commands:
        say(worker.answer(json.loads(line)))


def main() -> None:
    """Serve the system named on the command line; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Worker(sys.argv[1]), iter(sys.stdin.readline, ""), answers)


if __name__ == "__main__":
    main()
