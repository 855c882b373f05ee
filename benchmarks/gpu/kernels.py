"""The kernels of a variant, made before anything is timed: how many, and compiled into the cache folder.

Needs no device, so that all processors of the machine can do it at once.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import tracejit as tj
from benchmarks.gpu.rows import ROWS, Shape, arguments_of
from benchmarks.gpu.variants import Variant
from tracejit.codegen.cuda.launches import Launch
from tracejit.codegen.loops import CONTIGUOUS
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.runtime.cuda.arrays import stand_in
from tracejit.runtime.cuda.compiler import CudaDriver
from tracejit.runtime.cuda.kernels import find_cubin


def launches_of(name: str, shape: Shape, dtype: str, variant: Variant) -> tuple[list[Launch], int]:
    """The launches of a step for arrays that lie there one after another, and the number of library calls."""
    workload, given = ROWS[name].workload(), arguments_of(name, shape, dtype)
    arguments = [stand_in(x.dtype, given.shape(k)) for k, x in enumerate(given.arrays)]
    with variant.within():
        step: Any = tj.grad_jit(workload.loss, argnums=workload.argnums, target="cuda-emu")
        lowered, _ = step.lower(*arguments)
        fuse = variant.name != "unfused"
        executable: Any = run_stages(lowered.graph, fuse=fuse, target="cuda-emu").executable
        found = executable.launches((CONTIGUOUS,) * len(executable.program.inputs))
    return found, len(executable.device_program.steps) - len(found)


def compile_kernels(
    name: str, shape: Shape, dtype: str, variant: Variant, architecture: tuple[int, int]
) -> dict[str, Any]:
    """What `launches_of` finds, and seconds of compiling; None where numba-cuda is not installed."""
    started = time.perf_counter()
    found, calls = launches_of(name, shape, dtype, variant)
    traced = time.perf_counter() - started
    answer: dict[str, Any] = {
        "launches": len(found),
        "library_calls": calls,
        "trace_seconds": traced,
        "compile_seconds": None,
    }
    if find_spec("numba_cuda") is not None:
        driver, config = CudaDriver(None, None), Config.from_environment()
        started = time.perf_counter()
        for launch in found:
            find_cubin(launch, driver, architecture, config)
        answer["compile_seconds"] = time.perf_counter() - started
    return answer
