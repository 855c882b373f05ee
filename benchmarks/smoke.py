"""Counts that must hold: kernels, bytes moved, compilations, vector instructions. Nothing is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tracejit as tj
from benchmarks import programs
from benchmarks.counting import check_gradients, count
from benchmarks.programs import Program

F64 = 8


@dataclass(frozen=True)
class Expectation:
    """What is promised of a program.

    sizes, other_sizes: two sets of sizes of one rank; the second must run without a compilation
    kernels: at most this many; library_calls: exactly
    bytes_moved: at most, from the sizes
    has_vectors: whether the machine code must do arithmetic on vectors (scalar library functions prevent it)
    """

    program: Program
    sizes: tuple[int, ...]
    other_sizes: tuple[int, ...]
    kernels: int
    bytes_moved: Callable[..., int]
    library_calls: int = 0
    has_vectors: bool = False


EXPECTATIONS = (
    Expectation(programs.CHAIN, (1000,), (777,), 1, lambda n: F64 * (2 * n + 1)),
    Expectation(
        programs.ROSENBROCK,
        (1000,),
        (777,),
        1,
        lambda n: F64 * (2 * n + 1),
        has_vectors=True,
    ),
    Expectation(
        programs.SOFTMAX,
        (64, 10),
        (48, 13),
        1,
        lambda n, k: F64 * (2 * n * k + n + 1),
    ),
    Expectation(
        programs.LOGISTIC,
        (500, 30),
        (333, 17),
        1,
        lambda n, k: F64 * (n * k + n + 2 * k + 3),
    ),
    Expectation(programs.TUTORIAL, (15, 13), (11, 9), 1, lambda n, k: F64 * (2 * n * k + 3 * k + n + 1)),
    Expectation(
        programs.NETWORK,
        (100, 64, 32, 10),
        (60, 50, 24, 11),
        4,
        lambda n, i, h, k: (
            F64 * (2 * n * i + 12 * n * h + 8 * n * k + 4 * i * h + 6 * h * k + 8 * (h + k + n))
        ),
        library_calls=5,
    ),
    Expectation(
        programs.STENCIL,
        (60, 50),
        (44, 70),
        1,
        lambda n, m: F64 * (2 * n * m + 1),
        has_vectors=True,
    ),
)


def check(expectation: Expectation) -> str:
    """Raise AssertionError where a promise is broken; returns a line that says what was counted."""
    program = expectation.program
    args = program.inputs(*expectation.sizes)
    step = tj.grad_jit(program.loss, argnums=program.argnums)

    tj.cache_clear()
    for _ in range(3):
        check_gradients(program, args, step(*args), "fused")
    first = tj.cache_info()
    assert first.compiles == 1, f"{program.name}: three calls, {first}"
    assert first.traces == 1, f"{program.name}: three calls, {first}"
    other = program.inputs(*expectation.other_sizes)
    check_gradients(program, other, step(*other), "fused, other sizes")
    again = tj.cache_info()
    assert again.compiles == 1, f"{program.name}: other sizes compiled again, {again}"

    counts = count(program, args)
    most = expectation.bytes_moved(*expectation.sizes)
    assert counts.kernels <= expectation.kernels, f"{program.name}: {counts}"
    assert counts.library_calls == expectation.library_calls, f"{program.name}: {counts}"
    assert counts.bytes_moved <= most, f"{program.name}: {counts}, at most {most} bytes are needed"
    if expectation.has_vectors:
        assert counts.has_vectors is not False, f"{program.name}: no vector arithmetic"
    vectors = {True: "vectors", False: "scalars", None: "unknown code"}[counts.has_vectors]
    return (
        f"{program.name:<22} kernels {counts.kernels}  calls {counts.library_calls}  "
        f"bytes {counts.bytes_moved:>7}  compiles {again.compiles} in {again.traces} traces  {vectors}"
    )


def main() -> None:
    """Check every program; one line each."""
    for expectation in EXPECTATIONS:
        print(check(expectation), flush=True)
    print(f"ok: {len(EXPECTATIONS)} programs")
