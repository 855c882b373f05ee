"""What the smoke run promises and when it complains."""

from __future__ import annotations

import dataclasses

from benchmarks.assembly import Arithmetic, count_arithmetic
from benchmarks.smoke import SHAPES, Counts, count, load_expectations, problems
from benchmarks.workload import NAMES, get_workload

PROMISED = Counts(kernels=1, library_calls=0, bytes_moved=1000, compiles=1, is_vectorised=True)


def test_every_workload_that_tracejit_runs_has_expectations() -> None:
    runs = [name for name in NAMES if "tracejit" not in get_workload(name).missing]
    assert list(load_expectations()) == runs == list(SHAPES)


def test_what_is_worse_is_named_and_what_is_better_is_not() -> None:
    assert problems(PROMISED, PROMISED) == []
    assert problems(dataclasses.replace(PROMISED, bytes_moved=800), PROMISED) == []
    assert problems(dataclasses.replace(PROMISED, kernels=2, bytes_moved=2000), PROMISED) == [
        "kernels 2 in place of 1",
        "bytes_moved 2,000 in place of 1,000",
    ]
    scalar = dataclasses.replace(PROMISED, is_vectorised=False)
    assert problems(scalar, PROMISED) == ["its arithmetic is no longer on vectors"]
    assert problems(dataclasses.replace(PROMISED, is_vectorised=None), PROMISED) == []
    assert problems(PROMISED, scalar) == []


def test_a_workload_is_counted() -> None:
    found = count("rosenbrock", get_workload("rosenbrock"))
    assert problems(found, load_expectations()["rosenbrock"]) == []


def test_instructions_are_told_apart() -> None:
    text = "\tvfmadd231pd\t(%rax), %ymm1, %ymm2\n\tvmulsd\t%xmm0, %xmm1, %xmm2\n\tvmovapd\t%ymm1, %ymm2\n"
    assert count_arithmetic(text, "AMD64") == Arithmetic(packed=1, scalar=1, bits=256)
    assert count_arithmetic("\tfmla\tv0.2d, v1.2d, v2.2d\n\tfadd\td0, d1, d2\n", "arm64") == Arithmetic(
        1, 1, 0
    )
    assert count_arithmetic(text, "riscv64") is None
    assert Arithmetic(3, 1, 512).share == 0.75 and Arithmetic(0, 0, 0).share == 1.0
