"""The kernels of a variant, made before anything is timed: how many, and compiled into the cache folder.

Needs no device, so that all processors of the machine can do it at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import tracejit as tj
from benchmarks.gpu.rows import ROWS, Shape, arguments_of
from benchmarks.gpu.variants import Variant
from tracejit.codegen.cuda.launches import Launch
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.codegen.program import bytes_moved
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.runtime.cuda.arrays import stand_in
from tracejit.runtime.cuda.compiler import CudaDriver
from tracejit.runtime.cuda.kernels import find_cubin


@dataclass(frozen=True)
class Kernels:
    """What runs a step: launches, the number of library calls, and the bytes that all move at least."""

    launches: list[Launch]
    library_calls: int
    bytes_moved: int


def kernels_of(name: str, shape: Shape, dtype: str, variant: Variant) -> Kernels:
    """Of a step on arrays that lie there one after another."""
    workload, given = ROWS[name].workload(), arguments_of(name, shape, dtype)
    arguments = [stand_in(x.dtype, given.shape(k)) for k, x in enumerate(given.arrays)]
    with variant.within():
        step: Any = tj.grad_jit(workload.loss, argnums=workload.argnums, target="cuda-emu")
        lowered, _ = step.lower(*arguments)
        fuse = variant.name != "unfused"
        executable: Any = run_stages(lowered.graph, fuse=fuse, target="cuda-emu").executable
        found = executable.launches((CONTIGUOUS,) * len(executable.program.inputs))
    calls = len(executable.device_program.steps) - len(found)
    return Kernels(found, calls, bytes_moved(executable.program))


def compile_kernels(
    name: str, shape: Shape, dtype: str, variant: Variant, architecture: tuple[int, int]
) -> dict[str, Any]:
    """What `kernels_of` finds, and seconds of compiling; None where numba-cuda is not installed."""
    found = kernels_of(name, shape, dtype, variant)
    answer: dict[str, Any] = {
        "launches": len(found.launches),
        "library_calls": found.library_calls,
        "bytes_moved": found.bytes_moved,
        "compile_seconds": None,
    }
    if find_spec("numba_cuda") is not None:
        driver, config = CudaDriver(None, None), Config.from_environment()
        started = time.perf_counter()
        for launch in found.launches:
            find_cubin(launch, driver, architecture, config)
        answer["compile_seconds"] = time.perf_counter() - started
    return answer
