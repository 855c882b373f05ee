"""CUDA kernels of random programs do what the evaluator does."""

from __future__ import annotations

import pytest

from tests.codegen.cuda.laws import WAYS, Way, check_seed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", range(0, 48, 8))
def test_random_programs_agree_with_the_evaluator(first: int, way: Way) -> None:
    assert any([check_seed(seed, way) for seed in range(first, first + 8)])


def test_one_number_is_added_at_a_place_beside_loops() -> None:
    assert check_seed(87, WAYS[1])


def test_fewer_rows_of_an_array_are_no_rows_of_the_nest() -> None:
    assert check_seed(2588, WAYS[2])
