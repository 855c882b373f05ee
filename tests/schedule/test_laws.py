"""Random programs: fused, unfused and evaluated by NumPy they agree, in any layout, inside their memory."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.plain_programs import plain_kernels as plain_kernels
from tests.schedule.random_graphs import Program, check_same, random_program
from tracejit.codegen import lower
from tracejit.compile import run_stages
from tracejit.config import Config
from tracejit.ir import evaluate
from tracejit.schedule import fusion

Printer = Literal["llvm", "numba"]
SEEDS = st.integers(0, 2**40)
law = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
native_law = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)


def program_of(seed: int, gradient: bool, steps: int = 20) -> Program | None:
    rng = np.random.default_rng(seed)
    return random_program(lambda n: int(rng.integers(n)), gradient=gradient, steps=steps)


def check_fused_and_unfused(program: Program | None, printers: tuple[Printer, ...] = ("llvm",)) -> None:
    """Nothing is written into arguments either."""
    if program is None or not program.is_tame:
        return
    before = [a.copy() for a in program.arrays]
    expected = evaluate(program.graph, program.arrays)
    for fuse, printer in itertools.product((True, False), printers):
        executable = run_stages(program.graph, fuse, Config(cache_dir=None, printer=printer)).executable
        check_same(program, executable(program.arrays), expected)
    for array, copy in zip(program.arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.usefixtures("plain_kernels")
@law
@given(SEEDS)
def test_fused_is_unfused_is_evaluated(seed: int) -> None:
    check_fused_and_unfused(program_of(seed, gradient=False))


@pytest.mark.usefixtures("plain_kernels")
@law
@given(SEEDS)
def test_gradients_fused_are_unfused_are_evaluated(seed: int) -> None:
    check_fused_and_unfused(program_of(seed, gradient=True))


@native_law
@given(SEEDS, st.booleans())
@example(38880, False)  # a short scratch row read where a loaded index says
def test_vector_code_does_what_the_evaluator_does(seed: int, gradient: bool) -> None:
    check_fused_and_unfused(program_of(seed, gradient, steps=12), ("llvm",))


@settings(native_law, max_examples=15)
@given(SEEDS, st.booleans())
def test_both_printers_do_what_the_evaluator_does(seed: int, gradient: bool) -> None:
    check_fused_and_unfused(program_of(seed, gradient, steps=12), ("llvm", "numba"))


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (fusion, "MAX_EQUATIONS", 3),
        (fusion, "RECOMPUTE_COST", 1000),
        (fusion, "RECOMPUTE_COST", 0),
        (lower, "REPEAT_COST", 1000),
        (lower, "REPEAT_COST", -1),
    ],
)
def test_no_threshold_decides_whether_results_are_right(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, value: int
) -> None:
    monkeypatch.setattr(module, name, value)
    for seed in range(40):
        check_fused_and_unfused(program_of(seed, gradient=seed % 2 == 0))
