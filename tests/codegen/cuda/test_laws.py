"""CUDA kernels of random programs do what the evaluator does."""

from __future__ import annotations

import pytest

from tests.codegen.cuda.laws import SMALL, check_seed


@pytest.mark.parametrize("small", SMALL)
@pytest.mark.parametrize("first", range(0, 48, 8))
def test_random_programs_agree_with_the_evaluator(first: int, small: int) -> None:
    assert any([check_seed(seed, small) for seed in range(first, first + 8)])
