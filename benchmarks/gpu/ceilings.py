"""What a device can do at best: copy memory, in bytes a second; start a kernel, in seconds of the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.gpu.cpp_kernel import EMPTY, compile_by_nvrtc, load
from benchmarks.gpu.libraries import Library
from benchmarks.gpu.timing import timed

COPIED = 4 * 2**30  # bytes, where a quarter of the free memory is as large
CALLS = 1000
IN_GRAPH = 10


def host_seconds(library: Library, call: Callable[[], Any], count: int = CALLS) -> float:
    """Of one call, while the device works through many."""
    library.wait(call())
    started = time.perf_counter()
    result = None
    for _ in range(count):
        result = call()
    seconds = time.perf_counter() - started
    library.wait(result)
    return seconds / count


def copy_rate(library: Library) -> dict[str, float]:
    """Bytes read and written a second: by the library's copy, and by a kernel of ours."""
    n = int(min(COPIED, library.free_bytes() / 4)) // 8 if library.is_device else 2**12
    source = library.repeat(library.array(np.ones(2**10)), max(1, n // 2**10))
    target = library.repeat(library.array(np.zeros(2**10)), max(1, n // 2**10))
    moved = 2 * 8 * source.shape[0]

    def copy() -> None:
        target[...] = source

    found = {"copy, bytes a second": moved / min(timed(library, copy))}
    if library.is_device:  # much is little for the emulator
        step = tj.jit(lambda x: -x, target=library.target)
        found["copy by tracejit, bytes a second"] = moved / min(
            timed(library, lambda: step(source, out=target))
        )
    return found


def launch_by_tracejit(library: Library) -> dict[str, float]:
    """`x * 2` of a small array: a whole call of ours, which is one launch."""
    step = tj.jit(lambda x: x * 2.0, target=library.target)
    x = library.array(np.ones(64))
    count = CALLS if library.is_device else 3
    return {"launch by tracejit's call, host s": host_seconds(library, lambda: step(x), count)}


def launch_by_cupy(library: Library) -> dict[str, float]:
    """CuPy's elementwise kernel, and a `RawKernel` of its own."""
    x = library.array(np.ones(64))
    found = {"launch by CuPy's x * 2, host s": host_seconds(library, lambda: x * 2.0)}
    kernel, arguments = library.xp.RawKernel(EMPTY, "empty"), _three_arrays(library)
    found["launch by CuPy's RawKernel, host s"] = host_seconds(
        library, lambda: kernel((1,), (64,), arguments)
    )
    return found


def launch_by_core(library: Library) -> dict[str, float]:
    """`cuda.core.launch` of an empty kernel with three addresses, by itself and in replayed graphs."""
    driver: Any = library.driver  # type: ignore[attr-defined]
    code = compile_by_nvrtc(EMPTY, driver.architecture(0))
    core, kernel = driver.core, load(driver, code, "empty")
    grid, stream = core.LaunchConfig(grid=1, block=64), core.Device().create_stream()
    arrays = _three_arrays(library)
    addresses = [x.data.ptr for x in arrays]
    found = {
        "launch by cuda.core, host s": host_seconds(
            library, lambda: core.launch(stream, grid, kernel, *addresses)
        )
    }
    for count in (1, IN_GRAPH):
        builder = stream.create_graph_builder()
        builder.begin_building()
        for _ in range(count):
            core.launch(builder, grid, kernel, *addresses)
        graph = builder.end_building().complete()
        seconds = host_seconds(library, lambda g=graph: g.launch(stream))
        found[f"replay of a graph of {count}, host s"] = seconds
    started = time.perf_counter()
    for _ in range(100):
        graph.launch(stream)
    stream.sync()
    found["a launch in a replayed graph, s"] = (time.perf_counter() - started) / (100 * IN_GRAPH)
    return found


def launch_by_numba(library: Library) -> dict[str, float]:
    """Numba's dispatcher with three arrays of CuPy's."""
    cuda = import_module("numba.cuda")

    @cuda.jit
    def empty(a: Any, b: Any, c: Any) -> None:
        pass

    arguments = _three_arrays(library)
    configured = empty[1, 64]
    seconds = host_seconds(library, lambda: configured(*arguments), CALLS // 5)
    return {"launch by Numba's dispatcher, host s": seconds}


def _three_arrays(library: Library) -> tuple[Any, ...]:
    return tuple(library.array(np.zeros(64, np.float32)) for _ in range(3))


# By name; those behind the first two need a device.
CEILINGS: dict[str, Callable[[Library], dict[str, float]]] = {
    "copy": copy_rate,
    "launch by tracejit": launch_by_tracejit,
    "launch by CuPy": launch_by_cupy,
    "launch by cuda.core": launch_by_core,
    "launch by Numba": launch_by_numba,
}
WITHOUT_DEVICE = ("copy", "launch by tracejit")
