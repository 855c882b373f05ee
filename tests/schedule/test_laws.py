"""Random programs: fused, unfused and evaluated by NumPy they agree, in any layout, inside their memory."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.plain_programs import plain_kernels as plain_kernels
from tests.schedule.every_schedule import check_schedules, check_seed, every_schedule, program_of
from tests.schedule.random_graphs import Program
from tests.schedule.random_stencils import stencil_of
from tracejit.config import AUTO, Choices, Config
from tracejit.schedule import fusion

Printer = Literal["llvm", "numba"]
SEEDS = st.integers(0, 2**40)
law = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
native_law = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)


def check_fused_and_unfused(program: Program | None, printers: tuple[Printer, ...] = ("llvm",)) -> None:
    auto = Config(cache_dir=None)
    fuses = itertools.product((True, False), printers)
    check_schedules(program, [replace(auto, fuse=fuse, printer=printer) for fuse, printer in fuses])


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


@native_law
@given(SEEDS, st.booleans(), st.sampled_from(Choices.words("shifted")), st.sampled_from([None, 1, 3]))
@example(200, True, "auto", None)  # a piece of a loop that runs only where guards on outer loops hold
def test_stencils_are_right_whichever_way_rows_take(
    seed: int, second: bool, shifted: Any, threads: int | None
) -> None:
    config = Config(cache_dir=None, choices=Choices(shifted=shifted), threads=threads)
    check_schedules(stencil_of(seed, second), [config])


@pytest.mark.usefixtures("plain_kernels")
@law
@given(SEEDS, st.booleans())
def test_rings_as_python_are_right(seed: int, second: bool) -> None:
    check_schedules(stencil_of(seed, second), [Config(cache_dir=None, choices=Choices(shifted="ring"))])


@settings(native_law, max_examples=10)
@given(SEEDS, st.booleans())
def test_rings_are_right_by_both_printers(seed: int, second: bool) -> None:
    rings = Choices(shifted="ring")
    configs = [Config(cache_dir=None, choices=rings, printer=p) for p in ("llvm", "numba")]
    check_schedules(stencil_of(seed, second), configs)


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize("name", [n for n, c in every_schedule().items() if c.choices != AUTO])
def test_no_choice_decides_whether_results_are_right(name: str) -> None:
    for seed in range(20):
        check_schedules(program_of(seed, gradient=seed % 2 == 0), [every_schedule()[name]])


@pytest.mark.usefixtures("plain_kernels")
def test_no_limit_decides_whether_results_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "MAX_EQUATIONS", 3)
    for seed in range(40):
        check_fused_and_unfused(program_of(seed, gradient=seed % 2 == 0))


@settings(native_law, max_examples=10)
@given(SEEDS)
def test_vector_code_of_every_schedule_does_what_the_evaluator_does(seed: int) -> None:
    check_seed(seed)
