"""Kernels as machine code, made without a device, and what all of it must be."""

from __future__ import annotations

import functools
import re
from importlib.util import find_spec

import pytest

from tracejit.codegen.cuda.launches import Launch
from tracejit.runtime.cuda.compiler import compile_launch, link

MISSING = [name for name in ("numba_cuda", "cuda.core") if find_spec(name.partition(".")[0]) is None]
COMPILED = [
    pytest.mark.cuda_compile,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} to compile for CUDA"),
]

AMPERE, HOPPER = (8, 0), (9, 0)
ARCHITECTURES = (AMPERE, HOPPER, (10, 0), (12, 0))
MOST_REGISTERS = {x: 128 for x in ARCHITECTURES}  # two blocks of a multiprocessor at a time
MOST_REGISTERS[AMPERE] = 208  # whose assembler would spill some of them


@functools.lru_cache(maxsize=64)
def ptx(launch: Launch, architecture: tuple[int, int] = AMPERE) -> str:
    """Numba's part takes far longer than nvJitLink's, and what it makes for one serves all later ones."""
    return compile_launch(launch, architecture).ptx


def lines(launch: Launch, pattern: str) -> list[str]:
    return [line.strip() for line in ptx(launch).splitlines() if re.search(pattern, line)]


def check_lean(launch: Launch, dtype: str) -> None:
    """No calls, spills or memory of a thread's own, for any architecture."""
    assert not lines(launch, r"\bcall\b|\.local\b")
    assert dtype == "f8" or not lines(launch, r"\.f64\b")
    for architecture in ARCHITECTURES:
        found = link(ptx(launch), architecture)
        assert (found.spilled, found.stack) == (0, 0)
        assert found.registers <= MOST_REGISTERS[architecture]
