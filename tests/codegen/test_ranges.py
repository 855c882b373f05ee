"""What is cut into strands: checked indices."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit as tj


def test_an_index_out_of_range_is_reported_from_any_strand(rng: np.random.Generator) -> None:
    """Strands that find nothing wrong must not write over what another one has found."""
    x, picked = rng.standard_normal(100), rng.integers(0, 100, 500_000)
    total = tj.jit(lambda x, k: np.sum(x[k]), threads=3)
    assert total(x, picked) == pytest.approx(np.sum(x[picked]))
    for place in range(5, 500_000, 10_000):
        outside = picked.copy()
        outside[place] = 100
        with pytest.raises(IndexError, match="outside an axis of size 100"):
            total(x, outside)


def test_which_of_several_errors_is_raised_does_not_depend_on_threads(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(100), rng.standard_normal(200)
    first, second = rng.integers(0, 100, 500_000), rng.integers(0, 200, 500_000)
    first[-1], second[0] = 100, 200
    for threads in (1, 3):
        total = tj.jit(lambda x, y, k, m: np.sum(x[k] * y[m]), threads=threads)
        for _ in range(20):
            with pytest.raises(IndexError, match="outside an axis of size 100"):
                total(x, y, first, second)
