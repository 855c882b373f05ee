"""Signed zeros, infinities, nan, subnormals, poles and exact results of the elementary functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

from tests.codegen.math.programs import ALL, DTYPES, Array, Programs, arity
from tracejit.codegen.math import PROGRAMS
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS

inf, nan = math.inf, math.nan
OWN_NAMES = {"pow_": np.power, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2}
OWN_NAMES |= {"asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh}
OWN_NAMES |= {
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(np.zeros_like(x), x),
}


def _exact_digamma(x: float) -> float:
    """SciPy's loses all digits beside the poles."""
    if not math.isfinite(x) or x == math.floor(x):
        return float(scipy.special.psi(x))
    return float(mpmath.digamma(x))


def _exact_lgamma(x: float) -> float:
    """SciPy's and Python's lose all digits beside the zeros at 1 and 2."""
    if 0 < x < math.inf:
        return float(mpmath.loggamma(x))
    return float(SCALAR_FUNCTIONS["lgamma"].evaluate(x))


OWN_NAMES |= {
    "erf_given": scipy.special.erf,
    "lgamma": np.vectorize(_exact_lgamma),
    "digamma": np.vectorize(_exact_digamma),
}

ARGUMENTS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    inf,
    -inf,
    nan,
    -nan,
    2.0,
    -2.0,
    3.0,
    -3.0,
    0.5,
    -0.5,
    1.5,
    -1.5,
    1e30,
    -1e30,
]


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs()


def arguments(short: str) -> list[float]:
    """Also numbers at the ends of the type and around 2**fraction, where all become even."""
    info = np.finfo(DTYPES[short])
    ends = [info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal]
    whole = [2.0**info.nmant, 2.0**info.nmant - 1, 2.0 ** (info.nmant + 1) - 1, 1 + info.eps, 1 - info.epsneg]
    return [*ARGUMENTS, *map(float, ends), *whole, *[-x for x in whole]]


def reference(name: str) -> Callable[..., Any]:
    return OWN_NAMES.get(name) or getattr(np, name, None) or getattr(scipy.special, name)


@pytest.mark.parametrize(("name", "short"), [case for case in ALL if "addexp" not in case[0]])
def test_special_arguments_give_what_numpy_says(name: str, short: str, programs: Programs) -> None:
    x = np.array(arguments(short), DTYPES[short])
    operands = [np.ravel(g) for g in np.meshgrid(*[x] * arity(name))]
    actual = programs(name, short, *operands)
    with np.errstate(all="ignore"):
        expected = np.asarray(reference(name)(*operands), DTYPES[short])
    info = np.finfo(DTYPES[short])
    close = np.isclose(actual, expected, rtol=8 * info.eps, atol=2 * float(info.smallest_subnormal))
    right = (close & (np.signbit(actual) == np.signbit(expected))) | (np.isnan(actual) & np.isnan(expected))
    wrong = ~right
    assert not wrong.any(), list(zip(*[o[wrong] for o in operands], actual[wrong], expected[wrong]))[:5]


@pytest.mark.parametrize("short", DTYPES)
@pytest.mark.parametrize("name", sorted({"expm1", "log1p", "tanh", "sinh", "sin", "tan"} & set(PROGRAMS)))
def test_odd_functions_return_subnormal_arguments(name: str, short: str, programs: Programs) -> None:
    x = np.array([1, -1, 3, -5, 1023, 2**20 + 1], DTYPES[short])
    x *= np.finfo(DTYPES[short]).smallest_subnormal
    assert programs(name, short, x).tolist() == x.tolist()


@pytest.mark.parametrize("short", DTYPES)
def test_powers_and_roots_that_are_numbers_are_exact(short: str, programs: Programs) -> None:
    dtype = DTYPES[short]
    info = np.finfo(dtype)
    n = np.arange(info.minexp - info.nmant, info.maxexp).astype(dtype)
    powers = np.ldexp(dtype.type(1), n.astype(np.int32))
    two = np.full_like(n, 2)
    assert programs("exp2", short, n).tolist() == powers.tolist()
    assert programs("log2", short, powers).tolist() == n.tolist()
    assert programs("pow_", short, two, n).tolist() == powers.tolist()
    whole = np.arange(-200, 200).astype(dtype)
    assert programs("cbrt", short, whole**3).tolist() == whole.tolist()
    assert programs("hypot", short, 3 * whole, 4 * whole).tolist() == np.abs(5 * whole).tolist()


@pytest.mark.parametrize("short", DTYPES)
def test_an_angle_beyond_the_fast_range_changes_no_other_lane(short: str, programs: Programs) -> None:
    x = np.linspace(-3, 3, 64).astype(DTYPES[short])
    mixed = x.copy()
    mixed[::7] = 1e22
    for name in ("sin", "cos", "tan"):
        alone, together = programs(name, short, x), programs(name, short, mixed)
        kept = np.arange(64) % 7 != 0
        assert together[kept].tolist() == alone[kept].tolist()
        large = getattr(np, name)(np.array(1e22, DTYPES[short]))
        np.testing.assert_allclose(together[~kept], large, rtol=4 * np.finfo(DTYPES[short]).eps)


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2"])
@pytest.mark.parametrize("short", DTYPES)
def test_sums_of_exponentials_are_numpys_within_a_few_units(
    name: str, short: str, programs: Programs
) -> None:
    dtype = DTYPES[short]
    values = np.array([*np.linspace(-60, 60, 97), 0.0, -0.0, 1e30, -1e30, inf, -inf, nan], dtype)
    x, y = (np.ravel(grid) for grid in np.meshgrid(values, values))
    actual: Array = programs(name, short, x, y)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    eps = float(np.finfo(dtype).eps)
    # Where the two terms nearly cancel, the error is one of the larger term.
    np.testing.assert_allclose(actual, expected, rtol=4 * eps, atol=eps)


@pytest.mark.parametrize("short", ["f64", "f32"])
def test_logaddexp_of_zeros_infinities_and_nan_is_what_numpy_says(short: str, programs: Programs) -> None:
    """Elsewhere NumPy's own result loses digits where the larger operand cancels the logarithm."""
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], DTYPES[short])
    operands = [np.ravel(g) for g in np.meshgrid(x, x)]
    actual = programs("logaddexp", short, *operands)
    with np.errstate(all="ignore"):
        expected = np.logaddexp(*operands)
    np.testing.assert_allclose(actual, expected, rtol=1e-6 if short == "f32" else 1e-15)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual)[known], np.signbit(expected)[known])
