"""The mathematics of the hand-written kernels against SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from benchmarks import hand_math


def apply(function: Any, x: Any) -> Any:
    @hand_math.kernel
    def loop(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize(
    ("function", "exact", "low", "high"),
    [
        (hand_math.exp, np.exp, -700.0, 700.0),
        (hand_math.log, np.log, 1e-3, 1e3),
        (hand_math.erfcx, special.erfcx, 0.0, 50.0),
    ],
)
def test_relative_errors_are_a_few_units_in_the_last_place(
    function: Any, exact: Callable[..., Any], low: float, high: float, rng: np.random.Generator
) -> None:
    x = rng.uniform(low, high, 20_001)
    np.testing.assert_allclose(apply(function, x), exact(x), rtol=3e-15, atol=3e-16)


def test_tanh_is_exact_in_absolute_terms(rng: np.random.Generator) -> None:
    x = np.concatenate([rng.uniform(-25, 25, 20_001), [0.0, 1e-9, -400.0, 400.0]])
    np.testing.assert_allclose(apply(hand_math.tanh, x), np.tanh(x), rtol=0, atol=3e-16)


def test_far_below_zero_the_exponential_stays_tiny() -> None:
    assert np.all(apply(hand_math.exp, np.array([-709.0, -1e4, -np.inf])) < 1e-300)


def test_the_largest_of_a_row_is_found(rng: np.random.Generator) -> None:
    for n in (1, 2, 7, 64, 1001):
        row = rng.standard_normal(n)
        assert hand_math.row_max(row) == row.max()
