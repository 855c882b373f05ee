"""What first calls cost, by counts that are the same everywhere: work by length, imports, compilations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from benchmarks.compile_time import long_chain
from tracejit.codegen.program import build_program
from tracejit.config import Config
from tracejit.passes import optimize
from tracejit.runtime.executable import Executable, layout_of
from tracejit.schedule.fusion import schedule_graph


def elementwise(length: int) -> Callable[[Any], Any]:
    """A chain of operations, each of one of five kinds; some read the argument again."""
    return long_chain(length, np)


def rows(length: int) -> Callable[[Any], Any]:
    """Softmax upon softmax: reductions whose results are read in loops."""

    def loss(x: Any) -> Any:
        for _ in range(length // 4):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            x = x + e / e.sum(axis=1, keepdims=True)
        return np.sum(x * x)

    return loss


def layers(length: int) -> Callable[[Any], Any]:
    """Products of matrices, which are calls, with elementwise work between them."""

    def loss(x: Any) -> Any:
        for _ in range(length // 4):
            x = np.tanh(x @ x)
        return np.mean(x)

    return loss


FAMILIES: dict[str, tuple[Callable[[int], Callable[[Any], Any]], tuple[int, ...]]] = {
    "elementwise": (elementwise, (100,)),
    "rows": (rows, (20, 30)),
    "layers": (layers, (64, 64)),
}


def calls_of(work: Callable[[], Any], calls: list[int]) -> Any:
    """The result of `work`, and in `calls` how many functions it called, those of C included."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(note)
    try:
        result = work()
    finally:
        sys.setprofile(None)
    calls.append(count)
    return result


def calls_by_stage(loss: Callable[[Any], Any], x: np.ndarray[Any, Any], fuse: bool) -> dict[str, int]:
    """How many functions each stage in front of the compiler calls for value and gradient."""
    function, calls = tj.grad_jit(loss), list[int]()
    lowered = calls_of(lambda: function.lower(x)[0], calls)
    optimized = calls_of(lambda: optimize(lowered.graph), calls)
    schedule = calls_of(lambda: schedule_graph(optimized, fuse=fuse), calls)
    program = calls_of(lambda: build_program(schedule), calls)
    executable = Executable(program, Config(cache_dir=None))
    calls_of(lambda: executable.print((layout_of(x),), "llvm"), calls)
    return dict(zip(("trace and transform", "passes", "schedule", "lower", "print"), calls, strict=True))


@pytest.mark.parametrize(
    ("family", "length", "fuse"),
    [("elementwise", 100, True), ("elementwise", 30, False), ("rows", 80, True), ("layers", 40, True)],
)
def test_every_stage_works_no_more_on_an_equation_of_a_longer_program(
    family: str, length: int, fuse: bool
) -> None:
    build, shape = FAMILIES[family]
    short, long = (calls_by_stage(build(n), np.ones(shape), fuse) for n in (length, 4 * length))
    growth = {stage: long[stage] / short[stage] for stage in short}
    assert all(times < 5.2 for times in growth.values()), growth  # the program is 4 times as long


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_size_compiles_nothing(family: str) -> None:
    build, (first, *rest) = FAMILIES[family]
    function = tj.grad_jit(build(20))
    function(np.ones((first, *rest)) / 9)
    before = tj.cache_info()
    sizes = (first + 1, first + 2, 3 * first)
    for n in sizes:
        function(np.ones((n, n) if family == "layers" else (n, *rest)) / 9)
    after = tj.cache_info()
    assert after.compiles == before.compiles
    assert after.traces == before.traces + len(sizes)


FRESH = """
import sys
import numpy as np
import tracejit as tj
import llvmlite.binding
before = set(sys.modules)
step = tj.grad_jit(lambda w, x: np.mean(np.tanh(x @ w) ** 2))
step(np.ones(7), np.ones((20, 7)))
heavy = ("numba", "scipy", "numpy.ma", "importlib.metadata", "email", "inspect")
print(tj.cache_info().compiles, *[name for name in heavy if name in set(sys.modules) - before])
"""


def test_a_first_call_with_code_on_disk_compiles_nothing_and_imports_little(tmp_path: Path) -> None:
    environment = {**os.environ, "TRACEJIT_CACHE_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    printed = [
        subprocess.run(
            [sys.executable, "-c", FRESH],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        ).stdout.split()
        for _ in range(2)
    ]
    assert printed == [["1"], ["0"]]
