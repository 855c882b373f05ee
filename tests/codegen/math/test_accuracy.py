"""The elementary functions against 160-bit arithmetic, with and without a fused multiply-add."""

from __future__ import annotations

import mpmath
import pytest

from tests.codegen.math.exact import EXACT, exact_values
from tests.codegen.math.programs import DTYPES, Programs, error_in_ulps, programs_without_fma
from tracejit.codegen.math import PROGRAMS

CASES = [(name, short) for name in EXACT for short in DTYPES]


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs()


@pytest.fixture(scope="module")
def plain_programs() -> Programs:
    return programs_without_fma()


def worst_error(name: str, short: str, programs: Programs) -> tuple[float, tuple[float, ...]]:
    """The largest error in ulp and the arguments where it is."""
    arguments, values, sizes = exact_values(name, short)
    actual = programs(name, short, *arguments).tolist()
    with mpmath.workprec(160):
        errors = [error_in_ulps(*row, DTYPES[short]) for row in zip(actual, values, sizes)]
    worst = max(range(len(errors)), key=errors.__getitem__)
    return errors[worst], tuple(float(x[worst]) for x in arguments)


@pytest.mark.parametrize(("name", "short"), CASES)
def test_errors_against_160_bits_stay_within_the_bound(name: str, short: str, programs: Programs) -> None:
    worst = worst_error(name, short, programs)
    assert worst[0] <= EXACT[name].ulps, worst


@pytest.mark.parametrize(("name", "short"), CASES)
def test_without_fused_multiply_add_errors_grow_little(
    name: str, short: str, plain_programs: Programs
) -> None:
    worst = worst_error(name, short, plain_programs)
    assert worst[0] <= EXACT[name].ulps_without_fma, worst


def test_every_program_is_tested() -> None:
    assert set(EXACT) | {"logaddexp2"} == set(PROGRAMS)
