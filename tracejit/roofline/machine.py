"""What this machine can do, measured once and kept in the cache folder: bytes and flops a second.

Leaves a `Machine`: the bandwidth of each cache and of memory, and the rate of multiply-adds.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracejit.config import Config
from tracejit.roofline.ceiling_code import FMA_F32, FMA_F64, READ, TRIAD, UNROLLED, ceiling_text
from tracejit.runtime import workspace
from tracejit.runtime.cache import get_machinery, load_text, store_text
from tracejit.runtime.native import host_description
from tracejit.tables import align, readable_count, readable_size

FORMAT = 1  # of what is kept on disk
SWEEPS, ROUNDS = 3, 3  # the best counts: a ceiling is what the machine can do, not what others leave of it
ROUND_SECONDS = 0.008
LARGEST_BYTES = 512 * 2**20  # of the arrays that memory is measured with
LEAST_BYTES = 64 * 2**20
USUAL_CACHES = (("L1", 32 * 1024), ("L2", 512 * 1024))  # where the system does not tell


@dataclass(frozen=True)
class Level:
    """A cache, or memory: `size` in bytes, of all threads together (0: memory has no end).

    read: bytes a second of a sum over an array; triad: of c = a + s * b, all three arrays counted
    """

    name: str
    size: int
    read: float
    triad: float

    def bandwidth(self, read: int, written: int) -> float:
        """Bytes a second for a kernel that reads and writes so much."""
        return self.read if written * 8 < read else self.triad


@dataclass(frozen=True)
class Machine:
    """Ceilings, with `threads` threads at once.

    levels: from the smallest cache to memory
    f64, f32: flops a second of multiply-adds that depend on nothing in memory
    """

    name: str
    threads: int
    levels: tuple[Level, ...]
    f64: float
    f32: float

    def level_of(self, working_set: int) -> Level:
        """The smallest level that holds so many bytes."""
        return next(
            (level for level in self.levels if level.size and working_set <= level.size), self.levels[-1]
        )

    def __str__(self) -> str:
        title = f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        rows = [("", "size", "read", "triad")]
        for level in self.levels:
            size = readable_size(level.size) if level.size else ""
            read, triad = (readable_count(rate, "B/s") for rate in (level.read, level.triad))
            rows.append((level.name, size, read, triad))
        rates = " ".join(f"{kind} {readable_count(getattr(self, kind), 'flop/s')}" for kind in ("f64", "f32"))
        return "\n".join([title, *align(rows, right=(1, 2, 3)), f"multiply-adds: {rates}"])


_measured: dict[int, Machine] = {}


def measured_machine(threads: int = 1, config: Config | None = None) -> Machine:
    """The ceilings of this machine: from this process, from the cache folder, or measured now.

    Measuring takes about a second. The folder keeps the result under the name of the machine and the
    processor's features.

    >>> machine = measured_machine()
    >>> [level.name for level in machine.levels][0], machine.levels[-1].name
    ('L1', 'memory')
    >>> machine.f64 > 0
    True
    """
    if threads not in _measured:
        config = config or Config.from_environment()
        name = _file_name(threads)
        machine = _decode(load_text(config, name))
        if machine is None:
            machine = measure_machine(threads, config)
            store_text(config, name, json.dumps(asdict(machine)))
        _measured[threads] = machine
    return _measured[threads]


def _file_name(threads: int) -> str:
    facts = (FORMAT, platform.node(), os.cpu_count(), host_description(), cache_sizes(), threads)
    return f"machine-{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.json"


def _decode(text: str | None) -> Machine | None:
    """What `measured_machine` kept; None where it is not that."""
    try:
        found = json.loads(text or "")
        levels = tuple(
            Level(str(x["name"]), int(x["size"]), float(x["read"]), float(x["triad"]))
            for x in found["levels"]
        )
        machine = Machine(
            str(found["name"]), int(found["threads"]), levels, float(found["f64"]), float(found["f32"])
        )
    except (ValueError, KeyError, TypeError):
        return None
    rates = (machine.f64, machine.f32, *[r for level in levels for r in (level.read, level.triad)])
    return machine if levels and all(rate > 0 for rate in rates) else None


# --- measuring ----------------------------------------------------------------------------------------------


def measure_machine(threads: int, config: Config) -> Machine:
    """Run the code of `ceiling_code` on arrays that fit each level, in so many threads at once."""
    bits, registers = _vector_registers()
    code = get_machinery(ceiling_text(bits // 8, registers), config)
    caches = cache_sizes()
    largest = caches[-1][1]
    places = [(name, size, max(size // 2, 2 * below)) for (name, size), below in zip(caches, _below(caches))]
    places.append(("memory", 0, min(max(4 * largest, LEAST_BYTES), LARGEST_BYTES)))
    shared = len(places) - 1 if len(caches) < 3 else len(places) - 2  # the last cache and memory
    shares = [
        footprint // threads if k >= shared else footprint for k, (_, _, footprint) in enumerate(places)
    ]
    width = {FMA_F64: 64, FMA_F32: 32}
    best: dict[tuple[int, int], float] = {}
    for _ in range(SWEEPS):
        for k, share in enumerate(shares):
            for which in (READ, TRIAD):
                best[k, which] = max(best.get((k, which), 0.0), _bandwidth(code, which, share, threads))
        for which in (FMA_F64, FMA_F32):
            rate = _rate(code, which, 2 * registers * bits // width[which], threads)
            best[which, which] = max(best.get((which, which), 0.0), rate)
    # What a larger memory was seen to give, a smaller one gives too.
    reached = [
        [max(best[j, which] for j in range(k, len(places))) for which in (READ, TRIAD)]
        for k in range(len(places))
    ]
    levels = [
        Level(name, size if k >= shared else size * threads, *rates)
        for k, ((name, size, _), rates) in enumerate(zip(places, reached))
    ]
    rates = [best[which, which] for which in (FMA_F64, FMA_F32)]
    return Machine(processor_name(), threads, tuple(levels), *rates)


def _below(caches: Sequence[tuple[str, int]]) -> list[int]:
    return [0, *[size for _, size in caches[:-1]]]


def _bandwidth(code: Callable[..., None], which: int, footprint: int, threads: int) -> float:
    """Bytes a second; the arrays take `footprint` bytes together."""
    arrays = 1 if which == READ else 3
    step = UNROLLED * 8
    n = max(footprint // arrays // 8 // step, 1) * step
    calls: list[_Call] = []
    for _ in range(threads):
        held = [workspace.aligned(8 * n).view(np.float64) for _ in range(arrays)]
        for array in held:
            array.fill(1.0)
        places = held if arrays == 3 else [held[0], held[0], workspace.aligned(8 * step).view(np.float64)]
        calls.append(_Call(code, which, places, n))
    return _best_rate(calls, 8 * n * arrays)


def _rate(code: Callable[..., None], which: int, flops: int, threads: int) -> float:
    """Flops a second, where a trip makes so many."""
    calls: list[_Call] = []
    for _ in range(threads):
        room = workspace.aligned(64 * 64).view(np.float64)
        calls.append(_Call(code, which, [room, room, room], 0))
    return _best_rate(calls, flops)


class _Call:
    """A call of the measuring code, whose arrays it keeps alive."""

    def __init__(self, code: Callable[..., None], which: int, arrays: list[Any], n: int) -> None:
        self.code = code
        self.arrays = arrays
        self.head = struct.pack("5q", which, *[a.ctypes.data for a in arrays], n)
        self.numbers = (ctypes.c_double * 2)(0.999, 0.001)

    def run(self, times: int) -> float:
        """Seconds of so many passes or trips."""
        table = self.head + struct.pack("q", times)
        started = time.perf_counter()
        self.code(table, ctypes.addressof(self.numbers))
        return time.perf_counter() - started


def _best_rate(calls: Sequence[_Call], amount: int) -> float:
    """Units a second in all calls together, each with a thread of its own; a pass does `amount` units."""
    times = 1
    while calls[0].run(times) < ROUND_SECONDS / 2 and times < 2**40:
        times *= 2
    return max(amount * times * len(calls) / _together(calls, times) for _ in range(ROUNDS))


def _together(calls: Sequence[_Call], times: int) -> float:
    """Seconds until the last one is done."""
    if len(calls) == 1:
        return calls[0].run(times)
    barrier = threading.Barrier(len(calls))
    ends: list[tuple[float, float]] = []

    def work(call: _Call) -> None:
        barrier.wait()
        started = time.perf_counter()
        call.run(times)
        ends.append((started, time.perf_counter()))

    workers = [threading.Thread(target=work, args=(call,)) for call in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(end for _, end in ends) - min(start for start, _ in ends)


# --- the processor ------------------------------------------------------------------------------------------


def _vector_registers() -> tuple[int, int]:
    """Bits of a vector register, and how many accumulators hide the latency of a multiply-add."""
    description = host_description()
    if "+avx512f" in description:
        return 512, 24
    if "+avx" in description:
        return 256, 12
    return 128, 24 if platform.machine().lower() in ("aarch64", "arm64") else 12


def cache_sizes() -> tuple[tuple[str, int], ...]:
    """Name and bytes of each data cache that the first core uses, the smallest first."""
    found: dict[str, int] = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = ((folder / n).read_text().strip() for n in ("type", "level", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and size[:-1].isdigit():
            found[f"L{level}"] = int(size[:-1]) * {"K": 1024, "M": 2**20}.get(size[-1], 1)
    usual = dict(USUAL_CACHES)
    return tuple(sorted((found or usual).items(), key=lambda item: item[1]))


def processor_name() -> str:
    """What the system calls the processor, and what LLVM does."""
    name = ""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        name = platform.processor()
    known = host_description().split()[1]
    return f"{name} ({known})" if name else known
