"""What a compiled program consists of: kernels, library calls, bytes moved, vector instructions."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.programs import Program
from tracejit.codegen.program import LibraryCall, bytes_moved
from tracejit.compile import compile_graph
from tracejit.runtime.executable import Executable

# Arithmetic on whole vectors, as compilers print it.
VECTOR_ARITHMETIC = {
    "x86_64": re.compile(r"\bv?(?:add|sub|mul|div|fn?m(?:add|sub)(?:132|213|231))p[sd]\b"),
    "aarch64": re.compile(r"\bf(?:add|sub|mul|div|mla|mls)(?:\.[24][sd]\b|\s+v\d+\.[24][sd])"),
}
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Counts:
    """`bytes_moved` counts each array of each kernel and call once; `has_vectors` is None where unknown."""

    kernels: int
    library_calls: int
    bytes_moved: int
    has_vectors: bool | None


def build(program: Program, args: tuple[Any, ...], fuse: bool = True) -> tuple[Executable, list[Any]]:
    """The value and gradient of a program, compiled, and the list of arrays that it takes."""
    lowered, call = tj.grad_jit(program.loss, argnums=program.argnums).lower(*args)
    return compile_graph(lowered.graph, fuse=fuse), [*call.leaves, *lowered.captures]


def count(program: Program, args: tuple[Any, ...], fuse: bool = True) -> Counts:
    """Compile, run once, and look at what was made."""
    executable, arrays = build(program, args, fuse)
    executable(arrays)
    compiled = executable.program
    library_calls = sum(isinstance(call, LibraryCall) for call in compiled.calls)
    return Counts(
        len(compiled.kernels), library_calls, bytes_moved(compiled), has_vector_arithmetic(executable)
    )


def has_vector_arithmetic(executable: Executable) -> bool | None:
    """Does the machine code do arithmetic on vectors? None on processors whose code this cannot read."""
    machine = MACHINES.get(platform.machine(), platform.machine())
    pattern = VECTOR_ARITHMETIC.get(machine)
    if pattern is None:
        return None
    programs = [bound.native for bound in executable.bound.values() if bound.native is not None]
    return any(pattern.search(native.assembly()) for native in programs)


def check_gradients(program: Program, args: tuple[Any, ...], result: Any, what: str) -> None:
    """`result`, a value and gradients, equals what the derivation by hand gives."""
    value, gradients = program.by_hand(*args)
    got_value, got = result
    np.testing.assert_allclose(got_value, value, rtol=1e-9, err_msg=f"{program.name}, {what}: value")
    for number, (have, want) in enumerate(zip(got, gradients, strict=True)):
        scale = np.abs(want).max()
        np.testing.assert_allclose(
            have, want, rtol=1e-8, atol=1e-9 * scale, err_msg=f"{program.name}, {what}: gradient {number}"
        )
