"""What a compiled program consists of: kernels, library calls, bytes moved, vector instructions."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.programs import Program

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


def count(program: Program, args: tuple[Any, ...], fuse: bool = True) -> Counts:
    """Look at what the value and gradient of a program are compiled to."""
    found = tj.inspect(tj.grad_jit(program.loss, argnums=program.argnums, fuse=fuse))(*args)
    return Counts(
        found.kernels, found.library_calls, found.bytes_moved, has_vector_arithmetic(found.assembly)
    )


def has_vector_arithmetic(assembly: str) -> bool | None:
    """Is there arithmetic on vectors? None on processors whose assembly this cannot read."""
    pattern = VECTOR_ARITHMETIC.get(MACHINES.get(platform.machine(), platform.machine()))
    return None if pattern is None else pattern.search(assembly) is not None


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
