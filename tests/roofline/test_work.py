"""Counts of flops are exact: instructions of the nest times trips of its loops, functions as programmed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.golden_programs import PROGRAMS
from tracejit.api.record import record_call
from tracejit.codegen.loops import Kernel
from tracejit.codegen.math import PROGRAMS as FUNCTIONS
from tracejit.codegen.program import LibraryCall
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS
from tracejit.compile import run_stages
from tracejit.roofline.work import Work, function_work, kernel_work, library_work

F64, F32 = np.dtype(np.float64), np.dtype(np.float32)


def works(f: Any, *args: Any, fuse: bool = True) -> list[Work | None]:
    program = run_stages(record_call(f, args, {}).graph, fuse).program
    steps = [s for call in program.calls for s in ([call] if isinstance(call, LibraryCall) else call.singles)]
    return [kernel_work(s) if isinstance(s, Kernel) else library_work(s.eqn) for s in steps]


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(
    ("f", "flops"),
    [
        (lambda x: x + 1.0, 60),
        (lambda x: x * x - x / 3.0, 180),
        (lambda x: np.sqrt(x), 60),
        (lambda x: np.maximum(x, 0.5), 60),
        (lambda x: np.abs(x), 0),
        (lambda x: np.where(x > 0.0, x, -x), 0),
        (lambda x: x.sum(), 60),
        (lambda x: x.sum(axis=0), 60),
        (lambda x: x.max(axis=1), 60),
        (lambda x: x.T[1:], 0),
        (lambda x: np.exp(x), 60 * function_work("exp", (F64,), F64).flops),
    ],
)
def test_flops_of_known_programs(f: Any, flops: int, fuse: bool) -> None:
    assert sum(w.flops for w in works(f, np.ones((6, 10)), fuse=fuse) if w is not None) == flops


def test_float32_counts_apart_and_its_sums_are_float64() -> None:
    (work,) = works(lambda x: (x * x).sum(), np.ones(50, np.float32))
    assert work is not None
    assert (work.f32, work.f64) == (50, 50)


def test_what_does_not_depend_on_a_loop_is_counted_outside_of_it() -> None:
    (work,) = works(lambda x, s: x * (s * s), np.ones(50), 2.0)
    assert work is not None
    assert work.flops == 51


def test_a_product_is_two_flops_a_term() -> None:
    (work,) = works(np.matmul, np.ones((40, 50)), np.ones((50, 60)))
    assert work is not None
    assert work.flops == 2 * 40 * 50 * 60


def test_of_other_library_calls_the_work_is_not_known() -> None:
    assert works(lambda x: np.cumsum(x), np.ones(9)) == [None]


def test_a_fused_multiply_add_is_two_and_equal_instructions_are_one() -> None:
    one = function_work("sigmoid", (F64,), F64)
    assert one.flops > 10
    assert one.instructions < one.flops + 60
    assert function_work("exp", (F32,), F32).f32 == function_work("exp", (F32,), F32).flops
    assert function_work("exp", (F32,), F32).flops < function_work("exp", (F64,), F64).flops


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_elementary_function_has_a_count(name: str, dtype: Any) -> None:
    arity = 2 if name in ("pow_", "hypot", "atan2", "logaddexp", "logaddexp2", "erf_given") else 1
    assert function_work(name, (dtype,) * arity, dtype).flops > 1


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_kernel_of_the_goldens_can_be_counted(name: str, fuse: bool) -> None:
    function, arguments = PROGRAMS[name]
    for work in works(function, *arguments, fuse=fuse):
        assert work is None or work.instructions >= 0


def test_the_main_line_is_the_one_with_most_of_the_work() -> None:
    def f(x: Any) -> Any:
        y = x + 1.0
        z = np.tanh(y)
        return z * 2.0

    (work,) = works(f, np.ones(100))
    assert work is not None
    assert work.main_line is not None
    assert work.main_line.text == "z = np.tanh(y)"


def test_functions_outside_the_table_are_no_surprise() -> None:
    assert function_work("gcd", (np.dtype(np.int64),) * 2, np.dtype(np.int64)).flops == 0
    assert "gcd" in SCALAR_FUNCTIONS
